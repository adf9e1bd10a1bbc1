"""How far long work is: a bar on a terminal, a plain line every few seconds elsewhere.

    for text in watched(texts, "texts read"):         # work with items
    with Progress(0, steps) as progress:              # a training run, with its loss and speed
    note("learning an encoding")                      # a single line

Everything goes to stderr, and within `hidden()` nothing does.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Self

from .errors import visible

_HIDDEN = ContextVar("hidden", default=False)
_NOTED = set()  # lines that `note(line, once=True)` has printed in this process
PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal


@contextmanager
def hidden(quiet: bool = True) -> Iterator[None]:
    """Within this context `note`, `watched` and `Progress` print nothing.

    quiet : False changes nothing
    """
    before = _HIDDEN.set(quiet or _HIDDEN.get())
    try:
        yield
    finally:
        _HIDDEN.reset(before)


def note(line: str, once: bool = False) -> None:
    """Print a line on stderr, unless `hidden` forbids it. Nothing else prints in passing.

    once : print the same line a single time in this process
    """
    if _HIDDEN.get() or (once and line in _NOTED):
        return
    if once:
        _NOTED.add(line)
    say(line)


def say(line: str) -> None:
    """Print a line on stderr, if there is one that takes it."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # a full disk, a file that was closed
            print(visible(line), file=sys.stderr, flush=True)


def watched(items: Iterable, what: str, total: int | None = None) -> Iterator[Any]:
    """Yield the items unchanged, and show how many are done; a few seconds of work show nothing.

    total : the most items there can be, if they have no length

    >>> [letter for letter in watched("abc", "letters")]
    ['a', 'b', 'c']
    """
    if isinstance(items, Sized):
        total = len(items)
    bar = _bar(total, what, leave=False, delay=PLAIN_EVERY)
    of_all = f"/{total:,}" if total else ""
    last = time.perf_counter()
    try:
        for done, item in enumerate(items, 1):
            yield item
            if bar is not None:
                bar.update()
            elif time.perf_counter() - last >= PLAIN_EVERY:
                last = time.perf_counter()
                note(f"{what}: {done:,}{of_all}")
    finally:
        if bar is not None:
            bar.close()


class Progress:
    """Context that shows loss, tokens/s and time left of a run.

    start, steps : updates made before, and in all
    quiet : show nothing
    """

    def __init__(self, start: int, steps: int, quiet: bool = False):
        self.start = start
        self.steps = steps
        self.quiet = quiet or _HIDDEN.get()
        self._begin = time.perf_counter()
        self._last = self._begin
        self._tokens = 0
        self._loss = None
        self._bar = None

    def __enter__(self) -> Self:
        if not self.quiet:
            self._bar = _bar(self.steps, initial=self.start, unit="step", dynamic_ncols=True)
        return self

    def __exit__(self, *failure) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, step: int, loss: float, tokens: int) -> None:
        """Show update number `step`, from 1 on: its loss, and the tokens that it read."""
        if self._loss is None:  # the first update compiles kernels, so its time is left out
            self._begin = time.perf_counter()
            self.start = step
            self._loss = loss
        else:
            self._tokens += tokens
            self._loss = 0.95 * self._loss + 0.05 * loss  # smoothed for the eye only
        if self.quiet:
            return
        now = time.perf_counter()
        rate = self._tokens / max(now - self._begin, 1e-9)
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {self._loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
            self._bar.update(step - self._bar.n)
        elif now - self._last >= PLAIN_EVERY or step == self.steps:
            self._last = now
            speed = self._speed(step, now, rate)
            self.say(f"step {step}/{self.steps}: loss {self._loss:.3f}, {speed}")

    def _speed(self, step, now, rate):
        """The speed and the time left, as part of a line."""
        if not self._tokens:
            return "measuring the speed"
        each = (now - self._begin) / max(step - self.start, 1)
        left = duration(each * (self.steps - step))
        return f"{rate:,.0f} tokens/s, {left} left"

    def replan(self, step: int, steps: int) -> None:
        """Show that after update `step` the run was planned anew, with `steps` updates in all."""
        self.say(f"step {step}: planned anew, {steps:,} steps instead of {self.steps:,}")
        self.steps = steps
        if self._bar is not None:
            self._bar.total = steps

    def say(self, line: str) -> None:
        """Print a line without tearing the bar."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            note(line)


def _bar(total, what=None, **options):
    """A tqdm bar on a terminal; None elsewhere, and within `hidden`."""
    if _HIDDEN.get() or sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=total, desc=what, file=sys.stderr, **options)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(185), duration(7800)
    ('42 s', '3 min 05 s', '2 h 10 min')
    """
    seconds = max(0, round(seconds))
    minutes = seconds // 60
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{minutes} min {seconds % 60:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

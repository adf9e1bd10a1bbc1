"""How far a run has come: a bar on a terminal, a plain line every few seconds elsewhere. All of it on stderr."""

import sys
import time
from collections.abc import Sized
from contextlib import contextmanager
from contextvars import ContextVar

_HIDDEN = ContextVar("hidden", default=False)
_NOTED = set()  # what `note(line, once=True)` has said in this process
PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal


class Progress:
    """Context that shows loss, tokens/s and time left of a run.

    start, steps : updates made before, and in all
    quiet : show nothing
    """

    def __init__(self, start, steps, quiet=False):
        self.start, self.steps = start, steps
        self.quiet = quiet or _HIDDEN.get()
        self._begin = self._last = time.perf_counter()
        self._tokens, self._loss, self._bar = 0, None, None

    def __enter__(self):
        if not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.steps,
                initial=self.start,
                unit="step",
                dynamic_ncols=True,
                file=sys.stderr,
            )
        return self

    def __exit__(self, *failure):
        if self._bar is not None:
            self._bar.close()

    def update(self, step, loss, tokens):
        """After update `step` (counted from 1): its loss in nats per token, and how many tokens it predicted."""
        if (
            self._loss is None
        ):  # the first update compiles kernels: it says nothing about the others
            self._begin, self.start = time.perf_counter(), step
        else:
            self._tokens += tokens
        self._loss = (
            loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        )  # smoothed for the eye only
        if self.quiet:
            return
        now = time.perf_counter()
        rate = self._tokens / max(now - self._begin, 1e-9)
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {self._loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
            self._bar.update(step - self._bar.n)
        elif now - self._last >= PLAIN_EVERY or step == self.steps:
            self._last = now
            speed = f"{rate:,.0f} tokens/s" if self._tokens else "measuring the speed"
            left = (now - self._begin) / max(step - self.start, 1) * (self.steps - step)
            left = f", {duration(left)} left" if self._tokens else ""
            self.say(f"step {step}/{self.steps}: loss {self._loss:.3f}, {speed}{left}")

    def replan(self, step, steps):
        """After update `step` the run was planned anew, with `steps` updates in all."""
        self.say(f"step {step}: planned anew, {steps:,} steps instead of {self.steps:,}")
        self.steps = steps
        if self._bar is not None:
            self._bar.total = steps

    def say(self, line):
        """Print a line without tearing the bar."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            note(line)


def note(line, once=False):
    """Say a line on stderr, unless `hidden` forbids it: the one place for what is said in passing.

    once : say the same line a single time in this process
    """
    if _HIDDEN.get() or (once and line in _NOTED):
        return
    if once:
        _NOTED.add(line)
    print(line, file=sys.stderr, flush=True)


def watched(items, what, total=None):
    """The items, one by one, and on stderr how many are done; work of less than a few seconds shows nothing.

    total : how many there will be at most, where the items have no length
    """
    total = len(items) if isinstance(items, Sized) else total
    terminal = sys.stderr.isatty() and not _HIDDEN.get()
    if terminal:
        from tqdm import tqdm

        items = tqdm(items, what, total, leave=False, delay=PLAIN_EVERY, file=sys.stderr)
    last = time.perf_counter()
    for done, item in enumerate(items, 1):
        yield item
        if not (terminal or _HIDDEN.get()) and time.perf_counter() - last >= PLAIN_EVERY:
            last = time.perf_counter()
            note(f"{what}: {done:,}{f'/{total:,}' if total else ''}")


@contextmanager
def hidden(quiet=True):
    """Within this context `note`, `watched` and `Progress` show nothing."""
    before = _HIDDEN.set(quiet or _HIDDEN.get())
    try:
        yield
    finally:
        _HIDDEN.reset(before)


def duration(seconds):
    """Seconds as people say them: '42 s', '3 min 05 s', '2 h 10 min'."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"

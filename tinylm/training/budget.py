"""Turn minutes into a number of updates: planned from a few timed ones, and corrected on the way.

Tokens become a number of updates once, from the first batches.

A learning-rate schedule asks how far a run has come, so the number of updates must be known before
the last one. A machine's speed changes, so nobody can know the number at the first one. Therefore
there is always a plan. At some shares of the budget the speed of the latest updates corrects it:
the schedule goes on where it is, only slower or faster.

Wall time decides nothing but the plan. Trainer saves a plan before the first update that depends on
it. A run that is given the whole plan (`TrainConfig(plan=...)`) ends with the bits of the run that
recorded it.
"""

import bisect
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from tinylm.errors import ArgumentError, CheckpointError
from tinylm.settings import LARGEST

from . import checkpoint

LATEST = 1.05  # share of the budget at which a run that became slow ends
MARKS = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8, 1, LATEST)  # shares at which a run is planned anew
SAME = 0.01  # share of the budget: a plan that is wrong by less stays, because that is noise
WINDOW = 1 / 16  # share of the budget whose updates measure the speed; less than between two marks
KEPT = 100  # at most this many times of updates measure it
COUNTED = 50  # batches whose tokens are counted to plan a run of so many tokens
FEWEST = 3  # at least this many, so that a single one spoiled by a busy machine cannot decide
BLOCKS = 3  # the speed is the median of this many means
# The first plan comes from timing updates for a share of the budget, but not for long.
TRIAL = 0.05  # share of the budget
LONGEST_TRIAL = 2.0  # seconds
MOST_TRIALS = 40  # updates


@dataclass(frozen=True)
class Plan:
    """The number of updates of a run, and each decision that changed it on the way.

    segments : (update, updates in all) of each decision. ((0, 900), (225, 1000)) planned 900
        updates at first, and after 225 of them 1,000 in all

    The run's place in its schedule is counted in updates of the first plan. Within a segment it
    moves evenly from where the segment finds it to the end of the first plan:

        place(n) = place(s) + (n - s) · (900 - place(s)) / (1000 - s),    s = 225

    So the place never jumps. In a plan of one segment the place is the number of updates made.
    raises ArgumentError    if no run can have made these decisions

    >>> plan = Plan(((0, 900), (225, 1000)))
    >>> plan.steps, plan.length
    (1000, 900)
    >>> plan.place(225), plan.place(1000)
    (225.0, 900.0)
    """

    segments: tuple[tuple[int, int], ...]

    def __post_init__(self):
        if not self._possible():
            raise ArgumentError(
                f"plan is {self.segments!r}; expected ((0, updates), (update, updates in all), "
                "...), as trainer.json of a run records it"
            )

    def _possible(self):
        """Whether each segment begins after the one before it, and before that one's end."""
        before = -1
        end = LARGEST
        for segment in self.segments:
            if not isinstance(segment, tuple) or [type(part) for part in segment] != [int, int]:
                return False
            start, steps = segment
            if not before < start < min(steps, end) or steps > LARGEST:
                return False
            before = start
            end = steps
        return len(self.segments) > 0 and self.segments[0][0] == 0

    @classmethod
    def read(cls, pairs: Any) -> Self:
        """The plan from lists, as JSON has them.   raises ArgumentError as Plan itself

        >>> Plan.read([[0, 900]])
        Plan(segments=((0, 900),))
        """
        if not isinstance(pairs, list) or not all(isinstance(pair, list) for pair in pairs):
            return cls(())  # which raises
        return cls(tuple(tuple(pair) for pair in pairs))

    def lists(self) -> list[list[int]]:
        """The segments as lists, as JSON has them."""
        return [list(segment) for segment in self.segments]

    @property
    def steps(self) -> int:
        """Updates of the whole run, as planned last."""
        return self.segments[-1][1]

    @property
    def length(self) -> int:
        """Updates of the whole run, as planned first: the unit of `place`."""
        return self.segments[0][1]

    def place(self, step: int) -> float:
        """The place after `step` updates, from 0 to `length`; an int within the first segment."""
        begin = 0
        place = 0
        pace = 1
        for start, steps in self.segments[1:]:
            if step < start:
                break
            place += (start - begin) * pace
            pace = (self.length - place) / (steps - start)
            begin = start
        return place + (step - begin) * pace

    def evaluates(self, step: int, every: int) -> bool:
        """Whether to evaluate after `step` updates.

        every : updates between two evaluations, 0 for ten evaluations a run
        """
        if every:
            return step % every == 0
        every = max(1, self.length // 10)
        return self.place(step) // every > self.place(step - 1) // every


class Budget:
    """The length of a run, in updates or in training time, and the plan that follows from it.

    steps, minutes, tokens, plan : one of the four, as in TrainConfig
    .plan : Plan, the current one; None for a run of minutes until `measure` or `restore`, and for
        one of tokens until `count` or `restore`
    raises ArgumentError    if none or several are given, or one that no run can have

    >>> Budget(steps=900).plan
    Plan(segments=((0, 900),))
    """

    def __init__(
        self,
        steps: int | None = None,
        minutes: float | None = None,
        plan: tuple[tuple[int, int], ...] | None = None,
        tokens: int | None = None,
    ):
        lengths = {"steps": steps, "minutes": minutes, "tokens": tokens, "plan": plan}
        given = {name: length for name, length in lengths.items() if length is not None}
        if len(given) != 1:
            raise ArgumentError(
                "training needs a number of steps, of minutes, of tokens, or the plan of a run; "
                "give one of the four"
            )
        for name, length in given.items():
            if name != "plan" and not 0 < length < math.inf:
                raise ArgumentError(f"{name} is {length!r}, expected a number above 0")
        self.seconds = None if minutes is None else minutes * 60
        self.tokens = tokens
        self.plan = None
        if plan is not None:
            self.plan = Plan(plan)
        if steps is not None:
            self.plan = Plan(((0, steps),))
        self.times = deque(maxlen=KEPT)  # seconds of the latest updates
        self.passed = 0  # how many of the MARKS lie behind

    def count(self, read: Callable[[int], int]) -> None:
        """Plan as many updates as read so many tokens, going by the first batches.

        read : number of an update -> the tokens that the model reads for it

        >>> budget = Budget(tokens=1000)
        >>> budget.count(lambda number: 30 + number % 2)
        >>> budget.plan.steps
        33
        """
        mean = float(np.mean([read(number) for number in range(COUNTED)]))
        self.plan = Plan(((0, _affordable(self.tokens, mean)),))

    def measure(self, update: Callable[[int], Any], clock: Callable[[], float]) -> None:
        """Time some updates and make the first plan from them; the caller undoes the updates.

        update : function of a number that updates the weights
        clock : function that returns seconds since any moment
        """
        self.plan = Plan(((0, 1000),))  # any number, for the schedule of these updates
        warm_up(update)
        longest = min(LONGEST_TRIAL, TRIAL * self.seconds)
        times = []
        while len(times) < FEWEST or (len(times) < MOST_TRIALS and sum(times) < longest):
            start = clock()
            update(len(times))
            times.append(clock() - start)
        each = float(np.median(times))
        self.plan = Plan(((0, _affordable(self.seconds, each)),))

    def revise(self, step: int, used: float, took: float) -> bool:
        """Change the plan if a mark was passed and the plan turns out wrong; says whether it did.

        step : updates made     used : their seconds in all     took : seconds of the last one

        A run passes a mark by its time or by its place, whichever is further. By time alone, a run
        that became faster would be at its end before the next mark. When the budget is used up,
        the rest of the schedule is run through until LATEST.
        """
        if self.seconds is None:
            return False
        self.times.append(took)
        share = max(used / self.seconds, self.plan.place(step) / self.plan.length)
        passed = bisect.bisect_right(MARKS, share)
        if passed <= self.passed:
            return False
        self.passed = passed

        planned = self.plan.steps - step
        late = used >= self.seconds
        end = LATEST if late else 1
        left = end * self.seconds - used
        each = self.speed()
        possible = _affordable(left, each)
        if late:
            possible = min(possible, planned)

        wrong_by = abs(possible - planned) * each
        is_noise = not late and wrong_by <= SAME * self.seconds
        if possible == planned or is_noise:
            return False
        self.plan = Plan((*self.plan.segments, (step, step + possible)))
        return True

    def facts(self) -> dict[str, Any]:
        """The state that a resumed run needs, as JSON."""
        return {"plan": self.plan.lists(), "times": list(self.times), "passed": self.passed}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Take up the state that `facts` returned; a run of steps or of a plan keeps its plan.

        raises CheckpointError, ArgumentError   if the state is damaged
        """
        if self.seconds is None and self.tokens is None:
            return
        try:
            self.plan = Plan.read(facts["plan"])
            self.times.extend(map(float, facts["times"]))
            self.passed = int(facts["passed"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the saved state of the run's time is damaged ({error}); start the run anew"
            ) from error

    def speed(self) -> float:
        """Seconds per update now: the median of block means of the latest updates.

        A stall spoils only one block. Work that comes with every tenth update is in all of them.
        """
        recent = []
        total = 0.0
        for took in reversed(self.times):
            total += took
            if len(recent) >= FEWEST and total > WINDOW * self.seconds:
                break
            recent.append(took)
        blocks = np.array_split(recent, min(BLOCKS, len(recent)))
        return float(np.median([block.mean() for block in blocks]))


def warm_up(update: Callable[[int], Any]) -> None:
    """Make two updates that compile the kernels, before any are timed; the caller undoes them."""
    for number in range(2):
        update(number)


def _affordable(seconds, each):
    """How many updates of `each` seconds, or tokens, fit into so many of them; at least one."""
    fitting = min(seconds / max(each, 1e-9), LARGEST // 2)
    return max(1, round(fitting))


def recorded(folder: str | Path) -> tuple[tuple[int, int], ...]:
    """The plan of the finished run in a folder, for `TrainConfig(plan=...)`.

    returns ((update, updates planned in all), ...)
    raises CheckpointError  if the folder holds no finished run
    """
    facts = checkpoint.read_json(f"{folder}/{checkpoint.SUMMARY}")
    if not isinstance(facts.get("result"), dict):
        raise CheckpointError(
            f"the run in {folder} is not finished, and its plan may still change; "
            "finish it with --resume first"
        )
    return Plan.read(facts["result"].get("plan")).segments

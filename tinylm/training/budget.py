"""Minutes become a number of updates: planned from the first timed ones, and planned anew while the time goes by.

A learning-rate schedule asks how far a run has come, so the number of updates must be known before the
last one. A machine's speed changes, so the number cannot be known at the first. Therefore there is
always a plan, and at some shares of the budget the speed of the latest updates corrects it: the
schedule goes on where it is, only slower or faster.

The plan is all that wall time decides. Trainer saves it before the first update that depends on it, and
a run that is given the whole plan (`TrainConfig(plan=...)`) ends with the bits of the run that wrote it.
"""

import bisect
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from tinylm.errors import ArgumentError, CheckpointError
from tinylm.settings import LARGEST
from tinylm.training import checkpoint

LATEST = 1.05  # share of the budget at which a run that became slow ends
MARKS = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8, 1, LATEST)  # shares at which a run is planned anew
SAME = 0.01  # share of the budget that a plan may be wrong by: less is noise, and changes nothing
WINDOW = 1 / 16  # share of the budget whose updates tell the speed: less than between two marks
KEPT = 100  # times of updates that are kept for it
FEWEST = 3  # times that tell a speed: one that a busy machine spoiled must not decide
BLOCKS = 3  # the speed is the median over so many means


@dataclass(frozen=True)
class Plan:
    """How many updates a run makes, as decided before some of its updates.

    segments : ((0, 900), (225, 1000)): at first 900 updates were planned, after 225 of them 1,000 in all

    The run's place in its schedule is counted in updates of the first plan. Within a segment it moves
    evenly from where the segment finds it to the end of the first plan:

        place(n) = place(s) + (n - s) · (900 - place(s)) / (1000 - s),    s = 225

    So the place never jumps, and a plan of one segment has whole numbers for places: the run of so many steps.
    raises ArgumentError    if no run can have planned so
    """

    segments: tuple[tuple[int, int], ...]

    def __post_init__(self):
        if not self._possible():
            raise ArgumentError(
                f"plan is {self.segments!r}; expected ((0, updates), (update, updates in all), ...), "
                "as trainer.json of a run records it"
            )

    def _possible(self):
        """Whether a run can have planned so: each segment begins after the one before, and before its end."""
        before, end = -1, LARGEST
        for segment in self.segments:
            if not isinstance(segment, tuple) or [type(part) for part in segment] != [int, int]:
                return False
            start, steps = segment
            if not before < start < min(steps, end) or steps > LARGEST:
                return False
            before, end = start, steps
        return len(self.segments) > 0 and self.segments[0][0] == 0

    @classmethod
    def read(cls, pairs):
        """The plan of lists, as JSON has them.   raises ArgumentError as Plan itself"""
        whole = isinstance(pairs, list) and all(isinstance(pair, list) for pair in pairs)
        return cls(tuple(tuple(pair) for pair in pairs) if whole else ())

    def lists(self):
        """The segments as JSON has them."""
        return [list(segment) for segment in self.segments]

    @property
    def steps(self):
        """Updates of the whole run, as planned last."""
        return self.segments[-1][1]

    @property
    def length(self):
        """Updates of the whole run, as planned first: the unit of `place`."""
        return self.segments[0][1]

    def place(self, step):
        """Where a run is after `step` updates, from 0 to `length`; a whole number until it was planned anew."""
        begin, place, pace = 0, 0, 1
        for start, steps in self.segments[1:]:
            if step < start:
                break
            place += (start - begin) * pace
            pace = (self.length - place) / (steps - start)
            begin = start
        return place + (step - begin) * pace

    def evaluates(self, step, every):
        """Whether to evaluate after `step` updates: after each `every` of them, or for 0 ten times a run."""
        if every:
            return step % every == 0
        every = max(1, self.length // 10)
        return self.place(step) // every > self.place(step - 1) // every


class Budget:
    """How long a run may be, in updates or in training time, and the plan that follows from it.

    steps, minutes, plan : one of the three, as in TrainConfig
    .plan : Plan, the current one; None for a run of so many minutes until `measure` or `restore`
    raises ArgumentError    if none or several are given, or one that no run can have
    """

    def __init__(self, steps=None, minutes=None, plan=None):
        lengths = {"steps": steps, "minutes": minutes, "plan": plan}
        given = {name: length for name, length in lengths.items() if length is not None}
        if len(given) != 1:
            raise ArgumentError(
                "training needs a number of steps, of minutes, or the plan of a run; give one of the three"
            )
        for name, length in given.items():
            if name != "plan" and not 0 < length < math.inf:
                raise ArgumentError(f"{name} is {length!r}, expected a number above 0")
        self.seconds = None if minutes is None else minutes * 60
        self.plan = Plan(plan) if plan is not None else None
        if steps is not None:
            self.plan = Plan(((0, steps),))
        self.times = deque(maxlen=KEPT)  # seconds of the latest updates
        self.passed = 0  # how many of the MARKS lie behind

    def measure(self, update, clock):
        """Make the first plan, from the time that some updates take; the caller undoes them.

        update : function of a number that updates the weights      clock : function, seconds since any moment
        """
        self.plan = Plan(((0, 1000),))  # any number, for the schedule of these updates
        warm_up(update)
        share = min(2.0, 0.05 * self.seconds)
        times = []
        while len(times) < FEWEST or (len(times) < 40 and sum(times) < share):
            start = clock()
            update(len(times))
            times.append(clock() - start)
        self.plan = Plan(((0, _affordable(self.seconds, float(np.median(times)))),))

    def revise(self, step, used, took):
        """Whether the plan changes after `step` updates that took `used` seconds in all, the last one `took`.

        A mark is passed by the time or by the place, whichever is further: a run that became faster would
        otherwise be at its end before the time says that it must be planned anew. When the budget is
        used up, what remains of the schedule is run through until LATEST.
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
        left = (LATEST if late else 1) * self.seconds - used
        each = self.speed()
        possible = _affordable(left, each)
        if late:
            possible = min(possible, planned)
        wrong_by = abs(possible - planned) * each
        if possible == planned or (not late and wrong_by <= SAME * self.seconds):
            return False
        self.plan = Plan((*self.plan.segments, (step, step + possible)))
        return True

    def facts(self):
        """What a resumed run needs, as JSON."""
        return {"plan": self.plan.lists(), "times": list(self.times), "passed": self.passed}

    def restore(self, facts):
        """Take up what `facts` returned; a run that is not measured by time keeps the plan that it was given.

        raises CheckpointError, ArgumentError   if `facts` never returned it
        """
        if self.seconds is None:
            return
        try:
            self.plan = Plan.read(facts["plan"])
            self.times.extend(map(float, facts["times"]))
            self.passed = int(facts["passed"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"the saved state of the run's time is damaged ({error}); start the run anew"
            ) from error

    def speed(self):
        """Seconds per update now: the median of block means of the latest updates.

        A stall spoils one block only; work that comes with every tenth update is in all of them.
        """
        recent, total = [], 0.0
        for took in reversed(self.times):
            total += took
            if len(recent) >= FEWEST and total > WINDOW * self.seconds:
                break
            recent.append(took)
        blocks = np.array_split(recent, min(BLOCKS, len(recent)))
        return float(np.median([block.mean() for block in blocks]))


def warm_up(update):
    """Two updates that compile kernels, which is no training: not timed, and undone by the caller."""
    for number in range(2):
        update(number)


def _affordable(seconds, each):
    """How many updates fit into some seconds; at least one."""
    return max(1, round(min(seconds / max(each, 1e-9), LARGEST // 2)))


def recorded(folder):
    """The plan of a finished run, for `TrainConfig(plan=...)`: tuple of (update, updates planned in all).

    folder : of the run
    raises CheckpointError  if the folder holds no finished run
    """
    facts = checkpoint.read_json(f"{folder}/{checkpoint.SUMMARY}")
    if not facts.get("result"):
        raise CheckpointError(
            f"the run in {folder} is not finished, and its plan may still change; finish it with --resume first"
        )
    return Plan.read(facts["result"]["plan"]).segments

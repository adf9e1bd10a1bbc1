"""How much of a comparison is done, and how long the rest takes.

A comparison is a list of parts: each objective reads its text and encodes the posts once, and each
system is measured in each cell. What a part took is known when it is done, and stays known in the
folder. The others are estimated from those that are most like them:

    the same system with as many labels
    →  the same system with others, if labels cost it as much more as they cost its kind
    →  systems of its kind with as many labels
    →  the same system  →  systems of its kind  →  a first guess

where from the fourth on more labels take more time, in proportion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinylm.progress import duration

from .experiment import FEATURES, FINETUNED, MAJORITY, SCRATCH, TFIDF, CompareConfig
from .task import ALL, Budget

PRETRAINING = "pretraining"
ENCODING = "encoding"
# Seconds that a part takes before any of its kind was seen; of pretraining, those beside its time.
FIRST_GUESS = {
    PRETRAINING: 20.0,
    ENCODING: 15.0,
    MAJORITY: 0.01,
    TFIDF: 1.0,
    FEATURES: 2.0,
    FINETUNED: 8.0,
    SCRATCH: 8.0,
}
BY_TOKENS = 60.0  # the same for pretraining, where no minutes are given


@dataclass(frozen=True)
class Part:
    """A part of a comparison.

    kind : PRETRAINING, ENCODING, or the way of a system: "TF-IDF", "fine-tuned", ...
    name : the objective or the system
    budget, seed : its cell; None where it has none
    """

    kind: str
    name: str
    budget: Budget | None = None
    seed: int | None = None


def parts(config: CompareConfig) -> list[Part]:
    """All parts of a comparison.

    >>> config = CompareConfig(objectives=("gpt",), labels=(2,), seeds=1)
    >>> [part.name for part in parts(config)][:5]
    ['gpt', 'gpt', 'majority', 'TF-IDF', 'gpt features']
    """
    found = []
    for name in config.objectives:
        found.append(Part(PRETRAINING, name))
        found.append(Part(ENCODING, name))
    for method in config.systems():
        for budget, seed in config.cells_of(method):
            found.append(measurement(method, budget, seed))
    return found


def measurement(method: str, budget: Budget, seed: int) -> Part:
    """The part that measures a system in a cell.

    >>> measurement("gpt from scratch", 2, 0).kind
    'from scratch'
    """
    kinds = [kind for kind in (FEATURES, FINETUNED, SCRATCH) if method.endswith(f" {kind}")]
    return Part(kinds[0] if kinds else method, method, budget, seed)


def seconds_left(
    wanted: Sequence[Part], done: Mapping[Part, float], minutes: float | None, most: float = 1000.0
) -> float:
    """The seconds that the parts not done will take, estimated from those that are.

    wanted : all parts     done : part -> its seconds; may hold others than the wanted ones
    minutes : of pretraining, None where it is measured otherwise     most : labels of "all"
    """
    known = list(done.items())
    left = 0.0
    for part in wanted:
        if part not in done:
            left += _estimate(part, known, minutes, most)
    return left


def _estimate(
    part: Part, known: list[tuple[Part, float]], minutes: float | None, most: float
) -> float:
    """The seconds that one part will take.   known : (part, seconds) of those done"""
    kin = [(other, took) for other, took in known if other.kind == part.kind]
    own = [(other, took) for other, took in kin if other.name == part.name]
    same = _mean(own, part.budget)
    if same is None:
        same = _grown(part, own, kin)
    if same is None:
        same = _mean(kin, part.budget)
    if same is not None:
        return same
    for like in (own, kin):
        if like:
            return sum(_scaled(part, other, took, most) for other, took in like) / len(like)
    guess = FIRST_GUESS.get(part.kind, 0.0)
    if part.kind == PRETRAINING:
        guess += BY_TOKENS if minutes is None else 60 * minutes
    return guess


def _mean(known: list[tuple[Part, float]], budget: Budget | None) -> float | None:
    """The mean seconds of the parts with that budget; None if there is none."""
    took = [seconds for part, seconds in known if part.budget == budget]
    return sum(took) / len(took) if took else None


def _grown(
    part: Part, own: list[tuple[Part, float]], kin: list[tuple[Part, float]]
) -> float | None:
    """The seconds of the same system with other labels, times what these labels cost its kin.

    A GPT took 6 s with 2 labels, word2vec 0.9 s, and 4.8 s with 50: the GPT will take 32 s with 50.
    own : (part, seconds) of the system     kin : of all systems of its kind
    returns None if no other system is known with both numbers of labels
    """
    there = {other.name for other, _ in kin if other.budget == part.budget}
    for last, _ in reversed(own):
        both = {other.name for other, _ in kin if other.budget == last.budget} & there
        like = [(other, took) for other, took in kin if other.name in both]
        before, now = _mean(like, last.budget), _mean(like, part.budget)
        if before and now:
            return _mean(own, last.budget) * now / before
    return None


def _scaled(part: Part, other: Part, took: float, most: float) -> float:
    """The seconds of another part, for as many labels as this one has."""
    sizes = [most if each.budget == ALL else each.budget for each in (part, other)]
    return took * sizes[0] / sizes[1]


def in_words(
    wanted: Sequence[Part], done: Mapping[Part, float], minutes: float | None, most: float = 1000.0
) -> str:
    """How much is done and how much is left; the arguments are those of `seconds_left`.

    >>> some = [Part(TFIDF, TFIDF, 2, seed) for seed in range(5)]
    >>> in_words(some, {some[0]: 20.0, some[1]: 25.0}, minutes=1)
    '2 of 5 parts done in 45 s, about 1 min 08 s left'
    >>> in_words(some[:1], {some[0]: 20.0}, minutes=1)
    'all 1 parts done in 20 s'
    """
    finished = [part for part in wanted if part in done]
    used = duration(sum(done[part] for part in finished))
    if len(finished) == len(wanted):
        return f"all {len(wanted)} parts done in {used}"
    left = duration(seconds_left(wanted, done, minutes, most))
    before = f" in {used}" if finished else ""
    return f"{len(finished)} of {len(wanted)} parts done{before}, about {left} left"

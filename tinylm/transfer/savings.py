"""The factor of labels saved: how many times fewer labels a pretrained model needs than its twin.

    a = the accuracy that the pretrained model reaches with at most n labels per class
    factor(n) = labels that the from-scratch twin needs for a / labels that it needs itself

Between two measured budgets accuracy is a straight line over the logarithm of the labels, so a
factor does not depend on the unit in which labels are counted. A system needs as many labels as
where its curve first reaches a.

The curves are means over seeds. A factor of each seed could not be averaged: where one twin never
gets there, its factor is only known to be larger than a number, and a single seed's curve bends
with every draw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .experiment import FEATURES, FINETUNED, SCRATCH, Comparison
from .metrics import beats

WAYS = (FEATURES, FINETUNED)
Curve = Sequence[tuple[float, float]]  # (labels per class, score), from few labels to many


@dataclass(frozen=True)
class Saving:
    """How many labels one objective saves, used in one way, at one of its budgets.

    objective, way : "gpt", "fine-tuned"     budget : labels per class that it was given at most
    score : its mean accuracy there, or the best of smaller budgets
    needed : labels per class that it needs for this score
    twin : labels per class that its from-scratch twin needs for it
    bound : "" if `twin` is a measured number; ">" if the twin needs more, because it does not get
        there with so many; "<" if already its smallest budget is better
    """

    objective: str
    way: str
    budget: int
    score: float
    needed: float
    twin: float
    bound: str

    @property
    def factor(self) -> float:
        """twin / needed, of which `bound` says how it is meant."""
        return self.twin / self.needed

    def __str__(self) -> str:
        """The factor, with its bound.

        >>> print(Saving("gpt", "fine-tuned", 10, 0.5, 10, 565, ">"))
        > 56
        >>> print(Saving("gpt", "fine-tuned", 10, 0.5, 10, 12.5, ""))
        1.2
        """
        digits = 0 if self.factor >= 10 else 1
        sign = f"{self.bound} " if self.bound else ""
        return f"{sign}{self.factor:.{digits}f}"


def needed(curve: Curve, score: float) -> tuple[float, str]:
    """The labels with which a curve first reaches a score, and "" or the bound that is known.

    curve : (labels, score) of at least one budget, by rising labels
    returns (labels, ""); (the largest budget, ">") if it never gets there; (the smallest one, "<")
        if that is better already

    >>> needed([(2, 0.25), (8, 0.5)], 0.375)  # half the way, over the logarithm
    (4.0, '')
    >>> needed([(2, 0.25), (8, 0.5)], 0.75), needed([(2, 0.25), (8, 0.5)], 0.125)
    ((8, '>'), (2, '<'))
    """
    labels_before, score_before = curve[0]
    if score_before > score:
        return labels_before, "<"
    for labels, reached in curve:
        if reached == score:
            return labels, ""
        if reached > score:
            share = (score - score_before) / (reached - score_before)
            return labels_before * (labels / labels_before) ** share, ""
        labels_before = labels
        score_before = reached
    return labels_before, ">"


def saving(own: Curve, twin: Curve, budget: int) -> tuple[float, float, float, str]:
    """(score, needed, twin, bound) of a `Saving`, from the two curves.

    own, twin : as for `needed`     budget : one of the labels of `own`

    >>> saving([(2, 0.375), (8, 0.75)], [(2, 0.25), (8, 0.5)], budget=2)
    (0.375, 2, 4.0, '')
    """
    score = max(reached for labels, reached in own if labels <= budget)
    labels, _ = needed(own, score)
    twins, bound = needed(twin, score)
    return score, labels, twins, bound


def labels_saved(comparison: Comparison) -> list[Saving]:
    """The savings of every objective, both ways, at every budget; none where a curve is missing."""
    found = []
    for name in comparison.config.objectives:
        twin = mean_curve(comparison, f"{name} {SCRATCH}")
        for way in WAYS:
            own = mean_curve(comparison, f"{name} {way}")
            if not own or not twin:
                continue
            for budget, _ in own:
                found.append(Saving(name, way, budget, *saving(own, twin, budget)))
    return found


def clear_savings(comparison: Comparison) -> list[Saving]:
    """The savings of systems that beat their twin with as many labels, see `metrics.beats`."""
    found = []
    for one in labels_saved(comparison):
        own = dict(comparison.curve(f"{one.objective} {one.way}"))[one.budget]
        twin = dict(comparison.curve(f"{one.objective} {SCRATCH}")).get(one.budget, [])
        if len(own) == len(twin) and beats(own, twin):
            found.append(one)
    return found


def sure_savings(comparison: Comparison) -> list[Saving]:
    """The savings that need no interpolation: with few labels better than the twin with more.

    Such a system beats its twin, see `metrics.beats`, at a larger budget and at all below it. So
    `twin` / `needed` understates the factor, and `bound` is ">".
    """
    found = []
    for name in comparison.config.objectives:
        twin = comparison.curve(f"{name} {SCRATCH}")
        for way in WAYS:
            for budget, scores in comparison.curve(f"{name} {way}"):
                most = _beaten_up_to(scores, twin)
                if most > budget:
                    mean = math.fsum(scores) / len(scores)
                    found.append(Saving(name, way, budget, mean, budget, most, ">"))
    return found


def _beaten_up_to(scores: Sequence[float], twin: Sequence[tuple[float, list[float]]]) -> float:
    """The largest budget up to which a twin is beaten; 0 if it is not beaten with the fewest."""
    most = 0
    for labels, others in twin:
        if len(others) != len(scores) or not beats(scores, others):
            break
        most = labels
    return most


def best(savings: Sequence[Saving]) -> Saving | None:
    """The largest factor; of two equal ones the first. Upper bounds do not count."""
    known = [one for one in savings if one.bound != "<"]
    return max(known, key=lambda one: one.factor, default=None)


def mean_curve(comparison: Comparison, method: str) -> list[tuple[float, float]]:
    """(labels per class, mean score over seeds) of a system, for all budgets it was measured at."""
    return [
        (labels, math.fsum(scores) / len(scores)) for labels, scores in comparison.curve(method)
    ]

"""What a comparison has found, in three plain sentences: the gain, the rival, the caution.

A sentence says "beats", "loses" and "clearly" by the rule of `metrics.beats`: in every draw of
labels, and by more than the spread. A single draw beats nothing, so its sentences say that there
was only one, and report which number is higher.
"""

from collections.abc import Iterable, Sequence

from .experiment import FEATURES, FINETUNED, TFIDF, WORD_TAGS, Comparison
from .metrics import beats, summarise
from .savings import best, sure_savings
from .verdict import listed, twins

COUNTS = {TFIDF: "which only counts words", WORD_TAGS: "which gives a word its commonest tag"}
READ = "which first read text without labels"
TWIN = "its twin, the same network from scratch"
PLATEAU = (
    "not left the unigram plateau, where a model guesses tokens by their frequency alone, and "
    "would need longer pretraining"
)


def sentences(comparison: Comparison) -> list[str]:
    """Three sentences about the whole comparison, for the command and for the page."""
    where = ", in the only draw of labels" if _draws(comparison) == 1 else ""
    return [
        f"{_gain(comparison)}{_saved(comparison)}{where}.",
        f"{_rival(comparison)}{where}.",
        f"{_caution(comparison)}.",
    ]


def _draws(comparison: Comparison) -> int:
    """How many draws of labels were measured."""
    return len({row["seed"] for row in comparison.rows})


def _better(comparison: Comparison, a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether A beats B; of a single draw, whether its score is higher."""
    return a[0] > b[0] if _draws(comparison) == 1 else beats(a, b)


def _gain(comparison: Comparison) -> str:
    """What reading text first brings with the fewest labels: the objective that gains most."""
    measured = twins(comparison)
    gains: dict[int, dict[str, float]] = {}  # budget -> objective -> how much better it is
    for (name, budget), (tuned, scratch) in measured.items():
        if _better(comparison, tuned, scratch):
            gain = summarise(tuned).mean - summarise(scratch).mean
            gains.setdefault(budget, {})[name] = gain
    if not measured:
        return "No objective was measured both fine-tuned and from scratch"
    if not gains:
        return f"No fine-tuned objective is clearly better than {TWIN}, at any number of labels"
    budget = min(gains)
    name = max(gains[budget], key=gains[budget].get)
    tuned, scratch = measured[name, budget]
    own = f"{100 * summarise(tuned).mean:.1f} %"
    other = f"{100 * summarise(scratch).mean:.1f} %"
    who = f"With {budget} labels per class, {name} {FINETUNED}, {READ},"
    if comparison.task.metric == "accuracy":
        return f"{who} is right on {own} of the test posts, and {TWIN}, on {other}"
    return f"{who} reaches an F1 of {own}, and {TWIN}, of {other}"


def _saved(comparison: Comparison) -> str:
    """The end of the first sentence: who surely saves most labels, if anybody does."""
    one = best(sure_savings(comparison))
    if one is None:
        return ""
    return (
        f"; {one.objective} {one.way} with {one.budget} labels per class even beats its twin with "
        f"{one.twin:.0f}, {_count(one.factor)} times as many"
    )


def _count(factor: float) -> str:
    """A factor; small ones with a digit.

    >>> _count(2.5), _count(4.0), _count(282.3)
    ('2.5', '4', '282')
    """
    return f"{factor:.2g}" if factor < 10 else f"{factor:.0f}"


def _rival(comparison: Comparison) -> str:
    """Which pretrained systems beat counting words, and where counting beats them all."""
    counting = comparison.config.counting
    ahead: dict[str, list[int]] = {}  # a pretrained system -> budgets where it beats counting
    behind = []
    undecided = []
    for budget in sorted(comparison.config.labels):
        counted = comparison.scores(counting, budget)
        ours = _pretrained(comparison, budget, len(counted))
        if not counted or not ours:
            continue
        winners = [
            method for method, scores in ours.items() if _better(comparison, scores, counted)
        ]
        if winners:
            highest = max(winners, key=lambda method: summarise(ours[method]).mean)
            ahead.setdefault(highest, []).append(budget)
        elif all(_better(comparison, counted, scores) for scores in ours.values()):
            behind.append(budget)
        else:
            undecided.append(budget)
    parts = [f"loses to {method} at {listed(budgets)}" for method, budgets in ahead.items()]
    if behind:
        parts.append(f"beats every pretrained system at {listed(behind)}")
    if undecided:
        parts.append(f"is neither beaten nor clearly the best at {listed(undecided)}")
    if not parts:
        return f"No pretrained system was measured beside {counting}, {COUNTS[counting]}"
    return f"{counting}, {COUNTS[counting]}, {listed(parts)} labels per class"


def _pretrained(comparison: Comparison, budget: int, n_draws: int) -> dict[str, list[float]]:
    """The scores of each pretrained system that was measured at a budget with so many draws."""
    found = {}
    for name in comparison.config.objectives:
        for way in (FEATURES, FINETUNED):
            scores = comparison.scores(f"{name} {way}", budget)
            if len(scores) == n_draws:
                found[f"{name} {way}"] = scores
    return found


def _caution(comparison: Comparison) -> str:
    """Which objectives have hardly learned, and which gains are not clear."""
    guessing = [name for name, stays in comparison.plateau().items() if stays]
    doubt = _doubt(comparison)
    if not guessing:
        return doubt
    verb = "has" if len(guessing) == 1 else "have"
    return f"{listed(guessing)} {verb} {PLATEAU}; {doubt[0].lower()}{doubt[1:]}"


def _doubt(comparison: Comparison) -> str:
    """Where fine-tuning does not clearly beat the twin."""
    measured = twins(comparison)
    draws = _draws(comparison)
    if not measured:
        return "Nothing measured shows what reading text first brings"
    if draws == 1:
        return "One draw of labels shows no spread, so none of this is certain"
    unclear = []
    worse = []
    for place, (tuned, scratch) in measured.items():
        if beats(scratch, tuned):
            worse.append(place)
        elif not beats(tuned, scratch):
            unclear.append(place)
    rule = f"in each of {draws} draws of labels and by more than the spread"
    if not unclear and not worse:
        return f"Fine-tuned objectives beat their twins wherever both were measured, {rule}"
    parts = []
    if unclear:
        parts.append(f"no clear gain over the twin: {_by_objective(unclear)}")
    if worse:
        parts.append(f"clearly worse than the twin: {_by_objective(worse)}")
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}; clear is what holds {rule}"


def _by_objective(places: Iterable[tuple[str, int]]) -> str:
    """Objectives with their budgets; those with the same budgets together.

    >>> _by_objective([("elmo", 2), ("bert", 2), ("bert", 10), ("gpt", 2)])
    'elmo and gpt (at 2), bert (at 2 and 10)'
    """
    budgets: dict[str, tuple[int, ...]] = {}
    for name, budget in places:
        budgets[name] = (*budgets.get(name, ()), budget)
    names: dict[tuple[int, ...], list[str]] = {}
    for name, where in budgets.items():
        names.setdefault(where, []).append(name)
    return ", ".join(f"{listed(who)} (at {listed(where)})" for where, who in names.items())

"""What a comparison has found, in three plain sentences: the gain, the rival, the caution."""

from tinylm.transfer import savings, verdict
from tinylm.transfer.experiment import FEATURES, FINETUNED, SCRATCH, Comparison
from tinylm.transfer.metrics import beats
from tinylm.transfer.verdict import listed


def sentences(comparison: Comparison) -> list[str]:
    """Three sentences about the whole comparison."""
    return [_gain(comparison), _rival(comparison), _caution(comparison)]


def means(comparison: Comparison, budget: int) -> dict[str, float]:
    """System -> its mean accuracy at a budget, of those that were measured there."""
    found = {}
    for method, curve in verdict.summaries(comparison).items():
        if budget in curve:
            found[method] = curve[budget].mean
    return found


def _gain(comparison: Comparison) -> str:
    """What pretraining brings with the fewest labels: the objective that gains most."""
    budget = min(comparison.config.labels)
    found = means(comparison, budget)
    gains = {}
    for name in comparison.config.objectives:
        tuned = found.get(f"{name} {FINETUNED}")
        scratch = found.get(f"{name} {SCRATCH}")
        if tuned is not None and scratch is not None:
            gains[name] = tuned - scratch
    if not gains:
        return "No objective has been compared with its twin from scratch."
    name = max(gains, key=gains.get)
    tuned = 100 * found[f"{name} {FINETUNED}"]
    scratch = 100 * found[f"{name} {SCRATCH}"]
    where = f"With {budget} labels per class"
    if gains[name] <= 0:
        return f"{where}, no objective gains from reading text without labels first."
    if comparison.task.metric == "accuracy":
        reaches = f"is right on {tuned:.0f} % of the test posts"
        only = f"on {scratch:.0f} %"
    else:
        reaches = f"reaches an F1 of {tuned:.0f} %"
        only = f"{scratch:.0f} %"
    said = (
        f"{where}, {name} {reaches} after it has read text without labels, and {only} if the same "
        "network learns from scratch"
    )
    return f"{said}{_saved(comparison)}."


def _saved(comparison: Comparison) -> str:
    """The end of the first sentence: who saves most labels."""
    one = savings.best(savings.labels_saved(comparison))
    if one is None or one.factor <= 1:
        return ""
    few = _count(one.needed)
    many = _count(one.twin)
    times = f"{one.factor:.{0 if one.factor >= 10 else 1}f} times fewer"
    who = f"; {one.objective} {one.way} saves most labels: {few} per class do"
    if one.bound:  # the twin never gets there
        return f"{who} more for it than {many} do for its twin (more than {times})"
    return f"{who} for it what {many} do for its twin ({times})"


def _count(labels: float) -> str:
    """Labels per class; small numbers with a digit.

    >>> _count(3.46), _count(2.0), _count(123.4)
    ('3.5', '2', '123')
    """
    return f"{labels:.2g}" if labels < 10 else f"{labels:.0f}"


def _rival(comparison: Comparison) -> str:
    """Where a pretrained system is better than counting words, and where not."""
    counting = comparison.config.counting
    ahead = {}  # a pretrained system -> budgets where it is ahead of counting words
    behind = []
    for budget in comparison.config.labels:
        found = means(comparison, budget)
        ours = {m: mean for m, mean in found.items() if m.endswith((FEATURES, FINETUNED))}
        if not ours or counting not in found:
            continue
        best = max(ours, key=ours.get)
        if ours[best] > found[counting]:
            ahead.setdefault(best, []).append(budget)
        else:
            behind.append(budget)
    parts = [f"{name} at {listed(budgets)}" for name, budgets in ahead.items()]
    if not parts:
        return f"{counting}, which counts words and needs no pretraining, is ahead at every budget."
    said = (
        f"The best pretrained system is ahead of {counting}, which counts words: {', '.join(parts)}"
    )
    if behind:
        return f"{said} labels per class; at {listed(behind)} {counting} stays ahead."
    return f"{said} labels per class."


def _caution(comparison: Comparison) -> str:
    """Which objectives have hardly learned, and which gains are not clear."""
    seeds = comparison.config.seeds
    draws = f"{seeds} draws of labels" if seeds > 1 else "a single draw of labels"
    guessing = [name for name, stays in comparison.plateau().items() if stays]
    unclear = _unclear(comparison)
    said = []
    if guessing:
        verb = "has" if len(guessing) == 1 else "have"
        said.append(
            f"{listed(guessing)} {verb} not left the unigram plateau, where a model guesses tokens "
            "by their frequency alone, and would need longer pretraining"
        )
    if unclear:
        said.append(f"over {draws}, no clear gain over the twin from scratch: {unclear}")
    else:
        said.append(
            f"in all of {draws}, at every budget, each objective beats its twin from scratch by "
            "more than the spread"
        )
    whole = "; ".join(said)
    return f"{whole if guessing else whole[0].upper() + whole[1:]}."


def _unclear(comparison: Comparison) -> str:
    """The budgets at which an objective does not beat its twin: `gpt at 2, bert at 2 and 10`."""
    found = {}
    for name in comparison.config.objectives:
        for budget in comparison.config.labels:
            tuned = comparison.scores(f"{name} {FINETUNED}", budget)
            scratch = comparison.scores(f"{name} {SCRATCH}", budget)
            if tuned and len(tuned) == len(scratch) and not beats(tuned, scratch):
                found.setdefault(name, []).append(budget)
    return ", ".join(f"{name} at {listed(budgets)}" for name, budgets in found.items())

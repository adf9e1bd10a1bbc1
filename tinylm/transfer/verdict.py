"""The results of a comparison in tables; findings.py says them in sentences.

A table is a pair (head, rows): the column names, and lists of cells as text.
"""

from tinylm import objectives

from .experiment import (
    FINETUNED,
    SCRATCH,
    TEACHER,
    Comparison,
)
from .metrics import Summary, beats, summarise
from .savings import labels_saved
from .task import ALL, Budget

PLATEAU = {True: "no, still on it", False: "yes", None: "–"}

Table = tuple[list[str], list[list[str]]]


def summaries(comparison: Comparison, score: str | None = None) -> dict[str, dict[int, Summary]]:
    """method -> {labels per class: Summary over seeds}."""
    found = {}
    for method in comparison.methods():
        found[method] = {}
        for budget in comparison.config.labels:
            scores = comparison.scores(method, budget, score)
            if scores:
                found[method][budget] = summarise(scores)
    return found


def means(comparison: Comparison, budget: int) -> dict[str, float]:
    """System -> its mean score at a budget, of those that were measured there."""
    found = {}
    for method, curve in summaries(comparison).items():
        if budget in curve:
            found[method] = curve[budget].mean
    return found


def cells(comparison: Comparison, score: str | None = None) -> Table:
    """One row per system: percent, mean ± standard deviation over seeds, for each budget."""
    budgets = comparison.config.labels
    head = ["system", *(f"{budget} per class" for budget in budgets)]
    rows = []
    for method, by_budget in summaries(comparison, score).items():
        scores = [str(by_budget.get(budget, "–")) for budget in budgets]
        rows.append([method, *scores])
    return head, rows


def pairs(comparison: Comparison) -> Table:
    """Fine-tuning against the from-scratch twin, seed by seed: gain, seeds won, verdict."""
    head = [
        "fine-tuned against from scratch",
        "labels per class",
        "mean difference",
        "seeds won",
        "verdict",
    ]
    rows = []
    for (name, budget), (tuned, scratch) in twins(comparison).items():
        wins = sum(a > b for a, b in zip(tuned, scratch, strict=True))
        gain = 100 * (summarise(tuned).mean - summarise(scratch).mean)
        won = f"{wins} of {len(tuned)}"
        rows.append([name, str(budget), f"{gain:+.1f}", won, _against(tuned, scratch)])
    return head, rows


def twins(comparison: Comparison) -> dict[tuple[str, int], tuple[list[float], list[float]]]:
    """(objective, budget) -> its scores by seed, fine-tuned and from scratch, if both are there."""
    found = {}
    for name in comparison.config.objectives:
        for budget in comparison.config.labels:
            tuned = comparison.scores(f"{name} {FINETUNED}", budget)
            scratch = comparison.scores(f"{name} {SCRATCH}", budget)
            if tuned and len(tuned) == len(scratch):
                found[name, budget] = tuned, scratch
    return found


def savings(comparison: Comparison) -> Table:
    """How many times fewer labels each objective needs than its twin, by budget: see savings.py.

    "> x" where the twin never gets there, "< x" where already its smallest budget is better.
    """
    budgets = sorted(comparison.config.labels)
    head = ["labels saved, times", *(f"with {budget} per class" for budget in budgets)]
    factors = {}
    for one in labels_saved(comparison):
        factors.setdefault(f"{one.objective} {one.way}", {})[one.budget] = str(one)
    rows = []
    for system, by_budget in factors.items():
        rows.append([system, *(by_budget.get(budget, "–") for budget in budgets)])
    return head, rows


def further(comparison: Comparison) -> Table:
    """The systems that were measured with more labels than the others, `config.scratch_labels`."""
    budgets = list(dict.fromkeys(budget for budget, _ in comparison.config.further_cells()))
    head = ["with more labels", *(_per_class(comparison, budget) for budget in budgets)]
    rows = []
    for method in comparison.methods():
        found = [comparison.scores(method, budget) for budget in budgets]
        if any(found):
            rows.append([method, *(str(summarise(scores)) if scores else "–" for scores in found)])
    return head, rows


def _per_class(comparison: Comparison, budget: Budget) -> str:
    """A budget as the head of a column."""
    if budget == ALL:
        return f"all ({comparison.per_class(budget):.0f} per class)"
    return f"{budget} per class"


def _against(a: list[float], b: list[float]) -> str:
    """Whether A "beats" B, "loses" against it, or neither."""
    if beats(a, b):
        return "beats"
    if beats(b, a):
        return "loses"
    return "undecided"


def pretraining(comparison: Comparison) -> Table:
    """One row per objective: time used, and the held-out loss beside the unigram entropy.

    Each loss is in its objective's own unit. Objectives that predict tokens of the vocabulary also
    have the nats of these predictions alone, and whether they have left the plateau of counting
    single tokens, see `Comparison.plateau`. Only causal models have nats per word.
    """
    head = [
        "objective",
        "updates",
        "minutes used",
        "tokens read",
        "held-out loss",
        "nats per token",
        "unigram entropy",
        "nats per word",
        "left the unigram plateau",
    ]
    rows = []
    plateau = comparison.plateau()
    for name, facts in comparison.pretrained.items():
        updates = f"{facts['steps']:,}"
        used = f"{facts['seconds'] / 60:.2f}"
        if comparison.config.minutes is not None:
            used += f" of {comparison.config.minutes:g}"
        tokens = facts.get("read")
        row = [name, updates, used, "–" if tokens is None else f"{tokens:,}"]
        for key in ("loss", "token_loss", "unigram", "nats_per_word"):
            value = facts.get(key)
            row.append("–" if value is None else f"{value:.3f}")
        row.append(PLATEAU[plateau[name]])
        rows.append(row)
    return head, rows


def costs(comparison: Comparison) -> Table:
    """One row per objective: its parameters, and how many posts it reads in a second when frozen.

    Of a student also the share of its teacher's score that it keeps, both fine-tuned.
    """
    budgets = comparison.config.labels
    score = comparison.task.metric
    kept = [f"of {TEACHER}'s {score} at {budget}" for budget in budgets]
    students = [name for name in comparison.config.objectives if objectives.is_student(name)]
    head = ["objective", "parameters", "posts a second", *(kept if students else [])]
    rows = []
    for name in comparison.config.objectives:
        facts = comparison.costs.get(name)
        if facts is None:
            continue
        row = [name, f"{facts['parameters']:,}", f"{facts['texts_per_second']:,.0f}"]
        if students:
            row += [_kept(comparison, name, budget) for budget in budgets]
        rows.append(row)
    return head, rows


def _kept(comparison: Comparison, name: str, budget: int) -> str:
    """The main score of a student as a share of its teacher's; a dash for who is no student."""
    own = comparison.scores(f"{name} {FINETUNED}", budget)
    teachers = comparison.scores(f"{TEACHER} {FINETUNED}", budget)
    if not objectives.is_student(name) or not own or not teachers:
        return "–"
    teacher = summarise(teachers).mean
    return f"{100 * summarise(own).mean / teacher:.0f} %" if teacher else "–"


def text_table(head: list[str], rows: list[list[str]]) -> str:
    """Columns aligned with spaces, the first to the left, the others to the right.

    >>> print(text_table(["system", "2 per class"], [["majority", "4.6"], ["gpt", "39.1"]]))
    system    2 per class
    --------  -----------
    majority          4.6
    gpt              39.1
    """
    widths = []
    for i in range(len(head)):
        widths.append(max(len(row[i]) for row in [head, *rows]))
    rule = ["-" * width for width in widths]
    lines = []
    for first, *others in [head, rule, *rows]:
        line = first.ljust(widths[0])
        for cell, width in zip(others, widths[1:], strict=True):
            line += "  " + cell.rjust(width)
        lines.append(line.rstrip())
    return "\n".join(lines)


def listed(things: list) -> str:
    """Things as an English list.

    >>> listed([2]), listed([2, 10, 50])
    ('2', '2, 10 and 50')
    """
    *others, last = [str(thing) for thing in things]
    return f"{', '.join(others)} and {last}" if others else last


TABLES = (cells, further, savings, pairs, pretraining, costs)  # as the command prints them

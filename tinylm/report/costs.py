"""The part of the report that says what each system costs: time, memory, parameters."""

from tinylm import objectives
from tinylm.transfer import verdict
from tinylm.transfer.experiment import FEATURES, FINETUNED, SCRATCH, Comparison

from . import html

STUDENTS_TEXT = "A student learns from a finished BERT, whose minutes stand behind its own."


def part(comparison: Comparison) -> str:
    """The table of costs, a row for each objective and one for counting words."""
    budget = max(comparison.config.labels)
    head = [
        "objective",
        "parameters",
        "pretraining, minutes",
        "peak memory, MB",
        "posts a second",
        "features, s",
        "fine-tuning, s",
        "from scratch, s",
    ]
    rows = []
    for name in comparison.config.objectives:
        facts = comparison.costs.get(name, {})
        learned = comparison.pretrained[name]
        peak = learned.get("peak_bytes")
        row = [name, _number(facts.get("parameters")), f"{learned['seconds'] / 60:.2f}"]
        row.append(_number(None if peak is None else peak / 1e6))
        row.append(_number(facts.get("texts_per_second")))
        row += [seconds(comparison, f"{name} {kind}") for kind in (FEATURES, FINETUNED, SCRATCH)]
        rows.append(row)
    counting = comparison.config.counting
    counted = seconds(comparison, counting)
    rows.append([counting, "–", "0", "–", "–", counted, "–", "–"])
    text = (
        "How large each model is, how many posts it turns into features in a second, and how long "
        f"it takes to learn from {budget} labels per class and to read the test posts: the mean "
        "over seeds, on this machine. The memory is the most that the whole process held during "
        "pretraining, where the system says so. Features are encoded once for all budgets, so "
        "theirs is the time of the classifier alone."
    )
    parts = [html.paragraph(text), html.table(head, rows, "Costs")]
    if any(objectives.is_student(name) for name in comparison.config.objectives):
        parts += [html.paragraph(STUDENTS_TEXT), html.table(*verdict.costs(comparison), "Students")]
    return "\n".join(parts)


def _number(value: float | None) -> str:
    """A number with thousands apart; a dash for none."""
    return "–" if value is None else f"{value:,.0f}"


def seconds(comparison: Comparison, method: str) -> str:
    """The mean time of a system at the largest budget, in seconds; a dash if it is not known."""
    budget = max(comparison.config.labels)
    found = []
    for row in comparison.rows:
        if row["method"] == method and row["budget"] == budget and "seconds" in row:
            found.append(row["seconds"])
    return f"{sum(found) / len(found):.1f}" if found else "–"

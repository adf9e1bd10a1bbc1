"""What the comparison says: the table, the paired comparison, and one sentence that also says where we lose."""

from tinylm.transfer.compare import FINETUNED, MAJORITY, SCRATCH, TFIDF, Comparison
from tinylm.transfer.metrics import Summary, beats, summarise


def summaries(comparison: Comparison, score: str = "accuracy") -> dict[str, dict[int, Summary]]:
    """method -> {labels per class: Summary over seeds}."""
    found = {}
    for method in comparison.methods():
        by_budget = {
            budget: comparison.scores(method, budget, score) for budget in comparison.config.labels
        }
        found[method] = {
            budget: summarise(scores) for budget, scores in by_budget.items() if scores
        }
    return found


def cells(comparison: Comparison, score: str = "accuracy") -> tuple[list[str], list[list[str]]]:
    """The table as head and rows of text: percent, mean ± standard deviation over seeds."""
    head = ["system", *(f"{budget} per class" for budget in comparison.config.labels)]
    rows = []
    for method, by_budget in summaries(comparison, score).items():
        rows.append(
            [method, *(str(by_budget.get(budget, "–")) for budget in comparison.config.labels)]
        )
    return head, rows


def pairs(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Fine-tuning against the from-scratch twin, seed by seed, as head and rows of text."""
    rows = []
    for name in comparison.config.objectives:
        for budget in comparison.config.labels:
            tuned, scratch = (
                comparison.scores(f"{name} {kind}", budget) for kind in (FINETUNED, SCRATCH)
            )
            if not tuned or len(tuned) != len(scratch):
                continue
            wins = sum(a > b for a, b in zip(tuned, scratch, strict=True))
            gain = 100 * (summarise(tuned).mean - summarise(scratch).mean)
            verdict = (
                "beats"
                if beats(tuned, scratch)
                else "loses"
                if beats(scratch, tuned)
                else "undecided"
            )
            rows.append([name, str(budget), f"{gain:+.1f}", f"{wins} of {len(tuned)}", verdict])
    return [
        "fine-tuned against from scratch",
        "labels per class",
        "mean difference",
        "seeds won",
        "verdict",
    ], rows


def pretraining(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Used time, and the held-out loss (nats per predicted token) beside the unigram entropy of the same text.

    returns head and rows of text
    """
    head = ["objective", "updates", "minutes used", "held-out loss", "unigram entropy"]
    head.append("nats per word")
    rows = []
    for name, facts in comparison.pretrained.items():
        numbers = [
            "–" if facts.get(key) is None else f"{facts[key]:.3f}"
            for key in ("loss", "unigram", "nats_per_word")
        ]
        used = f"{facts['seconds'] / 60:.2f} of {comparison.config.minutes:g}"
        rows.append([name, f"{facts['steps']:,}", used, *numbers])
    return head, rows


def text_table(head: list[str], rows: list[list[str]]) -> str:
    """Columns aligned with spaces, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [[row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
             for row in [head, *rows]]  # fmt: skip
    return "\n".join(
        "  ".join(line).rstrip() for line in [lines[0], ["-" * w for w in widths], *lines[1:]]
    )


def _listed(things) -> str:
    things = [str(thing) for thing in things]
    return things[0] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1]


def sentence(comparison: Comparison) -> str:
    """In one sentence: where pretraining beats starting from scratch, and where TF-IDF wins."""
    labels, parts = comparison.config.labels, []
    for name in comparison.config.objectives:
        scores = {
            b: [comparison.scores(f"{name} {kind}", b) for kind in (FINETUNED, SCRATCH)]
            for b in labels
        }
        won = [b for b, (tuned, scratch) in scores.items() if tuned and beats(tuned, scratch)]
        lost = [b for b in labels if b not in won]
        if won:
            exception = f" (not clearly at {_listed(lost)})" if lost else ""
            parts.append(
                f"{name} fine-tuned beats its from-scratch twin at {_listed(won)} labels per class{exception}"
            )
        else:
            parts.append(
                f"{name} fine-tuned does not clearly beat its from-scratch twin at any budget"
            )
    means = {
        m: {b: s.mean for b, s in by_budget.items()}
        for m, by_budget in summaries(comparison).items()
    }
    counted = means.pop(TFIDF, {})
    ours = [m for m in means if m != MAJORITY and not m.endswith(SCRATCH)]
    best = {b: max(ours, key=lambda m, b=b: means[m].get(b, 0.0)) for b in labels} if ours else {}
    wins = [b for b in best if counted.get(b, 0.0) >= means[best[b]].get(b, 0.0)]
    if wins:
        parts.append(
            f"TF-IDF, which needs no pretraining, is still the best system at {_listed(wins)} labels per class"
        )
    for method in dict.fromkeys(best[b] for b in best if b not in wins):
        parts.append(
            f"the best at {_listed(b for b in best if b not in wins and best[b] == method)} is {method}"
        )
    return "On " + comparison.task.name + ", " + "; ".join(parts) + "."

"""The part of the report that shows a few test texts, and what the systems said of them."""

from tinylm.transfer.experiment import FEATURES, FINETUNED, SCRATCH, Comparison

from . import html
from .confusion import Answers, answers_of, quoted
from .words import line

EACH = 4  # examples of a kind
LETTERS = 240  # of a text
STYLE = """
.example { margin: 0 0 1rem; padding: .1rem .9rem; border-left: 3px solid var(--line); }
.example p { margin: .3rem 0; }
.example ul { list-style: none; margin: .3rem 0; padding: 0; font-size: .9rem; }
.example span { white-space: nowrap; }
.example .is-right { color: var(--look); }
@media print { .example { break-inside: avoid; } }
"""


def part(comparison: Comparison, best: Answers) -> str:
    """Texts that the best system gets right and others do not, then its most frequent mistakes."""
    others = _others(comparison, best)
    chosen = {
        "Right where the network from scratch is wrong": _won(best, others),
        "Wrong": _lost(best),
    }
    parts = []
    for title, rows in chosen.items():
        if rows:
            parts.append(f"<h3>{html.escape(title)}</h3>")
        parts += [_example(comparison, row, [best, *others]) for row in rows]
    if not parts:
        return ""
    text = (
        f"Test posts, each in its first {LETTERS} letters, and what the systems said of them after "
        f"{max(comparison.config.labels)} labels per class."
    )
    return "\n".join([html.paragraph(text), *parts])


def _others(comparison: Comparison, best: Answers) -> list[Answers]:
    """Whom the best system is shown beside: its twin from scratch, and counting words."""
    objective = best.name.removesuffix(f" {FEATURES}").removesuffix(f" {FINETUNED}")
    found = [
        answers_of(comparison, name)
        for name in (f"{objective} {SCRATCH}", comparison.config.counting)
    ]
    return [answers for answers in found if answers is not None]


def _won(best: Answers, others: list[Answers]) -> list[int]:
    """Rows evenly spaced among those where the best system is right and its twin wrong."""
    right = best.right()
    twins = [other.right() for other in others if other.name.endswith(f" {SCRATCH}")]
    if not twins:  # its answers are older than the keeping of answers
        return []
    [twin] = twins
    rows = [row for row in range(len(right)) if right[row] and not twin[row]]
    every = max(1, len(rows) // EACH)
    return rows[::every][:EACH]


def _lost(best: Answers) -> list[int]:
    """The first row of each of the most frequent mistakes."""
    pairs = list(zip(best.truth, best.said, strict=True))
    return [pairs.index(mistake) for mistake, _ in best.mistakes()[:EACH]]


def _example(comparison: Comparison, row: int, systems: list[Answers]) -> str:
    """One text, its label, and what each system said."""
    text = html.escape(line(comparison.task.test_texts[row], LETTERS))
    items = [f"<li>label: <b>{quoted(systems[0].truth[row])}</b></li>"]
    for answers in systems:
        is_right = answers.truth[row] == answers.said[row]
        mark = "✓ right" if is_right else "✗ wrong"
        kind = ' class="is-right"' if is_right else ""
        said = f"{quoted(answers.said[row])} <span{kind}>{mark}</span>"
        items.append(f"<li>{html.escape(answers.name)}: {said}</li>")
    return f'<div class="example"><p><bdi>“{text}”</bdi></p><ul>{"".join(items)}</ul></div>'

"""The part of the report that shows what one system takes for what."""

from collections import Counter
from dataclasses import dataclass

from tinylm.transfer.experiment import FEATURES, FINETUNED, Comparison
from tinylm.transfer.metrics import summarise
from tinylm.transfer.task import TaggedTask

from . import html
from .words import line

MOST = 20  # classes in the table
PAIRS = 5  # confusions in words
LONGEST = 24  # letters of a label

STYLE = """
:root { --right: 0, 114, 178; --wrong: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --right: 60, 150, 215; --wrong: 230, 110, 20; } }
.confusion td, .confusion th { padding: .1rem .2rem; border: 0; font-size: .75rem; }
.confusion th { font-weight: 400; white-space: nowrap !important; }
.confusion td { min-width: 1.1rem; text-align: center; border: 1px solid var(--line);
  background: rgba(var(--wrong), calc(.75 * var(--part, 0)));
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.confusion td.right { background: rgba(var(--right), calc(.6 * var(--part, 0))); }
"""


@dataclass(frozen=True)
class Answers:
    """What one system said of every test text, after learning from the largest budget.

    Of every word, if the words of a text have tags.

    name : of the system     truth, said : labels as texts, one for each test text or word
    """

    name: str
    truth: list[str]
    said: list[str]

    def right(self) -> list[bool]:
        """Whether each answer is right."""
        return [a == b for a, b in zip(self.truth, self.said, strict=True)]

    def mistakes(self) -> list[tuple[tuple[str, str], int]]:
        """((label, label that was said), how often), the most frequent first."""
        wrong = Counter()
        for pair in zip(self.truth, self.said, strict=True):
            if pair[0] != pair[1]:
                wrong[pair] += 1
        return sorted(wrong.items(), key=lambda item: (-item[1], item[0]))


def answers_of(comparison: Comparison, name: str) -> Answers | None:
    """The answers of a system; None if they were not kept."""
    said = comparison.predicted.get(name)
    truth = comparison.task.test_labels.tolist()
    if said is not None and isinstance(comparison.task, TaggedTask):
        truth = [tag for tags in truth for tag in tags]
        said = [tag for tags in said for tag in tags]
    if said is None or len(said) != len(truth):
        return None
    return Answers(name, [str(label) for label in truth], [str(label) for label in said])


def best(comparison: Comparison) -> Answers | None:
    """The answers of the pretrained system with the highest accuracy at the largest budget."""
    budget = max(comparison.config.labels)
    found = {}
    for name in comparison.methods():
        scores = comparison.scores(name, budget)
        if name.endswith((FEATURES, FINETUNED)) and scores:
            found[name] = summarise(scores).mean
    for name in sorted(found, key=found.get, reverse=True):
        if (answers := answers_of(comparison, name)) is not None:
            return answers
    return None


def part(answers: Answers, budget: int) -> str:
    """The table of all classes, and the most frequent confusions in words."""
    right = sum(answers.right())
    total = len(answers.truth)
    text = (
        f"What {answers.name}, the best pretrained system, says after {budget} labels per class "
        f"(the last seed): {right:,} of {total:,} answers are right. A row is what a text is, a "
        "column what it is taken for; blue is right, orange is wrong, the stronger the larger its "
        "share of the row."
    )
    parts = [html.paragraph(text), _table(answers)]
    if words := _in_words(answers):
        parts += [html.paragraph("The most frequent mistakes:"), words]
    return "\n".join(parts)


def classes(answers: Answers) -> list[str]:
    """The classes of the table, sorted: all of them, or the 20 with most mistakes."""
    every = sorted({*answers.truth, *answers.said})
    if len(every) <= MOST:
        return every
    mistakes = Counter()
    for pair, count in answers.mistakes():
        for label in pair:
            mistakes[label] += count
    return sorted(sorted(every, key=lambda label: -mistakes[label])[:MOST])


def _table(answers: Answers) -> str:
    """A row and a column for each class; columns are numbered as the rows are."""
    names = classes(answers)
    counts = Counter(zip(answers.truth, answers.said, strict=True))
    totals = Counter(answers.truth)
    numbers = [f'<th scope="col">{i}</th>' for i in range(1, len(names) + 1)]
    lines = [f'<tr><th class="text">is ↓ taken for →</th>{"".join(numbers)}</tr>']
    for i, label in enumerate(names, 1):
        shown = html.escape(line(label, LONGEST))
        cells = [f'<th scope="row" class="text">{i} {shown}</th>']
        for other in names:
            share = counts[label, other] / max(totals[label], 1)
            cells.append(_cell(counts[label, other], share, label == other))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    inside = f'<table class="confusion">{"".join(lines)}</table>'
    found = html.scrolled(inside, "What is taken for what")
    left_out = len({*answers.truth, *answers.said}) - len(names)
    if left_out:
        text = f"Shown are the {len(names)} classes with most mistakes; {left_out} are left out."
        found += html.paragraph(text)
    return found


def _cell(count: int, share: float, right: bool) -> str:
    """One number, coloured by its share; empty for none."""
    kind = ' class="right"' if right else ""
    if not count:
        return f"<td{kind}></td>"
    return f'<td{kind} style="--part:{share:.2f}">{count}</td>'


def _in_words(answers: Answers) -> str:
    """`hockey is taken for baseball 4 of 40 times`, as a list; empty without a mistake."""
    totals = Counter(answers.truth)
    items = []
    for (label, said), count in answers.mistakes()[:PAIRS]:
        of = totals[label]
        is_said = f"{quoted(label)} is taken for {quoted(said)} {count} of {of} times"
        items.append(f"<li>{is_said}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def quoted(label: str) -> str:
    """A label as markup within a sentence; its direction of writing stays its own.

    >>> quoted("a<b")
    '<bdi>a&lt;b</bdi>'
    """
    return f"<bdi>{html.escape(line(label, LONGEST))}</bdi>"

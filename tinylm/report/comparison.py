"""The page of `tinylm compare`: the verdict, the numbers behind it, and looks into the models.

Each part of the page has a room of its own: curves.py, confusion.py, examples.py,
maps.py, inside.py, costs.py. Here they are put in order.
"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tinylm import hub
from tinylm.files import write_bytes, write_text
from tinylm.progress import note
from tinylm.transfer import findings, verdict
from tinylm.transfer.experiment import FEATURES, FINETUNED, Comparison
from tinylm.transfer.task import TaggedTask

from . import confusion, costs, curves, examples, heads, html, inside, maps, pictures

PAGE = "report.html"
PICTURE = "labels.svg"
TITLES = {
    "results": "Results",
    "labels": "Scores by labels",
    "twins": "Pretrained against from scratch",
    "pretraining": "Pretraining",
    "maps": "Maps",
    "confusion": "What is taken for what",
    "examples": "Posts right and wrong",
    "heads": "Attention",
    "words": "Nearest neighbours",
    "costs": "What it cost",
    "method": "How it was done",
}
STYLE = heads.STYLE + curves.STYLE + confusion.STYLE + examples.STYLE

RESULTS_TEXT = (
    "{score} in percent on the test part, mean ± standard deviation over seeds; "
    "the highest mean of each column is bold."
)
PLATEAU_TEXT = (
    "* When pretraining ended, this objective still guessed tokens by their frequency alone (the "
    "unigram plateau): it needs longer, and its rows do not show what it can do."
)
FURTHER_TEXT = "Systems without pretraining, with more labels: how many do they need to catch up?"
SAVINGS_TEXT = (
    "How many times fewer labels an objective needs than its twin from scratch for the accuracy "
    "that it has at a budget, by interpolation over the logarithm of the labels. “> x”: the twin "
    "never gets there; “< x”: its smallest budget is better already."
)
PAIRS_TEXT = (
    "Fine-tuning against the same architecture from scratch, on the same draws of labels. "
    "“Beats” means that every seed wins and the mean difference exceeds the spread."
)
PRETRAINING_TEXT = (
    "Each objective saw the training posts, without labels, with the same budget. "
    "Loss on posts that were held out; the unigram entropy is what guessing by frequency alone "
    "would reach there. Objectives predict different things, so their losses are not to be "
    "compared with each other."
)


def write(comparison: Comparison) -> Path:
    """Write OUT/report.html and return its path; beside it the panels of labels, as one picture.

    Without matplotlib the page has no pictures, and a note on stderr says why.
    raises what `hub.load` raises if a run folder is damaged
    """
    out = Path(comparison.config.out)
    models = {name: hub.load(out / name) for name in comparison.config.objectives}
    draw = pictures.available()
    if not draw:
        note(f"The report has no pictures: {pictures.MISSING}")
    bodies = _bodies(comparison, models, draw)
    bodies = {name: body for name, body in bodies.items() if body}
    titles = {name: TITLES[name] for name in bodies}
    parts = [_verdict(comparison), html.contents(titles)]
    for name, body in bodies.items():
        parts.append(html.section(titles[name], body, name=name))
    title = f"Few labels, free text: {comparison.task.name}"
    path = out / PAGE
    style = f"<style>{STYLE}</style>"
    write_text(path, html.page(title, *parts, foot=versions(), head=style))
    if draw:
        write_bytes(out / PICTURE, curves.grid(comparison))
    return path


def _bodies(comparison: Comparison, models: inside.Models, draw: bool) -> dict[str, str]:
    """Name of a section -> its content, empty where there is nothing to show."""
    best = confusion.best(comparison)
    budget = max(comparison.config.labels)
    ranking = _ranking(comparison)
    is_tagged = isinstance(comparison.task, TaggedTask)
    return {
        "results": _results(comparison),
        "labels": curves.labels(comparison) if draw else "",
        "twins": _twins(comparison),
        "pretraining": _pretraining(comparison, draw),
        "maps": maps.part(comparison, models, ranking[0], draw),
        "confusion": confusion.part(best, budget) if best else "",
        "examples": examples.part(comparison, best) if best and not is_tagged else "",
        "heads": inside.attention(comparison, models, ranking, draw),
        "words": inside.neighbours(comparison, models),
        "costs": costs.part(comparison),
        "method": _method(comparison),
    }


def _ranking(comparison: Comparison) -> list[str]:
    """All objectives, the one that is best fine-tuned on the largest budget first."""
    found = verdict.means(comparison, max(comparison.config.labels))
    return sorted(
        comparison.config.objectives,
        key=lambda name: found.get(f"{name} {FINETUNED}", 0.0),
        reverse=True,
    )


def _verdict(comparison: Comparison) -> str:
    """The three sentences."""
    said = [html.paragraph(sentence) for sentence in findings.sentences(comparison)]
    return f'<div class="verdict">{"".join(said)}</div>'


def _results(comparison: Comparison) -> str:
    """The table of accuracies; a star marks objectives that have learned next to nothing."""
    head, rows = verdict.cells(comparison)
    strong = set()
    for column, budget in enumerate(comparison.config.labels, 1):
        found = verdict.means(comparison, budget)
        for number, row in enumerate(rows):
            if found.get(row[0], -1.0) == max(found.values()):
                strong.add((number, column))
    guessing = [name for name, stays in comparison.plateau().items() if stays]
    marked = [f"{name} {kind}" for name in guessing for kind in (FEATURES, FINETUNED)]
    for row in rows:
        if row[0] in marked:
            row[0] += " *"
    score = curves.METRICS[comparison.task.metric]
    text = RESULTS_TEXT.format(score=score[0].upper() + score[1:])
    parts = [html.paragraph(text), html.table(head, rows, score, frozenset(strong))]
    if guessing:
        parts.append(html.paragraph(PLATEAU_TEXT))
    head, rows = verdict.further(comparison)
    if rows:
        parts += [html.paragraph(FURTHER_TEXT), html.table(head, rows, "With more labels")]
    return "\n".join(parts)


def _twins(comparison: Comparison) -> str:
    """The tables of labels saved, of pairs, and of macro-F1."""
    head, rows = verdict.savings(comparison)
    parts = [html.paragraph(SAVINGS_TEXT), html.table(head, rows, "Labels saved")] if rows else []
    parts += [
        html.paragraph(PAIRS_TEXT),
        html.table(*verdict.pairs(comparison), "Pretrained against from scratch"),
        html.paragraph("Macro-F1 in percent: every class counts the same."),
        html.table(*verdict.cells(comparison, "macro_f1"), "Macro-F1"),
    ]
    return "\n".join(parts)


def _pretraining(comparison: Comparison, draw: bool) -> str:
    """The table of pretraining, and the curves of its losses."""
    table = html.table(*verdict.pretraining(comparison), "Pretraining")
    parts = [html.paragraph(PRETRAINING_TEXT), table]
    if draw:
        parts.append(curves.losses(comparison))
    return "\n".join(parts)


def _method(comparison: Comparison) -> str:
    """The settings in words."""
    config = comparison.config
    task = comparison.task
    adapt = config.adapt
    drawn = "Labels are drawn stratified and nested"
    if isinstance(task, TaggedTask):
        drawn = "A budget of n per class is n sentences for each type of entity, drawn nested"
    rates = " or ".join(f"{rate:g}" for rate in adapt.rates)
    parts = [
        html.paragraph(
            f"{len(task.texts):,} training posts, {task.n_classes} classes. "
            f"Tested on {len(task.test_texts):,} of {task.n_test:,} test posts, "
            "one fixed draw for every system and seed; "
            f"encoders read the first {adapt.max_length} tokens of a post, "
            f"or as many as they have positions for; {config.counting} reads all of it. "
            f"Pretraining saw training posts only: {config.length_in_words()} for each objective. "
            f"{drawn}: the smallest budget is inside the larger ones, and every system gets the "
            "same draws."
        ),
        html.paragraph(
            "Fine-tuning and the from-scratch twin: "
            f"all weights, AdamW, peak rate {rates}, batches of {adapt.batch_size}, "
            "the same fixed schedule and number of updates for both. "
            "Strengths of regularisation are chosen by cross-validation inside the budget; "
            "no other label is looked at."
        ),
    ]
    return "\n".join(parts)


def versions() -> str:
    """The versions of the packages, Python and the machine, for the foot of the page."""
    found = []
    for package in ("tinylm", "numpy", "numba", "scipy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # run from a source tree that was never installed
            found.append(package)
    python = sys.version.split()[0]
    found.append(f"Python {python}")
    found.append(f"{platform.system()} {platform.machine()}")
    return ", ".join(found) + "."

"""The page of `tinylm compare`: the verdict, the numbers behind it, and looks into the models."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tinylm import hub, objectives
from tinylm.errors import VocabularyError
from tinylm.files import write_text
from tinylm.progress import note
from tinylm.training.checkpoint import LOG, read_log
from tinylm.transfer import verdict
from tinylm.transfer.experiment import Comparison
from tinylm.transfer.features import Features

from . import html, looking, pictures

PAGE = "report.html"
MAPPED = 500  # posts on a map
POINTS = 150  # points of a loss curve
LOOKED_AT = 20  # tokens in a picture of attention
QUERIES = 8  # words in the table of neighbours
NEAR = 6  # neighbours of each

Models = dict[str, tuple]  # objective -> (encoder, tokenizer)

RESULTS_TEXT = "Accuracy in percent on the test posts, mean ± standard deviation over seeds."
PAIRS_TEXT = (
    "Fine-tuning against the same architecture from scratch, on the same draws of labels. "
    "“Beats” means that every seed wins and the mean difference exceeds the spread."
)
PRETRAINING_TEXT = (
    "Each objective saw the training posts, without labels, for the same time. "
    "Loss on posts that were held out; the unigram entropy is what guessing by frequency alone "
    "would reach there. Objectives predict different things, so their losses are not to be "
    "compared with each other."
)
COSTS_TEXT = "How large each model is, and how fast it turned posts into features on this machine."
STUDENTS_TEXT = "A student learns from a finished BERT, whose minutes stand behind its own."


def write(comparison: Comparison) -> Path:
    """Write OUT/report.html and return its path.

    Without matplotlib the page has no pictures, and a note on stderr says why.
    raises what `hub.load` raises if a run folder is damaged
    """
    out = Path(comparison.config.out)
    models = {name: hub.load(out / name) for name in comparison.config.objectives}
    draw = pictures.available()
    if not draw:
        note(f"The report has no pictures: {pictures.MISSING}")
    parts = [
        html.paragraph(verdict.sentence(comparison), "verdict"),
        _results(comparison, draw),
        _pretraining(comparison, draw),
    ]
    if draw:
        parts.append(_maps(comparison, models))
    parts.append(_neighbours(comparison, models))
    if draw:
        parts.append(_attention(comparison, models))
    parts.append(_method(comparison))
    title = f"Few labels, free text: {comparison.task.name}"
    path = out / PAGE
    write_text(path, html.page(title, *parts, foot=_versions()))
    return path


def _results(comparison: Comparison, draw: bool) -> str:
    """The tables of scores, and their picture."""
    parts = [html.paragraph(RESULTS_TEXT), html.table(*verdict.cells(comparison))]
    if draw:
        picture = pictures.label_efficiency(verdict.summaries(comparison))
        caption = "Accuracy by labels per class; bands: ± one std."
        parts.append(html.figure(picture, caption))
    parts += [
        html.paragraph(PAIRS_TEXT),
        html.table(*verdict.pairs(comparison)),
        html.paragraph("Macro-F1 in percent: every class counts the same."),
        html.table(*verdict.cells(comparison, "macro_f1")),
    ]
    return html.section("Results", *parts)


def curve(folder: str | Path) -> list[tuple[float, float]]:
    """The training loss of a run folder, thinned to the means of at most 150 blocks of steps.

    returns [(minutes, loss in the objective's own unit), ...]
    """
    points = []
    for record in read_log(Path(folder) / LOG):
        if record["event"] == "step":
            points.append((record["seconds"] / 60, record["loss"]))
    blocks = np.array_split(np.array(points).reshape(-1, 2), POINTS)
    return [tuple(block.mean(axis=0).tolist()) for block in blocks if len(block)]


def _pretraining(comparison: Comparison, draw: bool) -> str:
    """The table of pretraining, and the curves of its losses."""
    parts = [html.paragraph(PRETRAINING_TEXT), html.table(*verdict.pretraining(comparison))]
    head, rows = verdict.costs(comparison)
    if rows:
        parts += [html.paragraph(COSTS_TEXT), html.table(head, rows)]
    if any(objectives.is_student(name) for name in comparison.config.objectives):
        parts.append(html.paragraph(STUDENTS_TEXT))
    if draw:
        out = Path(comparison.config.out)
        runs = {name: curve(out / name) for name in comparison.config.objectives}
        caption = "Training loss during pretraining, block means."
        parts.append(html.figure(pictures.loss_curves(runs), caption))
    return html.section("Pretraining", *parts)


def _maps(comparison: Comparison, models: Models) -> str:
    """One map per objective, of about 500 test posts.

    The posts are evenly spaced over the set, which may be sorted by label.
    """
    task = comparison.task
    every = max(1, len(task.test_texts) // MAPPED)
    texts = task.test_texts[::every]
    labels = task.test_labels[::every]
    max_length = comparison.config.adapt.max_length
    parts = []
    for name, (encoder, tokenizer) in models.items():
        rows = Features(encoder, tokenizer, max_length=max_length).fit_transform(texts)
        caption = (
            f"{name}: {len(texts)} test posts by their frozen features; "
            "the labels only colour the points; the outermost 2 % are cut."
        )
        parts.append(html.figure(pictures.embedding_map(rows, labels), caption))
    return html.section("Maps", *parts)


def _neighbours(comparison: Comparison, models: Models) -> str:
    """A table per objective; nothing if no model knows any of the words."""
    task = comparison.task
    queries = looking.typical_words(task.test_texts, task.test_labels, QUERIES)
    parts = []
    for name, (encoder, tokenizer) in models.items():
        rows = []
        for word in queries:
            try:
                found = looking.nearest(encoder, tokenizer, word, NEAR)
            except VocabularyError:  # a rare word is several tokens of this vocabulary
                continue
            rows.append([word, ", ".join(token for token, _ in found)])
        if rows:
            parts.append(html.paragraph(f"{name}, by cosine of its input embeddings:"))
            parts.append(html.table(["word", "nearest"], rows))
    return html.section("Nearest neighbours", *parts) if parts else ""


def _attention(comparison: Comparison, models: Models) -> str:
    """A picture per objective with attention; nothing if there is none."""
    parts = []
    for name, (encoder, tokenizer) in models.items():
        ids = _first_long(tokenizer, comparison.task.test_texts)
        layers = looking.attention_weights(encoder, [ids]) if ids else []
        if not layers:
            continue
        layer, head = looking.liveliest(layers)
        tokens = [tokenizer.decode([i]) for i in ids]
        picture = pictures.attention(layers[layer][head], tokens)
        caption = (
            f"{name}, layer {layer + 1} of {len(layers)}, head {head + 1}: "
            "each row is a token of a test post, dark where it looks. "
            "Shown is the head that looks least at itself and at the first token."
        )
        parts.append(html.figure(picture, caption))
    return html.section("Attention", *parts) if parts else ""


def _first_long(tokenizer, texts: list[str]) -> list[int]:
    """The first 20 ids of the first text that has as many; none if no text has."""
    for text in texts:
        ids = tokenizer.encode(text)
        if len(ids) >= LOOKED_AT:
            return ids[:LOOKED_AT]
    return []


def _method(comparison: Comparison) -> str:
    """The settings in words."""
    config = comparison.config
    task = comparison.task
    adapt = config.adapt
    n_classes = np.unique(task.labels).size
    rates = " or ".join(f"{rate:g}" for rate in adapt.rates)
    return html.section(
        "How it was done",
        html.paragraph(
            f"{len(task.texts):,} training posts, {n_classes} classes. "
            f"Tested on {len(task.test_texts):,} of {task.n_test:,} test posts, "
            "one fixed draw for every system and seed; "
            f"encoders read the first {adapt.max_length} tokens of a post, "
            "or as many as they have positions for; TF-IDF reads all of it. "
            f"Pretraining saw training posts only: {config.length_in_words()} for each objective. "
            "Labels are drawn stratified and nested: the smallest budget is inside the larger "
            "ones, and every system gets the same draws."
        ),
        html.paragraph(
            "Fine-tuning and the from-scratch twin: "
            f"all weights, AdamW, peak rate {rates}, batches of {adapt.batch_size}, "
            "the same fixed schedule and number of updates for both. "
            "Strengths of regularisation are chosen by cross-validation inside the budget; "
            "no other label is looked at."
        ),
    )


def _versions() -> str:
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

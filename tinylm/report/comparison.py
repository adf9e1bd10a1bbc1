"""The page of `tinylm compare`: what was learned, the numbers behind it, and pictures to look into the models."""

import contextlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tinylm import hub
from tinylm.errors import VocabularyError
from tinylm.files import write_text
from tinylm.progress import note
from tinylm.report import html, looking, pictures
from tinylm.training.checkpoint import LOG, read_log
from tinylm.transfer import verdict
from tinylm.transfer.compare import Comparison
from tinylm.transfer.features import Features

PAGE = "report.html"
MAPPED, POINTS, LOOKED_AT = 500, 150, 20  # posts on a map, points of a curve, tokens attended to
QUERIES, NEAR = 8, 6  # words in the table of neighbours, and how many of each


def write(comparison: Comparison) -> Path:
    """Write OUT/report.html and return its path; without matplotlib it has no pictures, and one sentence says why.

    raises what `hub.load` raises if a run folder was damaged since
    """
    models = {
        name: hub.load(Path(comparison.config.out) / name) for name in comparison.config.objectives
    }
    draw = pictures.available()
    if not draw:
        note(f"The report has no pictures: {pictures.MISSING}")
    parts = [
        html.paragraph(verdict.sentence(comparison), "verdict"),
        _results(comparison, draw),
        _pretraining(comparison, draw),
        *([_maps(comparison, models)] if draw else []),
        _neighbours(comparison, models),
        *([_attention(comparison, models)] if draw else []),
        _method(comparison),
    ]
    path = Path(comparison.config.out) / PAGE
    write_text(
        path, html.page(f"Few labels, free text: {comparison.task.name}", *parts, foot=_versions())
    )
    return path


def _results(comparison: Comparison, draw: bool) -> str:
    parts = [
        html.paragraph(
            "Accuracy in percent on the test posts, mean ± standard deviation over seeds."
        ),
        html.table(*verdict.cells(comparison)),
    ]
    if draw:
        curves = verdict.summaries(comparison)
        parts.append(
            html.figure(
                pictures.label_efficiency(curves), "Accuracy by labels per class; bands: ± one std."
            )
        )
    parts += [
        html.paragraph(
            "Fine-tuning against the same architecture from scratch, on the same draws of labels. "
            "“Beats” means that every seed wins and the mean difference exceeds the spread."
        ),
        html.table(*verdict.pairs(comparison)),
        html.paragraph("Macro-F1 in percent: every class counts the same."),
        html.table(*verdict.cells(comparison, "macro_f1")),
    ]
    return html.section("Results", *parts)


def curve(folder) -> list[tuple[float, float]]:
    """Training loss of a run folder, thinned to block means: [(minutes, nats per predicted token), ...]."""
    steps = [record for record in read_log(Path(folder) / LOG) if record["event"] == "step"]
    blocks = np.array_split(
        np.array([(r["seconds"] / 60, r["loss"]) for r in steps]).reshape(-1, 2), POINTS
    )
    return [tuple(block.mean(axis=0).tolist()) for block in blocks if len(block)]


def _pretraining(comparison: Comparison, draw: bool) -> str:
    parts = [
        html.paragraph(
            "Each objective saw the training posts, without labels, for the same time. Loss on posts that were held out; "
            "the unigram entropy is what guessing by frequency alone would reach there. Objectives predict different "
            "things, so their losses are not to be compared with each other."
        ),
        html.table(*verdict.pretraining(comparison)),
    ]
    if draw:
        runs = {
            name: curve(Path(comparison.config.out) / name) for name in comparison.config.objectives
        }
        parts.append(
            html.figure(
                pictures.loss_curves(runs), "Training loss during pretraining, block means."
            )
        )
    return html.section("Pretraining", *parts)


def _maps(comparison: Comparison, models) -> str:
    task, parts = comparison.task, []
    some = slice(
        None, None, max(1, len(task.test_texts) // MAPPED)
    )  # spread over the set, which may be sorted by label
    texts, labels = task.test_texts[some], task.test_labels[some]
    for name, (encoder, tokenizer) in models.items():
        rows = Features(
            encoder, tokenizer, max_length=comparison.config.adapt.max_length
        ).fit_transform(texts)
        caption = (
            f"{name}: {len(texts)} test posts by their frozen features; the labels only colour the points; the outermost "
            "2 % are cut."
        )
        parts.append(html.figure(pictures.embedding_map(rows, labels), caption))
    return html.section("Maps", *parts)


def _neighbours(comparison: Comparison, models) -> str:
    task, parts = comparison.task, []
    queries = looking.typical_words(task.test_texts, task.test_labels, QUERIES)
    for name, (encoder, tokenizer) in models.items():
        rows = []
        for word in queries:
            with contextlib.suppress(
                VocabularyError
            ):  # a rare word is several tokens of this vocabulary
                rows.append(
                    [
                        word,
                        ", ".join(
                            token for token, _ in looking.nearest(encoder, tokenizer, word, NEAR)
                        ),
                    ]
                )
        if rows:
            parts += [
                html.paragraph(f"{name}, by cosine of its input embeddings:"),
                html.table(["word", "nearest"], rows),
            ]
    return html.section("Nearest neighbours", *parts) if parts else ""


def _attention(comparison: Comparison, models) -> str:
    parts = []
    for name, (encoder, tokenizer) in models.items():
        ids = next(
            (
                ids
                for ids in map(tokenizer.encode, comparison.task.test_texts)
                if len(ids) >= LOOKED_AT
            ),
            None,
        )
        layers = looking.attention_weights(encoder, [ids[:LOOKED_AT]]) if ids else []
        if layers:
            layer, head = looking.liveliest(layers)
            picture = pictures.attention(
                layers[layer][head], [tokenizer.decode([i]) for i in ids[:LOOKED_AT]]
            )
            caption = (
                f"{name}, layer {layer + 1} of {len(layers)}, head {head + 1}: each row is a token of a test post, dark "
                "where it looks. Shown is the head that looks least at itself and at the first token."
            )
            parts.append(html.figure(picture, caption))
    return html.section("Attention", *parts) if parts else ""


def _method(comparison: Comparison) -> str:
    config, task, adapt = comparison.config, comparison.task, comparison.config.adapt
    rates = " or ".join(f"{rate:g}" for rate in adapt.rates)
    return html.section(
        "How it was done",
        html.paragraph(
            f"{len(task.texts):,} training posts, {np.unique(task.labels).size} classes. Tested on {len(task.test_texts):,} "
            f"of {task.n_test:,} test posts, one fixed draw for every system and seed; encoders read the first "
            f"{adapt.max_length} tokens of a post, or as many as they have positions for; TF-IDF reads all of it. "
            "Pretraining saw training posts only: "
            f"{config.minutes:g} minutes for each objective. Labels are drawn stratified and nested: the smallest budget "
            "is inside the larger ones, and every system gets the same draws."
        ),
        html.paragraph(
            f"Fine-tuning and the from-scratch twin: all weights, AdamW, peak rate {rates}, batches of {adapt.batch_size}, "
            "the same fixed schedule and number of updates for both. Strengths of regularisation are chosen by "
            "cross-validation inside the budget; no other label is looked at."
        ),
    )


def _versions() -> str:
    found = []
    for package in ("tinylm", "numpy", "numba", "scipy"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # run from a source tree that was never installed
            found.append(package)
    return f"{', '.join(found)}, Python {sys.version.split()[0]}, {platform.system()} {platform.machine()}."

"""The part of the report that shows how accuracy grows with labels, and how the runs learned."""

from pathlib import Path

import numpy as np

from tinylm.errors import TinylmError
from tinylm.training.checkpoint import LOG, read_log
from tinylm.transfer import verdict
from tinylm.transfer.experiment import (
    FEATURES,
    FINETUNED,
    MAJORITY,
    SCRATCH,
    TFIDF,
    Comparison,
)

from . import html, panels
from .panels import LOOKS, Curve

POINTS = 150  # points of a loss curve
STYLE = """
.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; }
.key span { font-weight: 700; }
.panels img { width: 100%; max-width: 26rem; }
"""
OVERVIEW_TEXT = (
    "Every objective, fine-tuned, by labels per class; bands are ± one standard deviation over "
    "seeds. The dashed line is TF-IDF, which needs no pretraining."
)
PANELS_TEXT = (
    "Each objective alone, on the same scale. The gap between blue and orange is what reading "
    "text without labels has brought: the same network, once pretrained and once not."
)
LOSSES_TEXT = (
    "Training loss, in means of blocks of steps; the ring is the loss on held-out posts. A dashed "
    "line is the unigram entropy, where it is known: what guessing by frequency alone would reach."
)


def labels(comparison: Comparison) -> str:
    """The overview, and a panel for each objective."""
    curves = verdict.summaries(comparison)
    tuned = {}
    for name in comparison.config.objectives:
        if curve := curves.get(f"{name} {FINETUNED}"):
            tuned[name] = curve
    if not tuned:
        return ""
    picture = panels.overview(tuned, curves.get(TFIDF), TFIDF)
    parts = [html.figure(picture, OVERVIEW_TEXT, _spoken({**tuned, TFIDF: curves.get(TFIDF)}))]
    parts += [html.paragraph(PANELS_TEXT), key()]
    every = [summary for curve in curves.values() for summary in curve.values()]
    top = min(100.0, 100 * max(summary.mean + summary.std for summary in every) + 5)
    figures = []
    for name in tuned:
        kinds = {kind: curves.get(f"{name} {kind}") for kind in (FINETUNED, FEATURES, SCRATCH)}
        kinds |= {TFIDF: curves.get(TFIDF), MAJORITY: curves.get(MAJORITY)}
        kinds = {kind: curve for kind, curve in kinds.items() if curve}
        picture = panels.label_panel(name, kinds, top)
        figures.append(html.figure(picture, "", f"{name}: {_spoken(kinds)}"))
    return "\n".join([*parts, html.panels(figures)])


def key() -> str:
    """The legend of the panels: a sign, a colour and a word for each kind of system."""
    items = []
    for kind, look in LOOKS.items():
        sign = f'<span style="color:{look.colour}" aria-hidden="true">{look.sign}</span>'
        items.append(f"<li>{sign} {html.escape(kind)}</li>")
    return f'<ul class="key">{"".join(items)}</ul>'


def _spoken(curves: dict[str, Curve | None]) -> str:
    """Curves in words: `gpt 37.8 % at 2, 46.5 % at 10 labels per class; TF-IDF ...`."""
    parts = []
    for name, curve in curves.items():
        if curve:
            points = [f"{100 * s.mean:.1f} % at {budget}" for budget, s in sorted(curve.items())]
            parts.append(f"{name} {', '.join(points)}")
    return f"Accuracy by labels per class. {'; '.join(parts)}."


def losses(comparison: Comparison) -> str:
    """A panel for each run that has a log."""
    out = Path(comparison.config.out)
    figures = []
    for name, facts in comparison.pretrained.items():
        points = curve(out / name)
        if not points:
            continue
        unit = facts.get("unit", "nats")
        unigram = facts.get("unigram")
        picture = panels.loss_panel(name, points, unit, facts.get("loss"), unigram)
        begin = points[0][1]
        end = points[-1][1]
        minutes = points[-1][0]
        alt = (
            f"{name}: the loss falls from {begin:.2f} to {end:.2f} {unit} in {minutes:.1f} minutes."
        )
        figures.append(html.figure(picture, "", alt))
    if not figures:
        return ""
    return html.paragraph(LOSSES_TEXT) + "\n" + html.panels(figures)


def curve(folder: str | Path) -> list[tuple[float, float]]:
    """The training loss of a run folder, thinned to the means of at most 150 blocks of steps.

    returns [(minutes, loss in the objective's own unit), ...]; none without a log
    """
    points = []
    try:
        records = read_log(Path(folder) / LOG)
    except TinylmError:
        return []
    for record in records:
        if record["event"] == "step":
            points.append((record["seconds"] / 60, record["loss"]))
    blocks = np.array_split(np.array(points).reshape(-1, 2), POINTS)
    return [tuple(block.mean(axis=0).tolist()) for block in blocks if len(block)]

"""The part of the report that shows how accuracy grows with labels, and how the runs learned."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tinylm import objectives
from tinylm.training.checkpoint import LOG, read_log
from tinylm.transfer import savings
from tinylm.transfer.experiment import (
    FEATURES,
    FINETUNED,
    MAJORITY,
    SCRATCH,
    Comparison,
)
from tinylm.transfer.metrics import summarise

from . import html, panels
from .panels import LOOKS, Curve, Panel, Saved

POINTS = 150  # points of a loss curve
WORTH_SAYING = 1.1  # the least factor of labels saved that gets an arrow
METRICS = {"accuracy": "accuracy", "f1": "F1 of entities"}  # as a Task names them, and in words
STYLE = """
.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; }
.key span { font-weight: 700; }
.panels img { width: 100%; max-width: 26rem; }
"""
OVERVIEW_TEXT = (
    "Every objective, fine-tuned, by labels per class; bands, where there are few lines, are ± one "
    "standard deviation over seeds. The dashed line counts words, which needs no pretraining."
)
PANELS_TEXT = (
    "Each objective alone, on the same scale. The gap between blue and orange is what reading "
    "text without labels has brought: the same network, once pretrained and once not. The arrow "
    "shows how many times fewer labels the pretrained one needs for the same accuracy, where that "
    "is most; it stands only where the gain holds in every draw and by more than the spread."
)
LOSSES_TEXT = (
    "Training loss, in means of blocks of steps; the ring is the loss on held-out posts. Where an "
    "objective guesses tokens, only that part of its loss is drawn, and the dashed line is the "
    "unigram entropy: what guessing by frequency alone would reach."
)


def labels(comparison: Comparison) -> str:
    """The overview, and a panel for each objective."""
    tuned = {}
    for name in comparison.config.objectives:
        if found := curve_of(comparison, f"{name} {FINETUNED}"):
            tuned[name] = found
    if not tuned:
        return ""
    counting = comparison.config.counting
    counted = curve_of(comparison, counting)
    metric = METRICS[comparison.task.metric]
    picture = panels.overview(tuned, counted, counting, metric)
    said = _spoken({**tuned, counting: counted}, metric)
    parts = [html.figure(picture, OVERVIEW_TEXT, said)]
    shown = _panels(comparison, tuned)
    top = _top(shown)
    figures = []
    for panel in shown:
        alt = f"{panel.title}: {_spoken(panel.curves, metric)}"
        if panel.saved is not None:
            alt += f" {panel.saved.says} than from scratch."
        figures.append(html.figure(panels.label_panel(panel, top, metric), "", alt))
    return "\n".join([*parts, html.paragraph(PANELS_TEXT), key(counting), html.panels(figures)])


def grid(comparison: Comparison) -> bytes:
    """The panels of all objectives as one picture, SVG, to stand outside of the page.

    raises TinylmError  without matplotlib
    """
    shown = _panels(comparison, comparison.config.objectives)
    return panels.label_grid(shown, _top(shown), METRICS[comparison.task.metric])


def _panels(comparison: Comparison, names: Iterable[str]) -> list[Panel]:
    """What is known of some objectives."""
    clear = savings.clear_savings(comparison)
    return [Panel(name, _kinds(comparison, name), _saved(clear, name)) for name in names]


def _top(shown: Sequence[Panel]) -> float:
    """The end of the axis that all panels share, in percent."""
    ends = []
    for panel in shown:
        ends += [one.mean + one.std for curve in panel.curves.values() for one in curve.values()]
    return min(100.0, 100 * max(ends) + 5)


def curve_of(comparison: Comparison, method: str) -> Curve:
    """Labels per class -> accuracy over seeds, of a system at every budget it was measured at."""
    return {count: summarise(scores) for count, scores in comparison.curve(method)}


def _kinds(comparison: Comparison, name: str) -> dict[str, Curve]:
    """Kind of system -> curve, of one objective and of the baselines."""
    methods = {kind: f"{name} {kind}" for kind in (FINETUNED, FEATURES, SCRATCH)}
    counting = comparison.config.counting
    methods |= {counting: counting, MAJORITY: MAJORITY}
    found = {kind: curve_of(comparison, method) for kind, method in methods.items()}
    return {kind: curve for kind, curve in found.items() if curve}


def _saved(clear: Sequence[savings.Saving], name: str) -> Saved | None:
    """The arrow for the largest clear saving of an objective, fine-tuned; None if there is none."""
    own = []
    for one in clear:
        if one.objective == name and one.way == FINETUNED:
            own.append(one)
    one = savings.best(own)
    if one is None or one.factor < WORTH_SAYING:
        return None
    return Saved(one.score, one.needed, one.twin, f"{one} times fewer labels")


def key(counting: str) -> str:
    """The legend of the panels: a sign, a colour and a word for each kind of system."""
    items = []
    for kind in (FINETUNED, FEATURES, SCRATCH, counting, MAJORITY):
        look = LOOKS[kind]
        sign = f'<span style="color:{look.colour}" aria-hidden="true">{look.sign}</span>'
        items.append(f"<li>{sign} {html.escape(kind)}</li>")
    return f'<ul class="key">{"".join(items)}</ul>'


def _spoken(curves: dict[str, Curve | None], metric: str) -> str:
    """Curves in words: `gpt 37.8 % at 2, 46.5 % at 10 labels per class; TF-IDF ...`."""
    parts = []
    for name, curve in curves.items():
        if curve:
            points = [f"{100 * s.mean:.1f} % at {count:.0f}" for count, s in sorted(curve.items())]
            parts.append(f"{name} {', '.join(points)}")
    return f"{metric} by labels per class: {'; '.join(parts)}."


def losses(comparison: Comparison) -> str:
    """A panel for each run that has a log."""
    out = Path(comparison.config.out)
    figures = []
    for name, facts in comparison.pretrained.items():
        unigram = facts.get("unigram")
        parts = () if unigram is None else objectives.find(name).guesses or ()
        points = curve(out / name, parts)
        if not points:
            continue
        unit = facts.get("unit", "nats") if unigram is None else "nats per token"
        held_out = facts.get("token_loss", facts.get("loss"))
        picture = panels.loss_panel(name, points, unit, held_out, unigram)
        begin = points[0][1]
        end = points[-1][1]
        minutes = points[-1][0]
        alt = (
            f"{name}: the loss goes from {begin:.2f} to {end:.2f} {unit} in {minutes:.1f} minutes."
        )
        figures.append(html.figure(picture, "", alt))
    if not figures:
        return ""
    return html.paragraph(LOSSES_TEXT) + "\n" + html.panels(figures)


def curve(folder: str | Path, parts: Sequence[str] = ()) -> list[tuple[float, float]]:
    """The training loss of a run folder, thinned to the means of at most 150 blocks of steps.

    parts : names of the loss's components to draw, in the mean; () for the whole loss
    returns [(minutes, loss in the objective's own unit), ...]; none without a log
    """
    points = []
    for record in read_log(Path(folder) / LOG):
        if record["event"] == "step":
            points.append((record["seconds"] / 60, _loss(record, parts)))
    blocks = np.array_split(np.array(points).reshape(-1, 2), POINTS)
    return [tuple(block.mean(axis=0).tolist()) for block in blocks if len(block)]


def _loss(record: dict, parts: Sequence[str]) -> float:
    """The loss of a step, or the mean of some of its components."""
    components = record.get("components", {})
    found = [components[part] for part in parts if part in components]
    return sum(found) / len(found) if found else record["loss"]

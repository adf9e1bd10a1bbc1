"""Small pictures that stand beside each other: one objective each, the same axes for all.

    label panel    accuracy against labels per class: pretrained, from scratch, and the baselines
    label grid     the label panels of all objectives in one picture
    loss panel     the loss of one run against minutes
    overview       every objective, fine-tuned, in one picture

A panel is as wide as a phone. Colour and marker say the same thing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinylm.transfer.experiment import FEATURES, FINETUNED, MAJORITY, SCRATCH, TFIDF, WORD_TAGS
from tinylm.transfer.metrics import Summary

from .pictures import COLOURS, INK, apart, canvas, finished, looks_of, plain, scattered

Curve = Mapping[float, Summary]  # labels per class -> accuracy over seeds

SIZE = (3.3, 2.6)  # inches of a panel
KEY = 0.3  # inches of the key below a grid
COLUMNS = 3  # panels side by side in a grid
FEW = 6  # systems whose bands can still be told apart in one picture
LINE = 0.055  # height of a name beside the overview, in units of the axes' height


class Look(NamedTuple):
    """How a kind of system is drawn, and the sign that stands for it in the legend."""

    colour: str
    marker: str
    dashes: str
    sign: str


LOOKS = {
    FINETUNED: Look("#0072B2", "o", "-", "●"),
    FEATURES: Look("#009E73", "s", "-", "■"),
    SCRATCH: Look("#D55E00", "^", "-", "▲"),
    TFIDF: Look(INK, "", "--", "– –"),
    WORD_TAGS: Look(INK, "", "--", "– –"),
    MAJORITY: Look(INK, "", ":", "···"),
}


class Saved(NamedTuple):
    """An arrow at one accuracy, from the labels that the twin needs to those that suffice."""

    accuracy: float
    few: float
    many: float
    says: str


class Panel(NamedTuple):
    """What is known of one objective.

    curves : kind, a key of LOOKS -> curve     saved : how many labels pretraining saves
    """

    title: str
    curves: Mapping[str, Curve]
    saved: Saved | None = None


def _draw(axes: Any, curve: Curve, look: Look, band: bool = True) -> None:
    """One line, with its band of ± one standard deviation, in percent."""
    budgets = sorted(curve)
    x = np.array(budgets, dtype=float)
    mean = 100 * np.array([curve[budget].mean for budget in budgets])
    std = 100 * np.array([curve[budget].std for budget in budgets])
    axes.plot(
        x,
        mean,
        color=look.colour,
        marker=look.marker or ("_" if len(budgets) == 1 else None),  # a line of one point is none
        linestyle=look.dashes,
        markersize=4,
        linewidth=1.5,
    )
    if band:
        axes.fill_between(x, mean - std, mean + std, color=look.colour, alpha=0.18, linewidth=0)


def _label_axis(axes: Any, curves: Iterable[Curve]) -> None:
    """Labels per class, each step as long as the factor between two budgets."""
    counts = sorted(set().union(*curves))
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:.0f}" for count in counts], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("labels per class")


def label_panel(panel: Panel, top: float, metric: str = "accuracy") -> bytes:
    """One objective: accuracy, or another score, by labels per class, for each kind of system.

    top : the end of the axis, in percent, of all panels     returns SVG
    """
    figure, axes = canvas(*SIZE)
    _draw_panel(axes, panel, top, metric)
    return finished(figure)


def label_grid(panels: Sequence[Panel], top: float, metric: str = "accuracy") -> bytes:
    """All objectives, a panel for each, with one key below.

    panels : at least one     top : the end of the axis, in percent     returns SVG
    """
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    width, height = SIZE
    figure, axes = canvas(columns * width, rows * height + KEY, rows, columns)
    places = np.ravel(axes)
    for place, panel in zip(places, panels, strict=False):
        _draw_panel(place, panel, top, metric)
    for place in places[len(panels) :]:
        place.remove()
    kinds = dict.fromkeys(kind for panel in panels for kind in panel.curves)
    lines = [_key_line(kind) for kind in kinds]
    figure.legend(
        lines,
        [plain(kind) for kind in kinds],
        loc="outside lower center",
        ncols=len(lines) if columns > 1 else 2,
        frameon=False,
        labelcolor=INK,
    )
    return finished(figure)


def _key_line(kind: str) -> Any:
    """How the lines of a kind look, for the key."""
    from matplotlib.lines import Line2D

    look = LOOKS[kind]
    return Line2D(
        [], [], color=look.colour, marker=look.marker, linestyle=look.dashes, markersize=4
    )


def _draw_panel(axes: Any, panel: Panel, top: float, metric: str) -> None:
    """The curves of one objective, and the arrow of what they save."""
    for kind, curve in panel.curves.items():
        _draw(axes, curve, LOOKS[kind])
    if panel.saved is not None:
        _draw_saved(axes, panel.saved)
        axes.set_title(plain(panel.saved.says), loc="right", fontsize=8)
    _label_axis(axes, panel.curves.values())
    axes.set_ylim(0, top)
    axes.set_ylabel(f"{metric}, %")
    axes.set_title(plain(panel.title), weight="bold", loc="left")


def _draw_saved(axes: Any, saved: Saved) -> None:
    """The arrow from the labels of the twin to those that suffice."""
    height = 100 * saved.accuracy
    style = {"arrowstyle": "->", "color": INK, "linewidth": 1.2}
    axes.annotate("", (saved.few, height), (saved.many, height), arrowprops=style)


def overview(
    systems: Mapping[str, Curve],
    reference: Curve | None,
    reference_name: str,
    metric: str = "accuracy",
) -> bytes:
    """Every system in one picture, with its name at the end of its line.

    systems : name -> curve, at least one     reference : a curve to hold them against
    returns SVG
    """
    figure, axes = canvas(4.6, 3.6)
    last = max(set().union(*systems.values()))
    ends = []
    for name, (colour, marker) in looks_of(systems).items():
        _draw(axes, systems[name], Look(colour, marker, "-", ""), band=len(systems) <= FEW)
        ends.append((name, colour, systems[name]))
    if reference:
        shown = {count: summary for count, summary in reference.items() if count <= last}
        _draw(axes, shown, LOOKS[TFIDF])
        ends.append((reference_name, INK, shown))
    _label_axis(axes, [curve for *_, curve in ends])
    axes.set_ylabel(f"{metric}, %")
    _name_ends(axes, [end for end in ends if end[2]])
    return finished(figure)


def _name_ends(axes: Any, ends: Sequence[tuple[str, str, Curve]]) -> None:
    """Write the name of each curve beside its end, none over another, with a thin line to it.

    ends : (name, colour, curve)
    """
    low, high = axes.get_ylim()
    values = [100 * curve[max(curve)].mean for *_, curve in ends]
    heights = (np.array(values) - low) / (high - low)
    centres = np.stack([np.zeros_like(heights), heights], axis=1)
    places = apart(centres, np.ones(len(ends)), LINE)
    for (name, colour, curve), value, (_, height) in zip(ends, values, places, strict=True):
        axes.annotate(
            plain(name),
            (max(curve), value),
            xytext=(1.05, height),
            textcoords="axes fraction",
            color=colour,
            fontsize=8,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0},
        )


def loss_panel(
    title: str,
    points: Sequence[tuple[float, float]],
    unit: str,
    held_out: float | None = None,
    unigram: float | None = None,
) -> bytes:
    """The training loss of one run; the loss on held-out text at its end.

    points : (minutes, loss)     unit : of the loss
    unigram : what guessing by frequency alone would reach, a dashed line     returns SVG
    """
    figure, axes = canvas(*SIZE)
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    axes.plot(x, y, color=COLOURS[0], linewidth=1.5)
    if held_out is not None and x.size:
        axes.plot(x[-1:], [held_out], "o", markersize=6, color=COLOURS[1], fillstyle="none")
    if unigram is not None:
        axes.axhline(unigram, color=INK, linestyle="--", linewidth=1)
    axes.set_xlabel("minutes of pretraining")
    axes.set_ylabel(plain(unit), fontsize=8)
    axes.set_title(plain(title), weight="bold", loc="left")
    return finished(figure)


def map_panel(title: str, rows: ArrayLike, labels: ArrayLike) -> bytes:
    """A small map of vectors, coloured by label, without names.

    rows : (N,F)     labels : (N,)     returns SVG
    """
    figure, axes = canvas(*SIZE)
    scattered(axes, rows, labels)
    axes.set_title(plain(title), weight="bold", loc="left")
    return finished(figure)

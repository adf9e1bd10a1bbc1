"""The pictures of the report, as SVG. Only the functions that draw import matplotlib, an extra.

The ground is transparent and the ink a middle grey, so that one picture serves a light page, a dark
page and paper. The colours are those of Okabe and Ito, which readers with red-green blindness can
tell apart.
"""

import io
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import ShapeError, TinylmError

from .heads import BLUE
from .html import harmless
from .words import line

MISSING = "Pictures need matplotlib; install the extra with: pip install 'tinylm[demos]'."
INK = "#7a7a7a"
COLOURS = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #8C6BB1 #7a7a7a".split()
MARKERS = "os^Dv*PX"
STYLE = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "font.size": 9,
}
LABEL_WIDTH = 0.0115  # of one letter on a map, in units of the axes' width
LABEL_HEIGHT = 0.03  # of a label on a map, in units of the axes' height


def available() -> bool:
    """Whether pictures can be drawn, that is, whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def canvas(width: float = 6.4, height: float = 3.8, rows: int = 1, columns: int = 1) -> tuple:
    """A figure and its axes, an array of them if there are several; needs no screen.

    width, height : inches of the whole     raises TinylmError  without matplotlib
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TinylmError(MISSING) from error
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.subplots(rows, columns)


def finished(figure: Any) -> bytes:
    """A figure as SVG, the same bytes every time: no date, and ids from a fixed salt."""
    from matplotlib import rc_context

    out = io.BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "tinylm"}
    with rc_context(settings), warnings.catch_warnings():
        # Texts stay texts, so the fonts of the reader's machine count, not matplotlib's.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def looks_of(names: Iterable) -> dict[Any, tuple[str, str]]:
    """name -> (colour, marker). When the colours start again, the markers are shifted by one."""
    looks = {}
    for i, name in enumerate(names):
        round_ = i // len(COLOURS)
        marker = MARKERS[(i + round_) % len(MARKERS)]
        looks[name] = (COLOURS[i % len(COLOURS)], marker)
    return looks


def plain(text: Any) -> str:
    """Text that matplotlib prints as it is, in one line: a dollar sign would begin a formula.

    >>> plain("5 $\\n")
    '5 \\\\$'
    """
    return harmless(line(str(text))).replace("$", r"\$")


def rate_curve(rates: Sequence[float], losses: Sequence[float], suggested: float) -> bytes:
    """The loss at each learning rate of a search, and the rate to train with.

    rates : rising, above 0     losses : as many     returns SVG
    raises ShapeError       if the numbers differ
    """
    if len(rates) != len(losses):
        raise ShapeError(f"rate_curve: {len(rates)} rates, but {len(losses)} losses.")
    figure, axes = canvas()
    axes.plot(rates, losses, color=COLOURS[0], linewidth=1.5)
    label = f"falls fastest at {suggested:.2g}"
    axes.axvline(suggested, color=COLOURS[1], linewidth=1, linestyle="--", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss, running mean")
    axes.legend(frameon=False, labelcolor=INK)
    return finished(figure)


def principal_components(rows: ArrayLike, n_components: int = 2) -> np.ndarray:
    """Rows in the directions in which they vary most.   (N, F) -> (N, n_components)

    The result is centred. The largest entry of each component is made positive, so that a map does
    not flip between runs.
    raises ShapeError       if N or F is smaller than n_components

    >>> principal_components([[0, 0], [1, 0], [5, 0]], n_components=1).round(6).tolist()
    [[-2.0], [-1.0], [3.0]]
    """
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or min(rows.shape) < n_components:
        raise ShapeError(
            f"principal_components: rows of shape {rows.shape}; "
            f"expected (N, F), both ≥ {n_components}."
        )
    u, s, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    points = u[:, :n_components] * s[:n_components]
    at_largest = np.abs(points).argmax(axis=0)
    largest = points[at_largest, np.arange(n_components)]
    return points * np.where(largest < 0, -1.0, 1.0)


def _wider(low: float, high: float) -> tuple[float, float]:
    """An interval with a margin of 8 % on both sides, never empty."""
    margin = 0.08 * (high - low) + 1e-9
    return low - margin, high + margin


def apart(places: np.ndarray, widths: np.ndarray, height: float) -> np.ndarray:
    """Move the centres of labels up or down until no label covers another.

    places : (K,2) centres     widths : (K,)     height : of every label, in the same units
    returns (K,2)
    """
    places = places.copy()
    for _ in range(500):
        gap = places[:, None] - places[None]  # (K,2) -> (K,K,2)
        across = np.abs(gap[..., 0])
        along = np.abs(gap[..., 1])
        cover = (across < (widths[:, None] + widths) / 2) & (along < height)
        np.fill_diagonal(cover, False)
        if not cover.any():
            break
        # The lower of two labels moves down; at the same height, the earlier one does.
        level = np.triu(gap[..., 1] == 0)
        direction = np.where((gap[..., 1] < 0) | level, -1, 1)
        steps = cover * direction * (1.05 * height - along) / 4
        places[:, 1] += steps.sum(axis=1)
    return places


def scattered(axes: Any, rows: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, dict]:
    """Draw the first two principal components of vectors, coloured by label.

    rows : (N,F)     labels : (N,)
    returns the points (N,2) in units of the axes, and the looks of the labels
    """
    points = principal_components(rows)
    labels = np.asarray(labels)
    looks = looks_of(np.unique(labels).tolist())
    for name, (colour, marker) in looks.items():
        x, y = points[labels == name].T
        axes.scatter(x, y, s=9, color=colour, marker=marker, alpha=0.6, linewidths=0)
    # Texts of one or two words lie far out. Cut them off, so that the others spread over the map.
    ends = np.percentile(points, [1, 99], axis=0).T
    low, high = np.array([_wider(*pair) for pair in ends]).T
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xticks([])
    axes.set_yticks([])
    return (points - low) / (high - low), looks


def embedding_map(rows: ArrayLike, labels: ArrayLike) -> bytes:
    """A map of vectors: the first two principal components, coloured by label.

    The name of each label stands at the median of its points.
    rows : (N,F)     labels : (N,)     returns SVG
    """
    figure, axes = canvas(6.4, 4.6)
    points, looks = scattered(axes, rows, labels)
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    labels = np.asarray(labels)
    centres = np.array([np.median(points[labels == name], axis=0) for name in looks])
    widths = np.array([LABEL_WIDTH * len(str(name)) for name in looks])
    _write_names(axes, looks, apart(centres, widths, LABEL_HEIGHT))
    return finished(figure)


def _write_names(axes, looks: dict, places: np.ndarray) -> None:
    """Write each name in its colour.   places : (K,2) centres in units of the axes"""
    for (name, (colour, _)), place in zip(looks.items(), places, strict=True):
        axes.annotate(
            plain(name),
            place,
            xycoords="axes fraction",
            color=colour,
            fontsize=7,
            ha="center",
            va="center",
            weight="bold",
        )


def attention(weights: ArrayLike, tokens: Sequence[str]) -> bytes:
    """Which position looks at which: one row per reading position, one column per position seen.

    weights : (T,T) non-negative, rows sum to 1     tokens : T strings     returns SVG
    raises ShapeError       if the sizes differ
    """
    weights = np.asarray(weights, dtype=np.float64)
    length = len(tokens)
    if weights.shape != (length, length):
        raise ShapeError(
            f"attention: weights of shape {weights.shape} for {length} tokens; expected (T, T)."
        )
    side = 1.4 + 0.2 * length
    figure, axes = canvas(side, side)
    words = [plain(repr(str(token))[1:-1]) for token in tokens]
    pixels = np.empty((length, length, 4))
    pixels[..., :3] = np.array(BLUE) / 255
    pixels[..., 3] = weights / max(weights.max(), 1e-9)  # as opaque as it looks there
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks(range(length), words, rotation=90, fontsize=7)
    axes.set_yticks(range(length), words, fontsize=7)
    return finished(figure)

"""The pictures of the report, as SVG. matplotlib is an extra: it is imported when the first picture is drawn.

The ground is transparent and the ink a middle grey, so that one picture serves a light page, a dark page and paper;
the colours are those of Okabe and Ito, told apart also by readers who do not see red and green as different.
"""

import io

import numpy as np

from tinylm.errors import ShapeError, TinylmError

MISSING = "Pictures need matplotlib; install the extra with: pip install 'tinylm[demos]'."
INK = "#7a7a7a"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7a7a7a")
MARKERS = "os^Dv*PX"


def available() -> bool:
    """Can pictures be drawn, that is: is matplotlib installed?"""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _figure(width: float = 6.4, height: float = 3.8):
    """A figure and its axes, in inches, drawn without any screen."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TinylmError(MISSING) from error
    style = {
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "font.size": 9,
        "axes.titlecolor": INK, "axes.titlesize": 9,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.subplots()


def _svg(figure) -> bytes:
    """The same bytes for the same picture: no date, and ids that do not depend on chance."""
    from matplotlib import rc_context

    out = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tinylm"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def _looks(names):
    """One colour and one marker for each name; a colour that comes round again has another marker."""
    return {
        n: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, n in enumerate(names)
    }


def loss_curves(runs: dict) -> bytes:
    """Held-out or training loss against minutes.

    runs : name -> list of (minutes, loss in nats per predicted token)
    returns SVG
    """
    figure, axes = _figure()
    looks = _looks(runs)
    for name, points in runs.items():
        x, y = np.array(points, dtype=float).reshape(-1, 2).T
        axes.plot(x, y, color=looks[name][0], label=name, linewidth=1.5)
    axes.set_xlabel("minutes of pretraining")
    axes.set_ylabel("loss, nats per predicted token")
    axes.legend(frameon=False)
    return _svg(figure)


def label_efficiency(systems: dict) -> bytes:
    """Accuracy against labels per class, mean and standard deviation over seeds.

    systems : name -> {labels per class: Summary}
    returns SVG
    """
    figure, axes = _figure(6.4, 5.0)
    looks = _looks(systems)
    for name, by_budget in systems.items():
        colour, marker = looks[name]
        budgets = np.array(sorted(by_budget), dtype=float)
        mean = 100 * np.array([by_budget[b].mean for b in sorted(by_budget)])
        std = 100 * np.array([by_budget[b].std for b in sorted(by_budget)])
        axes.plot(
            budgets, mean, color=colour, marker=marker, markersize=4, label=name, linewidth=1.5
        )
        axes.fill_between(budgets, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
    budgets = sorted({b for by_budget in systems.values() for b in by_budget})
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(b) for b in budgets])
    axes.minorticks_off()
    axes.set_xlabel("labels per class")
    axes.set_ylabel("accuracy, %")
    figure.legend(fontsize=8, loc="outside lower center", ncols=2, frameon=False)
    return _svg(figure)


def principal_components(rows, n_components: int = 2) -> np.ndarray:
    """The directions of largest variance, by singular values. rows (N,F) -> (N, n_components), centred.

    The sign of each component is fixed (its largest entry is positive), so that a map does not flip between runs.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or min(rows.shape) < n_components:
        raise ShapeError(
            f"principal_components: rows of shape {rows.shape}; expected (N, F), both ≥ {n_components}."
        )
    u, s, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    points = u[:, :n_components] * s[:n_components]
    return points * np.where(
        points[np.abs(points).argmax(axis=0), np.arange(n_components)] < 0, -1.0, 1.0
    )


def _wider(low: float, high: float) -> tuple[float, float]:
    """An interval with a margin of 8 %, and never empty."""
    margin = 0.08 * (high - low) + 1e-9
    return low - margin, high + margin


def _apart(places, widths, height: float) -> np.ndarray:
    """Places of labels moved up or down until none covers another.

    places : (K,2) their centres     widths : (K,)     height : of every label, in the same units     returns (K,2)
    """
    places = places.copy()
    for _ in range(500):
        gap = places[:, None] - places[None]  # (K,2) -> (K,K,2)
        cover = (np.abs(gap[..., 0]) < (widths[:, None] + widths) / 2) & (
            np.abs(gap[..., 1]) < height
        )
        np.fill_diagonal(cover, False)
        if not cover.any():
            break
        down = (gap[..., 1] < 0) | np.triu(
            gap[..., 1] == 0
        )  # of two at one height the later goes up
        up = np.where(down, -1, 1)
        places[:, 1] += (cover * up * (1.05 * height - np.abs(gap[..., 1])) / 4).sum(axis=1)
    return places


def embedding_map(rows, labels) -> bytes:
    """A map of vectors: the first two principal components, coloured by label, each label's name at its centre.

    rows : (N,F)     labels : (N,)     returns SVG
    """
    figure, axes = _figure(6.4, 5.2)
    points, labels = principal_components(rows), np.asarray(labels)
    looks = _looks(np.unique(labels).tolist())
    for name, (colour, marker) in looks.items():
        own = points[labels == name]
        axes.scatter(
            own[:, 0], own[:, 1], s=7, color=colour, marker=marker, alpha=0.5, linewidths=0
        )
    # A few texts of one or two words lie far out; without them the others are told apart.
    low, high = np.array([_wider(*ends) for ends in np.percentile(points, [1, 99], axis=0).T]).T
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    centres = np.array(
        [(np.median(points[labels == name], axis=0) - low) / (high - low) for name in looks]
    )
    places = _apart(
        centres, np.array([0.0115 * len(str(name)) for name in looks]), 0.026
    )  # of the axes' width and height
    for (name, (colour, _)), place in zip(looks.items(), places, strict=True):
        axes.annotate(
            str(name).replace("$", r"\$"),
            place,
            xycoords="axes fraction",
            color=colour,
            fontsize=7,
            ha="center",
            va="center",
            weight="bold",
        )
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    axes.set_xticks([])
    axes.set_yticks([])
    return _svg(figure)


def attention(weights, tokens) -> bytes:
    """Who looks at whom: one row per reading position, one column per position it looks at.

    weights : (T,T) non-negative, rows sum to 1     tokens : T strings     returns SVG
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(tokens), len(tokens)):
        raise ShapeError(
            f"attention: weights of shape {weights.shape} for {len(tokens)} tokens; expected (T, T)."
        )
    side = 1.4 + 0.2 * len(tokens)
    figure, axes = _figure(side, side)
    words = [repr(str(token))[1:-1].replace("$", r"\$") for token in tokens]
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=max(weights.max(), 1e-9))
    axes.set_xticks(range(len(words)), words, rotation=90, fontsize=7)
    axes.set_yticks(range(len(words)), words, fontsize=7)
    return _svg(figure)

"""The part of the report that shows test posts on maps, before and after fine-tuning."""

import numpy as np
from numpy.typing import ArrayLike

from tinylm.transfer import mapped
from tinylm.transfer.experiment import Comparison
from tinylm.transfer.features import Features
from tinylm.transfer.task import TaggedTask

from . import html, panels, pictures

Models = dict[str, tuple]  # objective -> (encoder, tokenizer)
TEXT = (
    "Each point is a test post: the two directions in which the posts vary most, of the vectors "
    "that the classifier reads. Before: the pretrained model as it is; it has seen no label, which "
    "here only colours the points. After: fine-tuned on the largest budget."
)
TABLE_TEXT = (
    "A map drops most directions; this table uses all. How many posts, in percent, have a post of "
    "their own label as their nearest one."
)


def agreement(rows: ArrayLike, labels: ArrayLike) -> float:
    """The share of rows whose nearest other row, by distance, has the same label.

    rows : (N,F), N ≥ 2     labels : (N,)

    >>> agreement([[0.0], [0.1], [5.0], [5.2], [5.3]], ["a", "a", "b", "a", "b"])
    0.4
    """
    rows = np.asarray(rows, dtype=np.float64)
    labels = np.asarray(labels)
    squares = np.square(rows).sum(axis=1)
    distances = squares[:, None] - 2 * rows @ rows.T + squares  # (N,F) -> (N,N)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    return float(np.mean(labels[nearest] == labels))


def part(comparison: Comparison, models: Models, first: str, draw: bool) -> str:
    """Large maps of one objective, small ones of the others, and the table of nearest posts.

    first : the objective with the large maps     draw : whether pictures can be drawn
    """
    task = comparison.task
    texts = mapped.evenly(task.test_texts)
    if len(texts) < 2 or isinstance(task, TaggedTask):
        return ""
    labels = np.array(mapped.evenly(task.test_labels))
    cell = comparison.config.cells()[-1]
    length = comparison.config.adapt.max_length
    large = []
    small = []
    rows = []
    for name, (encoder, tokenizer) in models.items():
        before = Features(encoder, tokenizer, max_length=length).fit_transform(texts)
        after = mapped.kept(comparison.config.out, name, cell)
        stages = {"before fine-tuning": before}
        if after is not None and len(after) == len(texts):
            stages["after"] = after
        shares = [agreement(vectors, labels) for vectors in stages.values()]
        percent = [f"{100 * share:.0f}" for share in shares]
        rows.append([name, *percent, *["–"] * (2 - len(percent))])
        if not draw:
            continue
        for (stage, vectors), share in zip(stages.items(), percent, strict=True):
            alt = f"Map of {len(texts)} test posts by {name}, {stage}: {share} % of the posts "
            alt += "have a post of their own label nearest."
            if name == first:
                picture = pictures.embedding_map(vectors, labels)
                large.append(html.figure(picture, f"{name}, {stage}", alt, wide=True))
            else:
                picture = panels.map_panel(f"{name}, {stage}", vectors, labels)
                small.append(html.figure(picture, "", alt))
    parts = []
    if draw:
        parts = [html.paragraph(TEXT), *large, html.panels(small) if small else ""]
    head = ["objective", "before", "after"]
    parts += [html.paragraph(TABLE_TEXT), html.table(head, rows, "Nearest posts")]
    return "\n".join(parts)

"""The page of a comparison on several tasks: one table of all, and a way to the page of each."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from tinylm.files import write_text
from tinylm.transfer import across, findings
from tinylm.transfer.experiment import Comparison

from . import comparison, html

TABLE_TEXT = (
    "Each system's main score on each task, at the largest budget, in percent: mean ± standard "
    "deviation over seeds. A dash where a task has no such system."
)
PAGES_TEXT = "Each task has a page of its own, with curves, maps, mistakes and costs:"


def write_all(comparisons: Mapping[str, Comparison], out: str | Path) -> Path:
    """Write the page of every task in its folder, and OUT/report.html, whose path is returned.

    comparisons : the task, as the user called it -> its results, in folders inside `out`
    raises what `comparison.write` raises
    """
    out = Path(out)
    items = []
    for source, each in comparisons.items():
        page = comparison.write(each)
        address = quote(page.relative_to(out).as_posix())
        said = html.escape(findings.sentences(each)[0])
        items.append(f'<li><a href="./{address}">{html.escape(source)}</a>: {said}</li>')
    head, rows = across.table(comparisons)
    parts = [
        html.paragraph(across.sentence(comparisons), "verdict"),
        html.paragraph(TABLE_TEXT),
        html.table(head, rows, "All tasks"),
        html.paragraph(PAGES_TEXT),
        f"<ul>{''.join(items)}</ul>",
    ]
    title = f"Few labels, free text: {len(comparisons)} tasks"
    path = out / comparison.PAGE
    write_text(path, html.page(title, *parts, foot=comparison.versions()))
    return path

"""One HTML file that needs no other: it loads no script, font or picture from anywhere.

The page reads on a phone (one column, tables scroll on their own), in the dark, and on paper. Every
function escapes the plain text that it gets, so nothing in the data can become markup.
"""

import base64
import html
from collections.abc import Sequence

from tinylm.files import SURROGATE

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c1c1c; --soft: #666; --ground: #fff; --line: #d5d5d5; --mark: #e8f1f8;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --soft: #a0a0a0; --ground: #161616; --line: #3c3c3c; --mark: #1d2f3c; }
}
body {
  max-width: 46rem; margin: 0 auto; padding: 1rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word;
}
h1 { font-size: 1.5rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { padding: .7rem 1rem; background: var(--mark); border-radius: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  text-align: right; vertical-align: bottom;
}
td { white-space: nowrap; }
.text { text-align: left; }
td.text:last-child { white-space: normal; min-width: 8rem; }
@media (max-width: 30rem) {
  table { font-size: .74rem; }
  th, td { padding: .25rem .2rem; }
  .text { white-space: normal !important; min-width: 0 !important; }
}
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
figcaption, footer { color: var(--soft); font-size: .85rem; }
@media print {
  :root { --ink: #000; --ground: #fff; --soft: #444; --line: #999; --mark: #fff; }
  body { max-width: none; font-size: 10pt; }
  .wide { overflow: visible; }
  .verdict { border: 1px solid #999; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>{head}
</head>
<body>
<h1>{title}</h1>
{body}
<footer><hr>{foot}</footer>
</body>
</html>
"""


def escape(text: str) -> str:
    """Text as it may stand in the page; a lone surrogate, which no page can hold, becomes U+FFFD.

    >>> escape("a < b & c")
    'a &lt; b &amp; c'
    """
    return html.escape(SURROGATE.sub("\ufffd", text))


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph of plain text; `kind` is a class of the style sheet ("verdict").

    >>> paragraph("GPT > chance", "verdict")
    '<p class="verdict">GPT &gt; chance</p>'
    """
    if kind:
        return f'<p class="{escape(kind)}">{escape(text)}</p>'
    return f"<p>{escape(text)}</p>"


def table(head: Sequence, rows: Sequence[Sequence]) -> str:
    """A table of plain texts; a column that contains a word is aligned to the left.

    head : column names     rows : lists of cells, each as long as head
    """
    classes = []
    for i in range(len(head)):
        has_word = any(str(row[i])[:1].isalpha() for row in rows)
        classes.append(' class="text"' if has_word else "")
    titles = _cells("th", [f' scope="col"{kind}' for kind in classes], head)
    lines = [f"<tr>{_cells('td', classes, row)}</tr>" for row in rows]
    body = "\n".join(lines)
    return (
        '<div class="wide"><table>\n'
        f"<thead><tr>{titles}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cells(tag: str, attributes: list[str], values: Sequence) -> str:
    """The cells of one row: `<td class="text">gpt</td><td>39.1</td>`."""
    cells = []
    for attribute, value in zip(attributes, values, strict=True):
        cells.append(f"<{tag}{attribute}>{escape(str(value))}</{tag}>")
    return "".join(cells)


def figure(svg: bytes, caption: str) -> str:
    """A picture as a data URI, with its caption, which screen readers read out too."""
    data = base64.b64encode(svg).decode("ascii")
    text = escape(caption)
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{text}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def section(title: str, *parts: str) -> str:
    """A heading and the finished parts below it."""
    body = "\n".join(parts)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def page(title: str, *parts: str, foot: str = "", head: str = "") -> str:
    """The whole document.

    parts : results of the functions above     foot : plain text at the end
    head : finished markup for the head, such as a style of the page's own
    """
    body = "\n".join(parts)
    parts_of_page = dict(title=escape(title), style=STYLE, head=head, body=body)
    return PAGE.format(**parts_of_page, foot=escape(foot))

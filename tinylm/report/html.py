"""One HTML file that needs no other: it loads no script, font or picture from anywhere.

The page reads on a phone (one column, tables scroll on their own), in the dark, and on paper. Every
function escapes the plain text that it gets, so nothing in the data can become markup, and spells
characters that would act on the page without being seen.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinylm.files import SURROGATE

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c1c1c; --soft: #666; --ground: #fff; --line: #d5d5d5; --mark: #e8f1f8;
  --look: #0072B2;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --soft: #a0a0a0; --ground: #161616; --line: #3c3c3c; --mark: #1d2f3c;
    --look: #56B4E9; }
}
body {
  max-width: 46rem; margin: 0 auto; padding: 1rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word;
}
h1 { font-size: 1.5rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
a { color: inherit; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; }
nav a { display: inline-block; padding: .25rem 0; }
:focus-visible { outline: 3px solid var(--look); outline-offset: 2px; }
.verdict { padding: .7rem 1rem; background: var(--mark); border-radius: .4rem; }
.verdict p { margin: .4rem 0; }
.wide { overflow-x: auto; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
  gap: 0 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  text-align: right; vertical-align: bottom;
}
td { white-space: nowrap; }
.text { text-align: left; }
td.text:last-child { white-space: normal; min-width: 8rem; }
th[scope=row] { font-weight: 400; }
.named th:first-child { position: sticky; left: 0; background: var(--ground); }
@media (max-width: 30rem) {
  table { font-size: .74rem; }
  th, td { padding: .25rem .2rem; }
  .text { white-space: normal !important; min-width: 0 !important; }
}
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
.large img { min-width: 34rem; }
figcaption, footer { color: var(--soft); font-size: .85rem; }
@media print {
  :root { --ink: #000; --ground: #fff; --soft: #444; --line: #999; --mark: #fff; }
  body { max-width: none; font-size: 10pt; }
  .wide { overflow: visible; }
  .large img { min-width: 0; }
  nav { display: none; }
  .verdict { border: 1px solid #999; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""

OURS = '<meta name="generator" content="tinylm">'
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{ours}
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


# Controls, marks that turn the direction of writing, and what no XML may hold. Tabs and line ends
# stay.
HARMFUL = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
PICTURES = 0x2400  # Unicode's pictures of the first 32 control characters
DELETE = 0x7F


def sign(letter: str) -> str:
    """What stands for a character that cannot be seen.

    >>> sign("\\n"), sign("\\u202e")
    ('␊', '\\\\u202e')
    """
    code = ord(letter)
    if code < 32:
        return chr(PICTURES + code)
    if code == DELETE:
        return "␡"
    return f"\\u{code:04x}"


def harmless(text: str) -> str:
    """Text without characters that act and are not seen: each is replaced by its sign.

    A lone surrogate, which no file can hold, becomes U+FFFD.

    >>> harmless("a\\x1b[2J b")
    'a␛[2J b'
    """
    whole = SURROGATE.sub("\ufffd", text)
    return HARMFUL.sub(lambda found: sign(found[0]), whole)


def escape(text: str) -> str:
    """Text as it may stand in the page, harmless and without markup.

    >>> escape("a < b & c")
    'a &lt; b &amp; c'
    """
    return html.escape(harmless(text))


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph of plain text; `kind` is a class of the style sheet ("verdict").

    >>> paragraph("GPT > chance", "verdict")
    '<p class="verdict">GPT &gt; chance</p>'
    """
    if kind:
        return f'<p class="{escape(kind)}">{escape(text)}</p>'
    return f"<p>{escape(text)}</p>"


def table(
    head: Sequence,
    rows: Sequence[Sequence],
    name: str = "",
    strong: frozenset[tuple[int, int]] = frozenset(),
) -> str:
    """A table of plain texts; a column that contains a word is aligned to the left.

    head : column names     rows : lists of cells, each as long as head
    name : what the table shows. One with a name can be scrolled by keyboard, and the first cell of
        each row is the row's name, which stays in sight
    strong : (row, column) of the cells in bold
    """
    classes = []
    for i in range(len(head)):
        has_word = any(str(row[i])[:1].isalpha() for row in rows)
        classes.append(' class="text"' if has_word else "")
    titles = _cells("th", [f' scope="col"{kind}' for kind in classes], head)
    lines = []
    for number, row in enumerate(rows):
        bold = [(number, i) in strong for i in range(len(row))]
        if name:
            first = _cells("th", [f' scope="row"{classes[0]}'], row[:1])
            line = first + _cells("td", classes[1:], row[1:], bold[1:])
        else:
            line = _cells("td", classes, row, bold)
        lines.append(f"<tr>{line}</tr>")
    body = "\n".join(lines)
    inside = f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return scrolled(inside, name)


def scrolled(inside: str, name: str = "") -> str:
    """Finished markup that scrolls on its own where it is wider than the page.

    name : of what it shows; one with a name can be scrolled by keyboard
    """
    if not name:
        return f'<div class="wide">{inside}</div>'
    attributes = f'role="region" tabindex="0" aria-label="{escape(name)}"'
    return f'<div class="wide named" {attributes}>{inside}</div>'


def _cells(tag: str, attributes: list[str], values: Sequence, bold: Sequence[bool] = ()) -> str:
    """The cells of one row: `<td class="text">gpt</td><td>39.1</td>`."""
    cells = []
    for i, (attribute, value) in enumerate(zip(attributes, values, strict=True)):
        text = escape(str(value))
        if bold and bold[i]:
            text = f"<b>{text}</b>"
        cells.append(f"<{tag}{attribute}>{text}</{tag}>")
    return "".join(cells)


def figure(svg: bytes, caption: str, alt: str = "", wide: bool = False) -> str:
    """A picture as a data URI, with its caption.

    alt : what a reader who cannot see the picture should know of it; the caption, if empty
    wide : whether a narrow page scrolls the picture and does not shrink it
    """
    alt = escape(alt or caption)
    data = base64.b64encode(svg).decode("ascii")
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{alt}">'
    if wide:
        image = (
            f'<div class="wide large" role="region" tabindex="0" aria-label="{alt}">{image}</div>'
        )
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{image}{below}</figure>"


def panels(figures: Sequence[str]) -> str:
    """Figures beside each other where the page is wide enough, below each other on a phone."""
    body = "\n".join(figures)
    return f'<div class="panels">\n{body}\n</div>'


def section(title: str, *parts: str, name: str = "") -> str:
    """A heading and the finished parts below it.

    name : the section's address in the page, for `contents`
    """
    body = "\n".join(parts)
    address = f' id="{escape(name)}"' if name else ""
    return f"<section{address}>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def contents(titles: Mapping[str, str]) -> str:
    """The table of contents.   titles : name of a section -> its title

    >>> contents({"costs": "What it cost"})
    '<nav aria-label="Contents"><ul><li><a href="#costs">What it cost</a></li></ul></nav>'
    """
    items = []
    for name, title in titles.items():
        items.append(f'<li><a href="#{escape(name)}">{escape(title)}</a></li>')
    return f'<nav aria-label="Contents"><ul>{"".join(items)}</ul></nav>'


def is_page(path: str | Path) -> bool:
    """Whether a file is a page of ours, which a newer one may replace."""
    try:
        with open(path, "rb") as file:
            return OURS.encode() in file.read(200)
    except OSError:
        return False


def page(title: str, *parts: str, foot: str = "", head: str = "") -> str:
    """The whole document.

    parts : results of the functions above     foot : plain text at the end
    head : finished markup for the head, such as a style of the page's own
    """
    body = "\n".join(parts)
    parts_of_page = dict(ours=OURS, title=escape(title), style=STYLE, head=head, body=body)
    return PAGE.format(**parts_of_page, foot=escape(foot))

"""A page that holds everything it shows: no script, no font, no picture is loaded from anywhere.

It reads on a phone (one column, tables scroll on their own), in the dark, and on paper. Whatever comes from data is
escaped where it enters.
"""

import base64
import html

from tinylm.files import SURROGATE

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #666; --ground: #fff; --line: #d5d5d5; --mark: #e8f1f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --soft: #a0a0a0; --ground: #161616; --line: #3c3c3c; --mark: #1d2f3c; }
}
body { max-width: 46rem; margin: 0 auto; padding: 1rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { padding: .7rem 1rem; background: var(--mark); border-radius: .4rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
td { white-space: nowrap; } .text { text-align: left; } td.text:last-child { white-space: normal; min-width: 8rem; }
@media (max-width: 30rem) {
  table { font-size: .74rem; } th, td { padding: .25rem .2rem; }
  .text { white-space: normal !important; min-width: 0 !important; }
}
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, footer { color: var(--soft); font-size: .85rem; }
@media print {
  :root { --ink: #000; --ground: #fff; --soft: #444; --line: #999; --mark: #fff; }
  body { max-width: none; font-size: 10pt; } .wide { overflow: visible; } .verdict { border: 1px solid #999; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
}
"""


def escape(text: str) -> str:
    """Text as it may stand in the page; a lone surrogate, which no page can hold, is shown as U+FFFD."""
    return html.escape(SURROGATE.sub("\ufffd", text))


def paragraph(text: str, kind: str = "") -> str:
    """One paragraph of plain text; `kind` is a class of the style sheet ("verdict")."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(head, rows) -> str:
    """A table of plain texts, columns of words on the left. head : column names · rows : cells, each as long as head"""
    kinds = [
        ' class="text"' if any(str(row[i])[:1].isalpha() for row in rows) else ""
        for i in range(len(head))
    ]
    cells = "".join(
        f'<th scope="col"{kind}>{escape(str(cell))}</th>'
        for kind, cell in zip(kinds, head, strict=True)
    )
    lines = [
        "".join(
            f"<td{kind}>{escape(str(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)
        )
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def figure(svg: bytes, caption: str) -> str:
    """A picture inside the page itself, as a data URI, with its caption, which is also what a screen reader reads."""
    data = base64.b64encode(svg).decode("ascii")
    source = f"data:image/svg+xml;base64,{data}"
    text = escape(caption)
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def section(title: str, *parts: str) -> str:
    """A heading and the finished parts below it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def page(title: str, *parts: str, foot: str = "") -> str:
    """The whole document. parts : what the functions above return · foot : plain text below the line"""
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    head += f"<title>{escape(title)}</title>"
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<h1>{escape(title)}</h1>\n{body}\n<footer><hr>{escape(foot)}</footer>\n</body>\n</html>\n"
    )

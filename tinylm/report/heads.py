"""The part of a page that shows attention: every head as a small picture, one of them in large.

    lines     a token on the left looks at tokens on the right; the thicker, the more
    matrix    row i, column j: how much token i looks at token j

Everything is drawn without JavaScript too, for the head that looks around most. The script draws
another head when it is chosen, and one token's lines alone.
"""

import base64
import json
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .html import escape, paragraph, section
from .looking import liveliest
from .words import shown, visible, word

BLUE = (32, 132, 200)  # to be seen on white and on black
LEAST = 0.02  # lines of smaller weights are left out
ROW = 19  # height of a token beside the lines
TOP = 26  # above the first token
LEFT, RIGHT, WIDTH = 124, 204, 328  # where lines begin and end; width of the picture
LABELS = 92  # room for the labels of the matrix
LONGEST = 13  # characters of a label

STYLE = """
:root { --look: #0072B2; }
@media (prefers-color-scheme: dark) { :root { --look: #56B4E9; } }
.heads { border: 0; padding: 0; margin: 1rem 0; min-width: 0; }
.heads legend { padding: 0; font-weight: 600; }
.grid { display: grid; gap: .25rem; align-items: center; width: max-content; padding: 4px; }
.grid span { color: var(--soft); font-size: .8rem; padding-right: .4rem; }
.grid .top { text-align: center; padding: 0; }
.grid label { position: relative; display: block; line-height: 0; cursor: pointer; }
.grid input { position: absolute; opacity: 0; width: 100%; height: 100%; margin: 0; }
.grid img { width: var(--side); height: var(--side); max-width: none; image-rendering: pixelated;
  border: 1px solid var(--line); }
.grid input:checked + img { outline: 3px solid var(--look); }
.grid input:focus-visible + img { outline: 3px solid var(--ink); outline-offset: 2px; }
.views { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.views figure { margin: 0; min-width: 0; max-width: 100%; }
.views svg { display: block; font: 12px system-ui, sans-serif; }
.views text { fill: currentColor; }
.views .faint { opacity: .45; }
.views .head { fill: var(--soft); font-size: 11px; }
.lines { flex: 1 1 18rem; }
.lines svg { width: 100%; max-width: 24rem; height: auto; }
.lines line { stroke: var(--look); }
.matrix rect { fill: none; stroke: var(--line); }
.matrix #row { stroke: var(--ink); stroke-width: 2; }
#from { font: inherit; max-width: 100%; }
.scripted { display: none; }
.script .scripted { display: block; }
.lines g[data-token] { cursor: pointer; }
@media print { .script .scripted { display: none; } .views { break-inside: avoid; } }
"""

SCRIPT = """
(() => {
  const data = JSON.parse(document.getElementById("attention").textContent);
  const bytes = Uint8Array.from(atob(data.weights), letter => letter.charCodeAt(0));
  const size = data.tokens.length;
  const lines = document.getElementById("lines");
  const row = document.getElementById("row");
  const from = document.getElementById("from");
  const says = document.getElementById("says");
  const checked = () => document.querySelector("input[name=head]:checked");
  const weight = (i, j) => bytes[(Number(checked().value) * size + i) * size + j] / 255;
  const percent = part => `${Math.round(100 * part)} %`;

  function draw() {
    const only = Number(from.value);
    lines.replaceChildren();
    for (let i = 0; i < size; i++) {
      if (only >= 0 && i !== only) continue;
      for (let j = 0; j < size; j++) {
        const w = weight(i, j);
        if (w < data.least) continue;
        const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
        const places = {x1: data.left, y1: data.top + i * data.row,
                        x2: data.right, y2: data.top + j * data.row};
        for (const name in places) line.setAttribute(name, places[name]);
        line.style.opacity = Math.sqrt(w);
        line.style.strokeWidth = 0.5 + 2.5 * w;
        lines.append(line);
      }
    }
    const picture = checked().nextElementSibling;
    document.getElementById("matrix").setAttribute("href", picture.src);
    document.getElementById("name").textContent = picture.alt;
    row.setAttribute("visibility", only < 0 ? "hidden" : "visible");
    row.setAttribute("y", data.labels + Math.max(only, 0) * data.cell);
    says.textContent = only < 0 ? "" : sentence(only);
  }

  function sentence(i) {
    const order = [...data.tokens.keys()].sort((a, b) => weight(i, b) - weight(i, a));
    const seen = order.slice(0, 5).filter(j => weight(i, j) >= 0.005);
    const parts = seen.map(j => `${j + 1} “${data.tokens[j]}” ${percent(weight(i, j))}`);
    return `${i + 1} “${data.tokens[i]}” looks at ${parts.join(", ")}.`;
  }

  function choose(i) {
    from.value = i;
    draw();
  }

  document.documentElement.classList.add("script");
  for (const input of document.querySelectorAll("input[name=head]")) {
    input.addEventListener("change", draw);
  }
  from.addEventListener("change", draw);
  for (const group of document.querySelectorAll(".lines g[data-token]")) {
    group.addEventListener("click", () => choose(group.dataset.token));
    group.addEventListener("pointerenter", event => {
      if (event.pointerType === "mouse") choose(group.dataset.token);
    });
  }
  document.querySelector(".lines svg").addEventListener("pointerleave", event => {
    if (event.pointerType === "mouse") choose(-1);
  });
  document.getElementById("matrix").addEventListener("pointermove", event => {
    const box = event.target.getBoundingClientRect();
    const place = (at, start, extent) =>
      Math.min(size - 1, Math.max(0, Math.floor(size * (at - start) / extent)));
    const i = place(event.clientY, box.top, box.height);
    const j = place(event.clientX, box.left, box.width);
    const [a, b] = [data.tokens[i], data.tokens[j]];
    says.textContent = `${i + 1} “${a}” looks at ${j + 1} “${b}” with ${percent(weight(i, j))}.`;
  });
  for (const token of document.querySelectorAll(".strip .token[data-token]")) {
    token.addEventListener("click", () => choose(token.dataset.token));
  }
  draw();
})();
"""

TEXT = (
    "A head is one way of looking. Each small picture is a head: row by row the token that looks, "
    "column by column what it looks at, dark where it looks much (the square root of the weight, "
    "so that small weights can be seen). Choose one to see it in large."
)


def part(layers: Sequence[np.ndarray], tokens: Sequence[str]) -> str:
    """The section about attention; arguments as in `views`."""
    return section("Attention: who looks at whom", views(layers, tokens))


def views(layers: Sequence[np.ndarray], tokens: Sequence[str]) -> str:
    """All heads to choose from, and one of them in large; once in a page, for its script's sake.

    layers : (H,T,T) for every layer, rows sum to 1     tokens : T strings
    """
    layer, head = liveliest(layers)
    chosen = layers[layer][head]
    names = [visible(token) for token in tokens]
    cell = 16 if len(tokens) <= 20 else 12
    picture = data_uri(chosen)
    large = f"{_lines(chosen, names)}\n{_matrix(picture, names, cell)}"
    name = f'<p>Shown: <b id="name">{_name(layer, head)}</b>; lines below 2 % are left out.</p>'
    options = ['<option value="-1">all tokens</option>']
    for i, text in enumerate(names):
        options.append(f'<option value="{i}">{i + 1} {escape(text)}</option>')
    select = (
        '<p class="scripted"><label for="from">Who looks: </label>'
        f'<select id="from">{"".join(options)}</select></p>'
    )
    says = '<p id="says" class="scripted" aria-live="polite"></p>'
    both = f'<div class="views">\n{large}\n</div>'
    hint = "<noscript><p>Without JavaScript the large head stays the one that looks around most."
    parts = [paragraph(TEXT), _heads(layers, layer, head), f"{hint}</p></noscript>"]
    parts += [name, select, says, both, _data(layers, names, cell), f"<script>{SCRIPT}</script>"]
    return "\n".join(parts)


def _name(layer: int, head: int) -> str:
    """What a head is called, counted from 1."""
    return f"layer {layer + 1}, head {head + 1}"


def _heads(layers, chosen_layer, chosen_head) -> str:
    """Radio buttons, each with the picture of its head; a row for every layer."""
    heads = max(len(weights) for weights in layers)
    side = 64 if heads <= 6 else 40
    cells = ["<span></span>"]
    cells += [f'<span class="top">{head + 1}</span>' for head in range(heads)]
    number = 0
    for layer, weights in enumerate(layers):
        cells.append(f"<span>layer {layer + 1}</span>")
        for head in range(heads):
            if head >= len(weights):
                cells.append("<span></span>")
                continue
            checked = " checked" if (layer, head) == (chosen_layer, chosen_head) else ""
            cells.append(
                f'<label><input type="radio" name="head" value="{number}"{checked}>'
                f'<img src="{data_uri(weights[head])}" alt="{_name(layer, head)}"></label>'
            )
            number += 1
    style = f"grid-template-columns: auto repeat({heads}, auto); --side: {side}px"
    return (
        '<fieldset class="heads"><legend>Layer and head</legend><div class="wide">'
        f'<div class="grid" style="{style}">{"".join(cells)}</div></div></fieldset>'
    )


def _lines(weights, names) -> str:
    """The tokens twice, and lines between them.   weights (T,T)"""
    height = TOP + ROW * len(names)
    lines = []
    for i, j in np.argwhere(weights >= LEAST):
        w = weights[i, j]
        style = f"opacity:{w**0.5:.2f};stroke-width:{0.5 + 2.5 * w:.2f}"
        at = f'x1="{LEFT}" y1="{_middle(i)}" x2="{RIGHT}" y2="{_middle(j)}"'
        lines.append(f'<line {at} style="{style}"/>')
    labels = []
    for i, text in enumerate(names):
        baseline = _middle(i) + 4
        left = f'<text x="{LEFT - 6}" y="{baseline}" text-anchor="end">{_label(text)}</text>'
        box = f'<rect x="0" y="{_middle(i) - ROW / 2:g}" width="{LEFT}" height="{ROW}"'
        area = f'{box} fill="transparent"/>'
        labels.append(f'<g data-token="{i}">{area}{left}</g>')
        labels.append(f'<text x="{RIGHT + 6}" y="{baseline}">{_label(text)}</text>')
    heads = (
        f'<text class="head" x="{LEFT - 6}" y="11" text-anchor="end">looks</text>'
        f'<text class="head" x="{RIGHT + 6}" y="11">at</text>'
    )
    return (
        '<figure class="lines">'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Lines from each token to those that it looks at">'
        f'{heads}<g id="lines">{"".join(lines)}</g>{"".join(labels)}</svg></figure>'
    )


def _middle(i) -> int:
    """The height of a token's line."""
    return TOP + ROW * int(i)


def _matrix(picture: str, names, cell: int) -> str:
    """The picture of a head in large, with the tokens beside and above it."""
    side = cell * len(names)
    labels = []
    for i, text in enumerate(names):
        middle = LABELS + cell * i + cell / 2 + 4
        labels.append(
            f'<text x="{LABELS - 5}" y="{middle:g}" text-anchor="end">{_label(text)}</text>'
        )
        turn = f"rotate(-90 {middle:g} {LABELS - 5})"
        labels.append(
            f'<text x="{middle:g}" y="{LABELS - 5}" transform="{turn}">{_label(text)}</text>'
        )
    whole = LABELS + side + 2
    box = f'x="{LABELS}" y="{LABELS}" width="{side}"'
    return (
        '<figure class="matrix wide" tabindex="0">'
        f'<svg width="{whole}" height="{whole}" viewBox="0 0 {whole} {whole}" role="img" '
        'aria-label="Matrix of weights: rows look, columns are looked at">'
        f'<image id="matrix" {box} height="{side}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{picture}"/>'
        f'<rect {box} height="{side}"/>'
        f'<rect id="row" {box} height="{cell}" visibility="hidden"/>'
        f"{''.join(labels)}</svg></figure>"
    )


def _label(text: str) -> str:
    """A token in a picture: not too long, its space in front faint."""
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return word(short, "tspan")


def _data(layers, names, cell) -> str:
    """What the script needs: all weights, in 255ths, and where to draw."""
    weights = np.concatenate([quantised(layer) for layer in layers])  # (L·H,T,T)
    fields = {
        "tokens": [shown(name) for name in names],
        "weights": base64.b64encode(weights.tobytes()).decode("ascii"),
        "least": LEAST,
        "row": ROW,
        "top": TOP,
        "left": LEFT,
        "right": RIGHT,
        "labels": LABELS,
        "cell": cell,
    }
    text = json.dumps(fields).replace("<", "\\u003c")  # nothing can end the element
    return f'<script type="application/json" id="attention">{text}</script>'


def quantised(weights: ArrayLike) -> np.ndarray:
    """Weights from 0 to 1 in 255ths, as bytes.

    >>> quantised([0.0, 0.5, 1.0]).tolist()
    [0, 128, 255]
    """
    return np.rint(255 * np.asarray(weights)).clip(0, 255).astype(np.uint8)


def data_uri(weights: ArrayLike) -> str:
    """A head as the address of a picture that needs no file.   weights : (T,T) from 0 to 1"""
    return f"data:image/png;base64,{base64.b64encode(png(weights)).decode('ascii')}"


def png(weights: ArrayLike) -> bytes:
    """A PNG with a pixel for each weight, the more opaque, the larger: √w.

    The colours are a palette of one blue in 256 strengths.
    weights : (T,T) from 0 to 1
    Source: the PNG specification, third edition, sections 5 and 11.

    >>> png(np.eye(2))[:4]
    b'\\x89PNG'
    """
    pixels = quantised(np.sqrt(weights))
    height, width = pixels.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # each row begins with its filter, 0 for none
    rows[:, 1:] = pixels
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),  # 8 bits, a palette
        (b"PLTE", bytes(BLUE) * 256),
        (b"tRNS", bytes(range(256))),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ]
    found = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        check = zlib.crc32(kind + content)
        found += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", check)]
    return b"".join(found)

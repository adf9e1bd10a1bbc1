"""The page of `tinylm show`: one text, and what a model makes of each of its tokens.

The text stands on top, coloured by loss; a token that one points at, taps or tabs to shows its
choices below. Then attention, and a table of everything, which is also what paper shows.
"""

from pathlib import Path

import numpy as np

from tinylm.files import write_text

from . import heads
from .html import escape, page, paragraph, section, table
from .reading import Guess, Reading
from .words import shown, visible, word

NO_BREAK = "\N{NO-BREAK SPACE}"  # between a number and its sign, so that no line ends there
WAYS = {
    "left": "from the left",
    "right": "from the right",
    "others": "from all other tokens",
}
MEANING = {
    "left": "what comes here, if one has read only what stands before it",
    "right": "what comes here, if one has read only what stands behind it",
    "others": "what stands here, if this token is hidden and all others are seen",
}

STYLE = """
:root { --heat: 213, 94, 0; --doubt: 0, 114, 178; }
@media (prefers-color-scheme: dark) { :root { --heat: 230, 110, 20; --doubt: 60, 150, 215; } }
.faint { opacity: .4; }
.strip { position: relative; padding-bottom: calc(var(--panel) + .8rem); line-height: 1.25;
  --panel: calc(1.45rem * (var(--count) + 2) + 1.3rem); }
.strip.bare { padding-bottom: 0; }
.token { display: inline-block; margin: 0 .1rem .35rem 0; padding: .15rem .35rem; max-width: 100%;
  border: 1px solid transparent; border-radius: .3rem; font: inherit; color: inherit;
  text-align: center; overflow-wrap: anywhere; vertical-align: top;
  background: rgba(var(--hue, var(--heat)), calc(.6 * var(--part, 0)));
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
button.token { cursor: pointer; }
.token.special { color: var(--soft); border-color: var(--line); }
.token small { display: block; font-size: .7rem; color: var(--ink); opacity: .75;
  font-variant-numeric: tabular-nums; }
.token.chosen { border-color: var(--soft); }
.token:hover, .token:focus-visible { border-color: var(--ink); outline: 2px solid var(--ink); }
.panel { display: none; position: absolute; left: 0; right: 0; bottom: 0; height: var(--panel);
  box-sizing: border-box; overflow: hidden; padding: .5rem .8rem; background: var(--ground);
  border: 1px solid var(--line); border-radius: .4rem; text-align: left; }
.chosen + .panel { display: block; }
.token:focus + .panel { display: block; z-index: 1; }
.token:hover + .panel { display: block; z-index: 2; }
.panel > div { display: flex; gap: 1.2rem; }
.panel ol { flex: 1; min-width: 0; max-width: 32rem; list-style: none; margin: 0; padding: 0; }
.panel li.way { color: var(--soft); font-size: .8rem; }
.panel li, .panel .title { line-height: 1.45rem; height: 1.45rem; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
.panel .title { margin: 0 0 .15rem; }
.choice { display: flex; gap: .5rem; }
.choice b { flex: 0 1 8rem; min-width: 3rem; font-weight: 400; overflow: hidden;
  text-overflow: ellipsis; }
.choice.right b { font-weight: 700; }
.choice i { flex: 1 1 4rem; align-self: center; height: .7rem; background: linear-gradient(
  to right, var(--bar) calc(100% * var(--part)), transparent 0); --bar: rgb(var(--doubt)); }
.choice span { flex: 0 0 3.6rem; text-align: right; font-variant-numeric: tabular-nums; }
.ramp { display: inline-block; width: 6rem; height: .8rem; vertical-align: middle;
  background: linear-gradient(to right, transparent, rgba(var(--hue, var(--heat)), .6));
  border: 1px solid var(--line); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.all td { vertical-align: top; }
.all td:last-child, .all th:last-child { text-align: left; white-space: normal; min-width: 11rem; }
.legend { color: var(--soft); font-size: .85rem; }
@media print { .panel { display: none !important; } .strip { padding-bottom: 0; }
  .token.chosen { border-color: transparent; } }
"""

SCRIPT = """
for (const token of document.querySelectorAll(".strip button.token")) {
  token.addEventListener("click", () => {
    for (const other of document.querySelectorAll(".strip .chosen")) {
      other.classList.remove("chosen");
    }
    token.classList.add("chosen");
  });
}
"""

POINT = "Point at a token, tap it or move to it with the Tab key to see "
NO_CHOICES = (
    "This model has no choices to show, because it has no head that scores the tokens of a text. "
    "Instead each token has those with the nearest vectors, by the cosine of the model's table."
)
NO_ATTENTION = "This model has no attention: no token of it looks at another by weights."
GENERATOR = "These choices are its generator's; the model that is kept judges, see below."
JUDGED = (
    "How probable the model finds it that a token was put here by a generator and is not the "
    "text's own. The attention is that of the model which judges."
)


def write(path: str | Path, reading: Reading, name: str, about: str = "") -> None:
    """Write the page, whole or not at all.

    name : of the model     about : one sentence about it
    raises DataError  if the file cannot be written
    """
    write_text(path, document(reading, name, about))


def document(reading: Reading, name: str, about: str = "") -> str:
    """The page as HTML that loads nothing; arguments as in `write`."""
    parts = [paragraph(summary(reading, name), "verdict")]
    if about:
        parts.append(paragraph(about))
    if reading.left_out:
        kept = sum(reading.own)
        parts.append(
            paragraph(
                f"The page shows the first {kept:,} tokens of the text and leaves out "
                f"{reading.left_out:,} more; --tokens sets the limit, up to what the model reads."
            )
        )
    parts.append(_text(reading))
    if reading.replaced is not None:
        parts.append(_judged(reading))
    if reading.attention:
        parts.append(heads.part(reading.attention, reading.tokens))
    else:
        parts.append(section("Attention", paragraph(NO_ATTENTION)))
    parts.append(_table(reading))
    parts.append(f"<script>{SCRIPT}</script>")
    style = f"<style>{STYLE}{heads.STYLE}</style>"
    foot = "Made by tinylm show. The page loads nothing and sends nothing."
    return page(f"{name} reads a text", *parts, foot=foot, head=style)


# ---- numbers in words


def losses(reading: Reading) -> list[float | None]:
    """The nats of each token, the mean of all ways in which the model was asked; or None."""
    found: list[float | None] = []
    for t in range(len(reading.tokens)):
        asked = [guesses[t] for guesses in reading.guesses.values()]
        nats = [guess.nats for guess in asked if guess is not None and guess.nats is not None]
        found.append(sum(nats) / len(nats) if nats else None)
    return found


def summary(reading: Reading, name: str) -> str:
    """What was found, in one or two sentences."""
    nats = [loss if own else None for loss, own in zip(losses(reading), reading.own, strict=True)]
    known = [loss for loss in nats if loss is not None]
    count = sum(reading.own)
    tokens = f"{count:,} token{'s' * (count != 1)}"
    if not known:
        return f"{name} reads {tokens} and gives none of them a probability."
    mean = sum(known) / len(known)
    worst = nats.index(max(known))
    ways = " and ".join(WAYS[way] for way in reading.guesses)
    return (
        f"{name} reads {tokens} at {mean:.2f} nats each, asked {ways}; "
        f"guessing evenly among {reading.vocabulary:,} tokens costs "
        f"{np.log(reading.vocabulary):.2f}. It finds “{shown(visible(reading.tokens[worst]))}” "
        f"most surprising ({max(known):.2f} nats)."
    )


def percent(part: float) -> str:
    """A probability in percent, small ones with more digits.

    >>> [percent(p).replace(NO_BREAK, " ") for p in (0.5, 0.042, 0.00061, 1e-9)]
    ['50 %', '4.2 %', '0.06 %', '< 0.01 %']
    """
    if part >= 0.0995:
        number = f"{100 * part:.0f}"
    elif part >= 0.00995:
        number = f"{100 * part:.1f}"
    elif part >= 0.00005:
        number = f"{100 * part:.2f}"
    else:
        number = f"<{NO_BREAK}0.01"
    return f"{number}{NO_BREAK}%"


def _ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 1,022nd.

    >>> [_ordinal(n) for n in (1, 12, 1022)]
    ['1st', '12th', '1,022nd']
    """
    endings = {1: "st", 2: "nd", 3: "rd"}
    is_teen = number % 100 in (11, 12, 13)
    return f"{number:,}{'th' if is_teen else endings.get(number % 10, 'th')}"


# ---- the text


def _text(reading: Reading) -> str:
    """The tokens, coloured by loss, with their choices."""
    nats = losses(reading)
    even = max(float(np.log(reading.vocabulary)), 1e-9)
    asked = reading.guesses
    parts = []
    if asked:
        for way in asked:
            parts.append(paragraph(f"{WAYS[way].capitalize()}: {MEANING[way]}."))
        if reading.replaced is not None:
            parts.append(paragraph(GENERATOR))
        parts.append(
            '<p class="legend">Loss in nats, −log p of the token that stands there: 0 '
            f'<span class="ramp"></span> {even:.1f}, as much as guessing evenly. '
            f"{escape(POINT)}its most probable tokens.</p>"
        )
    else:
        asked = {"nearest": reading.nearest or []}
        parts += [paragraph(NO_CHOICES), paragraph(f"{POINT}its nearest ones.")]
    chosen = _first_shown(nats, asked)
    cells = []
    for t, token in enumerate(reading.tokens):
        guesses = {way: row[t] for way, row in asked.items() if row[t] is not None}
        heat = None if nats[t] is None else nats[t] / even
        value = "" if nats[t] is None else f"{nats[t]:.1f}"
        value = value if reading.guesses else None
        kind = "" if reading.own[t] else " special"
        kind += " chosen" if t == chosen else ""
        panel = _panel(t, token, guesses, reading) if guesses else ""
        cells.append(_cell(token, value, heat, kind, panel, t, bool(reading.attention)))
    if reading.following is not None:
        t = len(reading.tokens)
        panel = _panel(t, "…", {"left": reading.following}, reading)
        cells.append(_cell("…", "next", None, "", panel, t, False))
    shown = [guess for row in asked.values() for guess in row if guess]
    if reading.following is not None:
        shown.append(reading.following)
    count = max((len(guess.choices) for guess in shown), default=0)
    strip = f'<div class="strip" style="--count:{count}">{"".join(cells)}</div>'
    return section("The text, token by token", *parts, strip)


def _first_shown(nats, asked) -> int:
    """The token whose choices are seen before one points at any: the most surprising one."""
    known = [-1.0 if loss is None else loss for loss in nats]
    if max(known) > 0:
        return known.index(max(known))
    for guesses in asked.values():
        for t, guess in enumerate(guesses):
            if guess is not None:
                return t
    return 0


def _cell(token, value, heat, kind, panel, t, linked) -> str:
    """A token with its number, if there are any; a button, if a panel follows it."""
    part = 0 if heat is None else min(max(heat, 0), 1)
    style = f' style="--part:{part:.2f}"' if heat is not None else ""
    inside = word(visible(token))
    if value is not None:
        inside += f"<small>{escape(value) or '&nbsp;'}</small>"
    link = f' data-token="{t}"' if linked else ""
    if not panel:
        return f'<span class="token{kind}"{style}{link}>{inside}</span> '
    start = f'<button type="button" class="token{kind}" aria-describedby="panel{t}"'
    return f"{start}{style}{link}>{inside}</button>{panel} "


def _panel(t, token, guesses: dict[str, Guess], reading: Reading) -> str:
    """The choices at one place."""
    name = f"<b>{word(visible(token))}</b>"
    title = f"{t + 1} {name}"
    if t == len(reading.tokens):
        title = "what comes next"
    elif reading.replaced is not None:
        title += f" · replaced: {percent(reading.replaced[t])}"
    lists = []
    for way, guess in guesses.items():
        says = WAYS.get(way, "nearest vectors, by cosine")
        if guess.nats is not None:
            place_among = f"{_ordinal(guess.rank)} of {reading.vocabulary:,}"
            says += f": {percent(float(np.exp(-guess.nats)))}, {place_among}"
        items = [f'<li class="way">{escape(says)}</li>']
        for place, (choice, number) in enumerate(guess.choices, 1):
            value = f"{number:.2f}" if way == "nearest" else percent(number)
            right = " right" if place == guess.rank else ""
            part = min(max(number, 0), 1)
            items.append(
                f'<li class="choice{right}"><b>{word(visible(choice))}</b>'
                f'<i style="--part:{part:.3f}"></i><span>{escape(value)}</span></li>'
            )
        lists.append(f"<ol>{''.join(items)}</ol>")
    return (
        f'<div class="panel" id="panel{t}" role="tooltip"><p class="title">{title}</p>'
        f"<div>{''.join(lists)}</div></div>"
    )


def _judged(reading: Reading) -> str:
    """The tokens, coloured by how surely they are replaced."""
    cells = []
    for t, token in enumerate(reading.tokens):
        part = float(reading.replaced[t])
        kind = "" if reading.own[t] else " special"
        cells.append(_cell(token, percent(part), part, kind, "", t, False))
    legend = '<p class="legend">Real <span class="ramp"></span> replaced</p>'
    body = f'<div style="--hue: var(--doubt)">{legend}<div class="strip bare">{"".join(cells)}'
    return section("Real or replaced", paragraph(JUDGED), f"{body}</div></div>")


# ---- everything as a table


def _table(reading: Reading) -> str:
    """A table for each way of asking: a row for each token, with all that the page shows of it."""
    tables = []
    for way, guesses in reading.guesses.items():
        head = ["place", "token", "nats", "p", "rank", WAYS[way]]
        rows = []
        for t, guess in enumerate(guesses):
            if guess is not None:
                row = [t + 1, visible(reading.tokens[t]), *_numbers(guess), _choices(guess)]
                rows.append(row)
        if way == "left" and reading.following is not None:
            rows.append([len(guesses) + 1, "…", "", "", "", _choices(reading.following)])
        tables.append(table(head, rows))
    if reading.nearest is not None:
        rows = []
        for t, guess in enumerate(reading.nearest):
            if guess is not None:
                rows.append([t + 1, visible(reading.tokens[t]), _choices(guess, ".2f")])
        tables.append(table(["place", "token", "nearest vectors, by cosine"], rows))
    body = "\n".join(tables)
    return section("Everything in a table", f'<div class="all">{body}</div>')


def _numbers(guess: Guess) -> list[str]:
    """Loss, probability and rank of the token that stands there; empty if none does."""
    if guess.nats is None:
        return [""] * 3
    return [f"{guess.nats:.2f}", percent(float(np.exp(-guess.nats))), f"{guess.rank:,}"]


def _choices(guess: Guess, form: str = "") -> str:
    """Choices in a row: `river 23 %, sea 4.0 %`; other numbers than probabilities in their form."""
    found = []
    for choice, number in guess.choices:
        found.append(f"{visible(choice)} {format(number, form) if form else percent(number)}")
    return ", ".join(found)

"""A user's own labelled file: one reader and one set of rules for every layout.

A table (.tsv) has one example per line and a tab between its columns. A .jsonl file has one JSON
object per line.

    great film<TAB>positive                         two columns: the text, then its label
    id<TAB>sentence<TAB>label                       a first line that names columns decides
    {"text": "great film", "label": "positive"}     the keys of the first object decide

The first row says which columns there are. The reader refuses any row that differs, with its file
and line: a tab inside a text would otherwise make the rest of the text its label. Nothing disappears
unsaid: the reader leaves out rows without a text and rows that repeat or contradict an earlier one,
and counts them on stderr.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tinylm.errors import DataError
from tinylm.files import read_text
from tinylm.progress import note

Rows = list[tuple[str, str]]  # (text, label)
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

TABLES = frozenset({".tsv"})
JSON_LINES = frozenset({".jsonl", ".ndjson"})
FOREIGN = {  # tables that tinylm does not read, and what to write instead
    ".json": "write one JSON object per line into a .jsonl file",
    ".csv": "write a .tsv file, with a tab between its columns",
}

# Names of columns in GLUE and in other published files. `text` and `label` themselves come first.
TEXT_NAMES = frozenset(
    "text texts sentence sentences document doc content body title headline abstract description "
    "review review_text comment comment_text message msg sms tweet post question query utterance "
    "phrase snippet passage article".split()
)
LABEL_NAMES = frozenset(
    "label labels gold_label category categories class classes target topic sentiment polarity "
    "intent emotion rating stars score tag annotation".split()
)


def kind(path: str | Path) -> str:
    """What a file's name says about it: "table", "json lines", or "text" for everything else.

    raises DataError        for a .csv or .json file, which nothing here reads
    """
    suffix = Path(path).suffix.lower()
    if suffix in FOREIGN:
        raise DataError(
            f"{str(path)!r} is of a kind that tinylm does not read; {FOREIGN[suffix]}, "
            "or rename it to .txt if its characters themselves are the text."
        )
    if suffix in JSON_LINES:
        return "json lines"
    return "table" if suffix in TABLES else "text"


def read(path: str | Path, labelled: bool = True) -> Rows:
    """The different examples of a file, in its order.

    path : a .jsonl or .ndjson file, or a table, whatever its suffix
    labelled : False reads texts for pretraining: labels may be missing and become ""
    returns [(text, label)], both without the white space around them
    raises DataError        naming the file, the line and what is wrong with it
    """
    rows = _objects(path, labelled) if kind(path) == "json lines" else _table(path, labelled)
    return different(rows, path)


def _table(path: str | Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """The rows of a tab-separated file."""
    lines = _lines(path)
    rows = [(number, line.split("\t")) for number, line in lines]
    if not rows:
        return
    first_number, first = rows[0]
    if _is_header(rows):
        text, label = _places(path, first_number, first, labelled)
        rows = rows[1:]
    elif len(first) == 2:
        text, label = 0, 1
    elif len(first) == 1 and not labelled:
        text, label = 0, None
    else:
        wrong = (
            f"there are {len(first)} columns without names" if len(first) > 1 else "there is no tab"
        )
        wanted = "expected text<TAB>label, or a first line that names the columns"
        _refuse(path, first_number, f"{wanted}, but {wrong}")
    for number, cells in rows:
        if len(cells) != len(first):
            _refuse(
                path,
                number,
                f"expected {len(first)} columns, as in line {first_number}, but there are "
                f"{len(cells)}; a text must not contain a tab",
            )
        found = "" if label is None or not labelled else cells[label].strip()
        if labelled and not found:
            _refuse(path, number, "expected a label, but its column is empty")
        yield cells[text].strip(), found


def _is_header(rows: list[tuple[int, list[str]]]) -> bool:
    """Whether the first row names columns.

    It does if one of its cells is a usual name. The exception is a pair whose last cell is also the
    label of another row: in `who is it<TAB>question` the word is an ordinary label.
    """
    names = _names(rows[0][1])
    names_text = not TEXT_NAMES.isdisjoint(names)
    names_label = not LABEL_NAMES.isdisjoint(names)
    if len(names) == 1:
        return names_text
    if len(names) > 2 or names_text == names_label:
        return names_text or names_label
    return all(_names(cells)[-1] != names[-1] for _, cells in rows[1:])


def _places(
    path: str | Path, number: int, columns: Sequence[str], labelled: bool
) -> tuple[int, int | None]:
    """Where the text and the label stand among named columns; None for an unwanted label."""
    places: dict[str, int] = {}
    wanted = {"text": TEXT_NAMES, "label": LABEL_NAMES} if labelled else {"text": TEXT_NAMES}
    names = _names(columns)
    for role, usual in wanted.items():
        exact = [i for i, name in enumerate(names) if name == role]
        found = exact or [i for i, name in enumerate(names) if name in usual]
        if len(found) != 1:
            among = ", ".join(repr(column) for column in columns)
            _refuse(
                path,
                number,
                f"expected one column for the {role}, but {len(found)} of {among} have a name that "
                f"says so; call the right one {role!r}",
            )
        places[role] = found[0]
    return places["text"], places.get("label")


def _names(columns: Sequence[str]) -> list[str]:
    return [column.strip().lower() for column in columns]


def _objects(path: str | Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """The rows of a file of JSON objects."""
    text_key = label_key = None
    for number, line in _lines(path):
        row = _object(path, number, line)
        if text_key is None:
            keys = list(row)
            text, label = _places(path, number, keys, labelled)
            text_key = keys[text]
            label_key = None if label is None else keys[label]
        for key in (text_key, label_key):
            if key is not None and key not in row:
                _refuse(path, number, f"expected the key {key!r}, as in the first object")
        if not isinstance(row[text_key], str):
            _refuse(path, number, f"expected a string as {text_key!r}")
        found = "" if label_key is None else _label(path, number, row[label_key])
        yield row[text_key].strip(), found


def _object(path: str | Path, number: int, line: str) -> dict[str, Any]:
    """One line as a JSON object whose keys all differ."""
    try:
        row = json.loads(line, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        _refuse(path, number, 'expected a JSON object like {"text": "...", "label": "..."}')
    return row


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError for a repeated key, of which Python would keep the last."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is repeated")
    return row


def _label(path: str | Path, number: int, value: Any) -> str:
    """A JSON value as a label: a string, a whole number or a truth value."""
    if not isinstance(value, str | int):
        shown = json.dumps(value)[:40]
        _refuse(
            path,
            number,
            f"the label is {shown}; expected a string, a whole number, true or false",
        )
    found = str(value).strip()
    if not found:
        _refuse(path, number, "expected a label, but it is empty")
    return found


def _lines(path: str | Path) -> list[tuple[int, str]]:
    """The lines that hold something, each with its number."""
    numbered = enumerate(read_text(path).split("\n"), 1)
    return [(number, line) for number, line in numbered if line.strip()]


def different(rows: Iterable[tuple[Key, Value]], path: str | Path) -> list[tuple[Key, Value]]:
    """The first example of every text, so that no text can fall on both sides of a split.

    path : where the rows come from; a line on stderr counts what is left out of them
    """
    kept: dict[Key, Value] = {}
    empty = repeated = contradictory = 0
    for text, label in rows:
        if not text:
            empty += 1
        elif text not in kept:
            kept[text] = label
        elif kept[text] == label:
            repeated += 1
        else:
            contradictory += 1
    counts = {
        "without a text": empty,
        "that repeat an earlier one": repeated,
        "that give an earlier text another label (its first one stays)": contradictory,
    }
    said = [f"{count:,} {what}" for what, count in counts.items() if count]
    if said:
        note(f"{path}: left out examples: {', '.join(said)}", once=True)
    return list(kept.items())


def _refuse(path: str | Path, number: int, sentence: str) -> NoReturn:
    raise DataError(f"{str(path)!r}, line {number}: {sentence}.")

"""A user's own labelled file: one reader and one set of rules for every layout.

A table (.tsv) has one example per line and a tab between its columns. A .jsonl file has one JSON
object per line.

    great film<TAB>positive                         two columns: the text, then its label
    id<TAB>sentence<TAB>label                       a first line that names columns decides
    {"text": "great film", "label": "positive"}     the keys of the first object decide

The first row says which columns there are. The reader refuses any row that differs, with its file
and line: a tab inside a text would otherwise make the rest of the text its label. It leaves out
rows without a text and rows that repeat or contradict an earlier one; a line on stderr counts them.
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tinylm.doors import json_value
from tinylm.errors import DataError
from tinylm.files import read_text
from tinylm.progress import note

Rows = list[tuple[str, str]]  # (text, label)
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

TABLES = frozenset({".tsv"})
JSON_LINES = frozenset({".jsonl", ".ndjson"})
FOREIGN = {  # tables that tinylm does not read, and the advice for each
    ".json": "write one JSON object per line into a .jsonl file",
    ".csv": "write a .tsv file, with a tab between its columns",
}

# Names of columns in GLUE and in other published files. A column that is called just `text` or
# `label` wins over these.
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
    """The kind of a file by its name: "table", "json lines", or "text" for everything else.

    raises DataError        for a .csv or .json file, which tinylm does not read

    >>> kind("reviews.tsv"), kind("reviews.jsonl"), kind("novel.txt")
    ('table', 'json lines', 'text')
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
    """The examples of a file in its order, each text once.

    path : a .jsonl or .ndjson file; everything else is read as a table
    labelled : False reads texts for pretraining: labels may be missing and become ""
    returns [(text, label)], both without the white space around them
    raises DataError        naming the file, the line and the fault
    """
    if kind(path) == "json lines":
        return different(_objects(path, labelled), path)
    return different(_table(path, labelled), path)


def _table(path: str | Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """The rows of a tab-separated file."""
    rows = [(number, line.split("\t")) for number, line in lines(path)]
    if not rows:
        return
    first_number, first = rows[0]
    if _is_header(rows):
        text_place, label_place = _places(path, first_number, first, labelled)
        rows = rows[1:]
    else:
        text_place, label_place = _places_without_names(path, first_number, first, labelled)
    for number, cells in rows:
        same_width(path, number, cells, first_number, first)
        label = ""
        if labelled and label_place is not None:
            label = cells[label_place].strip()
            if not label:
                refuse(path, number, "expected a label, but its column is empty")
        yield cells[text_place].strip(), label


def same_width(
    path: str | Path, number: int, cells: Sequence[str], first_number: int, first: Sequence[str]
) -> None:
    """raises DataError for a row, line `number`, with more or fewer cells than the first one"""
    if len(cells) != len(first):
        refuse(
            path,
            number,
            f"expected {len(first)} columns, as in line {first_number}, "
            f"but there are {len(cells)}; a text must not contain a tab",
        )


def _places_without_names(
    path: str | Path, number: int, cells: Sequence[str], labelled: bool
) -> tuple[int, int | None]:
    """The places of the text and the label where no header names the columns."""
    if len(cells) == 2:
        return 0, 1
    if len(cells) == 1 and not labelled:
        return 0, None
    wanted = "expected text<TAB>label, or a first line that names the columns"
    if len(cells) == 1:
        refuse(path, number, f"{wanted}, but there is no tab")
    refuse(path, number, f"{wanted}, but there are {len(cells)} columns without names")


def _is_header(rows: list[tuple[int, list[str]]]) -> bool:
    """Whether the first row names columns.

    It does if one of its cells is a usual name. The exception is a row of two cells whose last cell
    is also the label of another row: in `who is it<TAB>question` the word is an ordinary label.
    """
    names = lower_names(rows[0][1])
    names_text = not TEXT_NAMES.isdisjoint(names)
    names_label = not LABEL_NAMES.isdisjoint(names)
    if len(names) == 1:
        return names_text
    if len(names) > 2 or names_text == names_label:
        return names_text or names_label
    other_labels = {lower_names(cells)[-1] for _, cells in rows[1:]}
    return names[-1] not in other_labels


def _places(
    path: str | Path, number: int, columns: Sequence[str], labelled: bool
) -> tuple[int, int | None]:
    """The places of the text and the label among named columns; no label unless `labelled`."""
    text = place_of(path, number, columns, "text", TEXT_NAMES)
    if not labelled:
        return text, None
    return text, place_of(path, number, columns, "label", LABEL_NAMES)


def place_of(
    path: str | Path, number: int, columns: Sequence[str], role: str, usual: frozenset[str]
) -> int:
    """The one column that is named as its role, or else has a usual name for it.

    path, number : of the line that names the columns, for the error
    raises DataError  if there is none, or there are several

    >>> place_of("some.tsv", 1, ["id", "Sentence"], "text", TEXT_NAMES)
    1
    """
    names = lower_names(columns)
    exact = [i for i, name in enumerate(names) if name == role]
    found = exact or [i for i, name in enumerate(names) if name in usual]
    if len(found) != 1:
        among = ", ".join(repr(column) for column in columns)
        refuse(
            path,
            number,
            f"expected one column for the {role}, but {len(found)} of {among} "
            f"have a name that says so; call the right one {role!r}",
        )
    return found[0]


def lower_names(columns: Sequence[str]) -> list[str]:
    """The names of columns in lower case, without the white space around them.

    >>> lower_names([" Text", "LABEL"])
    ['text', 'label']
    """
    return [column.strip().lower() for column in columns]


def _objects(path: str | Path, labelled: bool) -> Iterator[tuple[str, str]]:
    """The rows of a file of JSON objects."""
    text_key: str | None = None
    label_key: str | None = None
    for number, line in lines(path):
        row = json_object(path, number, line)
        if text_key is None:
            keys = list(row)
            text_place, label_place = _places(path, number, keys, labelled)
            text_key = keys[text_place]
            label_key = None if label_place is None else keys[label_place]
        for key in (text_key, label_key):
            if key is not None and key not in row:
                refuse(path, number, f"expected the key {key!r}, as in the first object")
        text = row[text_key]
        if not isinstance(text, str):
            refuse(path, number, f"expected a string as {text_key!r}")
        label = "" if label_key is None else json_label(path, number, row[label_key])
        yield text.strip(), label


def json_object(
    path: str | Path, number: int, line: str, example: str = '{"text": "...", "label": "..."}'
) -> dict[str, Any]:
    """One line as a JSON object whose keys all differ.

    path, number : of the line, for the error     example : what was expected, for the error
    raises DataError  for anything else

    >>> json_object("some.jsonl", 1, '{"text": "sea", "label": 1}')
    {'text': 'sea', 'label': 1}
    """
    try:
        row = json_value(line, distinct=True, finite=False)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        refuse(path, number, f"expected a JSON object like {example}")
    return row


def json_label(path: str | Path, number: int, value: Any) -> str:
    """A JSON value as a label: a string, a whole number or a truth value.

    path, number : of its line, for the error     raises DataError  for another value

    >>> json_label("some.jsonl", 1, True)
    'True'
    """
    if not isinstance(value, str | int):
        shown = json.dumps(value)[:40]
        refuse(
            path,
            number,
            f"the label is {shown}; expected a string, a whole number, true or false",
        )
    found = str(value).strip()
    if not found:
        refuse(path, number, "expected a label, but it is empty")
    return found


def lines(path: str | Path) -> list[tuple[int, str]]:
    """The lines of a file that are not blank, each with its number.   raises DataError"""
    lines = read_text(path).split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def different(rows: Iterable[tuple[Key, Value]], path: str | Path) -> list[tuple[Key, Value]]:
    """The first example of every text, so that no text falls on both sides of a split.

    path : the file of the rows, for a line on stderr that counts the rows left out

    >>> different([("good", "positive"), ("bad", "negative")], "reviews.tsv")
    [('good', 'positive'), ('bad', 'negative')]
    """
    kept: dict[Key, Value] = {}
    empty = 0
    repeated = 0
    contradictory = 0
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
    reasons = [f"{count:,} {reason}" for reason, count in counts.items() if count]
    if reasons:
        note(f"{path}: left out examples: {', '.join(reasons)}", once=True)
    return list(kept.items())


def refuse(path: str | Path, number: int, sentence: str) -> NoReturn:
    """Raise a DataError that names the file and the line."""
    raise DataError(f"{str(path)!r}, line {number}: {sentence}.")

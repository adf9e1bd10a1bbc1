"""Files of examples with more than a text and a label: two texts, a number, several answers.

The layouts are those of labelled.py: a table with tabs (.tsv, .txt) or one JSON object per line.

    It rains.<TAB>It is wet.<TAB>entailment         two texts, then the label
    index<TAB>sentence1<TAB>sentence2<TAB>label     a first line that names columns decides
    {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
    great film<TAB>3.5                              a text, or two, and a number
    He opens it.<TAB>He reads.<TAB>It sinks.<TAB>0   a text, answers, the number of the right one

Names of columns are those that published sets have (GLUE, SNLI, SWAG, COPA, ARC). A row that does
not fit is refused with its file and line.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm.progress import note

from .labelled import (
    LABEL_NAMES,
    TEXT_NAMES,
    different,
    json_label,
    json_object,
    kind,
    lines,
    lower_names,
    place_of,
    refuse,
    same_width,
)

Pair = tuple[str, str]
Line = tuple[int, str]  # its number, and what it says

FIRST = frozenset(
    "first sentence1 sentence_a sent1 premise question question1 text1 text_a query".split()
) | {"#1 string"}
SECOND = frozenset(
    "second sentence2 sentence_b sent2 hypothesis sentence question2 text2 text_b passage "
    "answer".split()
) | {"#2 string"}
PAIR_LABEL = LABEL_NAMES | {"is_duplicate", "quality", "entailment_judgment"}
NUMBER = frozenset("number value similarity relatedness_score mean".split()) | LABEL_NAMES
CONTEXT = frozenset(
    "context ctx premise question stem sentence text story passage article startphrase "
    "sent1".split()
)
BESIDE = {
    "startphrase": "sent1",
    "premise": "question",
}  # beside the first, the second is no context
ANSWERS = frozenset("answers endings choices options candidates".split())
RIGHT = LABEL_NAMES | {"right", "answer", "answerkey", "correct", "gold"}
NUMBERED = re.compile(r"(?:answer|ending|choice|option|candidate)(?:[ _]?(\d+)|[ _]([a-h]))")
DIGITS = 9  # of the number of an answer
NO_LABEL = "-"  # where annotators did not agree (SNLI)

Role = tuple[str, frozenset[str]]  # what a column is for, and the usual names for it
PAIR_TEXTS: tuple[Role, ...] = (("first", FIRST), ("second", SECOND))


@dataclass(frozen=True)
class Choice:
    """A text, answers to it, and which is right.

    right : its number from 0, None where it is not known

    >>> Choice("He opens it.", ("He reads.", "It sinks."), 0).answers[0]
    'He reads.'
    """

    context: str
    answers: tuple[str, ...]
    right: int | None = None


def pairs(path: str | Path, labelled: bool = True) -> list[tuple[Pair, str]]:
    """Two texts and a label in each row; with `labelled` each pair once.

    labelled : False reads what `predict` gets: a label may be missing and is not read
    returns [((first, second), label)], all without the white space around them
    raises DataError        naming the file, the line and the fault
    """
    target: Role | None = ("label", PAIR_LABEL) if labelled else None
    found = []
    left_out = 0
    for number, row in _rows(path, lines(path), PAIR_TEXTS, target):
        pair = _text(path, number, row, "first"), _text(path, number, row, "second")
        if not labelled:
            found.append((pair, ""))
            continue
        label = json_label(path, number, row["label"])
        if label == NO_LABEL:
            left_out += 1
        else:
            found.append((pair if all(pair) else (), label))
    if left_out:
        note(f"{path}: left out {left_out:,} pairs with the label {NO_LABEL!r}", once=True)
    return different(found, path) if labelled else found


def numbers(path: str | Path, labelled: bool = True) -> list[tuple[str | Pair, float]]:
    """A text or two, and a number in each row; with `labelled` each text once.

    The columns of the first row say whether texts stand alone or in pairs.
    labelled : as for `pairs`; the numbers are then NaN
    raises DataError        naming the file, the line and the fault
    """
    target: Role | None = ("score", NUMBER) if labelled else None
    given = list(lines(path))  # read once: the path may be a pipe
    texts = _roles_of(path, given, labelled)
    found = []
    for number, row in _rows(path, given, texts, target):
        parts = tuple(_text(path, number, row, role) for role, _ in texts)
        key = parts if len(parts) == 2 else parts[0]
        value = _number(path, number, row["score"]) if labelled else math.nan
        found.append((key if all(parts) or not labelled else "", value))
    return different(found, path) if labelled else found


def choices(path: str | Path, labelled: bool = True) -> list[Choice]:
    """A text, its answers and the right one in each row; rows may differ in their answers.

    The right one is given by its number from 0, by a letter from A, or as the answer itself.
    labelled : False allows rows that do not say which is right
    raises DataError        naming the file, the line and the fault
    """
    if kind(path) == "json lines":
        return [_choice(path, number, row, labelled) for number, row in _objects(path, lines(path))]
    rows = [(number, line.split("\t")) for number, line in lines(path)]
    if not rows:
        return []
    names = lower_names(rows[0][1])
    if any(NUMBERED.fullmatch(name) for name in names):
        first_number, header = rows[0]
        found = []
        for number, cells in rows[1:]:
            same_width(path, number, cells, first_number, header)
            row = dict(zip(names, cells, strict=True))
            found.append(_choice(path, number, row, labelled))
        return found
    return [_plain_choice(path, number, cells, labelled) for number, cells in rows]


def _plain_choice(path, number, cells, labelled) -> Choice:
    """context<TAB>answer<TAB>answer …<TAB>number of the right one."""
    *texts, last = [cell.strip() for cell in cells]
    if not labelled and not (last.isdigit() and _right(last, texts[1:], []) is not None):
        texts.append(last)  # it names no answer, so it is one
        last = ""
    if len(texts) < 3:
        wanted = "a text, at least two answers, and the number of the right one from 0"
        refuse(path, number, f"expected {wanted}, with a tab between")
    row = {"context": texts[0], "answers": texts[1:], "right": last}
    return _choice(path, number, row, labelled)


def _choice(path: str | Path, number: int, row: Mapping[str, Any], labelled: bool) -> Choice:
    """One row, whose keys are names of columns, as a Choice."""
    row = {key.strip().lower(): value for key, value in row.items()}
    question = row.get("question")
    if isinstance(question, dict):  # ARC: the text and its answers are inside
        row = {**row, **question}
        row.pop("question")
    numbered = [key for key in row if NUMBERED.fullmatch(key)]
    others = {name for first, name in BESIDE.items() if first in row}
    context = _one(path, number, row, "context", CONTEXT - others)
    both = isinstance(context, str) and isinstance(question, str)
    if "premise" in row and both:  # the question is COPA's "cause" or "effect"
        context = f"{context} {question}"
    if numbered:
        answers = [row[key] for key in numbered]
        while answers and not str(answers[-1]).strip():  # a row may have fewer than others
            answers.pop()
        if any(not str(answer).strip() for answer in answers):
            refuse(path, number, "an answer is empty, but one behind it is not; leave no gap")
    else:
        answers = _one(path, number, row, "answers", ANSWERS)
    letters: list[str] = []
    if isinstance(answers, list) and all(isinstance(each, dict) for each in answers):
        letters = [str(each.get("label")) for each in answers]
        answers = [each.get("text") for each in answers]
    is_list = isinstance(answers, list) and all(isinstance(each, str) for each in answers)
    if not is_list or len(answers) < 2 or not isinstance(context, str):
        refuse(path, number, "expected a text and a list of at least two answers, all strings")
    answers = tuple(answer.strip() for answer in answers)
    named = RIGHT & row.keys() - set(numbered)
    if not named and not labelled:
        return Choice(context.strip(), answers)
    value = _one(path, number, row, "right", frozenset(named or RIGHT))
    right = _right(value, answers, letters)
    if right is None and labelled:
        how_many = "two" if str(value).strip() in answers else "none"
        refuse(
            path,
            number,
            f"{json.dumps(value)[:40]} names {how_many} of the {len(answers)} answers; expected "
            "its number from 0, its letter from A, or the answer itself",
        )
    return Choice(context.strip(), answers, right)


def _right(value: Any, answers: Sequence[str], letters: list[str]) -> int | None:
    """The number of the answer that a value names; None if it names none, or two.

    >>> [_right(value, ["yes", "no"], []) for value in ("B", 1, "1", "no", "C")]
    [1, 1, 1, 1, None]
    >>> [_right(value, ["4", "5", "1"], []) for value in ("5", "0", "1")]
    [1, 0, None]
    """
    text = str(value).strip()
    if isinstance(value, bool) or value is None:
        return None
    if text in letters:
        return letters.index(text)
    if text.isdecimal() and len(text) <= DIGITS and int(text) < len(answers):
        place = int(text)
        if text in answers and answers[place] != text:
            return None  # the number of one answer, and another one itself
    elif text in answers:
        place = list(answers).index(text)
    elif len(text) == 1 and text.isascii() and text.isalpha():
        place = ord(text.upper()) - ord("A")
    else:
        return None
    return place if place < len(answers) else None


def _one(path, number, row, role, names) -> Any:
    """The value of the one key that is named as its role, or has a usual name for it."""
    keys = list(row)
    return row[keys[place_of(path, number, keys, role, names)]]


# --- rows of any layout


def _rows(
    path: str | Path, given: Iterable[Line], texts: Sequence[Role], target: Role | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, {role: value}) of every example in some lines; the values of a table are strings."""
    roles = [*texts] if target is None else [*texts, target]
    if kind(path) == "json lines":
        places: dict[str, str] = {}
        for number, row in _objects(path, given):
            keys = list(row)
            for role, names in roles:
                if role not in places:
                    places[role] = keys[place_of(path, number, keys, role, names)]
                if places[role] not in row:
                    refuse(
                        path, number, f"expected the key {places[role]!r}, as in the first object"
                    )
            yield number, {role: row[key] for role, key in places.items()}
        return
    table = [(number, line.split("\t")) for number, line in given]
    if not table:
        return
    first_number, first = table[0]
    if _is_header(first, texts):
        columns = [place_of(path, first_number, first, *role) for role in roles]
        table = table[1:]
    else:
        columns = list(range(len(roles)))
        extra = 1 if target is None else 0  # `predict` may get a column of labels
        if not len(roles) <= len(first) <= len(roles) + extra:
            wanted = "<TAB>".join(role for role, _ in roles)
            refuse(
                path,
                first_number,
                f"expected {wanted}, or a first line that names the columns, but there are "
                f"{len(first)} columns",
            )
    for number, cells in table:
        same_width(path, number, cells, first_number, first)
        values = {role: cells[place] for (role, _), place in zip(roles, columns, strict=True)}
        yield number, values


def _is_header(cells: Sequence[str], texts: Sequence[Role]) -> bool:
    """Whether the first row names columns: one of its cells is a usual name of a text."""
    names = set(lower_names(cells))
    return any(role in names or usual & names for role, usual in texts)


def _objects(path: str | Path, given: Iterable[Line]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in the lines of a .jsonl file with their numbers."""
    for number, line in given:
        yield number, json_object(path, number, line, '{"sentence1": "...", ...}')


def _roles_of(path: str | Path, given: Iterable[Line], labelled: bool) -> tuple[Role, ...]:
    """The texts of a file with numbers: one, or two."""
    one: tuple[Role, ...] = (("text", TEXT_NAMES),)
    for number, line in given:
        is_json = kind(path) == "json lines"
        cells = list(_object_keys(path, number, line)) if is_json else line.split("\t")
        names = set(lower_names(cells))
        if "first" in names or (FIRST & names and SECOND & names):
            return PAIR_TEXTS
        if is_json or _is_header(cells, one) or len(cells) != 2 + labelled:
            return one
        is_scored = not labelled and _is_number(cells[-1])  # a text, and a score to be ignored
        return one if is_scored else PAIR_TEXTS
    return one


def _object_keys(path, number, line) -> list[str]:
    """The keys of one JSON object."""
    return list(json_object(path, number, line, '{"text": "...", "score": 3.5}'))


def _text(path: str | Path, number: int, row: Mapping[str, Any], role: str) -> str:
    """A text of a row, without the white space around it."""
    value = row[role]
    if not isinstance(value, str):
        refuse(path, number, f"expected a string as the {role} text")
    return value.strip()


def _is_number(cell: str) -> bool:
    """Whether a cell says a finite number.

    >>> _is_number("-1.5"), _is_number("ice")
    (True, False)
    """
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _number(path: str | Path, number: int, value: Any) -> float:
    """A finite number, or a string that says one."""
    try:
        found = math.nan if isinstance(value, bool | None) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        refuse(path, number, f"the score is {json.dumps(value)[:40]}; expected a finite number")
    return found

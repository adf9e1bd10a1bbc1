"""Files of tagged sentences, as the CoNLL tasks write them: one token a line, blank lines between.

    -DOCSTART- -X- -X- O          begins a document; it is no token
                                  a blank line ends a sentence
    U.N.      NNP  I-NP  I-ORG    CoNLL 2003: four columns, the entity's tag is the last one
    official  NN   I-NP  O
    U.N.<TAB>B-ORG                two columns, tabs or spaces: the same to this reader

The token is the first column. Every line has as many columns as the first, or the file is refused
with the line's number. Tags of entities become BIO, whatever dialect the file has (tags.py), and a
line on stderr says so; other tags, such as parts of speech, stay as they are.
"""

from collections.abc import Iterable
from pathlib import Path

from tinylm.errors import DataError
from tinylm.files import read_text
from tinylm.progress import note

from . import tags as bio

Tagged = list[tuple[list[str], list[str]]]  # (tokens, tags) of one sentence
DOCUMENT = "-DOCSTART-"


def columns(line: str) -> list[str]:
    """The columns of one line; none for a blank line.

    A line with a tab is cut at tabs alone, another one at spaces.

    >>> columns("New York\\tB-LOC"), columns("U.N. NNP  I-ORG"), columns(" ")
    (['New York', 'B-LOC'], ['U.N.', 'NNP', 'I-ORG'], [])
    """
    if not line.strip():
        return []
    if "\t" in line:
        return [field.strip() for field in line.split("\t")]
    return [field for field in line.split(" ") if field]


def rows(text: str, name: str, least: int = 1) -> list[list[str]]:
    """The columns of every line of a text, `[]` for a blank one.

    name : of the text, for errors     least : columns that each line must have
    raises DataError        for a line with too few columns, an empty one, or another number of
                            columns than the first

    >>> rows("a O\\n\\nb O\\n", "some.conll")
    [['a', 'O'], [], ['b', 'O']]
    """
    found = []
    first = None  # (number, columns) of the first line that is a token's
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        fields = columns(line)
        found.append(fields)
        if not fields or fields[0] == DOCUMENT:
            continue
        where = f"{name!r}, line {number}"
        if len(fields) < least or "" in fields:
            wanted = "a token and its tag" if least > 1 else "a token"
            raise DataError(f"{where}: expected {wanted}, got {line[:40]!r}.")
        if first is None:
            first = (number, len(fields))
        elif len(fields) != first[1]:
            raise DataError(
                f"{where}: expected {first[1]} columns, as in line {first[0]}, "
                f"but there are {len(fields)}."
            )
    return found


def sentences(lines: Iterable[list[str]]) -> list[list[list[str]]]:
    """Rows as sentences: each a list of its tokens' columns.

    >>> sentences([["-DOCSTART-"], [], ["a", "O"], ["b", "O"], [], ["c", "O"]])
    [[['a', 'O'], ['b', 'O']], [['c', 'O']]]
    """
    found = []
    open_one: list[list[str]] = []
    for fields in [*lines, []]:
        if fields and fields[0] != DOCUMENT:
            open_one.append(fields)
        elif open_one:
            found.append(open_one)
            open_one = []
    return found


def read(path: str | Path) -> Tagged:
    """The sentences of a file; the token is the first column, the tag the last.

    returns [(tokens, tags)], tags of entities as BIO
    raises DataError        naming the file, the line and the fault
    """
    found: Tagged = []
    for sentence in sentences(rows(read_text(path), str(path), least=2)):
        tokens = [fields[0] for fields in sentence]
        tags = [fields[-1] for fields in sentence]
        found.append((tokens, tags))
    return as_bio(found, str(path))


def as_bio(sentences: Tagged, name: str) -> Tagged:
    """The same sentences with BIO tags, if their tags mark entities; a note counts what changed.

    name : where they come from, for the note

    >>> as_bio([(["Rome", "falls"], ["B-LOC", "O"])], "some.conll")
    [(['Rome', 'falls'], ['B-LOC', 'O'])]
    """
    old = [tags for _, tags in sentences]
    if not bio.mark_entities(tag for tags in old for tag in tags):
        return sentences
    new = [bio.to_bio(tags) for tags in old]
    pairs = list(bio.changed(old, new))
    if not pairs:
        return sentences
    example = f"for example {pairs[0][0]} -> {pairs[0][1]}"
    note(
        f"{name}: {len(pairs):,} tags became BIO, where every entity begins with B- ({example})",
        once=True,
    )
    return [(tokens, tags) for (tokens, _), tags in zip(sentences, new, strict=True)]

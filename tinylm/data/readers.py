"""Readers of the named sets' file formats. A user's own files: labelled.py and tagged.py.

Each takes a path and returns plain Python lists.
"""

import ast
import bz2
import csv
import html
import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from tinylm.doors import parsing
from tinylm.errors import DataError
from tinylm.files import read_text

Rows = list[tuple[str, str]]  # (text, label)
Read = TypeVar("Read")


def reader(read: Callable[..., Read]) -> Callable[..., Read]:
    """A reader of a named set's file whose errors are all sentences about the file."""

    @wraps(read)
    def reading(path: Path, *options: Any, **more: Any) -> Read:
        with parsing(path, "the file of its set", advice="fetch the set again"):
            return read(path, *options, **more)

    return reading


# --- lines


@reader
def newsgroups(path: Path) -> Rows:
    """Orange's .tab format: three header rows, then label<TAB>text.

    The one row without a text is dropped.
    """
    rows = []
    for line in _lines(path)[3:]:
        label, _, text = line.partition("\t")
        if text.strip():
            rows.append((text.strip(), label))
    return rows


@reader
def questions(path: Path, fine: bool = False) -> Rows:
    """Lines "COARSE:fine question"; the file repeats some questions, and each is kept once.

    fine : the 50 labels "COARSE:fine" instead of the 6 coarse ones
    """
    rows = []
    for line in _lines(path):
        label, _, text = line.partition(" ")
        coarse, _, _ = label.partition(":")
        rows.append((text.strip(), label if fine else coarse))
    return unique(rows)


@reader
def movie_scores(path: Path) -> list[tuple[str, float]]:
    """Snippets of film reviews with the mean of people's scores, -4 (bad) to 4 (good)."""
    rows = []
    for line in _lines(path)[1:]:
        if line.strip():
            _, score, text = line.split("\t", 2)
            rows.append((text.strip(), float(score)))
    return rows


def movies(path: Path) -> Rows:
    """Snippets labelled by the sign of their score, "positive" or "negative".

    The few snippets with a score of exactly 0 are dropped.
    """
    rows = []
    for text, score in movie_scores(path):
        if score:
            rows.append((text, "positive" if score > 0 else "negative"))
    return unique(rows)


@reader
def word_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Human judgements of how related or similar two words are, 0 to 10.

    Lines word<TAB>word<TAB>score; lines that begin with "#" are comments.
    """
    rows = []
    for line in _lines(path):
        if line and not line.startswith("#"):
            first, second, score = line.split("\t")
            rows.append((first, second, float(score)))
    return rows


@reader
def analogies(path: Path) -> list[tuple[str, str, str, str, str]]:
    """(section, a, b, c, d): a is to b as c is to d; a line ": name" begins a section."""
    rows = []
    section = ""
    for line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip()
        elif line.strip():
            a, b, c, d = line.split()
            rows.append((section, a, b, c, d))
    return rows


def _lines(path: Path) -> list[str]:
    return read_text(path).split("\n")


# --- tables with quoted cells


@reader
def spam(path: Path) -> Rows:
    """Text messages labelled "spam" or "ham"; repeated ones are kept once."""
    rows = []
    for _, label, text in _csv_rows(path):
        rows.append((text.strip(), "spam" if label == "1" else "ham"))
    return unique(rows)


@reader
def dialogs(path: Path) -> Rows:
    """Pairs (statement, reply) of film dialogue."""
    return [(statement.strip(), reply.strip()) for _, statement, reply in _csv_rows(path)]


def _csv_rows(path: Path) -> list[list[str]]:
    """The rows of a .csv file below its header."""
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    return list(rows)[1:]


# --- the Bible


@reader
def kjv(path: Path) -> list[str]:
    """The chapters of the Bible, without the brackets around words that the translators supplied.

    The file is a Python module that calls a function with the text as a string literal and then a
    table {verse number: its offset}. The module is parsed, never imported or run. A verse number is
    BBCCCVVV: book, chapter, verse.

    raises DataError        if the file holds no such call
    """
    with warnings.catch_warnings():  # of Python, about the text's own spelling
        warnings.simplefilter("ignore")
        module = ast.parse(read_text(path))
    assigned = [node.value for node in module.body if isinstance(node, ast.Assign)]
    call = assigned[0] if assigned else None
    if not isinstance(call, ast.Call) or len(call.args) < 3:
        raise DataError(
            f"{str(path)!r} does not hold the text that was expected; fetch the set again."
        )
    text = ast.literal_eval(call.args[1])
    offset_of = ast.literal_eval(call.args[2])
    begins = [offset for verse, offset in sorted(offset_of.items()) if verse % 1000 == 1]
    ends = [*begins[1:], None]
    chapters = []
    for begin, end in zip(begins, ends, strict=True):
        chapter = re.sub(r"[\[\]]", "", text[begin:end])
        chapters.append(chapter.strip())
    return chapters


# --- Wikipedia


@reader
def articles(path: Path) -> list[tuple[str, str]]:
    """(title, wiki markup) of the articles in a compressed dump.

    Redirections and pages that are no articles are left out.
    """
    found = []
    with bz2.open(path) as file:
        for title, space, markup in _pages(file):
            if space == "0" and not markup.lower().startswith("#redirect"):
                found.append((title, markup))
    return found


def _pages(file: bz2.BZ2File) -> Iterator[tuple[str, str, str]]:
    """(title, name space, markup) of every page of a dump."""
    for _, element in ElementTree.iterparse(file):
        if element.tag.endswith("}page"):
            content = {}
            for part in element.iter():
                _, _, name = part.tag.rpartition("}")
                content[name] = part.text or ""
            yield content.get("title", ""), content.get("ns", ""), content.get("text", "")
            element.clear()


NOT_TEXT = re.compile(r"<(?:!--|(ref|math|gallery|timeline|source|code)\b|ref)")  # its beginning
INNERMOST = re.compile(  # a template or a table that holds no other
    r"\{\{(?:(?!\{\{|\}\}).)*\}\}|\{\|(?:(?!\{\||\|\}).)*\|\}", re.S
)
LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)*([^\[\]|]*)\]\]")
LINK_WITHOUT_WORDS = re.compile(r"\[\[\s*(File|Image|Category|[a-z-]{2,12}):")
DEEPEST = 40  # templates inside each other, as MediaWiki allows; links are never so deep

# A possessive `++` gives nothing back: what cannot match is read once, not once for each beginning.
WEB_LINK = re.compile(r"\[\w+://[^\s\[\]]++\s*+([^\[\]]*+)\]")
TAGS_AND_QUOTES = re.compile(r"<[^<>]*+>|'{2,}|__[A-Z]+__")
LINE_MARKS = re.compile(r"(?m)^[=*#:;|! ]+|(?<!=)=++ *+$")
LINE_ENDS = re.compile(r"(?<![^\S\n])[^\S\n]*+\n\s*+")
NO_CHARACTER = re.compile(r"&#0*+[1-9][0-9]{7,}+;?")


def plain_text(markup: str) -> str:
    """Wiki markup as plain text: links leave their words; templates, tables and notes vanish.

    >>> plain_text("'''Cats''' eat [[Mouse|mice]].{{citation needed}}")
    'Cats eat mice.'
    """
    text = _without_notes(markup)
    text = _from_inside(INNERMOST, "", text)  # templates and tables hold others
    text = _from_inside(LINK, _link_words, text)  # the words of a link may hold a link
    text = WEB_LINK.sub(r"\1", text)
    text = TAGS_AND_QUOTES.sub("", text)
    text = LINE_MARKS.sub("", text)
    text = LINE_ENDS.sub("\n", text)
    text = NO_CHARACTER.sub("\ufffd", text)  # html would read the number, however long it is
    return html.unescape(text).strip()


def _without_notes(text: str) -> str:
    """Without comments, <ref .../>, and <ref>...</ref> and its like.

    >>> _without_notes("a<!-- b -->c<ref name=d/>e<math>x</math>f<ref>")
    'acef<ref>'
    """
    after = {}  # what may end a note -> the first match of it behind the place reached
    parts = []
    kept = 0  # the text is copied or left out up to here
    begin = NOT_TEXT.search(text)
    while begin:
        end = _end_of_note(text, begin, after)
        if end is not None:
            parts.append(text[kept : begin.start()])
            kept = end
        begin = NOT_TEXT.search(text, max(kept, begin.start() + 1))
    return "".join(parts) + text[kept:]


def _end_of_note(text: str, begin: re.Match[str], after: dict[str, re.Match | None]) -> int | None:
    """Where a note ends, if it does.   begin : of NOT_TEXT     after : see `_next`"""
    if begin[0] == "<!--":
        end = _next("-->", text, begin.end(), after)
        return end and end.end()
    if begin[0] == "<ref":
        end = _next("/?>|/", text, begin.end(), after)
        if end and end[0] == "/>":
            return end.end()
    if begin[1]:
        end = _next(f"</{begin[1]}>", text, begin.end(), after)
        return end and end.end()
    return None


def _next(
    pattern: str, text: str, place: int, after: dict[str, re.Match | None]
) -> re.Match[str] | None:
    """The first match at or behind a place.

    after : pattern -> its last answer. Places are asked for from left to right, so an answer holds
        until it is passed, and nothing is searched twice
    """
    known = pattern in after
    if not known or (after[pattern] and after[pattern].start() < place):
        after[pattern] = re.compile(pattern).search(text, place)
    return after[pattern]


def _from_inside(
    pattern: re.Pattern[str], replace: str | Callable[[re.Match[str]], str], text: str
) -> str:
    """Replace every match, and those that this makes, from the inside out."""
    for _ in range(DEEPEST):
        before = text
        text = pattern.sub(replace, text)
        if text == before:
            break
    return text


def _link_words(link: re.Match[str]) -> str:
    """The words that a link shows: none for a picture, a category or another language's page."""
    return "" if LINK_WITHOUT_WORDS.match(link[0]) else link[1]


# --- repeated texts


def unique(rows: Iterable[tuple[str, str]]) -> Rows:
    """The first row of every text, so that no text falls on both sides of a split.

    Empty texts are dropped.

    >>> unique([("sea", "a"), ("", "b"), ("sea", "c")])
    [('sea', 'a')]
    """
    kept: dict[str, str] = {}
    for text, label in rows:
        if text:
            kept.setdefault(text, label)
    return list(kept.items())

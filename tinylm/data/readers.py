"""File formats: CoNLL, and those of the named sets. Bytes in, plain Python lists out. Labelled files: labelled.py."""

from __future__ import annotations

import ast
import bz2
import csv
import html
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from tinylm.errors import DataError
from tinylm.files import read_text

Rows = list[tuple[str, str]]  # (text, label)
Tagged = list[tuple[list[str], list[str]]]  # (tokens, tags) of one sentence


def conll(path: Path) -> Tagged:
    """One token per line, the tag in its last column; empty lines (or lines of white space) separate sentences.

    raises DataError        naming the line that has no tag
    """
    sentences: Tagged = [([], [])]
    for number, line in enumerate(read_text(path).split("\n"), 1):
        fields = line.rstrip().split("\t" if "\t" in line.rstrip() else " ")
        if not line.strip() or fields[0] == "-DOCSTART-":
            if sentences[-1][0]:
                sentences.append(([], []))
        elif len(fields) < 2:
            raise DataError(
                f"{str(path)!r}, line {number}: expected a token and its tag, got {line[:40]!r}."
            )
        else:
            sentences[-1][0].append(fields[0])
            sentences[-1][1].append(fields[-1])
    return [sentence for sentence in sentences if sentence[0]]


def newsgroups(path: Path) -> Rows:
    """Orange's .tab format: three header rows, then label<TAB>text; the one row without a text is dropped."""
    rows = (line.partition("\t") for line in read_text(path).split("\n")[3:])
    return [(text.strip(), label) for label, _, text in rows if text.strip()]


def questions(path: Path, fine: bool = False) -> Rows:
    """Lines "COARSE:fine question"; each question is listed several times and is kept once.

    fine : the 50 labels "COARSE:fine" instead of the 6 coarse ones
    """
    lines = (line.partition(" ") for line in read_text(path).split("\n"))
    return unique(
        [(text.strip(), label if fine else label.partition(":")[0]) for label, _, text in lines]
    )


def movie_scores(path: Path) -> list[tuple[str, float]]:
    """Snippets of film reviews with the mean of people's scores, -4 (bad) to 4 (good)."""
    lines = (line.split("\t", 2) for line in read_text(path).split("\n")[1:] if line.strip())
    return [(text.strip(), float(score)) for _, score, text in lines]


def movies(path: Path) -> Rows:
    """The sign of the score as the label, "positive" or "negative"; the few snippets at exactly 0 are dropped."""
    return unique(
        [(t, "positive" if score > 0 else "negative") for t, score in movie_scores(path) if score]
    )


def spam(path: Path) -> Rows:
    """Text messages labelled "spam" or "ham", each different one once."""
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    return unique(
        [(text.strip(), "spam" if label == "1" else "ham") for _, label, text in list(rows)[1:]]
    )


def dialogs(path: Path) -> Rows:
    """Pairs (statement, reply) of film dialogue."""
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    return [(statement.strip(), reply.strip()) for _, statement, reply in list(rows)[1:]]


def word_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Lines word<TAB>word<TAB>score after comments: human judgements of relatedness or similarity, 0 to 10."""
    lines = (
        line.split("\t")
        for line in read_text(path).split("\n")
        if line and not line.startswith("#")
    )
    return [(first, second, float(score)) for first, second, score in lines]


def analogies(path: Path) -> list[tuple[str, str, str, str, str]]:
    """(section, a, b, c, d): a is to b as c is to d; lines ": name" begin a section."""
    found, section = [], ""
    for line in read_text(path).split("\n"):
        if line.startswith(":"):
            section = line[1:].strip()
        elif line.strip():
            a, b, c, d = line.split()
            found.append((section, a, b, c, d))
    return found


def kjv(path: Path) -> list[str]:
    """The chapters of the Bible; the brackets around words that the translators supplied are dropped.

    The text is a string literal in a Python file, followed by a table {verse number: its offset}. The file is parsed,
    never imported or run. A verse number is BBCCCVVV: book, chapter, verse.
    """
    module = ast.parse(read_text(path))
    call = next((node.value for node in module.body if isinstance(node, ast.Assign)), None)
    if not isinstance(call, ast.Call) or len(call.args) < 3:
        raise DataError(
            f"{str(path)!r} does not hold the text that was expected; fetch the set again."
        )
    text, offset_of = ast.literal_eval(call.args[1]), ast.literal_eval(call.args[2])
    begins = [offset for verse, offset in sorted(offset_of.items()) if verse % 1000 == 1]
    chapters = (text[start:end] for start, end in zip(begins, [*begins[1:], None], strict=True))
    return [re.sub(r"[\[\]]", "", chapter).strip() for chapter in chapters]


def articles(path: Path) -> list[tuple[str, str]]:
    """(title, wiki markup) of the encyclopedia articles in a dump; redirections and other pages are left out."""
    with bz2.open(path) as file:
        pages = list(_pages(file))
    return [
        (title, text)
        for title, space, text in pages
        if space == "0" and not text.lower().startswith("#redirect")
    ]


def _pages(file: bz2.BZ2File) -> Iterator[tuple[str, str, str]]:
    """(title, name space, text) of every page of a dump."""
    for _, element in ElementTree.iterparse(file):
        if element.tag.endswith("}page"):
            found = {part.tag.rpartition("}")[2]: part.text or "" for part in element.iter()}
            yield found.get("title", ""), found.get("ns", ""), found.get("text", "")
            element.clear()


def plain_text(markup: str) -> str:
    """Wiki markup without its marks: templates, tables and notes are dropped, links leave their words."""
    text = re.sub(
        r"<!--.*?-->|<ref[^>/]*/>|<(ref|math|gallery|timeline|source|code)\b.*?</\1>",
        "",
        markup,
        flags=re.S,
    )
    before = ""
    while before != text:  # from the inside out: templates and tables nest
        before, text = (
            text,
            re.sub(
                r"\{\{(?:(?!\{\{|\}\}).)*\}\}|\{\|(?:(?!\{\||\|\}).)*\|\}", "", text, flags=re.S
            ),
        )
    before = ""
    while before != text:  # the words of a link may be a link
        before, text = text, re.sub(r"\[\[(?:[^\[\]|]*\|)*([^\[\]|]*)\]\]", _link_words, text)
    text = re.sub(r"\[\w+://\S+\s*([^\]]*)\]", r"\1", text)
    text = re.sub(r"<[^>]*>|'{2,}|__[A-Z]+__", "", text)
    text = re.sub(r"(?m)^[=*#:;|! ]+|=+ *$", "", text)
    return html.unescape(re.sub(r"\s*\n\s*", "\n", text)).strip()


def _link_words(link: re.Match[str]) -> str:
    return "" if re.match(r"\[\[\s*(File|Image|Category|[a-z-]{2,12}):", link[0]) else link[1]


def unique(rows: Rows) -> Rows:
    """The first of every text, so that no text can fall on both sides of a split; empty texts are dropped."""
    kept: dict[str, str] = {}
    for text, label in rows:
        if text:
            kept.setdefault(text, label)
    return list(kept.items())

"""Files of word vectors, as word2vec, gensim, GloVe and fastText write them.

    word2vec    "V D\\n", then per word: the word, a space, D little-endian float32, "\\n"
    gensim      the same without the last "\\n"
    text        "V D\\n", then per word: the word and D decimal numbers, "\\n" (fastText: .vec)
    glove       the same without the first line
    folder      vectors.npy beside words.txt, one word per line; can stay on the disk (mapped)

A reader that strips leading newlines from words reads both binary kinds. C programs end their text
lines with a space; tabs, CR LF and a byte order mark are read too, and each file may be packed by
gzip (.vec.gz). For words that a format cannot hold, see names.py.
Source: the released word2vec.c, glove.c and fastText; gensim 4.4.
"""

import mmap
import os
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinylm import files, folders
from tinylm.arguments import strings
from tinylm.doors import parsing
from tinylm.errors import CheckpointError
from tinylm.finite import is_finite

from . import names as spelled
from .packed import BOM, refuse_foreign, unpacked

VECTORS = "vectors.bin"  # the name of word vectors in a run folder
FORMATS = ("word2vec", "gensim", "text", "glove", "folder")
BINARY = ("word2vec", "gensim")
ERRORS = ("surrogateescape", "strict", "replace", "ignore")  # treatments of words not in UTF-8
# The two files of a folder of vectors.
TABLE = "vectors.npy"
WORDS = "words.txt"
LONGEST_HEADER = 4096  # bytes of a first line "V D"
LINES = 1000  # of a text file that are parsed together
LONGEST_NUMBER = 64  # bytes of a decimal number and the space before it
_SUFFIXES = {".bin": "word2vec", ".vec": "text", ".txt": "glove", "": "folder"}

Header = tuple[int, int]  # V, D
Found = tuple[list[bytes], np.ndarray]  # the names, and the table (V, D)

# --- writing


def write_vectors(
    path: str | Path,
    words: Iterable[str],
    vectors: np.ndarray,
    binary: bool = True,
    form: str | None = None,
    overwrite: bool = False,
) -> dict[str, str]:
    """Write word vectors, atomically: a folder's two files change together.

    words : V strings
    vectors : (V, D), V and D at least 1, written as float32
    form : one of FORMATS; without it binary chooses "word2vec" or "text"
    overwrite : write into a folder that is not empty, replacing word vectors; a file is always
        replaced
    returns {word: name} of the words that the format cannot hold as they are, see `names.changes`
    raises CheckpointError  if the counts differ, there are no numbers to write, for another form,
        or for a folder that is not empty
    """
    words = strings(words, "words")
    form = form or ("word2vec" if binary else "text")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if len(words) != len(vectors):
        raise CheckpointError(
            f"write_vectors: got {len(words)} words and {len(vectors)} vectors, expected as many"
        )
    if form not in FORMATS:
        known = ", ".join(FORMATS)
        raise CheckpointError(
            f"there is no format {form!r} of word vectors; expected one of {known}"
        )
    if vectors.ndim != 2 or not vectors.size:
        raise CheckpointError(
            f"write_vectors: the vectors have the shape {vectors.shape}, "
            "expected (V, D), both at least 1"
        )
    if not is_finite(vectors):
        wrong = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise CheckpointError(
            f"write_vectors: the vector of {words[wrong]!r} holds NaN, infinity, or a number "
            "beyond float32"
        )
    changed = spelled.changes(words, form)
    names = [spelled.to_bytes(changed.get(word, word)) for word in words]
    if form == "folder":
        with folders.claim(path, replaces=(TABLE,), overwrite=overwrite) as folder:
            _write_folder(folder, names, vectors)
    else:
        with files.replacing(path) as part, open(part, "wb") as file:
            _write_file(file, names, vectors, form)
    return changed


def _write_file(file: BinaryIO, names: list[bytes], vectors: np.ndarray, form: str) -> None:
    """The header and a record per word."""
    end = b"" if form == "gensim" else b"\n"
    if form != "glove":
        count, width = vectors.shape
        file.write(f"{count} {width}\n".encode())
    for name, vector in zip(names, vectors, strict=True):
        if form in BINARY:
            numbers = vector.tobytes()
        else:
            numbers = " ".join(map(repr, vector.tolist())).encode()
        file.write(name + b" " + numbers + end)


def _write_folder(folder: Path, names: list[bytes], vectors: np.ndarray) -> None:
    """Write the names, one per line, and the table.

    Readers open the table first, so it is removed before the names change and comes back last.
    """
    with files.together(folder, heads=(TABLE,)) as hidden:
        lines = b"".join(name + b"\n" for name in names)
        files.write_bytes(hidden / WORDS, lines)
        with files.replacing(hidden / TABLE) as part, open(part, "wb") as file:
            np.save(file, vectors, allow_pickle=False)


def format_of(path: str | Path) -> str:
    """The format to write, by the suffix: .bin, .vec, .txt (GloVe's), or none (a folder).

    raises CheckpointError  for another suffix

    >>> format_of("model.bin"), format_of("model.vec"), format_of("model")
    ('word2vec', 'text', 'folder')
    """
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        known = ", ".join(FORMATS)
        raise CheckpointError(
            f"{path}: the suffix {suffix!r} says no format; expected .bin, .vec, .txt or none, "
            f"or name one of {known}"
        )
    return _SUFFIXES[suffix]


# --- reading


def read_vectors(
    path: str | Path,
    binary: bool | None = None,
    errors: str = "surrogateescape",
    mapped: bool = False,
) -> tuple[list[str], np.ndarray]:
    """Read word vectors in any of FORMATS.

    binary : True or False promises word2vec's header and binary or decimal numbers after it; None
        looks at the beginning of the file
    errors : Python's name of the treatment of words that are not UTF-8: strict, replace, ignore, or
        surrogateescape, which keeps them, also the lone surrogates that `write_vectors` wrote
    mapped : leave the vectors of a folder on the disk, read-only
    returns the list of V words, and their vectors (V, D) float32, or as stored if mapped
    raises CheckpointError  if the file is missing or damaged, or its header promises more than its
        size allows
    """
    path = Path(path)
    if errors not in ERRORS:
        known = ", ".join(ERRORS)
        raise CheckpointError(f"errors is {errors!r}; expected one of {known}")
    if os.path.isdir(path):
        names, table = _read_folder(path, mapped)
    elif os.path.isfile(path):
        names, table = _read_file(path, binary)
    else:
        raise CheckpointError(
            f"there is no file {path}; give the path of word vectors, "
            "for example in word2vec's format"
        )
    return [_word(name, path, errors) for name in names], table


def _read_file(path: Path, binary: bool | None) -> Found:
    """Read a file of any format; binary : as in `read_vectors`."""
    with unpacked(path) as file:
        refuse_foreign(file, path)
        begin = len(BOM) if file.read(len(BOM)) == BOM else 0
        file.seek(begin)
        header = _header(file, path, required=binary is not None)
        if header is None:  # GloVe's
            file.seek(begin)
            return _read_lines(file, path, None)
        _check_size(file, path, header, binary=False)  # what any kind needs
        if binary is None:
            _, width = header
            binary = not _is_text(file, width)
        _check_size(file, path, header, binary)
        if binary:
            return _read_binary(file, path, header)
        return _read_lines(file, path, header)


def _word(name: bytes, path: Path, errors: str) -> str:
    """The word of a name in a file.   raises CheckpointError if a strict reader finds no UTF-8"""
    if errors == "surrogateescape":
        return spelled.to_word(name)
    try:
        return name.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: the word {name[:40]!r} is not UTF-8; choose errors 'replace', 'ignore' or "
            "'surrogateescape'"
        ) from error


def _header(file: BinaryIO, path: Path, required: bool) -> Header | None:
    """(V, D) of the first line; None if there is no such line and none is required."""
    try:
        line = file.readline(LONGEST_HEADER)
        count, width = (int(part) for part in line.split())
        if not line.endswith(b"\n"):
            raise ValueError
        return count, width
    except ValueError as error:
        is_empty = not path.stat().st_size
        if required or is_empty:
            raise CheckpointError(
                f"{path} does not begin with 'V D', the numbers of words and dimensions"
            ) from error
        return None


def _check_size(file: BinaryIO, path: Path, header: Header, binary: bool) -> None:
    """Raise CheckpointError if a file is too small for the promise of its header."""
    count, width = header
    size = os.fstat(file.fileno()).st_size
    if binary:
        shortest = 1 + 4 * width  # an empty word and its space, then float32
    else:
        shortest = 2 * width + 1  # a space and a digit for each number, a newline
    least = count * shortest - 1  # the last newline may be missing
    if count < 1 or width < 1 or least > size:
        raise CheckpointError(
            f"{path} promises {count} words of {width} dimensions, more than its size can hold; "
            "it is damaged or of the other kind (binary or text)"
        )


def _is_text(file: BinaryIO, width: int) -> bool:
    """Whether the next line is a word, however long, and `width` decimal numbers.

    The place in the file stays the same.
    """
    if width < 1:
        return False
    begin = file.tell()
    longest = LONGEST_NUMBER * (width + 1)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = data.find(b"\n", begin)
        if end < 0:
            end = len(data)
        line = data[max(begin, end - longest) : end]
    _, numbers = _parted(line, width)
    try:
        return len([float(number) for number in numbers]) == width
    except ValueError:
        return False


def _read_binary(file: BinaryIO, path: Path, header: Header) -> Found:
    """Read the words after a header; the file is mapped, which finds the end of a word quickly."""
    table = np.empty(header, np.float32)
    names = []
    begin = file.tell()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for row in table:
            space = data.find(b" ", begin)
            if space < 0:
                raise CheckpointError(
                    f"{path} ends inside a word, or is not a binary file of word vectors"
                )
            numbers = space + 1
            end = numbers + row.nbytes
            raw = data[numbers:end]
            if len(raw) != row.nbytes:
                raise CheckpointError(f"{path} ends inside the numbers of a word; copy it again")
            row[:] = np.frombuffer(raw, "<f4")
            names.append(data[begin:space].lstrip(b"\n"))
            begin = end
    return names, table


def _read_lines(file: BinaryIO, path: Path, header: Header | None) -> Found:
    """Read one word per line, which may hold spaces, and its decimal numbers.

    Without a header the first lines decide how many numbers a line has, and blank lines are
    skipped. White space of any kind stands between the numbers.
    """
    count, width = header or (None, None)
    names: list[bytes] = []
    known: dict[bytes, bytes] = {}  # equal words are kept once
    blocks = [np.empty((0, width or 0), np.float32)]
    lines = (line for line in file if header or not line.isspace())
    while chunk := list(islice(lines, LINES if count is None else min(LINES, count - len(names)))):
        if width is None:
            width = _width(chunk)
            if not width:
                raise CheckpointError(
                    f"{path} holds no word vectors: its lines do not end with numbers"
                )
            blocks.clear()
        found, rows = _parse(chunk, width, path)
        names += [known.setdefault(name, name) for name in found]
        blocks.append(rows)
    if not names or (count is not None and len(names) < count):
        promise = f", its header promises {count}" if header else ""
        raise CheckpointError(f"{path} ends after {len(names)} words{promise}; copy it again")
    return names, np.concatenate(blocks)


def _width(lines: list[bytes]) -> int:
    """How many numbers most lines end with; the first field of a line is never counted.

    >>> _width([b"new york 0.5 0.25", b"7 1 2", b"sea 1 2"])
    2
    """
    counts: Counter[int] = Counter()
    for line in lines:
        fields = line.split()
        numbers = 0
        while numbers < len(fields) - 1 and _is_number(fields[-1 - numbers]):
            numbers += 1
        counts[numbers] += 1
    return max(counts, key=lambda numbers: (counts[numbers], numbers))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _parted(line: bytes, width: int) -> tuple[bytes, list[bytes]]:
    """The word of a line and its last `width` fields.

    >>> _parted(b"new york\\t0.5 1 \\r\\n", 2)
    (b'new york', [b'0.5', b'1'])
    """
    parts = line.rsplit(None, width)
    if len(parts) == width and line[:1].isspace():  # the word is empty
        return b"", parts
    return parts[0] if parts else b"", parts[1:]


def _parse(lines: list[bytes], width: int, path: Path) -> Found:
    """The names and the numbers of some lines; raises CheckpointError if one is wrong"""
    names = []
    decimals: list[bytes] = []
    for line in lines:
        name, fields = _parted(line, width)
        if len(fields) != width or not width:
            raise _wrong(line, width, path)
        names.append(name)
        decimals += fields
    try:
        numbers = list(map(float, decimals))
    except ValueError:
        for line in lines:
            if not all(map(_is_number, _parted(line, width)[1])):
                raise _wrong(line, width, path) from None
        raise
    with np.errstate(over="ignore"):  # 1e999 and 1e99 are both infinite
        table = np.array(numbers, np.float32)
    return names, table.reshape(len(lines), width)


def _wrong(line: bytes, width: int, path: Path) -> CheckpointError:
    """The error for a line without enough numbers."""
    return CheckpointError(f"{path}: the line of {line[:40]!r} does not hold {width} numbers")


def _read_folder(path: Path, mapped: bool) -> Found:
    """Read a folder's words and table."""
    missing = [name for name in (TABLE, WORDS) if not os.path.isfile(path / name)]
    if missing:
        raise CheckpointError(f"{path} holds no word vectors (words.txt and vectors.npy)")
    with parsing(path, "a folder of word vectors, words.txt and vectors.npy", CheckpointError):
        # Mapping checks the header against the file's size before any memory is taken.
        table = np.lib.format.open_memmap(path / TABLE, mode="r")
        if table.dtype.kind != "f":
            raise ValueError(f"vectors.npy holds {table.dtype}, expected floats")
        lines = (path / WORDS).read_bytes()
    names = lines.removesuffix(b"\n").split(b"\n")
    if table.ndim != 2 or len(table) != len(names):
        raise CheckpointError(
            f"{path}: words.txt has {len(names)} words, vectors.npy the shape {table.shape}; "
            "the two do not belong together"
        )
    return names, table if mapped else np.array(table, np.float32)

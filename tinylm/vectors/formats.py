"""Files of word vectors, as word2vec, gensim, GloVe and fastText write them.

    word2vec    "V D\\n", then per word: the word, a space, D little-endian float32, "\\n" (the C program)
    gensim      the same without the last "\\n"
    text        "V D\\n", then per word: the word and D decimal numbers with spaces between, "\\n" (fastText: .vec)
    glove       the same without the first line
    folder      vectors.npy beside words.txt, one word per line: can be mapped from the disk instead of read

A reader that strips leading newlines from words reads both binary kinds. C programs end their text lines with a space.
What a format cannot hold of a word is in names.py.
Source: the released word2vec.c, glove.c and fastText; gensim 4.4.
"""

import mmap
from pathlib import Path

import numpy as np

from tinylm import files, folders
from tinylm.arguments import strings
from tinylm.errors import CheckpointError
from tinylm.vectors import names as spelled

VECTORS = "vectors.bin"  # what word vectors are called in a run folder
FORMATS = ("word2vec", "gensim", "text", "glove", "folder")
ERRORS = ("surrogateescape", "strict", "replace", "ignore")
TABLE, WORDS = "vectors.npy", "words.txt"  # of a folder
LONGEST_HEADER = 4096  # bytes of a first line "V D"
LONGEST_NUMBER = 64  # bytes of a decimal number, the space before it included
_SUFFIXES = {".bin": "word2vec", ".vec": "text", ".txt": "glove", "": "folder"}


def write_vectors(path, words, vectors, binary=True, form=None, overwrite=False):
    """Write word vectors, atomically: a folder's two files change together.

    words : V strings     vectors : (V, D), V and D at least 1, written as float32
    form : one of FORMATS; without it binary says "word2vec" or "text"
    overwrite : write into a folder that holds something, replacing word vectors; a file is always replaced
    returns {word: name} of the words that the format cannot hold as they are, see `names.changes`
    raises CheckpointError  if the counts differ, there are no numbers to write, for another form, or for a folder that
        holds something
    """
    words = strings(words, "words")
    form = form or ("word2vec" if binary else "text")
    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if len(words) != len(vectors):
        raise CheckpointError(
            f"write_vectors: got {len(words)} words and {len(vectors)} vectors, expected as many"
        )
    if form not in FORMATS:
        raise CheckpointError(
            f"there is no format {form!r} of word vectors; expected one of {', '.join(FORMATS)}"
        )
    if vectors.ndim != 2 or not vectors.size:
        raise CheckpointError(
            f"write_vectors: the vectors have the shape {vectors.shape}, expected (V, D), both at least 1"
        )
    changed = spelled.changes(words, form)
    names = [spelled.to_bytes(changed.get(word, word)) for word in words]
    if form == "folder":
        with folders.claim(path, replaces=(TABLE,), overwrite=overwrite) as folder:
            _write_folder(folder, names, vectors)
        return changed
    end = b"" if form == "gensim" else b"\n"
    with files.replacing(path) as part, open(part, "wb") as file:
        if form != "glove":
            file.write(f"{vectors.shape[0]} {vectors.shape[1]}\n".encode())
        for name, vector in zip(names, vectors, strict=True):
            numbers = (
                vector.tobytes()
                if form in ("word2vec", "gensim")
                else " ".join(map(repr, vector.tolist())).encode()
            )
            file.write(name + b" " + numbers + end)
    return changed


def _write_folder(folder, names, vectors):
    """The names, a line each, and the table, which is read first: so it is gone while the two are of different writes."""
    with files.together(folder, heads=(TABLE,)) as hidden:
        files.write_bytes(hidden / WORDS, b"".join(name + b"\n" for name in names))
        with files.replacing(hidden / TABLE) as part, open(part, "wb") as file:
            np.save(file, vectors, allow_pickle=False)


def format_of(path):
    """The format that a file's suffix suggests for writing: .bin, .vec, .txt (GloVe's), or none (a folder).

    raises CheckpointError  for another suffix
    """
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise CheckpointError(
            f"{path}: the suffix {suffix!r} says no format; expected .bin, .vec, .txt or none, "
            f"or name one of {', '.join(FORMATS)}"
        )
    return _SUFFIXES[suffix]


def read_vectors(path, binary=None, errors="surrogateescape", mapped=False):
    """Word vectors in any of FORMATS.

    binary : True or False says that the file has word2vec's header and what follows; None: the file's beginning decides
    errors : for words that are not UTF-8, as Python names it: strict, replace, ignore or surrogateescape (kept as they
        are, lone surrogates that `write_vectors` wrote too)
    mapped : of a folder, leave the vectors on the disk, read-only
    returns list of V words, (V, D) float32
    raises CheckpointError  if the file is missing, damaged, or its header promises more than its size allows
    """
    path = Path(path)
    if errors not in ERRORS:
        raise CheckpointError(f"errors is {errors!r}; expected one of {', '.join(ERRORS)}")
    if path.is_dir():
        return _read_folder(path, errors, mapped)
    if not path.is_file():
        raise CheckpointError(
            f"there is no file {path}; give the path of word vectors, for example in word2vec's format"
        )
    with open(path, "rb") as file:
        header = _header(file, path, required=binary is not None)
        if header is None:
            file.seek(0)
            names, table = _read_lines(file, path, None)
        else:
            binary = not _is_text(file, header[1]) if binary is None else binary
            _check(path, header, binary)
            names, table = (
                _read_binary(file, path, header) if binary else _read_lines(file, path, header)
            )
    return [_word(name, path, errors) for name in names], table


def _word(name, path, errors):
    try:
        return (
            spelled.to_word(name) if errors == "surrogateescape" else name.decode("utf-8", errors)
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path}: the word {name[:40]!r} is not UTF-8; choose errors 'replace', 'ignore' or "
            "'surrogateescape'"
        ) from error


def _header(file, path, required):
    """(V, D) of the first line; None where there is none and none is required."""
    try:
        line = file.readline(LONGEST_HEADER)
        count, width = (int(part) for part in line.split())
        if not line.endswith(b"\n"):
            raise ValueError
        return count, width
    except ValueError as error:
        if required or not path.stat().st_size:
            raise CheckpointError(
                f"{path} does not begin with 'V D', the numbers of words and dimensions"
            ) from error
        return None


def _check(path, header, binary):
    """Raise CheckpointError if a file is too small for what its header promises."""
    count, width = header
    least = count * (4 * width + 1 if binary else 2 * width + 2)  # bytes: word, space, numbers
    if count < 1 or width < 1 or least > path.stat().st_size + 1:
        raise CheckpointError(
            f"{path} promises {count} words of {width} dimensions, more than its size can hold; "
            "it is damaged or of the other kind (binary or text)"
        )


def _is_text(file, width):
    """Whether the next line is a word, however long, and so many decimal numbers; the place in the file stays."""
    if width < 1:
        return False
    begin = file.tell()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        line = data[max(begin, end - LONGEST_NUMBER * (width + 1)) : end]
    _, *numbers = line.rstrip(b" \r").rsplit(b" ", width)
    try:
        return len([float(number) for number in numbers]) == width
    except ValueError:
        return False


def _read_binary(file, path, header):
    """Names and table of a file whose header has been read; the file is mapped, so that words are found quickly."""
    count, width = header
    table, names, at = np.empty((count, width), np.float32), [], file.tell()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for row in table:
            end = data.find(b" ", at)
            if end < 0:
                raise CheckpointError(
                    f"{path} ends inside a word, or is not a binary file of word vectors"
                )
            raw = data[end + 1 : end + 1 + row.nbytes]
            if len(raw) != row.nbytes:
                raise CheckpointError(f"{path} ends inside the numbers of a word; copy it again")
            row[:] = np.frombuffer(raw, "<f4")
            names.append(data[at:end].lstrip(b"\n"))
            at = end + 1 + row.nbytes
    return names, table


def _read_lines(file, path, header):
    """Names and table of lines; without a header the first line says how many numbers a line has. A word may hold spaces."""
    names, rows, width = [], [], header[1] if header else None
    for line in file:
        line = line.rstrip(b" \r\n")
        if not line and header is None:
            continue
        width = line.count(b" ") if width is None else width
        name, *numbers = line.rsplit(b" ", width) if width else [line]
        try:
            with np.errstate(over="ignore"):  # 1e999 and 1e99 are both infinite
                rows.append(np.array([float(number) for number in numbers], np.float32))
            if len(numbers) != width or not width:
                raise ValueError
        except ValueError as error:
            raise CheckpointError(
                f"{path}: the line of {name[:40]!r} does not hold {width} numbers"
            ) from error
        names.append(name)
        if header and len(names) == header[0]:
            break
    if not names or (header and len(names) < header[0]):
        raise CheckpointError(
            f"{path} ends after {len(names)} words"
            + (f", its header promises {header[0]}" if header else "")
            + "; copy it again"
        )
    return names, np.stack(rows)


def _read_folder(path, errors, mapped):
    """A folder's words and table."""
    try:
        table = np.load(
            path / TABLE, mmap_mode="r", allow_pickle=False
        )  # so the header is held to the file's size
        if table.dtype.kind != "f":
            raise ValueError(f"vectors.npy holds {table.dtype}, expected floats")
        names = (path / WORDS).read_bytes().removesuffix(b"\n").split(b"\n")
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{path} holds no word vectors (words.txt and vectors.npy): {error}"
        ) from error
    if table.ndim != 2 or len(table) != len(names):
        raise CheckpointError(
            f"{path}: words.txt has {len(names)} words, vectors.npy the shape {table.shape}; "
            "the two do not belong together"
        )
    return [_word(name, path, errors) for name in names], table if mapped else np.array(table)

"""word2vec: our own folder (no published one exists) plus `vectors.bin`, which every word-vector program reads.

    text      "V D\\n", then per word: the word, a space, D numbers in decimal, "\\n"
    binary    "V D\\n", then per word: the word, a space, D little-endian float32, and "\\n" or nothing

The C program ends every word's numbers with a newline, gensim does not; a reader that strips leading newlines from words
reads both. We write the newline.
Source: Mikolov et al. 2013, the released word2vec.c; gensim.
"""

from pathlib import Path

import numpy as np

from tinylm import files, hub, text
from tinylm.errors import CheckpointError

VECTORS = "vectors.bin"
LAYOUT = ()  # every matrix is stored as we hold it
LONGEST_WORD = 4096  # bytes; a longer one is a damaged file


def to_config(config, end_id):
    """Nothing to add: the folder is ours."""
    return {}


def from_config(fields, config_class):
    """Our config from a config.json that we wrote."""
    return hub.fields_of(fields, config_class)


def shapes(config):
    """Iterator of (our name, stored name, shape): the two tables."""
    for table in ("vectors", "context"):
        yield table, table, (config.vocab_size, config.size)


def also(name):
    """The tables have one name only."""
    return ()


def export(path, model):
    """Write `vectors.bin` beside the weights, if the folder holds the words."""
    if text.find(path):
        write_vectors(path / VECTORS, text.load(path).vocab, model.embedding_table())


def write_vectors(path, words, vectors, binary=True):
    """Write word vectors in word2vec's format, atomically.

    words : V strings without spaces or newlines (a space or newline in one is written as "_")
    vectors : (V, D)
    raises CheckpointError if the counts differ
    """
    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if len(words) != len(vectors):
        raise CheckpointError(f"write_vectors: got {len(words)} words and {len(vectors)} vectors, expected as many")
    with files.replacing(path) as part, open(part, "wb") as file:
        file.write(f"{vectors.shape[0]} {vectors.shape[1]}\n".encode())
        for word, vector in zip(words, vectors, strict=True):
            name = "_".join(word.split()) or "_"
            numbers = vector.tobytes() if binary else " ".join(map(repr, vector.tolist())).encode()
            file.write(name.encode("utf-8", "surrogateescape") + b" " + numbers + b"\n")


def read_vectors(path, binary=True):
    """Word vectors as written by word2vec.c, gensim or `write_vectors`.

    returns list of V words (bytes that are not UTF-8 kept as surrogates), (V, D) float32
    raises CheckpointError if the file is missing, damaged, or its header promises more than its size allows
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give the path of word vectors in word2vec's format")
    with open(path, "rb") as file:
        try:
            count, width = (int(part) for part in file.readline(LONGEST_WORD).split())
        except ValueError as error:
            raise CheckpointError(f"{path} does not begin with 'V D', the numbers of words and dimensions") from error
        least = count * (4 * width + 2 if binary else 2 * width + 2)  # bytes: word, space, numbers
        if count < 1 or width < 1 or least > path.stat().st_size:
            raise CheckpointError(f"{path} promises {count} words of {width} dimensions, more than its size can hold; "
                                  "it is damaged or of the other kind (binary or text)")
        vectors = np.empty((count, width), np.float32)
        words = [(_read_binary if binary else _read_text)(file, path, row) for row in vectors]
    return words, vectors


def _read_binary(file, path, row):
    """One word; its numbers are written into `row`."""
    word = bytearray()
    while (character := file.read(1)) != b" ":
        if not character or len(word) > LONGEST_WORD:
            raise CheckpointError(f"{path} ends inside a word, or is not a binary file of word vectors")
        word += character
    raw = file.read(row.nbytes)
    if len(raw) != row.nbytes:
        raise CheckpointError(f"{path} ends inside the numbers of a word; copy it again")
    row[:] = np.frombuffer(raw, "<f4")
    return bytes(word).lstrip(b"\n").decode("utf-8", "surrogateescape")


def _read_text(file, path, row):
    """One line; its numbers are written into `row`."""
    word, *numbers = file.readline().rstrip(b" \r\n").split(b" ") or [b""]
    try:
        row[:] = [float(number) for number in numbers]
    except ValueError as error:
        raise CheckpointError(f"{path}: the line of {word[:40]!r} does not hold {len(row)} numbers") from error
    return word.decode("utf-8", "surrogateescape")

"""What may stand around word vectors: gzip, a byte order mark, and other programs' own formats.

Other formats are refused by their names, with the line that turns them into one that is read.
"""

import contextlib
import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tinylm.doors import parsing
from tinylm.errors import CheckpointError

BOM = b"\xef\xbb\xbf"  # the byte order mark that some programs put before UTF-8
GZIP = b"\x1f\x8b"
CHUNK = 2**20
# A packed file of vectors is a third to a half as large as its text. One that grows more than
# so many times, and by more than SLACK bytes, is none.
TIMES = 10
SLACK = 2**20
# The first bytes of other formats -> their name, and what to do.
FOREIGN = {
    b"\x80": (
        "a pickle, as gensim's save() writes it, which can run code when it is read",
        "write it with gensim: KeyedVectors.load(path).save_word2vec_format('vectors.vec')",
    ),
    b"\xba\x16\x4f\x2f": (
        "a model in fastText's own format",
        "write its vectors with the fasttext program: fasttext print-word-vectors",
    ),
    b"\x93NUMPY": (
        "an array of NumPy without its words",
        "give the folder that holds it as vectors.npy beside words.txt",
    ),
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"\x89HDF": ("an HDF5 file", "write its vectors as text, a word and its numbers per line"),
}
# A file whose first line begins so is not read as the words and numbers of GloVe's form.
STARTS = (BOM, GZIP, *FOREIGN)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """An open file of vectors; of a packed one, a temporary file with what it holds.

    raises CheckpointError  if a packed file is damaged, or holds far more than vectors would
    """
    with open(path, "rb") as file:
        is_packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not is_packed:
            yield file
            return
        with tempfile.TemporaryFile() as whole:
            most = TIMES * path.stat().st_size + SLACK
            with (
                parsing(path, "a file packed by gzip", CheckpointError),
                gzip.GzipFile(fileobj=file) as packed,
            ):
                _unpack(packed, whole, most)
            whole.seek(0)
            yield whole


def _unpack(packed: BinaryIO, whole: BinaryIO, most: int) -> None:
    """Copy all bytes.   raises ValueError for more than `most`"""
    while chunk := packed.read(CHUNK):
        most -= len(chunk)
        if most < 0:
            raise ValueError(f"it grows to more than {TIMES} times its size")
        whole.write(chunk)
    whole.flush()


def refuse_foreign(file: BinaryIO, path: Path) -> None:
    """Refuse a file in another program's own format; the place in the file stays the same.

    raises CheckpointError  that names the format
    """
    begin = file.tell()
    head = file.read(8)
    file.seek(begin)
    for magic, (name, advice) in FOREIGN.items():
        if head.startswith(magic):
            raise CheckpointError(f"{path} is {name}; {advice}")

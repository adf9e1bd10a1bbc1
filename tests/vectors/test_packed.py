"""Vectors in any dress: gzip, tabs, byte order marks; other programs' formats are refused by their names."""

import gzip
import pickle

import numpy as np
import pytest
from costs import cost_at_most

from tinylm.errors import CheckpointError
from tinylm.vectors import Vectors, read_vectors, write_vectors

WORDS = ["sea", "lake", "Brot"]
TABLE = np.arange(6, dtype=np.float32).reshape(3, 2)


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", ["text", "glove", "word2vec", "gensim"])
def test_packed_files_are_read_as_others(tmp_path, form):
    write_vectors(tmp_path / "v", WORDS, TABLE, form=form)
    packed = written(tmp_path / "v.vec.gz", gzip.compress((tmp_path / "v").read_bytes()))
    words, table = read_vectors(packed)
    assert words == WORDS
    np.testing.assert_array_equal(table, TABLE)


def test_a_packed_file_that_grows_without_end_or_is_cut_off_is_refused(tmp_path):
    bomb = gzip.compress(b"a 0\n" * 10_000_000)
    with pytest.raises(CheckpointError, match="grows to more than 10 times its size"):
        read_vectors(written(tmp_path / "bomb.gz", bomb))
    for content in (bomb[: len(bomb) // 2], bomb[:20], bomb[:10] + b"x" * 50):
        with pytest.raises(CheckpointError, match="gzip"):
            read_vectors(written(tmp_path / "cut.gz", content))


@pytest.mark.parametrize(
    "content",
    [
        b"3 2\nsea 0 1\nlake 2 3\nBrot 4 5\n",
        b"3 2\r\nsea 0 1\r\nlake 2 3\r\nBrot 4 5\r\n",
        b"\xef\xbb\xbf3 2\nsea 0 1\nlake 2 3\nBrot 4 5",
        b"3\t2\nsea\t0\t1\nlake\t2\t3\nBrot\t4\t5\n",
        b"3 2\nsea 0 1 \nlake 2\t3 \nBrot  4  5 \n",
        b"\xef\xbb\xbfsea\t0\t1\r\nlake\t2\t3\r\n\r\nBrot\t4\t5\r\n",
        b"sea 0 1\nlake 2 3\nBrot 4 5\n",
    ],
)
def test_separators_line_ends_and_marks_do_not_matter(tmp_path, content):
    words, table = read_vectors(written(tmp_path / "v", content))
    assert words == WORDS
    np.testing.assert_array_equal(table, TABLE)


def test_the_first_word_may_hold_spaces(tmp_path):
    words, table = read_vectors(written(tmp_path / "v", b"new york 0 1\nsea 2 3\n7 4 5\n"))
    assert words == ["new york", "sea", "7"]
    np.testing.assert_array_equal(table, TABLE)


def test_a_word_that_occurs_twice_is_said_and_the_first_vector_counts(tmp_path, capsys):
    vectors = Vectors.load(written(tmp_path / "v", b"sea 0 1\nlake 2 3\nsea 4 5\n"))
    assert vectors["sea"].tolist() == [0, 1]
    assert "1 words occur again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, name",
    [
        (pickle.dumps(WORDS), "a pickle, as gensim's save"),
        (b"\xba\x16\x4f\x2f" + bytes(50), "fastText's own format"),
        (b"\x93NUMPY\x01\x00", "an array of NumPy without its words"),
        (b"PK\x03\x04" + bytes(50), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ],
)
def test_other_programs_formats_are_refused_by_their_names(tmp_path, content, name):
    with pytest.raises(CheckpointError, match=name):
        read_vectors(written(tmp_path / "v", content))
    with pytest.raises(CheckpointError, match=name):
        read_vectors(written(tmp_path / "v.gz", gzip.compress(content)))


@pytest.mark.parametrize(
    "header", [b"9" * 21 + b" 2", b"2 " + b"9" * 21, b"-3 2", b"0 0", b"2 0", b"1000000 1000000"]
)
def test_a_header_that_promises_too_much_is_one_sentence(tmp_path, header):
    for content in (b"sea 0 1\nlake 2 3\n", b"sea " + bytes(8) + b"\n"):
        with pytest.raises(CheckpointError, match="promises|does not"):
            read_vectors(written(tmp_path / "v", header + b"\n" + content))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (",
     b"\x93NUMPY\x01\x00\x60\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 24
     + b", 2), }".ljust(30) + b"\n", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(40)],
    ids=range(6),
)  # fmt: skip
def test_a_damaged_table_is_one_sentence(tmp_path, content):
    write_vectors(tmp_path / "v", WORDS, TABLE, form="folder")
    written(tmp_path / "v" / "vectors.npy", content)
    with pytest.raises(
        CheckpointError, match="is damaged or not a folder of word vectors"
    ) as caught:
        read_vectors(tmp_path / "v")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "line", [b"sea 0\n", b"sea" + b" 0.25" * 30 + b"\n"], ids=["short", "long"]
)
def test_reading_lines_costs_as_much_as_there_are(tmp_path, line):
    n = 4_000_000 // len(line)
    once = written(tmp_path / "once", line * n)
    twice = written(tmp_path / "twice", line * (2 * n))
    cost_at_most(3, lambda: read_vectors(once), lambda: read_vectors(twice))

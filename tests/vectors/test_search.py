"""Vectors: known answers on vectors made by hand, agreement with gensim, and one sentence for every mistake."""

import io

import numpy as np
import pytest

from tinylm import Vectors
from tinylm.errors import CheckpointError, ShapeError, VocabularyError
from tinylm.vectors import FORMATS, read_vectors, search, write_vectors

ROYALS = {
    "king": (1, 1, 0),
    "queen": (1, -1, 0),
    "man": (0, 1, 0.2),
    "woman": (0, -1, 0.2),
    "tree": (0, 0, 1),
}


@pytest.fixture
def royals():
    return Vectors(list(ROYALS), np.array(list(ROYALS.values()), np.float32))


@pytest.fixture
def crowd():
    """Random vectors of 211 words."""
    return Vectors(
        [f"w{i}" for i in range(211)],
        np.random.default_rng(0).normal(size=(211, 13)).astype(np.float32),
    )


def test_king_and_woman_without_man_is_queen(royals):
    assert royals.most_similar(["king", "woman"], ["man"])[0][0] == "queen"
    assert royals.most_similar_cosmul(["king", "woman"], ["man"])[0][0] == "queen"
    assert royals.most_similar(royals["king"], n=1) == [
        ("king", pytest.approx(1))
    ]  # a vector names no word
    assert {word for word, _ in royals.most_similar("king", n=99)} == {
        "queen",
        "man",
        "woman",
        "tree",
    }
    assert {word for word, _ in royals.most_similar("king", n=99, restrict_vocab=3)} == {
        "queen",
        "man",
    }
    assert royals.similarity("king", "man") == pytest.approx(1 / (2 * 1.04) ** 0.5)


def test_the_tree_does_not_match(royals):
    assert royals.doesnt_match(["king", "man", "tree"]) == "tree"


def test_equal_words_are_the_first_of_them():
    vectors = Vectors(["a", "b", "a"], np.eye(3))
    assert vectors.id_of("a") == 0 and "b" in vectors and "c" not in vectors and len(vectors) == 3


def test_pairs_are_ranked_and_unknown_ones_left_out(royals):
    pairs = [
        ("King", "queen", 0.5),
        ("man", "KING", 9.0),
        ("tree", "woman", 8.0),
        ("king", "ghost", 3.0),
    ]
    found = royals.evaluate_word_pairs(pairs)
    cosines = [
        royals.similarity("king", "queen"),
        royals.similarity("man", "king"),
        royals.similarity("tree", "woman"),
    ]
    assert (np.argsort(cosines) == np.argsort([0.5, 9.0, 8.0])).all()
    assert found == {"spearman": pytest.approx(1), "pairs": 3, "covered": 0.75}
    none = royals.evaluate_word_pairs(pairs[3:])
    assert np.isnan(none["spearman"]) and none["covered"] == 0


def test_analogies_are_counted_by_section(royals):
    questions = [
        ("family", "man", "king", "woman", "queen"),
        ("family", "Woman", "Queen", "Man", "King"),
        ("other", "man", "king", "woman", "tree"),
        ("other", "man", "king", "woman", "ghost"),
    ]
    found = royals.evaluate_word_analogies(questions)
    assert found["sections"] == {
        "family": {"correct": 2, "questions": 2},
        "other": {"correct": 0, "questions": 1},
    }
    assert (found["correct"], found["questions"], found["covered"]) == (2, 3, 0.75)
    assert royals.evaluate_word_analogies(questions, unknown_is_wrong=True)["accuracy"] == 0.5
    assert royals.evaluate_word_analogies(questions, restrict_vocab=3)["questions"] == 0


def test_vectors_on_the_disk_answer_like_those_in_memory_in_blocks(crowd, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 17)
    crowd.save(tmp_path / "v")
    mapped = Vectors.load(tmp_path / "v", mapped=True)
    assert isinstance(mapped.table, np.memmap) and not mapped.table.flags.writeable
    assert [w for w, _ in mapped.most_similar("w3")] == [w for w, _ in crowd.most_similar("w3")]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_comes_back_and_is_recognised(tmp_path, form):
    words, table = (
        ["a", "größe", "1", "b c", "\udcc3"],
        np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32),
    )
    write_vectors(tmp_path / "v", words, table, form=form)
    names, back = read_vectors(tmp_path / "v")
    held = "b c" if form == "folder" else "b_c"
    assert names == ["a", "größe", "1", held, "\udcc3"]
    np.testing.assert_array_equal(back, table)
    assert read_vectors(tmp_path / "v", errors="ignore")[0][-1] == ""
    assert read_vectors(tmp_path / "v", errors="replace")[0][-1] == "\N{REPLACEMENT CHARACTER}"
    with pytest.raises(CheckpointError, match="not UTF-8"):
        read_vectors(tmp_path / "v", errors="strict")


def test_lines_as_c_programs_write_them_and_words_with_spaces_are_read(tmp_path):
    (tmp_path / "c").write_text("2 3\n</s> 1 2 3 \nab -1 0.5 1e-3 \n")
    assert read_vectors(tmp_path / "c")[0] == ["</s>", "ab"]
    (tmp_path / "g").write_text("the 1 2 3\n. . 4 5 6\n")  # as in the vectors of 840 billion words
    assert read_vectors(tmp_path / "g")[0] == ["the", ". ."]


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "does not begin"),
        (b"a 1 2\nb 1\n", "does not hold 2 numbers"),
        (b"word\n", "holds no word vectors"),
        (b"2 3\na 1 2 3\n", "more than its size|ends after 1 words"),
        (b"a one two\n", "holds no word vectors"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, content, sentence):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        read_vectors(tmp_path / "v")


def test_a_damaged_table_is_one_sentence_and_no_allocation(royals, tmp_path):
    royals.save(tmp_path, "folder")
    archive = io.BytesIO()
    np.savez(archive, table=np.ones((5, 3)))
    huge = (tmp_path / "vectors.npy").read_bytes().replace(b"(5, ", b"(9" + b"9" * 11 + b", ")
    for content in (
        b"",
        b"no table",
        huge,
        (tmp_path / "vectors.npy").read_bytes().replace(b"<f4", b"<U1"),
        archive.getvalue(),  # NumPy would open it and leave it open
    ):
        (tmp_path / "vectors.npy").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a folder of word vectors"):
            Vectors.load(tmp_path)


@pytest.mark.parametrize(
    "run, error, words",
    [
        (lambda v, p: v["ghost"], VocabularyError, "'ghost' is not one of the 5 words"),
        (lambda v, p: v.most_similar("kin"), VocabularyError, "similar words are 'king'"),
        (lambda v, p: v.most_similar([]), VocabularyError, "No word"),
        (lambda v, p: v.doesnt_match([]), VocabularyError, "No word"),
        (lambda v, p: v.most_similar([np.ones(2)]), ShapeError, r"\(2,\)"),
        (lambda v, p: v.save(p / "v.xyz"), CheckpointError, "suffix '.xyz'"),
        (lambda v, p: v.save(p / "v", "pickle"), CheckpointError, "no format 'pickle'"),
        (lambda v, p: Vectors.load(p), CheckpointError, "holds no word vectors"),
        (lambda v, p: Vectors.load(p, errors="loud"), CheckpointError, "errors is 'loud'"),
        (lambda v, p: Vectors([], np.ones((0, 3))), ShapeError, "V > 0"),
        (lambda v, p: Vectors(["a"], np.ones((2, 3))), ShapeError, "1 words and a table"),
    ],
)
def test_mistakes_get_one_clear_sentence(royals, tmp_path, run, error, words):
    with pytest.raises(error, match=words):
        run(royals, tmp_path)


def gensims(vectors):
    """The same vectors as gensim's KeyedVectors."""
    from gensim.models import KeyedVectors

    theirs = KeyedVectors(vectors.table.shape[1])
    theirs.add_vectors(vectors.words, np.array(vectors.table))
    return theirs


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside gensim
def test_gensim_gives_the_same_answers(crowd, tmp_path):
    theirs = gensims(crowd)
    for ours, other in (
        (crowd.most_similar, theirs.most_similar),
        (crowd.most_similar_cosmul, theirs.most_similar_cosmul),
    ):
        for question in ((["w1"], []), (["w1", "w2"], ["w3"])):
            names, scores = zip(*ours(*question), strict=True)
            expected, values = zip(*other(*question), strict=True)
            assert names == expected
            np.testing.assert_allclose(scores, values, rtol=1e-4)
    assert crowd.doesnt_match(["w1", "w2", "w3", "w4"]) == theirs.doesnt_match(
        ["w1", "w2", "w3", "w4"]
    )
    rng = np.random.default_rng(1)
    pairs = [
        (f"w{a}", f"w{b}", float(score)) for a, b, score in rng.integers(0, 230, (50, 3)) if a != b
    ]
    (tmp_path / "pairs").write_text("".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs))
    _, (spearman, _), missing = theirs.evaluate_word_pairs(str(tmp_path / "pairs"))
    found = crowd.evaluate_word_pairs(pairs)
    assert found["spearman"] == pytest.approx(spearman, abs=1e-6)
    assert 100 * (1 - found["covered"]) == pytest.approx(missing)


@pytest.mark.peer
def test_gensim_counts_the_same_analogies(crowd, tmp_path):
    rng, questions = np.random.default_rng(2), []
    for a, b, c in rng.integers(0, 211, (60, 3)):
        if len({a, b, c}) == 3:
            right = crowd.most_similar([f"w{b}", f"w{c}"], [f"w{a}"], n=2)[rng.integers(2)][0]
            questions.append(
                (
                    "even" if a % 2 else "odd",
                    f"w{a}",
                    f"w{b}",
                    f"w{c}",
                    right if c % 5 else "unknown",
                )
            )
    lines = [
        f": {name}\n" + "".join(" ".join(q[1:]) + "\n" for q in questions if q[0] == name)
        for name in ("even", "odd")
    ]
    (tmp_path / "questions").write_text("".join(lines))
    accuracy, sections = gensims(crowd).evaluate_word_analogies(str(tmp_path / "questions"))
    found = crowd.evaluate_word_analogies(questions)
    assert found["accuracy"] == pytest.approx(accuracy) and 0 < accuracy < 1
    for section in sections[:-1]:
        row = found["sections"][section["section"]]
        assert (row["correct"], row["questions"] - row["correct"]) == (
            len(section["correct"]),
            len(section["incorrect"]),
        )


@pytest.mark.peer
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # gensim leaves the file open
@pytest.mark.parametrize("form", ["word2vec", "gensim", "text", "glove"])
def test_gensim_reads_what_we_write(crowd, tmp_path, form):
    from gensim.models import KeyedVectors

    crowd.save(tmp_path / "v", form)
    options = dict(binary=form in ("word2vec", "gensim"), no_header=form == "glove")
    theirs = KeyedVectors.load_word2vec_format(tmp_path / "v", **options)
    np.testing.assert_array_equal(theirs.vectors, crowd.table)
    assert [w for w, _ in theirs.most_similar("w5")] == [w for w, _ in crowd.most_similar("w5")]


@pytest.mark.named_set
def test_evaluate_words_counts_every_pair_and_question_of_the_named_sets(tmp_path, capsys):
    import json

    from tinylm.app.cli import main
    from tinylm.data import load_analogies, load_similarity

    words = {
        w.lower()
        for name in ("wordsim353", "simlex999")
        for a, b, _ in load_similarity(name)
        for w in (a, b)
    }
    words = sorted(words | {w.lower() for _, *question in load_analogies() for w in question})
    table = np.random.default_rng(0).normal(size=(len(words), 23)).astype(np.float32)
    Vectors(words, table).save(tmp_path / "v")
    assert main(["evaluate-words", str(tmp_path / "v"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wordsim353"]["pairs"] == 353 and found["simlex999"]["covered"] == 1
    assert found["analogies"]["questions"] == 19_544 and len(found["analogies"]["sections"]) == 14
    assert abs(found["wordsim353"]["spearman"]) < 0.3 and found["analogies"]["accuracy"] < 0.01
    assert main(["evaluate-words", str(tmp_path / "v"), "--restrict", "2"]) == 0
    assert "nan" in capsys.readouterr().out


@pytest.mark.parametrize("table", [np.array([[1, 0], [0, 1]]), [[1, 0], [0.0, 1]]])
def test_a_table_of_other_numbers_becomes_floats(table):
    vectors = Vectors(["sea", "lake"], table)
    found = vectors.most_similar(np.array([0.6, 0.8]))
    assert [word for word, _ in found] == ["lake", "sea"]
    np.testing.assert_allclose([cosine for _, cosine in found], [0.8, 0.6], rtol=1e-6)


@pytest.mark.parametrize("table", [[["a"], ["b"]], [[1.0], [1.0, 2.0]], None])
def test_a_table_of_no_numbers_is_refused(table):
    with pytest.raises(ShapeError, match="Vectors:"):
        Vectors(["sea", "lake"], table)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("wrong", [1e39, np.nan, -np.inf])
def test_numbers_that_no_reader_takes_are_not_written(form, wrong, tmp_path):
    with pytest.raises(CheckpointError, match="the vector of 'lake' holds NaN, infinity"):
        write_vectors(tmp_path / "v", ["sea", "lake"], [[1.0, 2.0], [3.0, wrong]], form=form)
    assert not list(tmp_path.iterdir())


def test_a_text_that_holds_no_vectors_is_called_so(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("paris late anna late the calm a in late\n")
    with pytest.raises(CheckpointError, match="holds no word vectors: its lines do not end with"):
        read_vectors(path)

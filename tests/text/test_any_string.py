"""What an encoding writes it can read, for any string that Python can hold, or it refuses before any work is done."""

import copy
import functools
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinylm import text
from tinylm.errors import DataError, VocabularyError
from tinylm.files import HALVES
from tinylm.text import BPE, Bytes, Chars, ElmoWords, Unigram, WordPiece, Words
from tinylm.text.formats import tokenizer_json
from tinylm.text.formats.protobuf import CONTROL, NORMAL, UNKNOWN, USER
from tinylm.text.spelling import BYTES, EndOfWord, Metaspace

ANY_CHARACTER = st.one_of(
    st.characters(exclude_categories=()),
    st.sampled_from("ab_ \t\n\r\x0b\x1c\x85\u00a0\u2028\u3000\ufeff\0é1.<>▁Ġ#東"),
    st.sampled_from("\ud83d\ude00\udcc3\udca9"),
)
ANY_TEXT = st.text(ANY_CHARACTER, max_size=20)
NAMES = st.lists(st.text(ANY_CHARACTER, max_size=7), max_size=5)
TEXTS = ["the cat sat on the mat", "the dog"]

TRAINED = {
    "chars": lambda t: Chars.train([t, "a"]),
    "words": lambda t: Words.train([t, "a"]),
    "lower phrases": lambda t: Words.train([t, t, t, "a b"], lower=True, phrases=1),
    "rules": lambda t: Words.train([t, "a"], rules=True),
    "elmo": lambda t: ElmoWords.train([t, "a"]),
    "bpe": lambda t: BPE.train([t, t, "a"], 290, exact=False),
    "gpt1": lambda t: BPE.train([t, t, "a"], 90, exact=False, spelling=EndOfWord()),
    "pieces": lambda t: BPE.train([t, t, "a"], 90, exact=False, spelling=Metaspace()),
    "wordpiece": lambda t: WordPiece.train([t, t, "a"], 90, exact=False),
    "cased wordpiece": lambda t: WordPiece.train([t, t, "a"], 90, exact=False, lower=False),
    "unigram": lambda t: Unigram.train([t, "a"], 90, exact=False),
    "bytes": lambda t: Bytes(),
}
MADE = {
    "chars": lambda names: Chars(names),
    "words": lambda names: Words(names),
    "phrases": lambda names: Words(["a"], phrases=[frozenset((name, "b") for name in names)]),
    "elmo": lambda names: ElmoWords(names),
    "wordpiece": lambda names: WordPiece([*names, "[UNK]", "a"]),
    "unigram": lambda names: Unigram(
        [("<unk>", 0.0, UNKNOWN), *((n, -1.0, (NORMAL, USER, CONTROL)[len(n) % 3]) for n in names)]
    ),
    "symbols": lambda names: BPE.train(TEXTS, 99, exact=False, spelling=Metaspace(symbols=names)),
    "bpe specials": lambda names: BPE.train(TEXTS, 290, specials=tuple(names), exact=False),
    "gpt1 specials": lambda names: BPE.train(
        TEXTS, 99, specials=("<unk>", *names), exact=False, spelling=EndOfWord()
    ),
    "pieces specials": lambda names: BPE.train(
        TEXTS, 99, specials=("<unk>", *names), exact=False, spelling=Metaspace()
    ),
}


def same(a, b, texts):
    """Both have the same tokens and do the same with texts."""
    assert a.vocab == b.vocab and a.specials == b.specials and a.added == b.added
    assert (a.unk_id, a.pad_id, a.end_id) == (b.unk_id, b.pad_id, b.end_id)
    for t in texts:
        assert a.encode(t) == b.encode(t) and a.offsets(t) == b.offsets(t)


def check(encoding, texts=()):
    """The encoding comes back from its own files, and from tokenizer.json where that can hold it."""
    with tempfile.TemporaryDirectory() as folder:
        encoding.save(folder)
        for path in Path(folder).glob("*"):
            assert path.suffix == ".model" or path.read_bytes().decode()  # valid UTF-8
        same(encoding, text.load(folder), (*TEXTS, *texts))
    if isinstance(encoding, (BPE, WordPiece, Unigram)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                tokenizer_json.save(encoding, folder)
            except (VocabularyError, DataError):
                assert not list(Path(folder).iterdir())
                return
            assert text.load(folder).vocab == encoding.vocab


@pytest.mark.parametrize("kind", TRAINED)
@given(ANY_TEXT)
@example("\ud83d")
@example("\ud83d\ude00 \ud83d\ude00")
@example("a\u2028\x85\ufeffb\r\n\0")
def test_what_was_learned_from_any_text_comes_back(kind, t):
    try:
        encoding = TRAINED[kind](t)
    except VocabularyError as error:  # a vocabulary too small for the text, or a NUL in pieces
        assert "vocab_size" in str(error) or "NUL" in str(error)
        return
    check(encoding, [t])


@pytest.mark.parametrize("kind", MADE)
@given(NAMES)
@example(["\ud83d"])
@example(["\ud83d\ude00"])
@example(["a\nb"])
@example(["a\r"])
@example(["\ufeffa"])
@example(["a\u2028b\x85"])
@example([""])
@example(["the"])
@example(["x"])
@example(["<a b>"])
@example(["a\u2581b"])
@example(["a", "a"])
@example(["000000 "])
def test_a_vocabulary_of_any_strings_comes_back_or_is_refused_when_it_is_made(kind, names):
    try:
        encoding = MADE[kind](names)
    except VocabularyError:
        return
    check(encoding, names)


@pytest.mark.parametrize("kind", [*TRAINED])
@given(st.text(ANY_CHARACTER, max_size=7))
@example("a\nb")
@example("\ud83d")
@example("\ud83d\ude00")
@example("")
@example("0EOS0")
def test_an_added_special_comes_back_or_is_refused_when_it_is_added(kind, name):
    encoding = TRAINED[kind]("the cat")
    before = list(encoding.vocab)
    try:
        encoding.add_specials([name])
    except VocabularyError:
        assert encoding.vocab == before
        return
    check(encoding)


@pytest.mark.parametrize("spelling", [BYTES, EndOfWord(), Metaspace()])
@pytest.mark.parametrize("name", ["the", "x", "", "a\ud83d\ude00.b"])
def test_a_special_that_no_file_could_give_back_is_refused_before_the_text_is_read(spelling, name):
    def texts():
        raise AssertionError("the text was read")
        yield

    if isinstance(spelling, Metaspace) and HALVES.search(name):
        return  # its model holds any string
    with pytest.raises(VocabularyError):
        BPE.train(texts(), 300, specials=("<unk>", name), spelling=spelling)


@pytest.mark.parametrize("kind", ["words", "elmo", "chars"])
def test_a_very_long_word_comes_back(kind):
    check(TRAINED[kind]("a " + "b" * 1_000_000), ["b" * 1_000_000])


def test_a_vocabulary_too_large_to_be_read_again_is_refused_when_it_is_made(monkeypatch):
    monkeypatch.setattr("tinylm.files.LARGEST_JSON", 10_000)
    with pytest.raises(VocabularyError, match="its longest token has 10,000 characters"):
        Words.train(["a " + "b" * 10_000])
    check(Words.train(["a " + "b" * 5_000]))


ROLES = ("<pad>", "<unk>", "<s>", "</s>", "<eos>", "<|endoftext|>", "<x>", "<y>")
ROLES += ("[PAD]", "[SEP]", "[CLS]", "[MASK]", "[UNK]", "<bos/>")
WITHOUT = {  # vocabularies that lack roles, which tokens that are added can take
    "bare bytes": lambda t: BPE.train([t], 290, specials=(), exact=False),
    "bare wordpiece": lambda t: WordPiece(["[UNK]", "t", "##h", "##e"]),
    "named wordpiece": lambda t: WordPiece(["[UNK]", "t", "[SEP]", "##e"]),
    "bare unigram": lambda t: Unigram(
        [("<unk>", 0.0, UNKNOWN), *((c, -1.0, NORMAL) for c in "▁thecas")]
    ),
}


@functools.cache
def of_cat(kind):
    """An encoding of a kind, learned from two words."""
    return (TRAINED | WITHOUT)[kind]("the cat")


def behaves(a, b):
    """Both have the same tokens, roles and template, and make the same inputs of texts."""
    same(a, b, TEXTS)
    assert sorted(a.special_ids) == sorted(b.special_ids)
    assert a.template == b.template
    for special in ("none", "all"):
        for t in (*TEXTS, "the " + " ".join(a.specials)):
            assert a.encode(t, special) == b.encode(t, special)
    if set(a.template.single.split()) - {"A"} <= set(a.vocab):
        one = a(TEXTS, max_length=5)
        other = b(TEXTS, max_length=5)
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)
    assert a.decode(range(a.vocab_size)) == b.decode(range(a.vocab_size))


def again(encoding):
    """The encoding after its own files."""
    with tempfile.TemporaryDirectory() as folder:
        encoding.save(folder)
        return text.load(folder)


@pytest.mark.parametrize("kind", [*TRAINED, *WITHOUT])
@settings(max_examples=15)
@given(
    names=st.lists(st.sampled_from(ROLES), max_size=4, unique=True),
    end=st.none() | st.integers(0, 6),
    pad=st.none() | st.integers(0, 6),
    arranged=st.booleans(),
)
@example(names=["<pad>"], end=None, pad=4, arranged=False)
@example(names=["<x>", "</s>"], end=None, pad=None, arranged=False)
@example(names=["[PAD]"], end=5, pad=2, arranged=True)
def test_all_special_ids_and_the_template_survive_the_files(kind, names, end, pad, arranged):
    encoding = copy.deepcopy(of_cat(kind))
    encoding.add_specials(name for name in names if name not in encoding.vocab)
    if arranged:
        encoding.arrange(text.Template("A <x>" if "<x>" in encoding.vocab else "A A"))
    if end is not None:
        encoding.end_id = end % encoding.vocab_size
    if pad is not None:
        encoding.pad_id = pad % encoding.vocab_size
    behaves(again(encoding), encoding)
    behaves(again(again(encoding)), encoding)


@pytest.mark.parametrize("kind", ["bpe", "gpt1", "pieces", "wordpiece", "unigram"])
@settings(max_examples=15)
@given(
    names=st.lists(st.sampled_from(ROLES), max_size=4, unique=True),
    pad=st.none() | st.integers(0, 6),
    arranged=st.booleans(),
)
@example(names=["<pad>"], pad=None, arranged=False)
@example(names=["<x>"], pad=4, arranged=True)
def test_all_special_ids_and_the_template_survive_tokenizer_json(kind, names, pad, arranged):
    encoding = copy.deepcopy(of_cat(kind))
    encoding.add_specials(name for name in names if name not in encoding.vocab)
    if arranged and "<x>" in encoding.vocab:
        encoding.arrange(text.Template("A <x>"))
    if pad is not None:
        encoding.pad_id = pad % encoding.vocab_size
    with tempfile.TemporaryDirectory() as folder:
        tokenizer_json.save(encoding, folder)
        loaded = text.load(folder)
    assert loaded.vocab == encoding.vocab
    assert (loaded.unk_id, loaded.pad_id, loaded.end_id) == (
        encoding.unk_id,
        encoding.pad_id,
        encoding.end_id,
    )
    assert sorted(loaded.special_ids) == sorted(encoding.special_ids)
    assert loaded.template == encoding.template
    if kind not in ("pieces", "unigram"):  # their own file holds other scores
        behaves(again(loaded), loaded)


@pytest.mark.parametrize("kind", [*TRAINED])
@pytest.mark.parametrize("role", ["pad_id", "end_id"])
@pytest.mark.parametrize("i", [-1, 10**9, "a", 0.5])
def test_a_role_that_no_token_has_is_refused_before_anything_is_written(kind, role, i, tmp_path):
    encoding = copy.deepcopy(of_cat(kind))
    setattr(encoding, role, i)
    for refuse in (encoding.check_storable, lambda: encoding.save(tmp_path)):
        with pytest.raises(VocabularyError, match=f"{role} is .*expected the id of a token"):
            refuse()
    assert not list(tmp_path.iterdir())


def test_a_token_for_padding_that_is_added_pads():
    encoding = TRAINED["gpt1"]("the cat")
    encoding.add_specials(["<pad>"])
    assert encoding.pad_id == again(encoding).pad_id == encoding.vocab_size - 1
    assert encoding(["the cat", "a"])["ids"][1, -1] == encoding.pad_id
    other = TRAINED["gpt1"]("the cat")
    other.end_id = 5
    other.add_specials(["</s>"])
    assert other.end_id == again(other).end_id == 5  # who chose it keeps it

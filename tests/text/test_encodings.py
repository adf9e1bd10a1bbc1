"""Laws that hold for every encoding, and those of characters and words."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import text
from tinylm.errors import ArgumentError, DataError, TinylmError, VocabularyError
from tinylm.text import Template
from tinylm.text.formats.settings import HEADS
from tinylm.text.spelling import EndOfWord, Metaspace

TEXTS = [
    "the cat sat on the mat, the dog sat on the log.",
    "the cat isn't the dog; the mat isn't the log!",
    "αβγ αβγ 東京 東京",
]
KINDS = ["bpe", "wordpiece", "unigram", "words", "chars"]
MORE = {
    "gpt1": lambda: text.BPE.train(TEXTS, 300, exact=False, spelling=EndOfWord()),
    "pieces": lambda: text.BPE.train(TEXTS, 300, exact=False, spelling=Metaspace()),
    "bytes": text.Bytes,
    "elmo": lambda: text.ElmoWords.train(TEXTS),
    "rules": lambda: text.Words.train(TEXTS, rules=True, phrases=1),
}


def make(kind):
    return MORE[kind]() if kind in MORE else text.learn(kind, list(TEXTS), 300)


@pytest.fixture(params=[*KINDS, *MORE])
def encoding(request):
    found = make(request.param)
    found.kind_here = request.param
    return found


def test_saved_encoding_is_loaded_as_itself(encoding, tmp_path):
    encoding.save(tmp_path)
    loaded = text.load(tmp_path)
    assert type(loaded) is type(encoding)
    assert loaded.vocab == encoding.vocab and loaded.specials == encoding.specials
    assert (loaded.unk_id, loaded.pad_id, loaded.end_id) == (
        encoding.unk_id,
        encoding.pad_id,
        encoding.end_id,
    )
    assert loaded.encode(TEXTS[1]) == encoding.encode(TEXTS[1])
    assert set(encoding.files) <= {path.name for path in tmp_path.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_training_is_deterministic_and_saves_the_same_bytes(encoding, tmp_path):
    encoding.save(tmp_path / "a")
    make(encoding.kind_here).save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_batch_equals_one_by_one(encoding):
    rows = encoding.encode_batch([*TEXTS, ""])
    assert [row.tolist() for row in rows] == [encoding.encode(t) for t in [*TEXTS, ""]]
    assert all(row.dtype == np.int32 for row in rows)


def test_many_texts_are_encoded_alike_in_portions_and_with_a_full_cache(encoding, monkeypatch):
    texts = [*TEXTS, "", *(f"w{i} x{i}y cat{i} {'cat' * i}" for i in range(40))]
    wanted = [encoding.encode(t) for t in texts]
    for limit, value in (("AT_ONCE", 50), ("CACHE_WORDS", 7)):
        monkeypatch.setattr(f"tinylm.text.wordcache.{limit}", value)
        assert [row.tolist() for row in make(encoding.kind_here).encode_batch(texts)] == wanted


def test_tokens_are_the_vocabulary_entries_and_offsets_cover_them(encoding):
    for t in TEXTS:
        ids, tokens, offsets = encoding.encode(t), encoding.tokens(t), encoding.offsets(t)
        assert len(ids) == len(tokens) == len(offsets)
        assert [encoding.token_id(token) for token in tokens] == ids
        assert all(0 <= start < end <= len(t) for start, end in offsets)
        assert offsets == sorted(offsets)


def test_calling_pads_on_the_right_and_cuts(encoding):
    encoding.template = Template()
    batch = encoding([TEXTS[0], "the", ""], max_length=7)
    ids, mask = batch["ids"], batch["mask"]
    assert ids.shape == mask.shape == (3, 7) and ids.dtype == np.int64 and mask.dtype == bool
    assert ids[0].tolist() == encoding.encode(TEXTS[0])[:7]
    n = len(encoding.encode("the"))
    assert mask.sum(axis=1).tolist() == [7, n, 0]
    assert (ids[1, n:] == encoding.pad_id).all()
    assert encoding("the")["ids"].shape == (1, n)


def test_every_encoding_takes_any_template_and_padding_on_the_left(encoding):
    encoding.add_specials(["<start>", "<sep>", "<cls>"])
    encoding.template = Template(
        "<start> A", "A <sep> B:1 <sep>:1 <cls>:2", typed=True, pad_type=3, pad_left=True
    )
    batch = encoding(["the cat", "the"], ["the dog the dog", "the"])
    a, b = encoding.encode("the cat"), encoding.encode("the dog the dog")
    start, sep, cls = (encoding.token_id(name) for name in ("<start>", "<sep>", "<cls>"))
    assert batch["ids"][0].tolist() == [*a, sep, *b, sep, cls] and batch["mask"][0].all()
    assert batch["token_types"][0].tolist() == [0] * (len(a) + 1) + [1] * (len(b) + 1) + [2]
    missing = batch["ids"].shape[1] - int(batch["mask"][1].sum())
    assert not batch["mask"][1, :missing].any() and batch["mask"][1, missing:].all()
    assert (batch["token_types"][1, :missing] == 3).all() and (
        batch["ids"][1, :missing] == encoding.pad_id
    ).all()
    assert encoding("the")["ids"][0].tolist() == [start, *encoding.encode("the")]
    with pytest.raises(VocabularyError, match="already a token"):
        encoding.add_specials(["<sep>"])


def test_added_specials_are_the_same_ids_after_saving(encoding, tmp_path):
    encoding.save(tmp_path)
    plain = text.load(tmp_path)
    encoding.add_specials(["<sep>", "<cls>"])
    encoding.save(tmp_path)
    again = text.load(tmp_path)
    assert again.vocab == encoding.vocab and set(again.specials) == set(encoding.specials)
    assert again.encode("the<cls>", special="all")[-1] == encoding.token_id("<cls>")
    assert (again.end_id, again.pad_id, again.unk_id) == (plain.end_id, plain.pad_id, plain.unk_id)
    (tmp_path / "added_tokens.json").write_text('{"<sep>": 0}', encoding="utf-8")
    with pytest.raises(DataError, match="says that '<sep>' has the id 0"):
        text.load(tmp_path)
    plain.save(tmp_path)
    assert text.load(tmp_path).vocab == plain.vocab


def test_an_option_that_a_kind_does_not_have_is_one_sentence():
    with pytest.raises(VocabularyError, match="'bpe' has no option 'min_count'; it has none"):
        text.learn("bpe", ["the cat"], min_count=3)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(3, 25))
def test_the_longer_text_of_a_pair_is_cut(n, m, length):
    template = Template("<s> A", "<s> A <d> B <c>")
    first, second = list(range(n)), list(range(100, 100 + m))
    ids, _ = template.assemble(first, second, {"<s>": -1, "<d>": -2, "<c>": -3}.get, length)
    assert len(ids) == min(length, n + m + 3)
    a, b = ids[1 : ids.index(-2)], ids[ids.index(-2) + 1 : -1]
    assert a == first[: len(a)] and b == second[: len(b)]
    assert len(a) == n or len(a) + 1 >= len(b)
    assert len(b) == m or len(b) + 1 >= len(a)


def test_what_a_call_cannot_do_is_one_sentence(encoding):
    encoding.template = Template()
    with pytest.raises(VocabularyError, match="no template for pairs"):
        encoding("a", "b")
    encoding.template = Template("A", "A B")
    with pytest.raises(VocabularyError, match="2 texts but 1 second"):
        encoding(["a", "b"], ["c"])
    encoding.add_specials(["<b>", "<c>"])
    encoding.template = Template("<b> A <c>")
    with pytest.raises(VocabularyError, match="max_length is 1"):
        encoding("the", max_length=1)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_training_text_is_one_sentence(kind):
    for texts in ([], [""], ["", ""]):
        with pytest.raises(VocabularyError, match="training text is empty"):
            text.learn(kind, texts, 300)


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_too_small_for_the_kind_names_the_least(kind):
    with pytest.raises(VocabularyError, match="need at least"):
        text.learn(kind, TEXTS, 3)


def test_id_outside_the_vocabulary_is_refused(encoding):
    for wrong in (encoding.vocab_size, -1):
        with pytest.raises(VocabularyError, match="does not exist"):
            encoding.decode([0, wrong])


def test_unknown_token_names_similar_ones():
    with pytest.raises(VocabularyError, match="'cat'"):
        text.learn("words", TEXTS, 100).token_id("catt")


def test_unknown_kind_and_empty_folder_name_what_there_is(tmp_path):
    with pytest.raises(VocabularyError, match="chars, bytes, words, elmo, bpe, wordpiece, unigram"):
        text.learn("syllables", TEXTS, 300)
    with pytest.raises(DataError, match="words.json"):
        text.load(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "words.json",
        "chars.json",
        "vocab.json",
        "merges.txt",
        "vocab.txt",
        "spiece.model",
        "tokenizer.model",
        "elmo.json",
        "bytes.json",
    ],
)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b'{"type": "words", "vocab": ["a", "a"]}', b"\xff\xfe", b"a b c"],
)
def test_damaged_file_is_one_sentence(name, content, tmp_path):
    for kind in (*KINDS, *set(MORE) - {"gpt1"}):
        make(kind).save(tmp_path / kind)
    folder = next(path.parent for path in tmp_path.rglob(name))
    if (name, content) == ("merges.txt", b""):
        return  # no merges: a vocabulary of bytes, and every other token is special
    (folder / name).write_bytes(content)
    with pytest.raises(TinylmError) as caught:
        text.load(folder)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_second_file_of_bpe_is_named(tmp_path):
    text.learn("bpe", TEXTS, 300).save(tmp_path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(DataError, match="vocab.json"):
        text.load(tmp_path)


@given(st.text(alphabet=st.sampled_from(sorted(set("".join(TEXTS)))), max_size=50))
def test_characters_round_trip_on_trained_characters(t):
    chars = text.learn("chars", TEXTS, 300)
    assert chars.decode(chars.encode(t)) == t


def test_unseen_character_is_unknown():
    chars = text.Chars.train("abc")
    assert chars.encode("axb") == [chars.token_id("a"), chars.unk_id, chars.token_id("b")]


def test_words_are_ordered_by_count_then_alphabetically():
    words = text.Words.train(["b a c b a d b", "d , b"])
    assert words.vocab == ["<unk>", "<pad>", "<eos>", "b", "a", "d", ",", "c"]


def test_words_min_count_and_size_bound_the_vocabulary():
    assert text.Words.train(["a a a b b c"], min_count=2).vocab[3:] == ["a", "b"]
    assert text.Words.train(["a a a b b c"], vocab_size=4).vocab[3:] == ["a"]
    with pytest.raises(VocabularyError, match="min_count = 4"):
        text.Words.train(["a a a b b c"], min_count=4)


def test_lower_case_keeps_offsets_even_where_it_is_longer():
    words = text.Words.train(["İstanbul The the"], lower=True)
    assert words.token_id("the") == 3
    assert words.offsets("The İstanbul the") == [(0, 3), (4, 12), (13, 16)]
    assert words.unk_id not in words.encode("THE İstanbul")


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_a_special_token_is_ordinary_text(kind):
    encoding = text.learn(kind, ["<unk> <pad> <eos> <|endoftext|> <unk>"], 300)
    special_ids = {encoding.token_id(name) for name in encoding.specials}
    assert encoding.specials and not special_ids & set(
        encoding.encode("<unk> <pad> <eos> <|endoftext|>")
    )


def test_own_vocabulary_files_are_json_people_can_read(tmp_path):
    text.Words.train(["naïve naïve b"], lower=True).save(tmp_path)
    stored = json.loads((tmp_path / "words.json").read_text(encoding="utf-8"))
    assert stored == {"type": "words", "lower": True, "marks": True, "vocab": ["naïve", "b"]}
    assert "naïve" in (tmp_path / "words.json").read_text(encoding="utf-8")


def test_of_a_characters_bytes_only_the_first_begins_a_word():
    starts = text.Bytes().word_starts("éa béb")
    assert starts.tolist() == [True, False, False, True, True, False, False, False]
    pairs = text.BPE.train(["a b"], 257, exact=False)
    assert pairs.word_starts("éa").tolist()[:3] == [True, False, False]


KINDS_OF_FILES = {
    "words": lambda: text.Words(["the"]),
    "chars": lambda: text.Chars("abc"),
    "bytes": lambda: text.Bytes(),
    "wordpiece": lambda: text.WordPiece.train(["the cat"], 30, exact=False),
    "bpe": lambda: text.BPE.train(["the cat"], 260, exact=False),
    "unigram": lambda: text.Unigram.train(["the cat sat on the mat"], 30, exact=False),
}


@pytest.mark.parametrize("old", KINDS_OF_FILES)
@pytest.mark.parametrize("new", KINDS_OF_FILES)
def test_an_encoding_takes_the_place_of_the_one_in_its_folder(old, new, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    KINDS_OF_FILES[old]().save(tmp_path)
    KINDS_OF_FILES[new]().save(tmp_path)
    assert type(text.load(tmp_path)) is type(KINDS_OF_FILES[new]())
    assert (tmp_path / "notes.txt").exists()


def test_every_file_by_which_an_encoding_is_known_is_in_the_list():
    assert sorted(HEADS) == sorted([*text.NAMES, *text._LOADERS])


def test_settings_of_another_programs_encoding_do_not_stay(encoding, tmp_path):
    """They would name tokens and roles that the new one does not have."""
    names = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    for name in names:
        (tmp_path / name).write_text(
            '{"added_tokens_decoder": {"50256": {"content": "<|endoftext|>"}}}'
        )
    (tmp_path / "vocab.json").write_text("{}")
    encoding.save(tmp_path)
    assert text.load(tmp_path).vocab == encoding.vocab


@pytest.mark.parametrize("kind", ["chars", "words", "elmo", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("among", [None, float("nan"), ["a", "b"], b"bytes"])
@pytest.mark.parametrize("as_given", [list, iter])
def test_a_text_that_is_no_string_is_named(kind, among, as_given):
    """As a column of a table has them."""
    with pytest.raises(ArgumentError, match=r"texts\[1\] is .*, of type \w+; expected a string"):
        text.learn(kind, as_given(["some words", among]), 300)


def test_names_of_special_tokens_are_added_all_or_none(encoding):
    before = list(encoding.vocab)
    for names in (["<new>", before[-1]], ["<new>", "<new>"], ["<new>", ""]):
        with pytest.raises(VocabularyError, match="choose another name"):
            encoding.add_specials(names)
        assert encoding.vocab == before
    encoding.add_specials(["<new>"])
    assert encoding.vocab == [*before, "<new>"]


@pytest.mark.parametrize("make", [
    lambda vocab: text.WordPiece(vocab),
    lambda vocab: text.BPE(vocab, [("h", "u")], specials=()),
])  # fmt: skip
def test_an_encoding_keeps_its_own_list_of_tokens(make):
    vocab = ["[UNK]", "h", "u", "hu"]
    one, two = make(vocab), make(tuple(vocab))
    one.add_specials(["<x>"])
    two.add_specials(["<y>"])
    assert vocab == ["[UNK]", "h", "u", "hu"]
    assert one.vocab == [*vocab, "<x>"] and two.vocab == [*vocab, "<y>"]


def test_no_input_is_longer_than_max_length_though_a_text_stands_twice():
    letters = text.Chars("ab")
    letters.arrange(Template("A A", "A <eos> B B"))
    assert letters(["abab"], max_length=3)["ids"].tolist() == [[3, 3]]
    assert letters(["ab"], ["b"], max_length=3)["ids"].shape[1] <= 3


def test_what_an_encoding_cannot_make_is_a_sentence():
    with pytest.raises(VocabularyError, match="No character is seen min_count = 5 times"):
        text.Chars.train(["abc"], min_count=5)
    with pytest.raises(VocabularyError, match="A merge needs the token 'ab'"):
        text.BPE(["a", "b"], [("a", "b")], specials=()).encode("ab")

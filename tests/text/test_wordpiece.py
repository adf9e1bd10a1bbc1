"""WordPiece: greedy longest match by its definition, and equality with transformers on a published vocabulary."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import text
from tinylm.data import get, toy
from tinylm.errors import DataError, VocabularyError
from tinylm.text import WordPiece
from tinylm.text.normalise.cleaning import SPLIT_BUT_REMOVED, Cleaning, chunks

TEXT = (
    " ".join(toy.documents(60)) + " Unaffable unaffably ünïted 東京 it's IT'S 12-123 naïve naïveté"
)
# over all of Unicode, often with the marks, emoji, ideographs and long words where tokenizers go wrong
ANY_TEXT = st.text(st.one_of(
    st.characters(exclude_categories=("Cs",)), st.sampled_from("aAbEé ÉßİΣς'.-,!東京각ｱﬁ½☕"),
    st.sampled_from("\u0301\u0327\u20e3\u200d\ufe0f\U0001f469\U0001f3fd\u00a0\u2028\t\n\r\x00\x0b\x1c\x85\ufffd\u00ad"),
    st.characters(max_codepoint=0x17F)), max_size=40) | st.text("ab\u0301", min_size=90, max_size=130)  # fmt: skip


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece.train(TEXT, 180)


def test_a_word_is_the_longest_pieces_from_its_beginning_on():
    vocab = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "un",
        "##aff",
        "##able",
        "##a",
        "##f",
        "a",
        "unaff",
    ]
    encoding = WordPiece(vocab)
    assert encoding.tokens("Unaffable") == ["unaff", "##able"]
    assert encoding.tokens("a unaffax unaf") == ["a", "[UNK]", "un", "##a", "##f"]
    assert encoding.offsets("a  Unaffable") == [(0, 1), (3, 8), (8, 12)]
    assert encoding.decode(encoding.encode("a unaffable")) == "a unaffable"
    assert encoding.tokens("a" * 100)[0] == "a" and encoding.tokens("a" * 101) == ["[UNK]"]


def test_cleaning_is_the_published_example():
    words = Cleaning().words
    assert words("Ünïted\u200b 東京-3\x00!") == ["united", "東", "京", "-", "3", "!"]
    assert Cleaning(lower=False).words("Ünïted") == ["Ünïted"]
    assert Cleaning(lower=False, strip_accents=True).words("Ünïted") == ["United"]
    assert words("ΑΣ ≠") == ["ασ", "="]


@given(ANY_TEXT)
def test_offsets_name_the_characters_that_become_the_piece(wordpiece, t):
    words = "".join(wordpiece.cleaning.words(t))
    assert "".join(word for word, _ in wordpiece.cleaning.spans(t)) == words
    for token, (start, end) in zip(wordpiece.tokens(t), wordpiece.offsets(t), strict=True):
        assert 0 <= start < end <= len(t)
        if token != "[UNK]":
            assert token.removeprefix("##") in "".join(wordpiece.cleaning.words(t[start:end]))


@given(ANY_TEXT)
def test_chunks_are_found_in_their_places(t):
    found = list(Cleaning().placed_chunks(t))
    assert list(filter(None, (SPLIT_BUT_REMOVED.sub("", chunk) for _, chunk in found))) == chunks(t)
    assert all(t[at:].startswith(chunk) for at, chunk in found)


@given(st.lists(st.sampled_from(TEXT.split())).map(" ".join))
def test_known_text_round_trips_after_its_own_cleaning(wordpiece, t):
    words = wordpiece.cleaning.words(t)
    assert wordpiece.decode(wordpiece.encode(t)) == " ".join(words)
    assert wordpiece.unk_id not in wordpiece.encode(t)


def test_the_trainer_joins_the_most_frequent_pair_of_pieces():
    counts = Counter({"abab": 5, "aba": 4, "bb": 1})
    learned = WordPiece.train(" ".join(word for word, n in counts.items() for _ in range(n)), 12)
    assert learned.vocab[5:9] == ["a", "b", "##a", "##b"]
    assert learned.vocab[9:] == ["ab", "aba", "abab"]  # 9 times, 9 times, 5 times
    with pytest.raises(VocabularyError, match="at most 11 tokens"):
        WordPiece.train("abab aba abab aba", 13)


def test_a_call_gives_berts_input(wordpiece):
    single = wordpiece(["the", "the the"])
    cls, sep, pad = (wordpiece.token_id(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
    the = wordpiece.encode("the")
    assert single["ids"].tolist() == [[cls, *the, sep, *[pad] * len(the)], [cls, *the, *the, sep]]
    pair = wordpiece("the", "the the")
    assert pair["ids"][0].tolist() == [cls, *the, sep, *the, *the, sep]
    assert pair["token_types"][0].tolist() == [0] * (len(the) + 2) + [1] * (2 * len(the) + 1)


def test_casing_is_kept_with_the_vocabulary(tmp_path):
    WordPiece.train(TEXT, 400, lower=False, exact=False).save(tmp_path)
    loaded = text.load(tmp_path)
    assert (
        isinstance(loaded, WordPiece)
        and not loaded.cleaning.lower
        and not loaded.cleaning.strip_accents
    )
    assert "Unaffable" in loaded.decode(loaded.encode("Unaffable"))


@pytest.fixture(scope="module")
def minilm():
    from transformers import BertTokenizer

    folder = get("minilm", quiet=True)["vocab.txt"].parent
    return text.load(folder), BertTokenizer.from_pretrained(folder)


def assert_same(ours, theirs, texts):
    """Ids and offsets of all texts are equal."""
    found = theirs(texts, add_special_tokens=False, return_offsets_mapping=True)
    for t, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        assert ours.encode(t, special="all") == ids, t
        if not any(name in t for name in ours.specials):
            assert ours.offsets(t) == [tuple(pair) for pair in offsets], t


@pytest.mark.peer
def test_every_character_is_classed_as_in_tokenizers():
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, cut = BertNormalizer(lowercase=False, strip_accents=True), BertPreTokenizer()
    cleaning = Cleaning(lower=False, strip_accents=True)
    for code in (c for c in range(0x110000) if not 0xD800 <= c < 0xE000):
        t = f"a{chr(code)}b"
        theirs = [word for word, _ in cut.pre_tokenize_str(normalizer.normalize_str(t))]
        assert theirs == cleaning.words(t) or code == 0x11938, hex(
            code
        )  # U+11938: a younger Unicode decomposes it


@pytest.mark.named_set
@pytest.mark.peer
def test_pairs_truncation_and_padding_equal_transformers(minilm):
    ours, theirs = minilm
    texts = ["The quick brown fox jumps.", "One", "a b c d e f g h"]
    pairs = [
        "Over the lazy dogs of unaffable people",
        "two three four five six seven eight nine ten",
        "x",
    ]
    for length in range(3, 22):
        for arguments in ((texts,), (texts, pairs)):
            found = theirs(*arguments, max_length=length, truncation="longest_first", padding=True)
            batch = ours(*arguments, max_length=length)
            assert batch["ids"].tolist() == found["input_ids"]
            assert batch["token_types"].tolist() == found["token_type_ids"]
            assert batch["mask"].astype(int).tolist() == found["attention_mask"]


@pytest.mark.peer
def test_our_files_load_in_transformers(wordpiece, tmp_path):
    from transformers import AutoTokenizer

    wordpiece.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert_same(wordpiece, theirs, [TEXT, "", "Ünaffable", "\x00\x1c"])
    assert np.array_equal(wordpiece([TEXT])["ids"], theirs([TEXT])["input_ids"])


@pytest.mark.peer
def test_the_trainer_equals_tokenizers_where_no_tie_depends_on_the_order_of_its_words():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer, theirs.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [
        ("ab" * 3, 64),
        ("abc", 32),
        ("cab", 16),
        ("bca", 8),
        ("acb", 4),
        ("ccab", 2),
    ]  # no two pairs are as frequent
    corpus = [" ".join([word] * n) for word, n in words]
    theirs.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=18, special_tokens=specials,
                                                                 show_progress=False, min_frequency=2))  # fmt: skip
    ours = WordPiece.train(corpus, 18)
    assert set(theirs.get_vocab()) == set(ours.vocab)


@pytest.mark.parametrize("name", ["tokenize_chinese_chars", "do_basic_tokenize"])
def test_a_way_of_cutting_that_is_not_ours_is_refused(name, tmp_path):
    WordPiece(["[UNK]", "東京", "東", "京"]).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({name: False}))
    with pytest.raises(DataError, match=f"{name} is false"):
        text.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({name: True}))
    assert text.load(tmp_path).tokens("東京") == ["東", "京"]

"""Byte-level BPE: training equals its definition, round trips on any text, and equality with `tokenizers`."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import text
from tinylm.data import get, toy
from tinylm.errors import DataError, VocabularyError
from tinylm.text import BPE
from tinylm.text.bpe import find_merges
from tinylm.text.spelling import BYTE_CHARACTERS, BYTE_OF, PATTERN

TEXT = (
    " ".join(toy.documents(60)) + " aaaa aaaaa abababab naïve 東京 🙂🙂 it's IT'S 12 123  \n\n\t x"
)


@pytest.fixture(scope="module")
def bpe():
    return BPE.train([TEXT], 401)


def words_of(texts):
    """GPT-2's words, one character a byte, and how often each occurs."""
    return Counter(
        "".join(BYTE_CHARACTERS[byte] for byte in word.encode())
        for text in texts
        for word in PATTERN.findall(text)
    )


def test_incremental_training_equals_the_definition(bpe):
    assert bpe.merges == find_merges(words_of([TEXT]), 401 - 257)


def test_incremental_training_equals_the_definition_on_thousands_of_pairs():
    letters = np.random.default_rng(0).choice(
        list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ  "), 6000
    )
    learned = BPE.train(["".join(letters)], 290, specials=())
    assert learned.merges == find_merges(words_of(["".join(letters)]), 34)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(alphabet="ab ", min_size=1, max_size=30), min_size=1, max_size=5))
def test_incremental_training_equals_the_definition_on_repetitive_text(texts):
    learned = BPE.train(texts, 290, specials=(), exact=False)
    assert learned.merges == find_merges(words_of(texts), 34)
    assert len(set(learned.vocab)) == learned.vocab_size <= 290


def test_layout_is_bytes_then_merges_then_the_special_token(bpe):
    assert bpe.vocab_size == 401 and bpe.end_id == 400 and bpe.vocab[-1] == "<|endoftext|>"
    assert bpe.vocab[:256] == list(BYTE_CHARACTERS.values()) and len(set(bpe.vocab[:256])) == 256
    assert sum(ord(c) < 256 for c in BYTE_CHARACTERS.values()) == 188


@settings(deadline=None)
@given(st.text(st.characters()))
def test_any_text_round_trips(bpe, t):
    assert bpe.decode(bpe.encode(t)) == t


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_even_lone_surrogates_round_trip_and_offsets_cover_the_text(bpe, t):
    ids = bpe.encode(t)
    assert bpe.decode(ids) == t
    offsets = bpe.offsets(t)
    assert len(offsets) == len(ids)
    covered = sorted({i for start, end in offsets for i in range(start, end)})
    assert covered == list(range(len(t)))


@given(st.lists(st.integers(0, 400)))
def test_any_ids_decode(bpe, ids):
    assert isinstance(bpe.decode(ids), str)


def test_encoding_a_word_applies_the_merges_in_the_order_learned(bpe):
    for word in set(PATTERN.findall(TEXT)):
        tokens = [BYTE_CHARACTERS[b] for b in word.encode()]
        for first, second in bpe.merges:  # apply all merges in the order learned
            i = 0
            while i + 1 < len(tokens):
                if (tokens[i], tokens[i + 1]) == (first, second):
                    tokens[i : i + 2] = [first + second]
                i += 1
        assert bpe.tokens(word) == tokens


def test_special_token_policies(bpe):
    t = "one<|endoftext|>two"
    assert bpe.end_id not in bpe.encode(t)
    assert bpe.encode(t, special="all") == [*bpe.encode("one"), bpe.end_id, *bpe.encode("two")]
    assert bpe.encode(t, special={"<|endoftext|>"}) == bpe.encode(t, special="all")
    assert bpe.decode(bpe.encode(t, special="all")) == t
    assert bpe.encode("one", special="none_raise") == bpe.encode("one")
    with pytest.raises(VocabularyError, match="contains the special token"):
        bpe.encode(t, special="none_raise")
    with pytest.raises(VocabularyError, match="not a special token"):
        bpe.encode(t, special={"<mask>"})


def test_vocabulary_larger_than_the_text_supports_names_the_largest():
    with pytest.raises(VocabularyError, match="at most 259 tokens.*exact=False"):
        BPE.train(["abc abc"], 300)
    assert BPE.train(["abc abc"], 300, exact=False).vocab_size == 259
    with pytest.raises(VocabularyError, match="at least 257"):
        BPE.train(["abc abc"], 256)


def test_without_special_token_there_is_no_end(tmp_path):
    bpe = BPE.train(["abc abc"], 257, specials=())
    assert bpe.specials == () and bpe.end_id is None
    bpe.save(tmp_path)
    assert BPE.load(tmp_path).specials == ()


def test_released_file_names_are_read_too(bpe, tmp_path):
    bpe.save(tmp_path)
    (tmp_path / "vocab.json").rename(tmp_path / "encoder.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab.bpe")
    assert BPE.load(tmp_path).encode(TEXT) == bpe.encode(TEXT)


SAMPLES = [
    TEXT,
    "",
    " ",
    "  a",
    "I'll we've 'S \u00a0x\u2003y",
    "a\r\nb \n c",
    "e\u0301 ﬁ ½ ٣ Ⅷ",
    "\x00\x1c\x85",
]


@pytest.mark.peer
def test_training_and_encoding_equal_tokenizers(bpe, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=alphabet, show_progress=False, min_frequency=2
        ),
    )
    model = json.loads(theirs.to_str())["model"]
    assert [tuple(m) for m in model["merges"]] == bpe.merges
    assert model["vocab"] == {token: i for i, token in enumerate(bpe.vocab[:-1])}
    for sample in SAMPLES:
        assert theirs.encode(sample).ids == bpe.encode(sample)
        assert theirs.encode(sample).tokens == bpe.tokens(sample)
        assert bpe.decode(bpe.encode(sample)) == sample


@pytest.mark.peer
def test_saved_files_load_in_tokenizers_and_transformers(bpe, tmp_path):
    from tokenizers.implementations import ByteLevelBPETokenizer
    from transformers import AutoTokenizer

    bpe.save(tmp_path)
    direct = ByteLevelBPETokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    auto = AutoTokenizer.from_pretrained(str(tmp_path))
    assert auto.eos_token_id == bpe.end_id
    for sample in SAMPLES:
        assert direct.encode(sample).ids == bpe.encode(sample)
        assert auto(sample)["input_ids"] == bpe.encode(sample)


@pytest.fixture(scope="module")
def gpt2():
    from tokenizers.implementations import ByteLevelBPETokenizer

    paths = get("gpt2-bpe", quiet=True)
    ours = BPE.load(paths["encoder.json"].parent)
    return ours, ByteLevelBPETokenizer(str(paths["encoder.json"]), str(paths["vocab.bpe"]))


@pytest.mark.named_set
@pytest.mark.peer
def test_the_released_gpt2_vocabulary_is_whole(gpt2):
    ours, theirs = gpt2
    assert ours.vocab_size == 50257 and ours.end_id == 50256 and ours.specials == ("<|endoftext|>",)
    assert ours.encode("Hello world, it's 2019!") == [15496, 995, 11, 340, 338, 13130, 0]
    for sample in SAMPLES:
        assert ours.encode(sample) == theirs.encode(sample).ids
        assert theirs.encode(sample).offsets == ours.offsets(sample)


def test_what_a_vocabulary_cannot_say_is_one_sentence(tmp_path):
    few = BPE(["h", "u", "g", "ug"], [("u", "g")], specials=())
    with pytest.raises(VocabularyError, match="'x' is no token, and this vocabulary has none"):
        few.encode("x")
    tokens = [*BYTE_OF, "東", "東a"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n東 a\n")
    with pytest.raises(DataError, match="makes '東a' of something that is no byte"):
        text.load(tmp_path)

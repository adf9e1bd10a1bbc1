"""GPT-1's and SentencePiece's byte pairs: the same merges on other units, equal to the programs that people use."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import text
from tinylm.data import load_texts, toy
from tinylm.errors import DataError, TinylmError, VocabularyError
from tinylm.text import BPE
from tinylm.text.base import BYTE_TOKENS
from tinylm.text.formats import protobuf
from tinylm.text.formats.protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from tinylm.text.merging import Table
from tinylm.text.normalise.normalizing import Normalizer
from tinylm.text.spelling import EndOfWord, Metaspace

TEXT = (
    " ".join(toy.documents(60))
    + " Unaffable ünïted 東京 it's IT'S 12-123 naïve naïveté aaaa aaaaaa"
)
ANY_TEXT = st.text(st.one_of(
    st.characters(exclude_categories=("Cs",)), st.sampled_from("aAbEé ÉßİΣς'.-,!東京각ｱﬁ½☕▁ab  "),
    st.sampled_from("\u0301\u0327\u20e3\u200d\ufe0f\U0001f469\U0001f3fd\u00a0\u2028\t\n\r\x00\x0b\x1c\x85\ufffd\u00ad"),
    st.characters(max_codepoint=0x17F)), max_size=40) | st.text("ab\u0301", min_size=90, max_size=130)  # fmt: skip


@pytest.fixture(scope="module")
def gpt1():
    return BPE.train(TEXT, 250, spelling=EndOfWord())


@pytest.fixture(scope="module", params=[False, True], ids=["unk", "bytes"])
def pieces(request):
    return BPE.train(
        TEXT, 500 if request.param else 250, spelling=Metaspace(byte_fallback=request.param)
    )


@given(
    st.text("abc", min_size=1, max_size=12),
    st.lists(st.text("abc", min_size=2, max_size=4), max_size=6, unique=True),
)
def test_merging_with_a_heap_is_taking_the_best_pair_again_and_again(word, made):
    tokens = ["a", "b", "c", *made]
    find = {token: i for i, token in enumerate(tokens)}
    ranks = {(find[t[:i]], find[t[i:]]): (find[t] // 2, find[t])  # two tokens share a rank: the leftmost is merged first
             for t in made for i in range(1, len(t)) if t[:i] in find and t[i:] in find}  # fmt: skip
    table = Table(
        len(tokens),
        list(ranks),
        [token for _, token in ranks.values()],
        [rank for rank, _ in ranks.values()],
    )
    ids = [find[c] for c in word]
    while pairs := [
        (ranks[pair][0], i) for i, pair in enumerate(itertools.pairwise(ids)) if pair in ranks
    ]:
        _, i = min(pairs)
        ids[i : i + 2] = [ranks[ids[i], ids[i + 1]][1]]
    begins, found = table.cut([[find[c] for c in word]])
    assert found.tolist() == ids
    assert begins.tolist() == [0, *itertools.accumulate(len(tokens[i]) for i in ids)][:-1]


def test_dropout_leaves_all_or_nothing_at_its_ends_and_keeps_the_text(gpt1, pieces):
    rng, t = np.random.default_rng(0), TEXT[-80:]
    for encoding in (gpt1, pieces, BPE.train(TEXT, 300)):
        assert encoding.sample(t, 0.0, rng) == encoding.encode(t)
        assert (
            max(
                len(encoding.vocab[i].removesuffix("</w>"))
                for i in encoding.sample("a naïve", 1.0, rng)
            )
            == 1
        )
        drawn = [encoding.sample(t, 0.3, rng) for _ in range(20)]
        assert len(set(map(tuple, drawn))) > 10
        assert {encoding.decode(ids) for ids in drawn} == {encoding.decode(encoding.encode(t))}


def test_a_special_token_of_one_character_may_be_added_before_or_after_the_first_text():
    rows = []
    for asked in (False, True):
        encoding = BPE.train(TEXT, 300, exact=False, spelling=EndOfWord())
        rows.append(encoding.encode("the the") if asked else [])
        encoding.add_specials(["☃", "☂</w>"])
        drawn = encoding.sample("", 0.5, np.random.default_rng(0))
        rows.append([encoding.encode("a☃☃the ☂ ☂☃"), encoding.offsets("a☃☃the ☂ ☂☃"), drawn])
    assert rows[1] == rows[3] and rows[1][2] == []


@pytest.mark.parametrize("dropout", [-0.1, 1.5, float("nan")])
def test_a_dropout_that_is_no_probability_is_one_sentence(gpt1, dropout):
    with pytest.raises(VocabularyError, match="dropout is .*; give a probability"):
        gpt1.sample("the", dropout, np.random.default_rng(0))


def test_each_merge_is_left_out_with_the_probability_asked_for():
    encoding = BPE(
        ["<unk>", "a", "b", "ab"], [("a", "b")], ("<unk>",), Metaspace(Normalizer(prefix=False))
    )
    rng, n = np.random.default_rng(1), 4000
    merged = sum(len(encoding.sample("ab", 0.3, rng)) == 1 for _ in range(n))
    assert abs(merged - 0.7 * n) < 5 * (n * 0.3 * 0.7) ** 0.5


def test_words_end_in_a_mark_and_unknown_characters_are_one_token_each(gpt1):
    assert gpt1.vocab[0] == "<unk>" and gpt1.unk_id == 0 and gpt1.end_id is None
    assert gpt1.tokens("THE") == ["the</w>"] and gpt1.decode(gpt1.encode("The  the ")) == "the the"
    assert gpt1.tokens("ЖЖa") == ["<unk>", "<unk>", "a</w>"]
    assert gpt1.offsets("The, Ж") == [(0, 3), (3, 4), (5, 6)]


@given(st.lists(st.sampled_from(TEXT.split())).map(" ".join))
def test_known_text_round_trips_after_its_own_cleaning(gpt1, t):
    assert gpt1.decode(gpt1.encode(t)) == " ".join(gpt1.spelling.cleaning.words(t))


@given(ANY_TEXT)
def test_any_text_round_trips_after_its_own_normaliser(t):
    encoding = BPE([*("<unk>", "<s>", "</s>"), *BYTE_TOKENS, *"ab▁", "ab"], [("a", "b")], ("<unk>", "<s>", "</s>"),
                   Metaspace(byte_fallback=True))  # fmt: skip
    assert (
        encoding.decode(encoding.encode(t)) == encoding.spelling.normalizer(t).replace("▁", " ")[1:]
    )


@given(ANY_TEXT)
def test_offsets_cover_the_tokens_in_order(gpt1, pieces, t):
    for encoding in (gpt1, pieces):
        offsets = encoding.offsets(t)
        assert len(offsets) == len(encoding.encode(t)) and offsets == sorted(offsets)
        assert all(0 <= start <= end <= len(t) for start, end in offsets)


def test_pieces_are_specials_bytes_merges_and_units_with_falling_scores(pieces, tmp_path):
    pieces.save(tmp_path)
    model = protobuf.read(tmp_path / "tokenizer.model")
    kinds = [kind for _, _, kind in model.pieces]
    fallback = pieces.spelling.byte_fallback
    assert kinds[:3] == [UNKNOWN, CONTROL, CONTROL] and kinds.count(BYTE) == 256 * fallback
    scores = [score for _, score, kind in model.pieces if kind == NORMAL]
    assert scores == sorted(scores, reverse=True)
    assert pieces.decode(pieces.encode("it Ж aa")) == ("it Ж aa" if fallback else "it  ⁇  aa")


def test_ties_go_to_the_shortest_piece_then_the_first_in_the_alphabet():
    encoding = BPE.train(["bc bc bc xa xa xa"], 17, spelling=Metaspace(), exact=False)
    assert encoding.vocab[3:] == ["bc", "xa", "▁bc", "▁xa", "a", "b", "c", "x", "▁"]


@pytest.mark.parametrize(
    "spelling", [EndOfWord(), Metaspace(), Metaspace(Normalizer(collapse=False), True)]
)
def test_saved_byte_pairs_are_loaded_as_themselves(spelling, tmp_path):
    encoding = BPE.train(TEXT, 450, spelling=spelling)
    encoding.add_specials(["<start>"])
    encoding.save(tmp_path)
    loaded = text.load(tmp_path)
    assert isinstance(loaded, BPE) and type(loaded.spelling) is type(encoding.spelling)
    assert (loaded.vocab, loaded.merges, loaded.specials) == (
        encoding.vocab,
        encoding.merges,
        encoding.specials,
    )
    assert (loaded.unk_id, loaded.pad_id, loaded.end_id) == (
        encoding.unk_id,
        encoding.pad_id,
        encoding.end_id,
    )
    assert loaded.encode(TEXT) == encoding.encode(TEXT)
    assert set(encoding.files) <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("pieces, why", [
    ([("<unk>", 0, UNKNOWN), ("a", 0, NORMAL), ("a", 0, NORMAL)], "different pieces"),
    ([("?", 0, UNKNOWN), ("a", 0, NORMAL)], "unknown one"), ([("<unk>", 0, UNKNOWN), ("a", 0, 5)], "all in use"),
    ([("<unk>", 0, UNKNOWN), ("<0x00>", 0, BYTE)], "not all 256")])  # fmt: skip
def test_a_damaged_byte_pair_model_is_one_sentence(pieces, why, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(protobuf.write(protobuf.Model(pieces, protobuf.BPE)))
    with pytest.raises(DataError, match=why):
        text.load(tmp_path)


def test_what_a_vocabulary_cannot_be_is_one_sentence(tmp_path):
    for spelling, least in ((EndOfWord(), "4"), (Metaspace(), "7")):
        with pytest.raises(VocabularyError, match="at most .* exact=False"):
            BPE.train("abc abc", 300, spelling=spelling)
        with pytest.raises(VocabularyError, match=f"need at least {least}"):
            BPE.train("abc abc", 3, spelling=spelling)
        with pytest.raises(VocabularyError, match="training text is empty"):
            BPE.train(["", " "], 300, spelling=spelling)
    with pytest.raises(VocabularyError, match="NUL"):
        BPE.train("abc\0abc", 300, spelling=Metaspace())
    for vocab, why in (
        ('{"a": 0, "b": 1}', "lacks 256|lacks 254"),
        ('{"a</w>": 0, "a": 1}', "<unk>"),
    ):
        (tmp_path / "vocab.json").write_text(vocab)
        (tmp_path / "merges.txt").write_text("")
        with pytest.raises(DataError, match=why):
            text.load(tmp_path)


def test_symbols_of_a_model_are_taken_whole(tmp_path):
    pieces = [("<unk>", 0.0, UNKNOWN), ("<x>", 0.0, USER), ("ab", -0.0, NORMAL), ("a", -1.0, NORMAL), ("b", -2.0, NORMAL),
              ("▁", -3.0, NORMAL)]  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(protobuf.write(protobuf.Model(pieces, protobuf.BPE)))
    loaded = text.load(tmp_path)
    assert loaded.tokens("ab<x>ab a") == ["▁", "ab", "<x>", "ab", "▁", "a"]
    assert loaded.decode(loaded.encode("ab<x>ab a")) == "ab<x>ab a"
    learned = BPE.train("ab<x>ab<x>ab abx", 12, spelling=Metaspace(symbols=["<x>"]), exact=False)
    assert learned.vocab[3:] == ["<x>", "ab", "▁ab", "a", "b", "x", "▁"]
    learned.save(tmp_path)
    assert text.load(tmp_path).tokens("ab<x>") == learned.tokens("ab<x>") == ["▁ab", "<x>"]


@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_bytes_in_a_model_are_read_or_refused(tmp_path_factory, junk, place):
    folder = tmp_path_factory.getbasetemp()
    pieces = [("<unk>", 0.0, UNKNOWN), ("a", -1.0, NORMAL), ("b", -2.0, NORMAL)]
    good = protobuf.write(protobuf.Model(pieces, protobuf.BPE))
    (folder / "tokenizer.model").write_bytes(good[:place] + junk + good[place:])
    try:
        text.load(folder).encode("ab c")
    except TinylmError as error:
        assert "\n" not in str(error)


# --- beside other programs


@pytest.fixture(scope="module")
def gpt1_there(gpt1, tmp_path_factory):
    from transformers import OpenAIGPTTokenizer

    folder = tmp_path_factory.mktemp("gpt1")
    gpt1.save(folder)
    return OpenAIGPTTokenizer.from_pretrained(folder)


@pytest.mark.peer
def test_gpt1s_files_load_in_tokenizers(gpt1, tmp_path):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    gpt1.save(tmp_path)
    paths = (str(tmp_path / name) for name in gpt1.files)
    theirs = Tokenizer(models.BPE.from_file(*paths, unk_token="<unk>", end_of_word_suffix="</w>"))
    theirs.normalizer, theirs.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    for t in (TEXT, "", "ЖЖ Thé\0"):
        found = theirs.encode(t)
        assert gpt1.encode(t) == found.ids and gpt1.offsets(t) == found.offsets


def assert_same(ours, theirs, texts):
    """Ids and offsets of all texts are equal."""
    found = theirs(texts, add_special_tokens=False, return_offsets_mapping=True)
    for t, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        assert ours.encode(t, special="all") == ids, t
        if not any(name in t for name in ours.specials):
            assert ours.offsets(t) == [tuple(pair) for pair in offsets], t


@pytest.mark.peer
@settings(max_examples=2000)
@given(ANY_TEXT)
def test_any_text_is_encoded_as_by_transformers_gpt1(gpt1, gpt1_there, t):
    assert_same(gpt1, gpt1_there, [t])
    assert gpt1_there.decode(gpt1.encode(t), clean_up_tokenization_spaces=False) == gpt1.decode(
        gpt1.encode(t)
    )


@pytest.mark.peer
@pytest.mark.named_set
@pytest.mark.parametrize("name", ["newsgroups", "kjv", "dialogs"])
def test_gpt1_on_whole_corpora_equals_transformers(name, tmp_path):
    from transformers import OpenAIGPTTokenizer

    texts = load_texts(name)
    ours = BPE.train(texts, 4000, spelling=EndOfWord())
    ours.save(tmp_path)
    theirs = OpenAIGPTTokenizer.from_pretrained(tmp_path)
    for begin in range(0, len(texts), 2000):
        assert_same(ours, theirs, texts[begin : begin + 2000])


def assert_same_pieces(ours, theirs, texts):
    """Ids, and the characters of every piece, equal those of sentencepiece; and what ids decode to."""
    rows = theirs.encode(texts)
    for t, ids in zip(texts, rows, strict=True):
        assert ours.encode(t) == ids, t
        assert theirs.decode(ids) == ours.decode(ids)


@pytest.mark.peer
@settings(max_examples=2000)
@given(ANY_TEXT.filter(lambda t: "\0" not in t))
def test_any_text_is_encoded_as_by_sentencepiece_with_our_file(pieces, tmp_path_factory, t):
    import sentencepiece as spm

    path = tmp_path_factory.getbasetemp() / f"{pieces.vocab_size}"
    if not path.exists():
        pieces.save(path)
    assert_same_pieces(
        pieces, spm.SentencePieceProcessor(model_file=str(path / "tokenizer.model")), [t]
    )


@pytest.mark.peer
@pytest.mark.named_set
@pytest.mark.parametrize("options", [
    {}, {"byte_fallback": True, "normalization_rule_name": "identity"},
    {"split_by_whitespace": False, "normalization_rule_name": "identity"},
    {"remove_extra_whitespaces": False, "add_dummy_prefix": False, "user_defined_symbols": ["the", "<x>"]}])  # fmt: skip
def test_models_of_sentencepiece_load_here_and_ours_there(options, tmp_path):
    import sentencepiece as spm

    texts = [t.replace("\n", " ") for t in load_texts("dialogs")[:20000]]
    spm.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_prefix=str(tmp_path / "m"), model_type="bpe",
                                   vocab_size=2000, minloglevel=2, num_threads=2, **options)  # fmt: skip
    (tmp_path / "m.model").rename(tmp_path / "tokenizer.model")
    theirs = spm.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    ours = text.load(tmp_path)
    assert_same_pieces(ours, theirs, [*texts, "  a  <x> the<x>b ", "ЖЖ 東京 ｱﬁ½", ""])
    ours.save(tmp_path / "again")
    again = spm.SentencePieceProcessor(model_file=str(tmp_path / "again" / "tokenizer.model"))
    assert_same_pieces(ours, again, texts[:2000])

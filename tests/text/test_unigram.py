"""Unigram: the best cut by brute force, probabilities that sum to one, and equality with sentencepiece both ways."""

import itertools
import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinylm import text
from tinylm.data import load_texts, toy
from tinylm.errors import ArgumentError, DataError, TinylmError, VocabularyError
from tinylm.kernels.lattice import REBASED
from tinylm.text import BPE, Unigram, em
from tinylm.text.formats import protobuf
from tinylm.text.formats.protobuf import CONTROL, NORMAL, UNKNOWN, USER
from tinylm.text.normalise import charsmap
from tinylm.text.normalise.normalizing import Normalizer
from tinylm.text.spelling import Metaspace
from tinylm.text.template import XLNET
from tinylm.text.unigram import XLNET_CONTROLS, log_probability

TEXT = [*toy.documents(80), "naïve 東京 it's 12-123 don't, the 3rd (of) 44"]
ANY_TEXT = st.lists(st.one_of(
    st.characters(exclude_categories=("Cs",)), st.sampled_from("the of▁ aé.,  3京"),
    st.sampled_from(" \n\t\x00　ｱﬁ½ßİΣ\u0301\u200d\uac00\u3131\u1100\u1161\u11a8"),
    st.sampled_from(["<x>", "<x", "👩\u200d👩", "Ⓣ\u0307", "e\u0302\u0301", "ê\u0301"])),
    max_size=40).map("".join)  # fmt: skip


@pytest.fixture(scope="module")
def unigram():
    return Unigram.train(TEXT, 180)


def cuts(word):
    """Every way to cut a word."""
    for n in range(len(word)):
        for places in itertools.combinations(range(1, len(word)), n):
            edges = [0, *places, len(word)]
            yield [word[a:b] for a, b in zip(edges, edges[1:], strict=False)]


@given(
    st.lists(st.floats(-9, -0.1), min_size=9, max_size=9), st.text("abc", min_size=1, max_size=6)
)
def test_the_best_cuts_are_those_of_trying_all(scores, word):
    texts = ["a", "b", "c", "ab", "bc", "abc", "ca", "aa", "cab"]
    pieces = [
        ("<unk>", 0.0, UNKNOWN),
        *((t, s, NORMAL) for t, s in zip(texts, scores, strict=True)),
    ]
    encoding = Unigram(pieces, Normalizer(prefix=False))
    value = dict(zip(texts, encoding.scores[1:].astype(float), strict=True))
    totals = sorted(
        (sum(value[p] for p in cut) for cut in cuts(word) if all(p in value for p in cut)),
        reverse=True,
    )
    found = encoding.n_best(word, 4)
    np.testing.assert_allclose([score for _, score in found], totals[:4], atol=1e-5)
    assert math.isclose(sum(value[t] for t in encoding.tokens(word)), totals[0], abs_tol=1e-5)
    assert all(encoding.decode(ids) == word for ids, _ in found)


def test_cuts_are_drawn_in_proportion_to_their_probability():
    pieces = [
        ("<unk>", 0.0, UNKNOWN),
        ("a", -1.0, NORMAL),
        ("b", -1.5, NORMAL),
        ("ab", -2.0, NORMAL),
        ("aba", -3.5, NORMAL),
    ]
    encoding = Unigram(pieces, Normalizer(prefix=False))
    rng, alpha, n = np.random.default_rng(0), 0.7, 3000
    drawn = Counter(tuple(encoding.sample("aba", alpha, rng)) for _ in range(n))
    weights = {tuple(ids): math.exp(alpha * score) for ids, score in encoding.n_best("aba", 9)}
    assert set(drawn) == set(weights)
    for ids, weight in weights.items():
        p = weight / sum(weights.values())
        assert abs(drawn[ids] - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_learned_pieces_are_a_distribution_and_hold_every_required_character(unigram):
    normal = [(t, s) for t, s, kind in unigram.pieces if kind == NORMAL]
    assert unigram.vocab_size == 180 and unigram.vocab[:3] == ["<unk>", "<s>", "</s>"]
    assert 0.9 < sum(math.exp(score) for _, score in normal) <= 1.0
    assert [score for _, score in normal] == sorted((score for _, score in normal), reverse=True)
    assert {c for c in "".join(toy.documents(80)) if c != " "} <= {t for t, _ in normal}


def test_the_text_is_more_probable_after_every_further_step_of_plain_em(monkeypatch):
    monkeypatch.setattr("scipy.special.digamma", np.log)  # without the prior, EM climbs
    monkeypatch.setattr(em, "LEAST", 1e-12)  # and if nothing is dropped
    words = Counter(f"▁{w}" for t in TEXT[:20] for w in t.split())
    nats = []
    for rounds in range(1, 6):
        config = em.EMConfig(seeds=300, coverage=1.0, rounds=rounds)
        scores = dict(em.learn(words.copy(), 1000, config))  # more than the seeds: no pruning
        nats.append(sum(count * log_probability(word, scores) for word, count in words.items()))
    for earlier, later in itertools.pairwise(nats):
        assert later > earlier


def test_a_long_text_is_cut_as_its_parts_are():
    pieces = [
        ("<unk>", 0.0, UNKNOWN),
        ("a", -9.0, NORMAL),
        ("b", -9.0, NORMAL),
        ("ab", -9.01, NORMAL),
        ("ba", -9.0, NORMAL),
    ]
    encoding = Unigram(pieces, Normalizer(prefix=False))
    count = int(-REBASED / 9)  # float32 would no longer tell ab from ba
    assert encoding.encode("a" * count + "aba" * 3) == [1] * count + encoding.encode("aba") * 3


def test_learning_takes_a_word_of_a_hundred_thousand_characters():
    encoding = Unigram.train(["abc" * 33_000 + "d", *TEXT], 120)
    assert len(encoding.tokens("abc" * 33_000)) < 10_000


def test_losses_found_in_parts_are_those_found_at_once(unigram, monkeypatch):
    monkeypatch.setattr(em, "AT_ONCE", 7)
    assert Unigram.train(TEXT, 180).pieces == unigram.pieces


def test_many_texts_at_once_are_cut_as_one_by_one(unigram, monkeypatch):
    monkeypatch.setattr("tinylm.text.wordcache.AT_ONCE", 60)
    texts = [*TEXT[:20], "", "Ж", "ЖЖ the", "Ж", " ", TEXT[-1]]
    for encoding in (unigram, Unigram.train(TEXT, 420, byte_fallback=True, exact=False)):
        assert [row.tolist() for row in encoding.encode_batch(texts)] == [
            encoding.encode(t) for t in texts
        ]


@pytest.mark.parametrize("byte_fallback", [False, True])
@given(st.text("ab x东é", max_size=12))
def test_a_sampled_cut_and_the_best_one_spell_what_is_unknown_as_encode_does(byte_fallback, t):
    pieces = [
        ("<unk>", 0.0, UNKNOWN),
        ("▁a", -1.0, NORMAL),
        ("b", -2.0, NORMAL),
        ("▁", -4.0, NORMAL),
    ]
    if byte_fallback:
        pieces += [(f"<0x{byte:02X}>", 0.0, protobuf.BYTE) for byte in range(256)]
    encoding = Unigram(pieces)
    wanted = encoding.encode(t)
    assert encoding.n_best(t, 1)[0][0] == wanted
    assert encoding.sample(t, 1e3, np.random.default_rng(0)) == wanted


def test_pieces_without_one_for_unknown_text_are_refused():
    with pytest.raises(VocabularyError, match="no piece is for unknown text"):
        Unigram([("a", -1.0, NORMAL)])


def test_unknown_characters_are_one_token_or_their_bytes(unigram):
    assert unigram.encode("ЖЖЖ").count(unigram.unk_id) == 1
    assert unigram.decode(unigram.encode("ЖЖ")).strip() == "⁇"
    fallback = Unigram.train(TEXT, 420, byte_fallback=True, exact=False)
    assert fallback.decode(fallback.encode("the ЖЖ🙂\x00 x")) == "the ЖЖ🙂\x00 x"
    assert fallback.tokens("Ж")[-2:] == ["<0xD0>", "<0x96>"]


@given(ANY_TEXT)
def test_offsets_cover_the_tokens_in_order(unigram, t):
    offsets = unigram.offsets(t)
    assert len(offsets) == len(unigram.encode(t)) and offsets == sorted(offsets)
    assert all(0 <= start <= end <= len(t) for start, end in offsets)


SPACED = ["the  of", " a", "a ", "  "]


@given(ANY_TEXT, st.booleans(), st.booleans(), st.sampled_from(["identity", "nfkc", "nmt_nfkc"]),
       st.sampled_from([["<x>", "ﬁ"], SPACED]))  # fmt: skip
@example(" ▁ a\x01▁ ", True, True, "nmt_nfkc", ["<x>", "ﬁ"])
@example(" a  the  of   a  ", True, True, "identity", SPACED)
@example(" a  the  of   a  ", True, True, "nmt_nfkc", SPACED)
def test_text_with_places_is_the_same_text(t, prefix, collapse, rules, kept):
    normalizer = Normalizer(rules, prefix, collapse, kept)
    normal, places = normalizer.with_places(t)
    assert normal == normalizer(t) and len(places) == len(normal) + 1
    assert places == sorted(places) and all(0 <= place <= len(t) for place in places)


def test_the_nfkc_rules_are_those_of_unicode():
    normalizer = Normalizer("nfkc", prefix=False, collapse=False)
    for c in map(chr, range(1, 0x110000, 7)):
        assert normalizer(c) == unicodedata.normalize("NFKC", c).replace(" ", "▁")
    for whole in "é각가ṩ≠ガ":
        assert normalizer(unicodedata.normalize("NFD", whole)) == whole
    assert Normalizer("nmt_nfkc")("\ta\x00\x01b\u200c\ufeff　ｱﾞ ～") == "▁a\x00b▁ア\u3099▁～"


@given(st.dictionaries(st.text("ab é京", min_size=1, max_size=5), st.text("xy é", max_size=4), min_size=1),
       st.text("ab é京", max_size=12))  # fmt: skip
def test_a_written_map_replaces_the_longest_match(rules, t):
    wanted, place = "", 0
    while place < len(t):
        found = next(
            (t[place:end] for end in range(len(t), place, -1) if t[place:end] in rules), None
        )
        wanted += t[place] if found is None else rules[found]
        place += len(found or "x")
    assert Normalizer(charsmap.write(rules), prefix=False, collapse=False)(t) == wanted.replace(
        " ", "▁"
    )


def test_an_unknown_normaliser_and_a_damaged_map_are_one_sentence():
    with pytest.raises(VocabularyError, match="no normaliser 'nfd'; it is identity"):
        Normalizer("nfd")
    good = charsmap.write({"a": "b"})
    for bad in (good[:9], good[:-1], b"\xff" * 9):
        with pytest.raises(DataError, match="character map .* is damaged"):
            Normalizer(bad)


@given(ANY_TEXT)
def test_any_text_round_trips_after_its_own_normaliser(t):
    raw = [(f"<0x{b:02X}>", 0.0, protobuf.BYTE) for b in range(256)]
    fallback = Unigram([("<unk>", 0.0, UNKNOWN), *raw, ("▁", -1.0, NORMAL)])
    assert fallback.decode(fallback.encode(t)) == fallback.normalizer(t).replace("▁", " ").lstrip(
        " "
    )


def test_nul_and_lone_surrogates_get_no_piece_but_pass_as_bytes():
    odd = "a\x00b\x00c \ud83d d"
    encoding = Unigram.train([odd] * 9, 400, byte_fallback=True, exact=False)
    assert not any(c in t for t in encoding.vocab for c in "\x00\ud83d") and "a" in encoding.vocab
    assert encoding.decode(encoding.encode("a\x00b")) == "a\x00b" and encoding.offsets("a\x00b")[
        -1
    ] == (2, 3)
    with pytest.raises(VocabularyError, match="training text is empty"):
        Unigram.train([" "], 300)


def test_too_large_and_too_small_vocabularies_are_one_sentence():
    with pytest.raises(VocabularyError, match="at most .* exact=False"):
        Unigram.train("abc abc", 300)
    with pytest.raises(VocabularyError, match="characters that need a piece"):
        Unigram.train("abcdefg abcdefg", 5)


@pytest.mark.parametrize(
    "content", [b"\x0a", b"\x0a" + b"\xff" * 11, b"\x0a\x03\x0a\x01a", b"\x0b"]
)
def test_damaged_model_is_one_sentence(content, tmp_path):
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(DataError, match=r"spiece\.model"):
        text.load(tmp_path)


@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_bytes_in_a_model_are_read_or_refused(tmp_path_factory, junk, place):
    folder = tmp_path_factory.getbasetemp()
    good = protobuf.write(
        protobuf.Model([("<unk>", 0.0, UNKNOWN), ("a", -1.0, NORMAL), ("b", -2.0, NORMAL)])
    )
    (folder / "spiece.model").write_bytes(good[:place] + junk + good[place:])
    try:
        text.load(folder).encode("ab c")
    except TinylmError as error:
        assert "\n" not in str(error)


def test_the_normaliser_is_saved_with_the_pieces(unigram, tmp_path):
    for normalizer in (
        Normalizer("nfkc", prefix=False),
        Normalizer("nmt_nfkc", collapse=False),
        Normalizer(),
    ):
        Unigram(unigram.pieces, normalizer).save(tmp_path)
        loaded = text.load(tmp_path)
        assert loaded.pieces == unigram.pieces and loaded.normalizer.charsmap == normalizer.charsmap
        assert (loaded.normalizer.prefix, loaded.normalizer.collapse) == (
            normalizer.prefix,
            normalizer.collapse,
        )


def test_controls_and_user_symbols_keep_their_kind(tmp_path):
    pieces = [
        ("<unk>", 0.0, UNKNOWN),
        ("<s>", 0.0, CONTROL),
        ("<x>", 0.0, USER),
        ("a", -1.0, NORMAL),
        ("▁", -2.0, NORMAL),
    ]
    Unigram(pieces).save(tmp_path)
    loaded = text.load(tmp_path)
    assert loaded.pieces == pieces and loaded.specials == ("<unk>", "<s>")
    assert loaded.tokens("a<x>a<s>") == ["▁", "a", "<x>", "a", "<unk>"]


def with_symbol(kind, normalizer):
    """An encoding with the user's symbol ﬁ, a ligature that nfkc would take apart."""
    if kind == "unigram":
        pieces = [("<unk>", 0.0, UNKNOWN), ("▁", -1.0, NORMAL), ("ﬁ", 0.0, USER)]
        return Unigram(pieces, normalizer)
    spelling = Metaspace(normalizer, symbols=["ﬁ"])
    return BPE.train(["a fine day"], 60, exact=False, spelling=spelling)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_no_normaliser_changes_a_symbol_before_or_after_a_file(kind, tmp_path):
    made = with_symbol(kind, Normalizer("nfkc"))
    made.save(tmp_path)
    loaded = text.load(tmp_path)
    for encoding in (made, loaded):
        assert encoding.tokens("ﬁ") == ["▁", "ﬁ"]
        assert encoding.offsets("ﬁ") == [(0, 0), (0, 1)]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_normaliser_that_keeps_what_no_file_would_say_is_refused(kind):
    with pytest.raises(VocabularyError, match="keeps 'x', which is no symbol"):
        with_symbol(kind, Normalizer("nfkc", kept=["x", "ﬁ"]))


# --- the programs that know the format


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """Models loaded by us and by sentencepiece: three of theirs with maps, bytes and the user's symbols, one of ours."""
    import sentencepiece as spm

    folder = tmp_path_factory.mktemp("peer")
    symbols = {"user_defined_symbols": ["<x>", "<x", "ﬁ"]}
    for name, more in (("nmt_nfkc", {}), ("nfkc_cf", {"byte_fallback": True, **symbols}),
                       ("identity", {"remove_extra_whitespaces": False, **symbols})):  # fmt: skip
        (folder / name).mkdir()
        spm.SentencePieceTrainer.train(sentence_iterator=iter(TEXT), model_prefix=str(folder / name / "spiece"),
                                       vocab_size=420, hard_vocab_limit=False, minloglevel=2,
                                       normalization_rule_name=name, **more)  # fmt: skip
    Unigram.train(TEXT, 180, Normalizer("nmt_nfkc")).save(folder / "ours")
    places = [folder / name for name in ("nmt_nfkc", "nfkc_cf", "identity", "ours")]
    return [
        (text.load(p), spm.SentencePieceProcessor(model_file=str(p / "spiece.model")))
        for p in places
    ]


@pytest.mark.peer
@settings(max_examples=1000)
@given(ANY_TEXT)
def test_every_model_encodes_as_sentencepiece_does(peers, t):
    for ours, theirs in peers:
        found = theirs.encode(t, return_type="offset_mapping")
        assert ours.encode(t) == found["ids"]
        assert ours.offsets(t) == found["offsets"]
        assert ours.decode(ours.encode(t)) == theirs.decode(theirs.encode(t))


@pytest.mark.peer
def test_transformers_reads_our_file_and_we_read_what_it_saves(tmp_path):
    from transformers import (
        BertGenerationTokenizer,
    )  # reads spiece.model; others turn it into tokenizer.json first

    ours = Unigram.train(TEXT, 180, Normalizer("nmt_nfkc"))
    ours.save(tmp_path)
    theirs = BertGenerationTokenizer(str(tmp_path / "spiece.model"))
    for t in (*TEXT[:20], TEXT[-1]):
        assert theirs(t)["input_ids"] == ours.encode(t)
    (tmp_path / "again").mkdir()
    theirs.save_pretrained(str(tmp_path / "again"))
    assert text.load(tmp_path / "again").pieces == ours.pieces


@pytest.mark.peer
@pytest.mark.named_set
@pytest.mark.parametrize("name", ["newsgroups", "kjv", "dialogs"])
def test_our_model_is_as_likely_as_theirs_and_encodes_alike_there(name, tmp_path):
    import sentencepiece as spm

    texts = [t.replace("\n", " ") for t in load_texts(name)]
    ours = Unigram.train(texts, 8192)
    ours.save(tmp_path)
    loaded = spm.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    rows = ours.encode_batch(texts)
    assert [row.tolist() for row in rows] == loaded.encode(texts)
    for t in texts[:: len(texts) // 200]:
        assert ours.offsets(t) == loaded.encode(t, return_type="offset_mapping")["offsets"]
    spm.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_prefix=str(tmp_path / "m"),
                                   vocab_size=8192, num_threads=2, normalization_rule_name="identity",
                                   minloglevel=2, max_sentence_length=10**7)  # fmt: skip
    (tmp_path / "m.model").rename(tmp_path / "spiece.model")
    theirs = text.load(tmp_path)
    both = ((ours, rows), (theirs, theirs.encode_batch(texts)))
    likelihood = [
        float(encoding.scores[np.concatenate(found)].sum(dtype=float)) for encoding, found in both
    ]
    assert likelihood[0] > 1.005 * likelihood[1]  # both negative: at most 0.5 % less likely


@pytest.mark.peer
@pytest.mark.named_set
@pytest.mark.parametrize("kind", ["XLNet", "T5"])
def test_our_model_file_loads_in_transformers(kind, tmp_path):
    import transformers

    lines = [line for t in load_texts("kjv")[:500] for line in t.split("\n")]
    ours = Unigram.train(lines, 2000)
    ours.save(tmp_path)
    theirs = getattr(transformers, f"{kind}Tokenizer").from_pretrained(str(tmp_path))
    unknown = 2 if kind == "T5" else ours.unk_id  # T5's own number, whatever the file says
    for t in lines:
        expected = [unknown if i == ours.unk_id else i for i in ours.encode(t)]
        assert theirs(t, add_special_tokens=False)["input_ids"] == expected


def test_a_vocabulary_may_begin_with_xlnets_control_ids(tmp_path):
    encoding = Unigram.train(["the cat sat on the mat"] * 3, 24, controls=XLNET_CONTROLS)
    controls = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    assert encoding.vocab[:9] == controls and encoding.pad_id == 5
    encoding.arrange(XLNET)
    encoding.save(tmp_path)
    again = text.load(tmp_path)
    assert again.vocab == encoding.vocab and set(again.specials) == set(controls)
    inputs = again(["the cat", "the cat sat on the mat"], ["the mat", "the cat"])
    assert inputs["ids"][0, 0] == 5 and inputs["token_types"][0, 0] == 3  # padding on the left
    assert (inputs["ids"][:, -2:] == [4, 3]).all() and (inputs["token_types"][:, -1] == 2).all()
    assert not again("<sep>")["ids"][0, :-2].tolist().count(4)  # a text spells no control


def test_the_tokens_that_an_objective_needs_come_first_in_a_unigram_vocabulary_only():
    texts = ["the cat sat on the mat"] * 3
    assert text.learn("unigram", texts, 31, ["<cls>"]).vocab[3] == "<cls>"
    assert text.learn("words", texts, None, ["<cls>"]).vocab[-1] == "<cls>"


@pytest.mark.parametrize("alpha", [-1.0, float("inf"), float("nan"), 1e308])
def test_a_power_that_no_draw_has_is_refused(alpha):
    encoding = Unigram.train(["hug hugs bun pun"] * 3, 30, exact=False)
    with pytest.raises(ArgumentError, match="Unigram: alpha is"):
        encoding.sample("hugs", alpha, np.random.default_rng(0))
    for n in (0, -1, 2.5):
        with pytest.raises(ArgumentError, match="Unigram: n is"):
            encoding.n_best("hugs", n)
    assert (
        encoding.sample("hugs", 1e6, np.random.default_rng(0)) == encoding.n_best("hugs", 1)[0][0]
    )


def test_one_string_is_no_list_of_controls():
    with pytest.raises(ArgumentError, match="controls is one string"):
        Unigram.train(["ab"], 20, exact=False, controls="<x>")

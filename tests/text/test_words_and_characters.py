"""Bytes, ELMo's words of 50 ids, and fastai's rules: what they say, and that nothing is lost which they mean to keep."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm import nn, text
from tinylm.text import Bytes, ElmoWords, Words, rules
from tinylm.text.elmo import LENGTH, character_ids
from tinylm.transfer.baselines import Tfidf

ANY_TEXT = st.text(
    st.one_of(st.characters(exclude_categories=()), st.sampled_from("aAbBé .!oo")), max_size=40
)
PATTERN = [259, *[b + 1 for b in b"cat"], 260]


@given(ANY_TEXT)
def test_bytes_are_the_bytes_of_the_text(t):
    encoding = Bytes()
    ids = encoding.encode(t)
    assert [i - 3 for i in ids] == list(t.encode("utf-8", "surrogatepass")) and encoding.decode(
        ids
    ) == t
    offsets = encoding.offsets(t)
    assert len(offsets) == len(ids) and sorted(set(offsets)) == [(i, i + 1) for i in range(len(t))]


def test_bytes_that_are_no_text_are_replaced():
    assert Bytes().decode([3 + 0xFF, 3 + ord("a"), 2]) == "\ufffda<eos>"


@given(ANY_TEXT)
def test_a_word_is_its_bytes_between_two_marks_and_padding(word):
    ids, raw = character_ids(word), word.encode("utf-8", "ignore")[:48]
    assert ids.shape == (LENGTH,) and ids.dtype == np.int16
    assert ids.tolist() == [259, *(b + 1 for b in raw), 260, *[261] * (48 - len(raw))]


def test_a_call_gives_characters_beside_ids_and_nothing_where_no_word_stands():
    encoding = ElmoWords.train(["the cat", "the dog"])
    assert encoding.vocab == ["<S>", "</S>", "<UNK>", "<pad>", "the", "cat", "dog"]
    batch = encoding(["the zebra cat", "cat"])
    assert batch["ids"].tolist() == [[0, 4, 2, 5, 1], [0, 5, 1, 3, 3]]
    chars = batch["chars"]
    assert chars.shape == (2, 5, 50) and chars.max() < 262
    assert np.array_equal(chars.any(axis=2), batch["mask"])
    assert (
        chars[0, 2].tolist() == character_ids("zebra").tolist()
        and chars[1, 1, :5].tolist() == PATTERN
    )
    assert chars[0, 0, :3].tolist() == [259, 257, 260] and chars[0, 4, :3].tolist() == [
        259,
        258,
        260,
    ]
    assert np.array_equal(
        encoding(["the zebra cat"], max_length=3)["chars"][0], chars[0, [0, 1, 4]]
    )


def test_pairs_have_characters_too():
    encoding = ElmoWords.train("a b")
    encoding.template = text.Template("<S> A </S>", "<S> A </S> B </S>")
    batch = encoding(["a x"], ["y"])
    assert batch["ids"].tolist() == [[0, 4, 2, 1, 2, 1]]
    assert [row[1] - 1 for row in batch["chars"][0][[1, 2, 4]]] == [ord(c) for c in "axy"]


def test_the_character_cnn_reads_every_word_for_itself():
    encoding = ElmoWords.train("the cat sat")
    cnn = nn.CharCNN(
        nn.CharCNNConfig(filters=((1, 3), (2, 5)), projection_dim=7), rng=np.random.default_rng(0)
    )
    batch = encoding(["the cat sat", "a cat"])
    x = cnn(batch["chars"])
    assert x.shape == (2, 5, 7)
    np.testing.assert_allclose(x.data[0, 2], x.data[1, 2], atol=1e-6)  # "cat", wherever it stands
    np.testing.assert_allclose(
        x.data[0, 2], cnn(character_ids("cat")[None, None]).data[0, 0], atol=1e-6
    )


@pytest.mark.parametrize("t, words", [
    ("Hello THE world", "xxmaj hello xxup the world"), ("A I'm iPhone NASA2", "a i ' m iphone xxup nasa2"),
    ("sooo good!!!!", "s xxrep 3 o good xxrep 4 !"), ("AAAA", "xxrep 4 a"), ("no No no no no", "no xxmaj no xxwrep 3 no"),
    ("no, no, no", "no , no , no"),
    ("aa !! --- x", "aa ! ! xxrep 3 - x"), ("Éa ÀB", "xxmaj éa xxup àb"), ("", ""),
    ("xxmaj Xxup XXBOS xxx", "xx maj xxmaj xx up xxup xx bos xxrep 3 x")])  # fmt: skip
def test_the_rules_say_what_lower_case_would_lose(t, words):
    assert [word for word, _ in rules.cut(t)] == words.split()


@given(ANY_TEXT)
def test_the_rules_keep_all_characters_in_order(t):
    cut = rules.cut(t)
    spans = [span for _, span in cut]
    assert spans == sorted(spans) and all(0 <= start < end <= len(t) for start, end in spans)
    covered = {i for start, end in spans for i in range(start, end)}
    assert all(t[i].isspace() for i in range(len(t)) if i not in covered)


@given(ANY_TEXT)
def test_words_with_rules_round_trip_after_them(t):
    encoding = Words.train([t, "a"], rules=True)
    words = encoding.split(t)
    assert encoding.decode(encoding.encode(t)) == " ".join(words) and len(
        encoding.offsets(t)
    ) == len(words)
    assert not {0, 1, 2, 3} & set(encoding.encode(t))
    assert encoding(t)["ids"][0, 0] == encoding.token_id("xxbos") == 3


# What readers of these scripts call a word: Hindi, Tamil, Thai, pointed Hebrew, Arabic with vowels, Vietnamese in NFD.
WHOLE = ["हिन्दी", "தமிழ்", "ภาษาไทย".replace(" ", ""), "שָׁלוֹם", "مُدَرِّس"]
WHOLE += [unicodedata.normalize("NFD", word) for word in ("Việt", "naïve", "Ångström", "가각")]
LETTERS = st.characters(categories=("L", "N", "M"))


@pytest.mark.parametrize("word", WHOLE)
def test_words_are_not_broken_at_combining_marks(word):
    line = f"a {word}, {word}. b"
    wanted = ["a", word, ",", word, ".", "b"]
    for encoding in (Words.train([line]), ElmoWords.train([line])):
        assert encoding.split(line) == wanted
        assert [line[i:j] for i, j in encoding.offsets(line)] == wanted
    assert Words.train([line], lower=True).split(line) == [w.lower() for w in wanted]
    ruled = [w for w, _ in rules.cut(line) if w not in rules.MARKS]
    assert ruled == [w.lower() for w in wanted]
    assert set(Tfidf().fit([line, "b"]).vocabulary_) == {word.lower()}


def is_mark(character):
    return unicodedata.category(character)[0] == "M"


@given(ANY_TEXT, st.text(LETTERS, max_size=9), st.booleans())
@example("=\u0338", "\u0301", False)
@example("", "ooo\u0301oooo\u0301", True)
def test_no_word_begins_with_a_mark_that_stands_on_something(before, letters, ruled):
    t = before + letters
    encoding = Words.train([t, "a"], rules=ruled)
    for start, _ in encoding.offsets(t):
        if is_mark(t[start]):  # nothing before it that it could stand on, or a run of marks
            assert start == 0 or t[start - 1].isspace() or (ruled and is_mark(t[start - 1]))


@given(ANY_TEXT.filter(lambda t: not any(map(is_mark, t))))
def test_text_without_marks_is_cut_as_it_always_was(t):
    if any(unicodedata.category(c) == "Cn" for c in t):
        return  # what Python's Unicode has not assigned, a later one may call a letter
    for ruled in (False, True):
        new, old = (Words(["a"], rules=ruled, marks=marks) for marks in (True, False))
        assert new.split(t) == old.split(t) and new.offsets(t) == old.offsets(t)


def test_an_accent_of_its_own_changes_no_rule_about_capitals():
    for form in ("NFC", "NFD"):
        t = unicodedata.normalize(form, "É ÉA Éa sóóó")
        words = [unicodedata.normalize("NFC", word) for word, _ in rules.cut(t)]
        assert words[:5] == ["é", "xxup", "éa", "xxmaj", "éa"]


@pytest.mark.parametrize("make", [Words, ElmoWords])
def test_the_rule_is_kept_with_the_vocabulary_and_an_old_one_keeps_its_own(make, tmp_path):
    make.train(["हिन्दी a"]).save(tmp_path)
    path = tmp_path / make.files[0]
    assert text.load(tmp_path).split("हिन्दी") == ["हिन्दी"]
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored.pop("marks") is True
    path.write_text(json.dumps(stored), encoding="utf-8")
    old = text.load(tmp_path)
    assert old.split("हिन्दी") == ["ह", "ि", "न", "्", "द", "ी"]
    assert len(old.offsets("हिन्दी")) == 6
    old.save(tmp_path)
    assert "marks" not in json.loads(path.read_text(encoding="utf-8"))


def test_the_rules_are_kept_with_the_vocabulary(tmp_path):
    Words.train(["The cat", "the CAT"], rules=True).save(tmp_path)
    loaded = text.load(tmp_path)
    assert loaded.rules and loaded.tokens("THE cat") == ["xxup", "the", "cat"]

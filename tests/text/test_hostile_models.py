"""Files of encodings that are made to have no end, to cost the square of their size, or to be no such files."""

import base64
import json

import numpy as np
import pytest
from costs import cost_at_most

from tinylm import text
from tinylm.errors import DataError, TinylmError
from tinylm.text.formats import protobuf
from tinylm.text.formats.protobuf import BPE, NORMAL, UNIGRAM, UNKNOWN, USER, Model, message
from tinylm.text.merging import splits
from tinylm.text.normalise import charsmap, steps
from tinylm.text.normalise.charsmap import LONGEST, CharsMap
from tinylm.text.normalise.normalizing import Normalizer
from tinylm.text.normalise.symbols import Symbols

UNK = ("<unk>", 0.0, UNKNOWN)


def written(folder, model):
    (folder / "spiece.model").write_bytes(
        model if isinstance(model, bytes) else protobuf.write(model)
    )
    return folder


# --- no end


@pytest.mark.parametrize("kind", [UNIGRAM, BPE])
@pytest.mark.parametrize("piece_kind", [NORMAL, USER])
def test_an_empty_piece_ends(tmp_path, kind, piece_kind):
    model = Model(
        [UNK, ("", 0.0, piece_kind), ("a", -1.0, NORMAL)], kind, charsmap.write({"b": "a"})
    )
    try:
        encoding = text.load(written(tmp_path, model))
    except DataError:
        assert kind == BPE
        return
    encoding.encode("a ab")
    assert len(encoding.offsets("a ab")) == len(encoding.encode("a ab"))


def replaced(content, pattern="a"):
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def test_steps_that_multiply_are_refused():
    with pytest.raises(DataError, match="makes up to 1e\\+09 characters of one"):
        steps.of({"type": "Sequence", "normalizers": [replaced("a" * 10)] * 9})
    with pytest.raises(DataError, match="at most 100 characters"):
        steps.of(replaced("a" * 150))
    with pytest.raises(DataError, match="an empty text"):
        steps.of(replaced("b", pattern=""))
    rules = base64.b64encode(charsmap.write({"a": "a" * 50})).decode()
    multiplying = {"type": "Precompiled", "precompiled_charsmap": rules}
    with pytest.raises(DataError, match="characters of one"):
        steps.of({"type": "Sequence", "normalizers": [multiplying] * 5})
    assert len(steps.of({"type": "Sequence", "normalizers": [replaced("b")] * 9})) == 9


def test_a_rule_that_writes_much_is_refused():
    with pytest.raises(DataError, match="at most 512"):
        CharsMap(charsmap.write({"a": "b" * (LONGEST + 1)}))
    assert CharsMap(charsmap.write({"a": "b" * LONGEST})).longest_text == LONGEST


# --- the square of the size


def chain(n):
    """A character map whose one rule has n bytes: each unit's children begin at the next one's base."""
    base = [0] * (n + 1)
    units = np.full(256 * (n + 2), 1 << 31, np.int64)
    for i in range(n + 1):
        base[i] = 256 * (i + 1)
    units[0] = base[0] << 10
    for i in range(n):
        at = base[i] ^ ord("a")
        offset = at ^ base[i + 1]
        units[at] = ord("a") | (offset << 10 if offset < 2**21 else (offset >> 8) << 10 | 0x200)
    raw = units.astype("<u4").tobytes()
    return len(raw).to_bytes(4, "little") + raw + b"x\0"


def test_a_chain_in_a_character_map_ends_soon():
    assert CharsMap(chain(LONGEST - 12)).words_stand_alone()
    once, twice = CharsMap(chain(12_500)), CharsMap(chain(25_000))

    def refused(rules):
        with pytest.raises(DataError, match="more than 512 bytes"):
            rules.words_stand_alone()

    cost_at_most(3, lambda: refused(once), lambda: refused(twice))


@pytest.mark.parametrize(
    "step",
    [steps.replace_ends("_"), steps.of(replaced("b"))[0], Normalizer(charsmap.write({"a": "b"})).parts,
     steps.words, steps.strip_accents],
    ids=["ends", "replace", "map", "words", "accents"],
)  # fmt: skip
@pytest.mark.parametrize("character", [" ", "a"])
def test_normalising_costs_as_much_as_the_text_is_long(step, character):
    once = "x" + character * 25_000 + "x"
    twice = "x" + character * 50_000 + "x"
    list(step(once))
    cost_at_most(3, lambda: list(step(once)), lambda: list(step(twice)))


def test_the_spaces_at_both_ends_are_those_that_the_pattern_means():
    import regex

    pattern = regex.compile(r"\A +| +\Z")
    for given in ("", " ", "   ", "a", " a", "a ", "  a b  ", "a\n ", " \n "):
        expected = "".join(part for part, _ in steps.replace(pattern, "_")(given))
        assert "".join(part for part, _ in steps.replace_ends("_")(given)) == expected


def test_symbols_cost_as_much_as_the_text_is_long_however_many_they_are():
    def symbols(n):
        return Symbols(f"x{i}" for i in range(n))

    shown = "x17 and x4 x " * 500
    few = symbols(20_000)
    many = symbols(40_000)
    assert many.split(shown) == few.split(shown)
    cost_at_most(3, lambda: symbols(20_000), lambda: symbols(40_000))
    cost_at_most(3, lambda: few.split(shown), lambda: many.split(shown))


def test_the_longest_symbol_at_a_place_counts():
    import itertools

    known = ["a", "ab", "abc", "b", "bca", "ca", "cab"]
    symbols = Symbols(known)
    for letters in itertools.product("abcd", repeat=5):
        whole = "".join(letters)
        for place in range(5):
            fitting = [known_one for known_one in known if whole.startswith(known_one, place)]
            assert symbols.at(whole, place) == max(fitting, key=len, default=None)


def test_splits_of_a_long_token_look_only_where_a_token_may_end():
    scores = dict.fromkeys(["a", "aa", "aaa", "a" * 400_000], 0.0)
    merges, _ = splits(scores)
    assert sorted(merges) == [("a", "a"), ("a", "aa"), ("aa", "a")]
    with pytest.raises(TinylmError, match="too long to be made of one another"):
        splits(dict.fromkeys(("a" * n for n in range(1, 3000)), 0.0))


# --- other files


def piece(*fields):
    return (1, message(*fields))


@pytest.mark.parametrize(
    "fields",
    [
        [piece((1, "<unk>"), (3, 2)), piece((1, "a"), (3, b"x"))],
        [piece((1, "<unk>"), (3, 2)), piece((1, "a"), (3, 77))],
        [piece((1, "<unk>"), (3, 2)), piece((1, 5))],
        [piece((1, "<unk>"), (3, 2)), piece((1, "a"), (2, b"abc"))],
        [piece((1, "<unk>"), (3, 2)), (1, 3)],
        [piece((1, "<unk>"), (3, 2)), (2, 9)],
        [piece((1, "<unk>"), (3, 2)), (3, message((2, 7)))],
        [piece((1, "<unk>"), (3, 2)), (3, message((2, b"abcd")))],
    ],
)
def test_fields_of_another_type_are_one_sentence(tmp_path, fields):
    with pytest.raises(DataError) as caught:
        text.load(written(tmp_path, message(*fields)))
    assert str(caught.value).isprintable()


def bert():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]
    return text.tokenizer_json.describe(text.WordPiece(vocab))


@pytest.mark.parametrize(
    "path, value",
    [
        ((), {}),
        (("model",), {}),
        (("model", "vocab"), {"a": 10**20}),
        (("model", "vocab"), {"a": "0"}),
        (("added_tokens",), [{"content": 7, "id": 0}]),
        (("added_tokens",), [{"content": ["a"], "id": 0}]),
        (("padding",), {"pad_type_id": 10**300}),
        (("padding",), {"pad_type_id": -1}),
        (("padding",), {"pad_type_id": "x"}),
        (("post_processor", "single"), [{"Sequence": {"id": "A", "type_id": 10**20}}]),
        (("post_processor", "single"), [{}]),
        (("normalizer",), []),
    ],
)
def test_parts_of_another_type_in_tokenizer_json_are_one_sentence(tmp_path, path, value):
    described = bert()
    at = described
    for key in path[:-1]:
        at = at[key]
    if path:
        at[path[-1]] = value
    else:
        described = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(DataError, match="tokenizer.json") as caught:
        text.load(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "NaN"])
def test_numbers_that_are_none_in_tokenizer_json_are_one_sentence(tmp_path, number):
    described = json.dumps(bert()).replace('"a": 5', f'"a": {number}')
    (tmp_path / "tokenizer.json").write_text(described, encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        text.load(tmp_path)


@pytest.mark.parametrize("merge", ["", " ", ["", "a"], "a", ["a"], ["a", "b", "c"], 7, None])
def test_a_merge_that_joins_nothing_is_one_sentence(tmp_path, merge):
    described = text.tokenizer_json.describe(text.BPE.train(["a bc ab ab"], 258))
    described["model"]["merges"].append(merge)
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(DataError, match="tokenizer.json"):
        text.load(tmp_path)

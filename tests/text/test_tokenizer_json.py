"""tokenizer.json: what we write reads the same here and in tokenizers, what tokenizers writes reads the same here."""

import json
import unicodedata
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import hub, text
from tinylm.data import toy
from tinylm.errors import CheckpointError, DataError, TinylmError, VocabularyError
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.text import BPE, Template, Unigram, WordPiece, Words
from tinylm.text.formats import tokenizer_json
from tinylm.text.normalise import steps
from tinylm.text.normalise.normalizing import SPACE, Normalizer
from tinylm.text.spelling import BYTES, SPACED_BYTES, EndOfWord, Metaspace
from tinylm.text.template import BERT, XLNET

TEXT = [*toy.documents(60), "Unaffable ünïted 東京 it's IT'S 12-123 naïve naïveté \"quoted\" ''"]
ANY_TEXT = st.text(st.one_of(
    st.characters(exclude_categories=("Cs",)), st.sampled_from("aAbEé ÉßİΣς'.-,!東京각ｱﬁ½☕the  `"),
    st.sampled_from("\u0301\u0327\u20e3\u200d\ufe0f\U0001f469\U0001f3fd\u00a0\u2028\t\n\r\x00\x0b\x1c\x85\ufffd\u00ad"),
    st.characters(max_codepoint=0x17F)), max_size=40)  # fmt: skip

MAKERS = {
    "gpt2": lambda: BPE.train(TEXT, 300),
    "gpt1": lambda: BPE.train(TEXT, 200, spelling=EndOfWord()),
    "pieces": lambda: BPE.train(TEXT, 450, spelling=Metaspace(byte_fallback=True)),
    "loose pieces": lambda: BPE.train(
        TEXT, 200, spelling=Metaspace(Normalizer("nfkc", prefix=False, collapse=False))
    ),
    "bert": lambda: WordPiece.train(TEXT, 200),
    "cased bert": lambda: WordPiece.train(TEXT, 200, lower=False),
    "unigram": lambda: Unigram.train(TEXT, 200),
    "nfkc unigram": lambda: Unigram.train(
        TEXT, 420, Normalizer("nfkc"), byte_fallback=True, exact=False
    ),
}


@pytest.fixture(scope="module", params=MAKERS)
def encoding(request):
    return MAKERS[request.param]()


def same(a, b):
    """Both encodings are the same."""
    assert (
        type(a) is type(b)
        and a.vocab == b.vocab
        and a.specials == b.specials
        and a.template == b.template
    )
    assert (a.unk_id, a.pad_id, a.end_id) == (b.unk_id, b.pad_id, b.end_id)
    for t in TEXT:
        assert a.encode(t) == b.encode(t) and a.decode(a.encode(t)) == b.decode(b.encode(t))


def test_what_is_written_is_read_as_itself(encoding, tmp_path):
    tokenizer_json.save(encoding, tmp_path)
    loaded = text.load(tmp_path)
    same(encoding, loaded)
    tokenizer_json.save(loaded, tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (
        tmp_path / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize("template", [XLNET, BERT, Template("<sep> A")])
def test_templates_and_left_padding_are_in_the_file(template, tmp_path):
    encoding = Unigram.train(TEXT, 200)
    encoding.add_specials(["<sep>", "<cls>", "[CLS]", "[SEP]", "<pad>"])
    encoding.template, encoding.pad_id = template, encoding.token_id("<pad>")
    tokenizer_json.save(encoding, tmp_path)
    loaded = text.load(tmp_path)
    assert loaded.template == template
    assert loaded("the cat")["ids"].tolist() == encoding("the cat")["ids"].tolist()


def test_an_encoding_that_the_format_does_not_know_is_one_sentence(tmp_path):
    with pytest.raises(VocabularyError, match="cannot hold the encoding Words"):
        tokenizer_json.save(Words.train(TEXT), tmp_path)
    with pytest.raises(VocabularyError, match="symbols as '<x>'"):
        tokenizer_json.save(BPE.train(TEXT, 200, spelling=Metaspace(symbols=["<x>"])), tmp_path)


@pytest.mark.parametrize("change, named", [
    ({"normalizer": {"type": "Nmt"}}, "normalizer"), ({"pre_tokenizer": {"type": "Digits"}}, "Digits"),
    ({"post_processor": {"type": "RobertaProcessing"}}, "RobertaProcessing"), ({"decoder": {"type": "CTC"}}, "CTC"),
    ({"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}}, "use_regex"),
    ({"model": {"type": "WordLevel", "vocab": {}}}, "WordLevel"), ({"model": 3}, "damaged"), ({"model": {}}, "damaged"),
    ({"added_tokens": [{"id": 999, "content": "<x>"}]}, "not special"),
    ({"added_tokens": [{"id": 999, "content": "<x>", "special": True}]}, "gaps"),
    ({"added_tokens": [{}]}, "damaged")])  # fmt: skip
def test_what_no_encoding_here_has_is_named(change, named, tmp_path):
    stored = tokenizer_json.describe(MAKERS["gpt2"]())
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored | change))
    with pytest.raises(DataError, match=named) as caught:
        text.load(tmp_path)
    assert "tokenizer.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind, name, value", [
    ("gpt2", "ignore_merges", True), ("gpt2", "merges", [["a", "§"]]), ("gpt2", "fuse_unk", True),
    ("gpt1", "end_of_word_suffix", "@@"), ("gpt1", "unk_token", "?"), ("bert", "max_input_chars_per_word", 200),
    ("bert", "continuing_subword_prefix", "@"), ("unigram", "unk_id", 2000), ("unigram", "unk_id", None),
    ("unigram", "vocab", [["a"]])])  # fmt: skip
def test_another_setting_of_a_model_is_named(kind, name, value, tmp_path):
    stored = tokenizer_json.describe(MAKERS[kind]())
    stored["model"][name] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(
        DataError, match="§" if name == "merges" else "damaged" if name == "vocab" else name
    ):
        text.load(tmp_path)


@given(st.data())
def test_any_change_of_a_file_is_read_or_refused(tmp_path_factory, data):
    stored = json.loads(
        json.dumps(
            tokenizer_json.describe(MAKERS[data.draw(st.sampled_from(["gpt2", "unigram"]))]())
        )
    )
    place = stored
    while isinstance(place, dict | list) and place:  # somewhere in the file something else stands
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
        )
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(
                st.sampled_from([None, 0, -1, "", "x", [], {}, [1], {"type": "NFKC"}, True, 1e400])
            )
            break
        place = place[key]
    folder = tmp_path_factory.getbasetemp()
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    try:
        text.load(folder).encode("the cat")
    except TinylmError as error:
        assert "\n" not in str(error)


def test_a_model_folder_may_hold_it(tmp_path):
    tokenizer = MAKERS["gpt2"]()
    hub.save(tmp_path, GPT(GPTConfig.tiny(vocab_size=tokenizer.vocab_size)))
    tokenizer_json.save(tokenizer, tmp_path)
    same(hub.load(tmp_path)[1], tokenizer)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="tokenizer.json"):
        hub.load(tmp_path)


# --- beside tokenizers


@pytest.fixture(scope="module")
def there(encoding):
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(tokenizer_json.describe(encoding)))


@pytest.mark.peer
@settings(max_examples=500)
@given(ANY_TEXT)
def test_our_file_encodes_any_text_alike_in_tokenizers(encoding, there, t):
    found = there.encode(t, add_special_tokens=False)
    if any(name in t for name in encoding.specials) or SPACE in t:
        return  # the mark of a space at the end of a text: see the next test
    assert encoding.encode(t) == found.ids
    if (
        there.pre_tokenizer
    ):  # where they are replaced in the normalizer, spaces are aligned otherwise: see the next test
        assert encoding.offsets(t) == found.offsets
    if not isinstance(encoding, WordPiece):  # which writes "##a" at the beginning without the marks
        assert there.decode(found.ids, skip_special_tokens=False) == encoding.decode(
            found.ids
        ).replace(" ⁇ ", "<unk>")


@pytest.mark.peer
def test_a_mark_of_a_space_in_a_text_is_read_alike_and_trimmed_as_sentencepiece_does(
    encoding, there
):
    for t in ("▁a", "a▁b", "a▁ b", "a▁▁b", "a ▁b"):
        assert encoding.encode(t) == there.encode(t, add_special_tokens=False).ids
    if isinstance(encoding, Unigram):  # it takes the mark for a space; tokenizers keeps it
        for t in ("a▁", "a ▁", "a▁▁", "a▁ "):
            assert encoding.encode(t) == encoding.encode("a")


@pytest.mark.peer
def test_our_file_gives_the_same_offsets_in_tokenizers(encoding, there):
    for t in TEXT:
        found, tokens = there.encode(t, add_special_tokens=False), encoding.tokens(t)
        first = tokens[0] == "▁"  # which stands for nothing in the text
        if not any(
            token.startswith("<0x") for token in tokens
        ):  # where tokenizers gives to each all unknown neighbours
            assert encoding.offsets(t)[first:] == found.offsets[first:]


@pytest.mark.peer
def test_framed_texts_and_pairs_are_alike_in_tokenizers(encoding, tmp_path):
    from tokenizers import Tokenizer

    encoding.add_specials([name for name in ("<sep>", "<cls>") if name not in encoding.vocab])
    encoding.template = XLNET
    tokenizer_json.save(encoding, tmp_path)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for pairs in (None, TEXT[1:6]):
        batch = encoding(TEXT[:5], pairs)
        found = theirs.encode_batch(
            TEXT[:5] if pairs is None else list(zip(TEXT[:5], pairs, strict=True))
        )
        assert batch["ids"].tolist() == [row.ids for row in found]
        assert batch["token_types"].tolist() == [row.type_ids for row in found]
        assert batch["mask"].astype(int).tolist() == [row.attention_mask for row in found]
    encoding.template = type(encoding).template


def published(kind):
    """A tokenizer trained by tokenizers with the parts of a published file."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    bert = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    metaspace = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    quotes = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
    ]
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model, normalizer, cutter, decoder, trainer = {
        "gpt2": (models.BPE(), None, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(),
                 trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet,
                                     show_progress=False)),
        "gpt1": (models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), *bert, decoders.BPEDecoder(), trainers.BpeTrainer(
            vocab_size=250, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False)),
        "bert": (models.WordPiece(unk_token="[UNK]"), *bert, decoders.WordPiece(), trainers.WordPieceTrainer(
            vocab_size=250, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False)),
        "xlnet": (models.Unigram(), normalizers.Sequence(quotes), metaspace, decoders.Metaspace(), None),
        "albert": (models.Unigram(), normalizers.Sequence([*quotes, normalizers.Lowercase(), one_space]),
                   pre_tokenizers.Metaspace(), decoders.Metaspace(), None),
        "t5": (models.Unigram(), normalizers.NFKC(), metaspace, decoders.Metaspace(), None)}[kind]  # fmt: skip
    theirs = Tokenizer(model)
    if normalizer is not None:
        theirs.normalizer = normalizer
    theirs.pre_tokenizer, theirs.decoder = cutter, decoder
    trainer = trainer or trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>", "<sep>", "<cls>"],
                                                 unk_token="<unk>", show_progress=False)  # fmt: skip
    theirs.train_from_iterator(TEXT, trainer)
    if kind == "bert":
        theirs.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    elif kind == "xlnet":
        theirs.post_processor = processors.TemplateProcessing(
            single="$A <sep> <cls>:2",
            pair="$A <sep> $B:1 <sep>:1 <cls>:2",
            special_tokens=[("<sep>", 3), ("<cls>", 4)],
        )
    return theirs


@pytest.fixture(scope="module", params=["gpt2", "gpt1", "bert", "xlnet", "albert", "t5"])
def pair(request, tmp_path_factory):
    theirs, folder = published(request.param), tmp_path_factory.mktemp("theirs")
    theirs.save(str(folder / "tokenizer.json"))
    return text.load(folder), theirs


@pytest.mark.peer
@settings(max_examples=500)
@given(ANY_TEXT)
def test_their_file_encodes_any_text_alike_here(pair, t):
    ours, theirs = pair
    assert ours.encode(t, special="all") == theirs.encode(t, add_special_tokens=False).ids


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["StripAccents", "NFKD", "NFKC", "NFD", "NFC"])
def test_every_mark_and_every_composed_character_is_normalised_as_theirs(kind):
    from tokenizers import normalizers

    [step] = steps.of({"type": kind})
    theirs = getattr(normalizers, kind)()
    told_apart = 0
    for code in [*range(0xD800), *range(0xE000, 0x110000)]:
        c = chr(code)
        is_mark = unicodedata.category(c)[0] == "M"
        if is_mark or unicodedata.decomposition(c) or code % 997 == 1:
            t = f"a{c}b"
            ours = "".join(part for part, _ in step(t))
            assert ours == theirs.normalize_str(t), hex(code)
            told_apart += ours != t
    assert told_apart > 20


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["GPT2", "OpenAIGPT", "Bert", "XLNet", "Albert", "T5"])
def test_tokenizers_of_transformers_load_here(kind, tmp_path):
    import transformers

    unigram = [("<pad>", 0.0), *((token, score) for token, score, _ in MAKERS["unigram"]().pieces)]
    made = MAKERS[{"GPT2": "gpt2", "OpenAIGPT": "gpt1"}.get(kind, "bert")]()
    vocab = {token: i for i, token in enumerate(made.vocab)}
    arguments = {"GPT2": {"vocab": vocab, "merges": getattr(made, "merges", None)}, "Bert": {"vocab": vocab},
                 "XLNet": {"vocab": [*unigram, ("<sep>", 0.0), ("<cls>", 0.0)], "unk_id": 1},
                 "Albert": {"vocab": [*unigram, ("[CLS]", 0.0), ("[SEP]", 0.0)]},
                 "T5": {"vocab": [*unigram[:1], ("</s>", 0.0), *unigram[1:3], *unigram[4:]], "extra_ids": 5}}  # fmt: skip
    theirs = getattr(transformers, f"{kind}Tokenizer")(**arguments.get(kind, arguments["GPT2"]))
    theirs.save_pretrained(tmp_path)
    ours = tokenizer_json.load(tmp_path)
    assert isinstance(ours, Unigram if kind in ("XLNet", "Albert", "T5") else type(made))
    for t in [*TEXT, "", "  a ``b''  "]:
        assert ours.encode(t) == theirs(t, add_special_tokens=False)["input_ids"]
        batch = ours(t)
        assert batch["ids"][batch["mask"]].tolist() == theirs(t)["input_ids"]
    assert ours.template.pad_left == (kind == "XLNet")


@pytest.mark.peer
def test_their_file_frames_texts_alike_here(pair):
    ours, theirs = pair
    assert ours.vocab == [theirs.id_to_token(i) for i in range(theirs.get_vocab_size())]
    for t in TEXT:
        assert ours(t)["ids"].tolist() == [theirs.encode(t).ids]


@pytest.mark.parametrize(
    "t", ["the sea", " the sea", "", " ", "\nthe", "  the", "né東京!", "the  sea "]
)
def test_a_prefix_space_spells_the_first_word_like_the_others(t, tmp_path):
    plain = MAKERS["gpt2"]()
    spaced = BPE(list(plain.vocab), plain.merges, plain.specials, SPACED_BYTES)
    whole = t if not t or t.startswith(" ") else " " + t
    assert spaced.encode(t) == plain.encode(whole)
    assert spaced.decode(spaced.encode(t)) == whole
    shift = len(whole) - len(t)
    moved = [(max(a - shift, 0), b - shift) for a, b in plain.offsets(whole)]
    assert spaced.offsets(t) == moved
    spaced.save(tmp_path / "files")
    tokenizer_json.save(spaced, tmp_path / "one")
    for folder in ("files", "one"):
        assert text.load(tmp_path / folder).encode(t) == spaced.encode(t)
    (tmp_path / "one" / "tokenizer_config.json").write_text('{"add_prefix_space": false}')
    assert text.load(tmp_path / "one").encode(t) == plain.encode(t)


@pytest.mark.peer
@settings(max_examples=200)
@given(ANY_TEXT)
def test_their_prefix_space_is_ours(t):
    from tokenizers import Tokenizer

    spaced = BPE(*bpe_parts(), SPACED_BYTES)
    theirs = Tokenizer.from_str(json.dumps(tokenizer_json.describe(spaced)))
    assert spaced.encode(t) == theirs.encode(t, add_special_tokens=False).ids


@cache
def bpe_parts():
    """Vocabulary, merges and specials of a byte-pair encoding."""
    made = MAKERS["gpt2"]()
    return made.vocab, made.merges, made.specials


@pytest.mark.peer
@pytest.mark.parametrize("prefix", [True, False])
def test_their_folder_says_whether_the_first_word_gets_a_space(prefix, tmp_path):
    from transformers import AutoTokenizer

    plain = MAKERS["gpt2"]()
    spaced = BPE(list(plain.vocab), plain.merges, plain.specials, SPACED_BYTES if prefix else BYTES)
    spaced.save(tmp_path / "ours")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "ours")
    theirs.add_tokens(["<x>"], special_tokens=True)
    theirs.save_pretrained(tmp_path / "theirs")
    for folder in ("ours", "theirs"):
        ours = text.load(tmp_path / folder)
        for t in ["the sea", " the sea", "it's"]:
            assert ours.encode(t) == theirs(t)["input_ids"]
    assert ours.vocab[-1] == "<x>" and ours.end_id == theirs.eos_token_id


def test_beside_a_unigram_model_the_whole_description_counts(tmp_path):
    """A published XLNet has both files; its model says nothing of accents, quotes and the template."""
    encoding = Unigram.train(TEXT, 200)
    encoding.add_specials(["<sep>", "<cls>", "<pad>"])
    encoding.arrange(XLNET)
    tokenizer_json.save(encoding, tmp_path / "whole")
    Unigram(encoding.pieces, encoding.normalizer).save(tmp_path / "both")
    (tmp_path / "whole" / "tokenizer.json").rename(tmp_path / "both" / "tokenizer.json")
    loaded = text.load(tmp_path / "both")
    same(encoding, loaded)
    assert loaded.template == XLNET

"""tokenizer.json: one file that says how text is normalised, cut, encoded, framed and decoded. Read and written.

    normalizer -> pre_tokenizer -> model -> post_processor          ids -> decoder -> text

GPT-2   –                    ByteLevel                    BPE                 ByteLevel            ByteLevel
GPT-1   BertNormalizer       BertPreTokenizer             BPE with </w>       –                    BPEDecoder
BERT    BertNormalizer       BertPreTokenizer             WordPiece           TemplateProcessing   WordPiece
XLNet, ALBERT, T5   steps    WhitespaceSplit, Metaspace   Unigram             TemplateProcessing   Metaspace

What these files use is understood, exactly; anything else is an error that names it, because an encoding that is almost the
published one spoils a model silently. Ours of SentencePiece's kind write the space as ▁ in the normalizer.
Source: Hugging Face's tokenizers. Differs: the truncation in a file is not applied, `max_length` is said in the call;
white space beside a special token stays text (lstrip, rstrip).
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinylm import files
from tinylm.errors import DataError, TinylmError, VocabularyError
from tinylm.text.base import BYTE_TOKENS, Encoding
from tinylm.text.bpe import BPE
from tinylm.text.formats import bpe_files
from tinylm.text.formats.protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from tinylm.text.normalise import steps
from tinylm.text.normalise.normalizing import SPACE, Normalizer
from tinylm.text.spelling import END_OF_WORD, ByteLevel, EndOfWord, Metaspace
from tinylm.text.template import XLNET, Template, parts_of
from tinylm.text.unigram import Unigram
from tinylm.text.wordpiece import LONGEST, PREFIX, WordPiece

NAME = "tokenizer.json"
Json = dict[str, Any]
BYTE_LEVEL = {"type": "ByteLevel"}
BYTE_LEVEL |= {"add_prefix_space": False, "trim_offsets": False, "use_regex": True}
TO_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
COLLAPSE = [{"type": "Replace", "pattern": {"Regex": steps.ENDS}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": steps.SEVERAL}, "content": " "}]  # fmt: skip
NO_PAIR = "A B:1"  # what stands in a file that says nothing about pairs


# --- writing


def save(encoding: Encoding, folder: str | Path) -> None:
    """Write tokenizer.json into a folder. raises VocabularyError for an encoding that the format does not know"""
    files.write_json(Path(folder) / NAME, describe(encoding))


def describe(encoding: Encoding) -> Json:
    """What stands in the file. raises VocabularyError for an encoding that the format does not know"""
    spelling = encoding.spelling
    write = next(
        (write for kind, write in _WRITERS.items() if isinstance(spelling or encoding, kind)), None
    )
    if write is None:
        raise VocabularyError(
            f"A {NAME} cannot hold the encoding {type(encoding).__name__}; save() writes its own files."
        )
    names = [
        *encoding.specials,
        *(text for text, _, kind in encoding.pieces if kind == USER),
    ]
    added = [{"id": encoding.token_id(name), "content": name, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": name in encoding.specials} for name in names]  # fmt: skip
    found = {"version": "1.0", "truncation": None, "padding": _padding(encoding), "added_tokens": added, "normalizer": None,
             "pre_tokenizer": None, "post_processor": _post_processor(encoding), "decoder": None}  # fmt: skip
    return found | write(encoding)


def _padding(encoding: Encoding) -> Json | None:
    """Only where it is not the usual one: the file makes others pad whatever they encode."""
    template, pad = encoding.template, encoding.pad_id
    if not (template.pad_left or template.pad_type):
        return None
    return {"strategy": "BatchLongest", "direction": "Left" if template.pad_left else "Right", "pad_to_multiple_of": None,
            "pad_id": pad, "pad_type_id": template.pad_type, "pad_token": encoding.vocab[pad]}  # fmt: skip


def _post_processor(encoding: Encoding) -> Json | None:
    template, names = encoding.template, set()
    if template == Template():
        return None
    patterns = {}
    for part, pattern in (("single", template.single), ("pair", template.pair or NO_PAIR)):
        patterns[part] = [{"Sequence" if name in "AB" else "SpecialToken": {"id": name, "type_id": kind}}
                          for name, kind in parts_of(pattern)]  # fmt: skip
        names |= {name for name, _ in parts_of(pattern) if name not in "AB"}
    tokens = {
        name: {"id": name, "ids": [encoding.token_id(name)], "tokens": [name]}
        for name in sorted(names)
    }
    return {"type": "TemplateProcessing", **patterns, "special_tokens": tokens}


def _byte_level(encoding: BPE) -> Json:
    return {"pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL, "model": _bpe(encoding)}


def _end_of_word(encoding: BPE) -> Json:
    return _bert(True, None) | {"decoder": {"type": "BPEDecoder", "suffix": END_OF_WORD},
                                "model": _bpe(encoding, end_of_word_suffix=END_OF_WORD)}  # fmt: skip


def _metaspace(encoding: BPE) -> Json:
    if encoding.spelling.symbols:
        raise VocabularyError(
            f"A {NAME} of ours holds no symbols as {min(encoding.spelling.symbols)!r}; save() the model."
        )
    model = _bpe(encoding, fuse_unk=True, byte_fallback=encoding.spelling.byte_fallback)
    return _spaced(encoding.spelling.normalizer) | {"model": model}


def _wordpiece(encoding: WordPiece) -> Json:
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": PREFIX,
             "max_input_chars_per_word": LONGEST, "vocab": _ids(encoding)}  # fmt: skip
    decoder = {"type": "WordPiece", "prefix": PREFIX, "cleanup": False}
    return _bert(encoding.cleaning.lower, encoding.cleaning.strip_accents) | {
        "decoder": decoder,
        "model": model,
    }


def _unigram(encoding: Unigram) -> Json:
    scores = [score for _, score, _ in encoding.pieces] + [0.0] * encoding.vocab_size
    vocab = [[token, float(score)] for token, score in zip(encoding.vocab, scores, strict=False)]
    fallback = any(kind == BYTE for _, _, kind in encoding.pieces)
    model = {
        "type": "Unigram",
        "unk_id": encoding.unk_id,
        "vocab": vocab,
        "byte_fallback": fallback,
    }
    return _spaced(encoding.normalizer) | {"model": model}


def _ids(encoding: Encoding) -> dict[str, int]:
    return {token: i for i, token in enumerate(encoding.vocab)}


def _bpe(encoding: BPE, **settings: Any) -> Json:
    return {"type": "BPE", "dropout": None, "unk_token": encoding.spelling.unknown, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **settings,
            "vocab": _ids(encoding), "merges": [list(pair) for pair in encoding.merges]}  # fmt: skip


def _bert(lower: bool, strip_accents: bool | None) -> Json:
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                  "strip_accents": strip_accents, "lowercase": lower}  # fmt: skip
    return {"normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}}


def _spaced(normalizer: Normalizer) -> Json:
    """SentencePiece's normaliser, the space as ▁ at its end."""
    if not isinstance(normalizer, Normalizer):
        raise VocabularyError(
            f"The normalisers came from a {NAME}; keep that file, ours cannot say them again."
        )
    chosen: list[Json] = []
    if normalizer.charsmap:
        chosen.append(
            {
                "type": "Precompiled",
                "precompiled_charsmap": base64.b64encode(normalizer.charsmap).decode(),
            }
        )
    chosen += COLLAPSE if normalizer.collapse else []
    chosen += [{"type": "Prepend", "prepend": SPACE}] if normalizer.prefix else []
    decoders = [
        {**TO_SPACE, "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    decoders += (
        [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if normalizer.prefix else []
    )
    return {"normalizer": {"type": "Sequence", "normalizers": [*chosen, TO_SPACE]},
            "decoder": {"type": "Sequence", "decoders": decoders}}  # fmt: skip


_WRITERS: dict[type, Callable[[Any], Json]] = {ByteLevel: _byte_level, EndOfWord: _end_of_word, Metaspace: _metaspace,
                                               WordPiece: _wordpiece, Unigram: _unigram}  # fmt: skip


# --- reading


def load(folder: str | Path) -> Encoding:
    """The encoding that the tokenizer.json of a folder describes.

    raises DataError    if the file is missing or damaged, or uses what no encoding here has (which is named)
    """
    path = Path(folder) / NAME
    stored = files.read_json(path)
    try:
        return understand(stored)
    except TinylmError as error:
        raise DataError(f"{str(path)!r}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration) as error:
        raise DataError(f"{str(path)!r} is not a {NAME} that can be read ({type(error).__name__}: {error}); "
                        "the file is damaged.") from None  # fmt: skip


def understand(stored: Json) -> Encoding:
    """The encoding that the value of a tokenizer.json describes; raises DataError for a part that no encoding here has."""
    model = stored["model"]
    kind = model.get(
        "type", "BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece"
    )
    if kind not in _READERS:
        raise DataError(f"the model {kind!r} is none of {', '.join(_READERS)}")
    added = {token["content"]: token for token in stored.get("added_tokens") or ()}
    ordinary = [name for name, token in added.items() if not token.get("special")]
    if ordinary and kind != "Unigram":
        raise DataError(
            f"the added token {ordinary[0]!r} is not special, with the model {kind} it would have to be"
        )
    ids = (
        {text: i for i, (text, _) in enumerate(model["vocab"])}
        if kind == "Unigram"
        else dict(model["vocab"])
    )
    ids |= {name: token["id"] for name, token in added.items()}
    vocab = sorted(ids, key=lambda token: ids[token])
    if [ids[token] for token in vocab] != list(range(len(vocab))):
        raise DataError(
            "the ids of the vocabulary and of the added tokens are not 0, 1, 2, … without gaps"
        )
    encoding = _READERS[kind](stored, model, vocab, added)
    encoding.specials = tuple(
        t for t in vocab if t in encoding.specials or added.get(t, {}).get("special")
    )
    encoding.template = _template(stored)
    return encoding


def _template(stored: Json) -> Template:
    """The frame of texts and pairs; that XLNet's is padded on the left, its file leaves to the program."""
    post, padding = stored.get("post_processor"), stored.get("padding") or {}
    pads = {
        "pad_left": padding.get("direction") == "Left",
        "pad_type": int(padding.get("pad_type_id", 0)),
    }
    if post is None or post["type"] == "ByteLevel":
        return Template(**pads)
    if post["type"] == "BertProcessing":
        cls, sep = post["cls"][0], post["sep"][0]
        return Template(f"{cls} A {sep}", f"{cls} A {sep} B:1 {sep}:1", typed=True, **pads)
    if post["type"] != "TemplateProcessing":
        raise DataError(
            f"the post_processor {post['type']!r} is none of ByteLevel, BertProcessing, TemplateProcessing"
        )
    single, pair = (
        [next(iter(part.values())) for part in post[name]] for name in ("single", "pair")
    )
    texts = [
        " ".join(f"{p['id']}:{p['type_id']}" if p["type_id"] else p["id"] for p in parts)
        for parts in (single, pair)
    ]
    if texts == [XLNET.single, XLNET.pair] and not padding:
        return XLNET
    if texts[1] == NO_PAIR:
        return Template(texts[0], typed=any(part["type_id"] for part in single), **pads)
    return Template(*texts, typed=any(part["type_id"] for part in (*single, *pair)), **pads)


def _expect(where: str, part: Json | None, kind: str | None, **settings: Any) -> None:
    """Raise DataError unless a part is of this type and has these settings (None also stands for an empty text)."""
    found = (part or {}).get("type")
    if found != kind:
        raise DataError(f"the {where} is {found!r}, an encoding of this kind has {kind!r}")
    for name, value in settings.items():
        if name in part and (part[name] or None) != (value or None):
            raise DataError(
                f"the {where} {kind!r} has {name} = {part[name]!r}, here it is always {value!r}"
            )


def _read_bpe(stored: Json, model: Json, vocab: list[str], added: Json) -> BPE:
    suffix = model.get("end_of_word_suffix") or None
    merges = [
        tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair)
        for pair in model["merges"]
    ]
    known = set(vocab)
    if wrong := next(
        (pair for pair in merges if len(pair) != 2 or not {*pair, "".join(pair)} <= known), None
    ):
        raise DataError(
            f"the merge {' '.join(wrong)!r} joins tokens that the vocabulary does not hold"
        )
    spaced = (
        suffix is None
        and stored.get("pre_tokenizer") is None
        and stored.get("normalizer") is not None
    )
    _expect("model", model | {"type": "BPE"}, "BPE", dropout=None, continuing_subword_prefix=None, ignore_merges=False,
            fuse_unk=spaced, end_of_word_suffix=suffix and END_OF_WORD)  # fmt: skip
    if spaced:
        return _read_pieces(
            stored, vocab, merges, tuple(t for t in vocab if added.get(t, {}).get("special"))
        )
    if suffix is None:
        _expect("normalizer", stored.get("normalizer"), None)
        _expect(
            "pre_tokenizer",
            stored.get("pre_tokenizer"),
            "ByteLevel",
            add_prefix_space=False,
            use_regex=True,
        )
        _expect("decoder", stored.get("decoder"), "ByteLevel")
    else:
        _expect_bert(stored, lowercase=True)
        if stored["normalizer"].get("strip_accents") is False:
            raise DataError("the normalizer keeps accents, GPT-1 takes them off")
        _expect("decoder", stored.get("decoder"), "BPEDecoder", suffix=END_OF_WORD)
        _expect("model", model, "BPE", unk_token=EndOfWord.unknown)
    return BPE(*bpe_files.of_merges(vocab, merges, NAME))


def _read_pieces(
    stored: Json, vocab: list[str], merges: list[tuple[str, str]], specials: tuple[str, ...]
) -> BPE:
    """SentencePiece's byte pairs."""
    model = stored["model"]
    _expect("model", model, "BPE", unk_token=Metaspace.unknown)
    spelling = Metaspace(
        _normalizer(stored),
        bool(model.get("byte_fallback")),
        crossing=any(SPACE in t[1:] for t in vocab),
    )
    return BPE(vocab, merges, specials, spelling)


def _expect_bert(stored: Json, **settings: Any) -> None:
    _expect(
        "normalizer",
        stored.get("normalizer"),
        "BertNormalizer",
        clean_text=True,
        handle_chinese_chars=True,
        **settings,
    )
    _expect("pre_tokenizer", stored.get("pre_tokenizer"), "BertPreTokenizer")


def _read_wordpiece(stored: Json, model: Json, vocab: list[str], added: Json) -> WordPiece:
    _expect_bert(stored)
    _expect("decoder", stored.get("decoder"), "WordPiece", prefix=PREFIX)
    _expect("model", model | {"type": "WordPiece"}, "WordPiece", unk_token="[UNK]", continuing_subword_prefix=PREFIX,
            max_input_chars_per_word=LONGEST)  # fmt: skip
    normalizer = stored["normalizer"]
    return WordPiece(
        vocab, bool(normalizer.get("lowercase", True)), normalizer.get("strip_accents")
    )


def _read_unigram(stored: Json, model: Json, vocab: list[str], added: Json) -> Unigram:
    unknown, scores = model["unk_id"], {text: float(score) for text, score in model["vocab"]}
    if not isinstance(unknown, int) or not 0 <= unknown < len(vocab):
        raise DataError(f"unk_id is {unknown}, which is no token of the vocabulary")
    fallback = BYTE_TOKENS if model.get("byte_fallback") else {}
    pieces = []
    for i, token in enumerate(vocab):
        kind = (
            CONTROL if added.get(token, {}).get("special") else USER if token in added else NORMAL
        )
        pieces.append(
            (
                token,
                scores.get(token, 0.0),
                UNKNOWN if i == unknown else BYTE if token in fallback else kind,
            )
        )
    return Unigram(pieces, _normalizer(stored))


def _normalizer(stored: Json) -> Normalizer | steps.Steps:
    """SentencePiece's normaliser where the file says what `_spaced` writes, else the steps of the file."""
    described, cutters = stored.get("normalizer"), stored.get("pre_tokenizer")
    if stored.get("decoder") is not None and stored["decoder"]["type"] not in (
        "Metaspace",
        "Sequence",
    ):
        raise DataError(
            f"the decoder is {stored['decoder']['type']!r}, for pieces with {SPACE} it is Metaspace"
        )
    if cutters is None and described is not None and described["type"] == "Sequence":
        first = described["normalizers"][0]
        charsmap = steps.charsmap(first) if first["type"] == "Precompiled" else b""
        for prefix, collapse in itertools.product((True, False), repeat=2):
            ours = Normalizer(charsmap, prefix, collapse)
            if _spaced(ours)["normalizer"] == described:
                return ours
        if described["normalizers"][-1] == TO_SPACE:
            return steps.Steps(
                steps.of(described),
                any(part["type"] == "Prepend" for part in described["normalizers"]),
            )
    parts = (
        []
        if cutters is None
        else cutters["pretokenizers"]
        if cutters["type"] == "Sequence"
        else [cutters]
    )
    kinds = [part["type"] for part in parts]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise DataError(
            f"the pre_tokenizer is {kinds}, with {SPACE} it is Metaspace, alone or after WhitespaceSplit"
        )
    _expect("pre_tokenizer", parts[-1], "Metaspace", replacement=SPACE, split=True)
    return steps.Steps([*(steps.of(described) if described else ()), *_metaspace_steps(parts[-1], len(parts) == 2)],
                       _prefixed(parts[-1]))  # fmt: skip


def _metaspace_steps(metaspace: Json, after_split: bool) -> list[steps.Step]:
    """What the pre-tokenizer Metaspace does, alone or to the words between white space."""
    if not after_split:
        return [
            *steps.of(TO_SPACE),
            *([steps.prepend(SPACE, unless_there=True)] if _prefixed(metaspace) else []),
        ]
    if not _prefixed(metaspace):
        raise DataError(
            f"the pre_tokenizer puts no {SPACE} before a word, an encoding of this kind does"
        )
    return [steps.words]


def _prefixed(metaspace: Json) -> bool:
    """True if ▁ is put in front (older files have a switch instead of a scheme)."""
    return (
        metaspace.get(
            "prepend_scheme", "always" if metaspace.get("add_prefix_space", True) else "never"
        )
        != "never"
    )


_READERS: dict[str, Callable[[Json, Json, list[str], Json], Encoding]] = {
    "BPE": _read_bpe, "WordPiece": _read_wordpiece, "Unigram": _read_unigram}  # fmt: skip

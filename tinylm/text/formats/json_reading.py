"""Reading tokenizer.json: one function for each kind of model, see tokenizer_json.py.

Each refuses all parts and settings that its encoding does not have: `_expect` is the check.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from tinylm.errors import DataError

from ..base import BYTE_TOKENS, Encoding
from ..bpe import BPE
from ..normalise import steps
from ..normalise.normalizing import SPACE, Normalizer
from ..spelling import END_OF_WORD, EndOfWord, Metaspace
from ..template import TYPE, XLNET, Template
from ..unigram import Unigram
from ..wordpiece import LONGEST, PREFIX, WordPiece
from . import bpe_files
from .json_writing import NAME, NO_PAIR, TO_SPACE, Json, spaced
from .protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER


def understand(stored: Json) -> Encoding:
    """The encoding that the parsed file describes.

    raises DataError        for a part that no encoding here has
    raises KeyError, TypeError and other built-in errors for a damaged file; `load` catches them

    >>> from tinylm.text import WordPiece
    >>> from tinylm.text.formats.json_writing import describe
    >>> bert = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    >>> understand(describe(bert))
    WordPiece(6 tokens)
    """
    model = stored["model"]
    kind = _kind(model)
    if kind not in _READERS:
        raise DataError(f"the model {kind!r} is none of {', '.join(_READERS)}")
    added = {token["content"]: token for token in stored.get("added_tokens") or ()}
    ordinary = [name for name in added if not _is_special(name, added)]
    if ordinary and kind != "Unigram":
        raise DataError(
            f"the added token {ordinary[0]!r} is not special, "
            f"with the model {kind} it would have to be"
        )
    vocab = _vocabulary(model, kind, added)
    ids = {token: i for i, token in enumerate(vocab)}
    encoding = _READERS[kind](stored, model, vocab, added)
    known = set(encoding.specials)
    encoding.specials = tuple(
        token for token in vocab if token in known or _is_special(token, added)
    )
    encoding.added = tuple(token for token in encoding.specials if token not in known)
    encoding.template = _template(stored)
    pad = (stored.get("padding") or {}).get("pad_token")
    encoding.pad_id = ids.get(pad, encoding.pad_id)
    return encoding


def _kind(model: Json) -> str:
    """The type of the model; older files do not name it."""
    if "type" in model:
        return model["type"]
    if "merges" in model:
        return "BPE"
    return "Unigram" if "unk_id" in model else "WordPiece"


def _is_special(token: str, added: Json) -> bool:
    return bool(added.get(token, {}).get("special"))


def _vocabulary(model: Json, kind: str, added: Json) -> list[str]:
    """The tokens by id, added ones included; raises DataError if the ids have gaps."""
    if kind == "Unigram":
        ids = {text: i for i, (text, _) in enumerate(model["vocab"])}
    else:
        ids = dict(model["vocab"])
    for name, token in added.items():
        ids[name] = token["id"]
    if not all(type(token) is str and type(i) is int for token, i in ids.items()):
        raise DataError("the vocabulary must map strings to whole numbers")
    vocab = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in vocab] != list(range(len(vocab))):
        raise DataError(
            "the ids of the vocabulary and of the added tokens are not 0, 1, 2, … without gaps"
        )
    return vocab


def _expect(where: str, part: Json | None, kind: str | None, **settings: Any) -> None:
    """Raise DataError unless a part is of this type and has these settings.

    A setting that the file leaves out is right; null and "" are the same.
    """
    found = (part or {}).get("type")
    if found != kind:
        raise DataError(f"the {where} is {found!r}, an encoding of this kind has {kind!r}")
    for name, value in settings.items():
        if name in part and (part[name] or None) != (value or None):
            raise DataError(
                f"the {where} {kind!r} has {name} = {part[name]!r}, here it is always {value!r}"
            )


# --- the template


def _template(stored: Json) -> Template:
    """The template and its padding.

    XLNet's file does not say that XLNet pads on the left, so we recognise XLNet by its patterns.
    """
    template = _patterns(stored.get("post_processor"))
    padding = stored.get("padding")
    if padding:
        return dataclasses.replace(
            template,
            pad_left=padding.get("direction") == "Left",
            pad_type=padding.get("pad_type_id", 0),
        )
    if template.single == XLNET.single and template.pair == XLNET.pair:
        return XLNET
    return template


def _patterns(post: Json | None) -> Template:
    """The template without its padding."""
    if post is None or post["type"] == "ByteLevel":
        return Template()
    if post["type"] == "BertProcessing":
        cls = post["cls"][0]
        sep = post["sep"][0]
        single = f"{cls} A {sep}"
        return Template(single, f"{single} B:1 {sep}:1", typed=True)
    if post["type"] != "TemplateProcessing":
        raise DataError(
            f"the post_processor {post['type']!r} is none of ByteLevel, BertProcessing, "
            "TemplateProcessing"
        )
    single = _places(post["single"])
    pair = _places(post["pair"])
    if _pattern(pair) == NO_PAIR:
        return Template(_pattern(single), typed=_typed(single))
    return Template(_pattern(single), _pattern(pair), typed=_typed([*single, *pair]))


def _places(parts: Iterable[Json]) -> list[Json]:
    """{"Sequence": place} or {"SpecialToken": place} -> place."""
    return [next(iter(part.values())) for part in parts]


def _pattern(places: list[Json]) -> str:
    """Places as a `Template` writes them: [{"id": "B", "type_id": 1}] -> "B:1"."""
    names = []
    for place in places:
        token_type = place["type_id"]
        if not TYPE.fullmatch(str(token_type)):
            raise DataError(f"the token type {token_type!r} is no whole number from 0 on")
        names.append(f"{place['id']}:{token_type}" if token_type else place["id"])
    return " ".join(names)


def _typed(places: list[Json]) -> bool:
    return any(place["type_id"] for place in places)


# --- BPE


def _read_bpe(stored: Json, model: Json, vocab: list[str], added: Json) -> BPE:
    merges = _merges(model["merges"], set(vocab))
    suffix = model.get("end_of_word_suffix") or None
    cut = stored.get("pre_tokenizer") is not None
    normalised = stored.get("normalizer") is not None
    sentencepiece = suffix is None and normalised and not cut
    _expect(
        "model",
        model | {"type": "BPE"},
        "BPE",
        dropout=None,
        continuing_subword_prefix=None,
        ignore_merges=False,
        fuse_unk=sentencepiece,
        end_of_word_suffix=suffix and END_OF_WORD,
    )
    if sentencepiece:
        return _read_pieces(stored, vocab, merges, added)
    if suffix is None:
        _expect_byte_level(stored)
    else:
        _expect_end_of_word(stored, model)
    cutter = stored.get("pre_tokenizer") or {}
    prefix = suffix is None and cutter.get("add_prefix_space", True)
    return BPE(*bpe_files.of_merges(vocab, merges, NAME, prefix))


def _merges(stored: list[str | list[str]], known: set[str]) -> list[tuple[str, ...]]:
    """The merges, "a b" or ["a", "b"]; raises DataError for one that fits no token."""
    merges = []
    for pair in stored:
        merge = tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair)
        if len(merge) != 2 or not all(merge) or not {*merge, "".join(merge)} <= known:
            raise DataError(
                f"the merge {' '.join(merge)!r} joins tokens that the vocabulary does not hold"
            )
        merges.append(merge)
    return merges


def _expect_byte_level(stored: Json) -> None:
    """Raise DataError unless text is cut as GPT-2 does."""
    cutter = stored.get("pre_tokenizer")
    _expect("normalizer", stored.get("normalizer"), None)
    _expect("pre_tokenizer", cutter, "ByteLevel", use_regex=True)
    _expect("decoder", stored.get("decoder"), "ByteLevel")


def _expect_end_of_word(stored: Json, model: Json) -> None:
    """Raise DataError unless text is cut as GPT-1 does."""
    _expect_bert(stored, lowercase=True)
    if stored["normalizer"].get("strip_accents") is False:
        raise DataError("the normalizer keeps accents, GPT-1 takes them off")
    _expect("decoder", stored.get("decoder"), "BPEDecoder", suffix=END_OF_WORD)
    _expect("model", model, "BPE", unk_token=EndOfWord.unknown)


def _read_pieces(stored: Json, vocab: list[str], merges: list, added: Json) -> BPE:
    """SentencePiece's byte pairs."""
    model = stored["model"]
    _expect("model", model, "BPE", unk_token=Metaspace.unknown)
    specials = tuple(token for token in vocab if _is_special(token, added))
    normalizer = _normalizer(stored)
    fallback = bool(model.get("byte_fallback"))
    crossing = any(SPACE in token[1:] for token in vocab)
    spelling = Metaspace(normalizer, fallback, crossing=crossing)
    return BPE(vocab, merges, specials, spelling)


# --- WordPiece


def _read_wordpiece(stored: Json, model: Json, vocab: list[str], added: Json) -> WordPiece:
    _expect_bert(stored)
    _expect("decoder", stored.get("decoder"), "WordPiece", prefix=PREFIX)
    _expect(
        "model",
        model | {"type": "WordPiece"},
        "WordPiece",
        unk_token="[UNK]",
        continuing_subword_prefix=PREFIX,
        max_input_chars_per_word=LONGEST,
    )
    normalizer = stored["normalizer"]
    lower = bool(normalizer.get("lowercase", True))
    return WordPiece(vocab, lower, normalizer.get("strip_accents"))


def _expect_bert(stored: Json, **settings: Any) -> None:
    """Raise DataError unless text is cleaned and cut as BERT does."""
    _expect(
        "normalizer",
        stored.get("normalizer"),
        "BertNormalizer",
        clean_text=True,
        handle_chinese_chars=True,
        **settings,
    )
    _expect("pre_tokenizer", stored.get("pre_tokenizer"), "BertPreTokenizer")


# --- Unigram


def _read_unigram(stored: Json, model: Json, vocab: list[str], added: Json) -> Unigram:
    unknown = model["unk_id"]
    scores = {text: float(score) for text, score in model["vocab"]}
    if not isinstance(unknown, int) or not 0 <= unknown < len(vocab):
        raise DataError(f"unk_id is {unknown}, which is no token of the vocabulary")
    pieces = []
    for i, token in enumerate(vocab):
        if i == unknown:
            kind = UNKNOWN
        elif model.get("byte_fallback") and token in BYTE_TOKENS:
            kind = BYTE
        elif _is_special(token, added):
            kind = CONTROL
        else:
            kind = USER if token in added else NORMAL
        pieces.append((token, scores.get(token, 0.0), kind))
    return Unigram(pieces, _normalizer(stored))


def _normalizer(stored: Json) -> Normalizer | steps.Steps:
    """SentencePiece's normaliser if the file says exactly what we would write, else its steps."""
    normalizer = stored.get("normalizer")
    cutter = stored.get("pre_tokenizer")
    decoder = stored.get("decoder")
    if decoder is not None and decoder["type"] not in ("Metaspace", "Sequence"):
        raise DataError(
            f"the decoder is {decoder['type']!r}, for pieces with {SPACE} it is Metaspace"
        )
    if cutter is None and normalizer is not None and normalizer["type"] == "Sequence":
        parts = normalizer["normalizers"]
        ours = _ours(normalizer)
        if ours is not None:
            return ours
        if parts[-1] == TO_SPACE:
            prefix = any(part["type"] == "Prepend" for part in parts)
            return steps.Steps(steps.of(normalizer), prefix)
    metaspace, after_split = _metaspace(cutter)
    before = steps.of(normalizer) if normalizer else []
    after = _metaspace_steps(metaspace, after_split)
    return steps.Steps([*before, *after], _prefixed(metaspace))


def _ours(described: Json) -> Normalizer | None:
    """The `Normalizer` that we would write exactly so; None if there is none."""
    first = described["normalizers"][0]
    charsmap = steps.charsmap(first) if first["type"] == "Precompiled" else b""
    for prefix, collapse in itertools.product((True, False), repeat=2):
        ours = Normalizer(charsmap, prefix, collapse)
        if spaced(ours)["normalizer"] == described:
            return ours
    return None


def _metaspace(cutter: Json | None) -> tuple[Json, bool]:
    """The pre-tokenizer Metaspace, and whether it follows a WhitespaceSplit; raises DataError."""
    parts = [] if cutter is None else [cutter]
    if cutter is not None and cutter["type"] == "Sequence":
        parts = cutter["pretokenizers"]
    kinds = [part["type"] for part in parts]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise DataError(
            f"the pre_tokenizer is {kinds}, with {SPACE} it is Metaspace, "
            "alone or after WhitespaceSplit"
        )
    metaspace = parts[-1]
    _expect("pre_tokenizer", metaspace, "Metaspace", replacement=SPACE, split=True)
    return metaspace, len(parts) == 2


def _metaspace_steps(metaspace: Json, after_split: bool) -> list[steps.Step]:
    """The steps of Metaspace: alone it reads the whole text, after a split word by word."""
    if after_split:
        if not _prefixed(metaspace):
            raise DataError(
                f"the pre_tokenizer puts no {SPACE} before a word, an encoding of this kind does"
            )
        return [steps.words]
    found = steps.of(TO_SPACE)
    if _prefixed(metaspace):
        found.append(steps.prepend(SPACE, unless_there=True))
    return found


def _prefixed(metaspace: Json) -> bool:
    """True if ▁ is put in front; older files have a switch instead of a scheme."""
    old = "always" if metaspace.get("add_prefix_space", True) else "never"
    return metaspace.get("prepend_scheme", old) != "never"


Reader = Callable[[Json, Json, list[str], Json], Encoding]  # (file, model, vocab, added tokens)
_READERS: dict[str, Reader] = {
    "BPE": _read_bpe,
    "WordPiece": _read_wordpiece,
    "Unigram": _read_unigram,
}

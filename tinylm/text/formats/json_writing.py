"""Writing tokenizer.json: one function for each kind of encoding, see tokenizer_json.py."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tinylm.errors import VocabularyError

from ..base import Encoding
from ..bpe import BPE
from ..normalise import steps
from ..normalise.normalizing import SPACE, Normalizer
from ..spelling import END_OF_WORD, ByteLevel, EndOfWord, Metaspace
from ..template import Template, parts_of
from ..unigram import Unigram
from ..wordpiece import LONGEST, PREFIX, WordPiece
from .protobuf import BYTE, USER
from .settings import chosen

NAME = "tokenizer.json"
Json = dict[str, Any]

BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": False,
    "use_regex": True,
}
TO_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
FROM_SPACE = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
COLLAPSE = [
    {"type": "Replace", "pattern": {"Regex": steps.ENDS}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": steps.SEVERAL}, "content": " "},
]
STRIP_FIRST = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
NO_PAIR = "A B:1"  # the pattern of pairs in a file whose encoding has none


def describe(encoding: Encoding) -> Json:
    """The content of the file; raises VocabularyError for an encoding the format cannot store.

    >>> from tinylm.text import WordPiece
    >>> bert = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    >>> describe(bert)["pre_tokenizer"]
    {'type': 'BertPreTokenizer'}
    """
    write = _writer(encoding)
    symbols = [text for text, _, kind in encoding.pieces if kind == USER]
    names = [*encoding.specials, *symbols]
    frame = {
        "version": "1.0",
        "truncation": None,
        "padding": _padding(encoding),
        "added_tokens": [_added(encoding, name) for name in names],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": _post_processor(encoding),
        "decoder": None,
    }
    return frame | write(encoding)


# --- the frame that all kinds share


def _added(encoding: Encoding, name: str) -> Json:
    """The entry of an added token."""
    return {
        "id": encoding.token_id(name),
        "content": name,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": name in encoding.specials,
    }


def _padding(encoding: Encoding) -> Json | None:
    """The padding, if it is unusual: an entry would make other programs pad all they encode."""
    template = encoding.template
    by_hand = "pad_token" in chosen(encoding)
    if not template.pad_left and not template.pad_type and not by_hand:
        return None
    return {
        "strategy": "BatchLongest",
        "direction": "Left" if template.pad_left else "Right",
        "pad_to_multiple_of": None,
        "pad_id": encoding.pad_id,
        "pad_type_id": template.pad_type,
        "pad_token": encoding.vocab[encoding.pad_id],
    }


def _post_processor(encoding: Encoding) -> Json | None:
    """The template."""
    template = encoding.template
    if template == Template():
        return None
    single = parts_of(template.single)
    pair = parts_of(template.pair or NO_PAIR)
    names = {name for name, _ in (*single, *pair)} - {"A", "B"}
    special = {name: _special(encoding, name) for name in sorted(names)}
    return {
        "type": "TemplateProcessing",
        "single": [_place(name, token_type) for name, token_type in single],
        "pair": [_place(name, token_type) for name, token_type in pair],
        "special_tokens": special,
    }


def _place(name: str, token_type: int) -> Json:
    """One place of a template."""
    kind = "Sequence" if name in ("A", "B") else "SpecialToken"
    return {kind: {"id": name, "type_id": token_type}}


def _special(encoding: Encoding, name: str) -> Json:
    return {"id": name, "ids": [encoding.token_id(name)], "tokens": [name]}


# --- the parts of each kind


def _byte_level(encoding: BPE) -> Json:
    cutter = BYTE_LEVEL | {"add_prefix_space": encoding.spelling.prefix}
    return {"pre_tokenizer": cutter, "decoder": BYTE_LEVEL, "model": _bpe(encoding)}


def _end_of_word(encoding: BPE) -> Json:
    found = _bert(True, None)
    found["decoder"] = {"type": "BPEDecoder", "suffix": END_OF_WORD}
    found["model"] = _bpe(encoding, end_of_word_suffix=END_OF_WORD)
    return found


def _metaspace(encoding: BPE) -> Json:
    spelling = encoding.spelling
    if spelling.symbols:
        raise VocabularyError(
            f"A {NAME} of ours holds no symbols as {min(spelling.symbols)!r}; save() the model."
        )
    found = spaced(spelling.normalizer)
    found["model"] = _bpe(encoding, fuse_unk=True, byte_fallback=spelling.byte_fallback)
    return found


def _bpe(encoding: BPE, **settings: Any) -> Json:
    """The model BPE; settings replace the usual ones."""
    usual = {
        "type": "BPE",
        "dropout": None,
        "unk_token": encoding.spelling.unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    merges = [list(pair) for pair in encoding.merges]
    return usual | settings | {"vocab": _ids(encoding), "merges": merges}


def _wordpiece(encoding: WordPiece) -> Json:
    cleaning = encoding.cleaning
    found = _bert(cleaning.lower, cleaning.strip_accents)
    found["decoder"] = {"type": "WordPiece", "prefix": PREFIX, "cleanup": False}
    found["model"] = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": PREFIX,
        "max_input_chars_per_word": LONGEST,
        "vocab": _ids(encoding),
    }
    return found


def _bert(lower: bool, strip_accents: bool | None) -> Json:
    """BERT's cleaning and cutting."""
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip_accents,
        "lowercase": lower,
    }
    return {"normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}}


def _unigram(encoding: Unigram) -> Json:
    scores = [float(score) for _, score, _ in encoding.pieces]
    scores += [0.0] * (encoding.vocab_size - len(scores))  # of special tokens added later
    vocab = [[token, score] for token, score in zip(encoding.vocab, scores, strict=True)]
    kinds = {kind for _, _, kind in encoding.pieces}
    found = spaced(encoding.normalizer)
    found["model"] = {
        "type": "Unigram",
        "unk_id": encoding.unk_id,
        "vocab": vocab,
        "byte_fallback": BYTE in kinds,
    }
    return found


def _ids(encoding: Encoding) -> dict[str, int]:
    return {token: i for i, token in enumerate(encoding.vocab)}


def spaced(normalizer: Normalizer) -> Json:
    """SentencePiece's normaliser and decoder: spaces become ▁ last, and ▁ becomes spaces first."""
    if not isinstance(normalizer, Normalizer):
        raise VocabularyError(
            f"The normalisers came from a {NAME}; keep that file, ours cannot say them again."
        )
    normalizers: list[Json] = []
    decoders: list[Json] = [FROM_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if normalizer.charsmap:
        charsmap = base64.b64encode(normalizer.charsmap).decode()
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if normalizer.collapse:
        normalizers += COLLAPSE
    if normalizer.prefix:
        normalizers.append({"type": "Prepend", "prepend": SPACE})
        decoders.append(STRIP_FIRST)
    normalizers.append(TO_SPACE)
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "decoder": {"type": "Sequence", "decoders": decoders},
    }


_WRITERS: dict[type, Callable[[Any], Json]] = {
    ByteLevel: _byte_level,
    EndOfWord: _end_of_word,
    Metaspace: _metaspace,
    WordPiece: _wordpiece,
    Unigram: _unigram,
}


def _writer(encoding: Encoding) -> Callable[[Any], Json]:
    """The writer of an encoding: BPE's is chosen by its spelling, the others' by their class."""
    decides = encoding.spelling or encoding
    for kind, write in _WRITERS.items():
        if isinstance(decides, kind):
            return write
    name = type(encoding).__name__
    raise VocabularyError(f"A {NAME} cannot hold the encoding {name}; save() writes its own files.")

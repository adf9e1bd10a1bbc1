"""tokenizer.json: one file that says how text is normalised, cut, encoded, framed and decoded.

    normalizer -> pre_tokenizer -> model -> post_processor          ids -> decoder -> text

           normalizer        pre_tokenizer      model      post_processor       decoder
    GPT-2  –                 ByteLevel          BPE        ByteLevel            ByteLevel
    GPT-1  BertNormalizer    BertPreTokenizer   BPE, </w>  –                    BPEDecoder
    BERT   BertNormalizer    BertPreTokenizer   WordPiece  TemplateProcessing   WordPiece
    XLNet  steps             WhitespaceSplit,   Unigram    TemplateProcessing   Metaspace
                             Metaspace

ALBERT's and T5's files are as XLNet's. Files of these kinds are read exactly. Anything else is an
error that names it, because an encoding that is almost the published one spoils a model silently.
Ours of SentencePiece's kind write the space as ▁ in the normalizer.

Writing stands in json_writing.py, reading in json_reading.py.
Source: Hugging Face's tokenizers. Differs: a file's truncation is not applied, since `max_length`
is an argument of the call; white space beside a special token stays text (lstrip, rstrip).
"""

from __future__ import annotations

from pathlib import Path

from tinylm import files
from tinylm.doors import parsing

from ..base import Encoding
from .json_reading import understand
from .json_writing import NAME, Json, describe
from .settings import read_settings

__all__ = ["NAME", "Json", "describe", "load", "save", "understand"]


def save(encoding: Encoding, folder: str | Path) -> None:
    """Write tokenizer.json; raises VocabularyError for an encoding that the format cannot store."""
    files.write_json(Path(folder) / NAME, describe(encoding))


def load(folder: str | Path) -> Encoding:
    """Load the encoding that a folder's tokenizer.json describes.

    raises DataError        if the file is missing or damaged, or has a part that no encoding here
        has, which is named
    """
    path = Path(folder) / NAME
    stored = files.read_json(path)
    prefix = read_settings(Path(folder)).get("add_prefix_space")
    with parsing(path, f"a {NAME} that can be read", also_ours=True):
        if isinstance(prefix, bool) and (stored["pre_tokenizer"] or {}).get("type") == "ByteLevel":
            stored["pre_tokenizer"]["add_prefix_space"] = prefix  # the other file decides
        encoding = understand(stored)
        encoding.follow_settings(Path(folder))
        return encoding

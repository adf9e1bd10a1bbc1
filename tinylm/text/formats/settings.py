"""The settings beside a vocabulary: tokenizer_config.json, and special tokens in other files.

    tokenizer_config.json     {"add_prefix_space": true, "eos_token": "</s>",
                               "added_tokens_decoder": {"7": {"content": "<x>"}}}
    special_tokens_map.json   {"eos_token": {"content": "</s>"}, "pad_token": "<pad>"}
    added_tokens.json         {"<x>": 7}
    tokenizer.json            {"added_tokens": [{"id": 7, "content": "<x>"}]}

Source: the folders that transformers writes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import DataError, VocabularyError
from tinylm.files import read_json

CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
ADDED = "added_tokens.json"
WHOLE = "tokenizer.json"
# The files by which an encoding is recognised.
HEADS = """spiece.model tokenizer.model sentencepiece.bpe.model merges.txt vocab.bpe vocab.txt
    words.json elmo.json chars.json bytes.json tokenizer.json""".split()
# Those that may stand beside them, but for the template.
BESIDE = (ADDED, MAP, CONFIG, "vocab.json", "encoder.json")
ROLES = {"end_id": "eos_token", "pad_id": "pad_token"}  # an encoding's attribute -> its setting
ID = re.compile("[0-9]{1,9}")  # as a key


def read_settings(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """The object in a file of settings; empty if there is no such file.

    raises DataError        if the file is damaged

    >>> read_settings(Path("no_such_folder"))
    {}
    """
    path = folder / name
    if not os.path.exists(path):
        return {}
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise DataError(
            f"{str(path)!r} must hold an object with the settings of the tokenizer; "
            "the file is damaged."
        )
    return stored


def named(folder: Path) -> dict[str, str]:
    """The tokens that files name for a role: {"end_id": "</s>"}.   raises DataError"""
    found = {}
    for file in (MAP, CONFIG):  # the later one counts
        settings = read_settings(folder, file)
        for role, setting in ROLES.items():
            token = settings.get(setting)
            if isinstance(token, dict):  # with the settings of an added token
                token = token.get("content")
            if isinstance(token, str):
                found[role] = token
    return found


def chosen(encoding: Any) -> dict[str, str]:
    """The settings that name the tokens whose roles were set by hand: {"pad_token": "<x>"}.

    encoding : an Encoding
    raises VocabularyError      for an id that no token has
    """
    found = {}
    usual = encoding.roles()
    for role, setting in ROLES.items():
        i = getattr(encoding, role)
        if i == usual[role] or (i is None and role == "end_id"):
            continue
        if not isinstance(i, int | np.integer) or not 0 <= i < encoding.vocab_size:
            last = encoding.vocab_size - 1
            raise VocabularyError(f"{role} is {i!r}; expected the id of a token, 0 to {last}.")
        found[setting] = encoding.vocab[i]
    return found


def added_tokens(folder: Path, size: int) -> dict[str, int]:
    """The tokens that were added behind a vocabulary of `size` tokens: name -> id.

    All ids of added_tokens.json count; of the other two files only those behind the vocabulary,
    because they list its own special tokens too.
    raises DataError        if a file is damaged
    """
    found = {}
    for i, token in _entries(folder):
        name = token.get("content") if isinstance(token, dict) else None
        if isinstance(name, str) and i >= size:
            found[name] = i
    stored = read_settings(folder, ADDED)
    if not all(isinstance(i, int) for i in stored.values()):
        raise DataError(f"{str(folder / ADDED)!r} must map tokens to ids; the file is damaged.")
    return found | stored


def _entries(folder: Path) -> list[tuple[int, Any]]:
    """(id, entry) of the added tokens in tokenizer_config.json and tokenizer.json."""
    by_id = read_settings(folder).get("added_tokens_decoder")
    listed = read_settings(folder, WHOLE).get("added_tokens")
    found = []
    if isinstance(by_id, dict):
        found += [(int(i), token) for i, token in by_id.items() if ID.fullmatch(i)]
    for token in listed if isinstance(listed, list) else ():
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            found.append((token["id"], token))
    return found

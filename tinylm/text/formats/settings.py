"""The settings beside a vocabulary: tokenizer_config.json, and special tokens in other files.

    tokenizer_config.json     {"add_prefix_space": true, "eos_token": "</s>",
                               "added_tokens_decoder": {"7": {"content": "<x>"}}}
    special_tokens_map.json   {"eos_token": {"content": "</s>"}}
    added_tokens.json         {"<x>": 7}
    tokenizer.json            {"added_tokens": [{"id": 7, "content": "<x>"}]}

Source: the folders that transformers writes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tinylm.errors import DataError
from tinylm.files import read_json

CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
ADDED = "added_tokens.json"
WHOLE = "tokenizer.json"
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


def end_name(folder: Path) -> str | None:
    """The token that ends a text, if a file names it.   raises DataError"""
    for name in (CONFIG, MAP):
        token = read_settings(folder, name).get("eos_token")
        if isinstance(token, dict):  # with the settings of an added token
            token = token.get("content")
        if isinstance(token, str):
            return token
    return None


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

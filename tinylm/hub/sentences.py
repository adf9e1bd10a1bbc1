"""Sentence-encoder folders: how the states of a text become one vector.

    modules.json                 the parts in their order: a transformer, pooling, normalisation
    1_Pooling/config.json        which states are pooled, and how
    sentence_bert_config.json    the longest text, in tokens

Source: the folders that sentence-transformers writes.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm import files
from tinylm.errors import CheckpointError
from tinylm.settings import Config, at_least
from tinylm.tensors import read_json

MODULES = "modules.json"
LENGTH = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
SENTENCES = (MODULES, LENGTH, PROMPTS)
PLACE = re.compile(r"[A-Za-z0-9_-]*")  # a folder inside the folder
# Names in 1_Pooling/config.json -> ours, in the order in which several are put side by side.
MODES = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "root",
}


@dataclass(frozen=True)
class Pooling(Config):
    """How the last layer's states of a text become its vector.

    modes : some of "first" (the state of the first token), "max" and "mean" (over all tokens) and
        "root" (their sum divided by the root of their number), put side by side
    normalised : the vector is divided by its length
    max_length : tokens read of each text, special ones included; None for as many as the model can
    lower : texts are lower-cased before they are encoded
    """

    ranges = {"max_length": at_least(1)}
    modes: tuple[str, ...] = ("mean",)
    normalised: bool = True
    max_length: int | None = None
    lower: bool = False


def read_pooling(folder: str | Path) -> tuple[Path, Pooling]:
    """The folder of the model itself, and how its states are pooled.

    A folder without modules.json holds only a model: the mean of its states, normalised.
    raises CheckpointError  if a part is missing or damaged, or is one that tinylm does not have

    >>> read_pooling("runs/bert")[1].modes
    ('mean',)
    """
    folder = Path(folder)
    path = folder / MODULES
    if not os.path.exists(path):
        return folder, Pooling()
    _refuse_prompt(folder / PROMPTS)
    parts = _parts(path)
    kinds = [kind for kind, _ in parts]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise CheckpointError(
            f"{path} lists the parts {', '.join(kinds)}; "
            "expected Transformer, Pooling and perhaps Normalize"
        )
    model = folder / parts[0][1]
    limits = {}
    for place in (model / LENGTH, folder / LENGTH):
        if os.path.exists(place):
            limits = read_json(place)
            break
    modes = _modes(folder / parts[1][1] / "config.json")
    return model, _pooling(path, modes, len(kinds) == 3, limits)


def _pooling(path, modes, normalised, limits):
    """A Pooling; raises CheckpointError for a limit that is no number of tokens."""
    longest = limits.get("max_seq_length")
    is_whole = type(longest) is int and longest > 0
    if longest is not None and not is_whole:
        raise CheckpointError(
            f"{path.parent}: max_seq_length is {longest!r:.80}; expected a number of tokens"
        )
    return Pooling(modes, normalised, longest, limits.get("do_lower_case") is True)


def _parts(path: Path) -> list[tuple[str, str]]:
    """(kind, folder) of each part; raises CheckpointError for a folder elsewhere."""
    found = []
    stored: Any = files.read_json(path)
    if not isinstance(stored, list) or not all(isinstance(part, dict) for part in stored):
        raise CheckpointError(f"{path} is damaged: it must hold a list of parts")
    for part in stored:
        kind = str(part.get("type")).rpartition(".")[2]
        place = part.get("path", "")
        if not isinstance(place, str) or not PLACE.fullmatch(place):
            raise CheckpointError(
                f"{path} places a part in {place!r:.80}; expected a folder beside that file"
            )
        found.append((kind, place))
    return found


def _modes(path: Path) -> tuple[str, ...]:
    """The ways of pooling that a part's config.json chooses; raises CheckpointError."""
    fields = read_json(path)
    switches = [name for name in fields if name.startswith("pooling_mode")]
    chosen = [name for name in switches if fields[name] is True]
    modes = tuple(mode for name, mode in MODES.items() if name in chosen)
    if not modes or len(modes) < len(chosen):
        raise CheckpointError(
            f"{path} pools by {', '.join(chosen) or 'nothing'}; expected some of {', '.join(MODES)}"
        )
    return modes


def _refuse_prompt(path: Path) -> None:
    """raises CheckpointError if every text is to get a prompt in front of it"""
    if os.path.exists(path) and read_json(path).get("default_prompt_name"):
        raise CheckpointError(
            f"{path} asks for a prompt before every text, which tinylm does not add"
        )

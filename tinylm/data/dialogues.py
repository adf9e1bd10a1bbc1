"""Dialogues to learn a conversation from: who one is, what was said, and candidates for the reply.

    persona      i like music . · i have two dogs .
    history      hello ! · hi , how are you ?
    candidates   i am a boat . · no . · fine , and i hear you play ?     the last one is the reply

The file is Persona-Chat's, one JSON object:

    {"train": [{"personality": ["i like music ."],
                "utterances": [{"history": ["hello !"], "candidates": ["i am a boat .", "hi !"]}]}],
     "valid": [...]}

The set `dialogs` has pairs of a statement and its reply; the other candidates, the distractors, are
replies to other statements, drawn once from a fixed seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.doors import parse_json
from tinylm.errors import DataError
from tinylm.files import is_file, read_text

from . import toy
from .sources import check_split, dialogs, split_part

CANDIDATES = 20  # of which one is the reply: hits@1 is then counted "of 20"
PARTS = {"train": ("train",), "test": ("valid", "test"), "all": ("train", "valid", "test")}
NAMES = ("dialogs", "toy")
TOY_THINGS = 30  # that speakers of the toy language may like


@dataclass(frozen=True)
class Utterance:
    """One place in a dialogue at which somebody replies.

    persona : sentences about the one who replies, () if nothing is known
    history : what was said before, the oldest turn first; the last one is to be answered
    candidates : possible replies, of which the last one was given

    >>> Utterance((), ("where ?",), ("no .", "here .")).reply
    'here .'
    """

    persona: tuple[str, ...]
    history: tuple[str, ...]
    candidates: tuple[str, ...]

    @property
    def reply(self) -> str:
        """The candidate that was given as the reply."""
        return self.candidates[-1]


def load_dialogues(
    source: str | Path,
    split: str = "train",
    candidates: int = CANDIDATES,
    seed: int = 0,
    alone: bool = False,
) -> list[Utterance]:
    """The utterances of a source.

    source : a Persona-Chat file (.json), the named set "dialogs", or "toy"
    split : "train", "test" or "all"; of a file without a valid part, one dialogue of five is "test"
    candidates : of a set without its own; at least 2
    seed : draws the distractors of such a set
    alone : nothing else is read from the source; then a file with a single part gives all of it
    raises DataError  if the source is missing, unknown, empty or damaged

    >>> utterance = load_dialogues("toy", "test", candidates=2)[0]
    >>> utterance.persona, utterance.history[-1]
    (('i like mige .',), 'what do you like ?')
    """
    check_split(split)
    if candidates < 2:
        raise DataError(f"candidates is {candidates}; give at least 2, the reply and another one.")
    name = str(source)
    if name == "toy":
        return split_part(toy_dialogues(2500, candidates, seed), split)
    if name == "dialogs":
        pairs, places = dialogs(split)
        spoken = with_distractors(pairs, candidates, seed)
        return [spoken[i] for i in places]
    if not is_file(source):
        raise DataError(
            f"{name!r} is neither an existing file nor a known set; known are {', '.join(NAMES)}."
        )
    return read_personas(source, split, alone)


def with_distractors(
    pairs: Sequence[tuple[str, str]], candidates: int, seed: int, persona: Sequence[str] = ()
) -> list[Utterance]:
    """Pairs (statement, reply) as utterances; the distractors are replies to other statements.

    candidates : of each utterance, the reply included     seed : draws the others
    raises DataError  if there are too few different replies

    >>> with_distractors([("who ?", "me ."), ("where ?", "here .")], 2, seed=0)[0].candidates
    ('here .', 'me .')
    """
    replies = sorted({reply for _, reply in pairs})
    if len(replies) < candidates:
        raise DataError(
            f"There are {len(replies)} different replies, too few for {candidates} candidates."
        )
    rng = np.random.default_rng([seed, 11])
    found = []
    for statement, reply in pairs:
        others: dict[str, None] = {}
        while len(others) < candidates - 1:
            other = replies[rng.integers(len(replies))]
            if other != reply:
                others[other] = None
        found.append(Utterance(tuple(persona), (statement,), (*others, reply)))
    return found


def toy_dialogues(n: int, candidates: int = CANDIDATES, seed: int = 0) -> list[Utterance]:
    """Dialogues of the toy language: each says in a foreign word what its persona likes.

    The right reply is known, and can only be found by reading the persona: it is the translation of
    the thing there. No word of the dialogue stands in it.
    raises DataError  for more candidates than there are replies

    >>> toy_dialogues(1, candidates=2)[0].candidates
    ('ofebo .', 'aputuro .')
    """
    rng = np.random.default_rng([seed, 12])
    language = toy.Language()
    if candidates > TOY_THINGS:
        raise DataError(
            f"The toy language has {TOY_THINGS} replies, too few for {candidates} candidates."
        )
    things = []
    for topic in toy.TOPICS:
        things += language.lexicon[topic, "noun"][: TOY_THINGS // len(toy.TOPICS)]
    found = []
    for _ in range(n):
        thing, *others = rng.permutation(things)[:candidates].tolist()
        replies = [f"{language.foreign[word]} ." for word in (*others, thing)]
        history = ("hello .", "hello .", "what do you like ?")[2 * int(rng.integers(2)) :]
        found.append(Utterance((f"i like {thing} .",), history, tuple(replies)))
    return found


def read_personas(path: str | Path, split: str = "train", alone: bool = False) -> list[Utterance]:
    """The utterances of a Persona-Chat file.

    split, alone : as in load_dialogues
    raises DataError  naming the file and the place of the fault
    """
    whole = parse_json(read_text(path), str(path))
    known = [part for part in PARTS["all"] if isinstance(whole, dict) and part in whole]
    if not known:
        raise DataError(
            f'{str(path)!r} is no file of dialogues; expected {{"train": [...], "valid": [...]}} '
            "with dialogues in it."
        )
    has_test = any(part in known for part in PARTS["test"])
    is_whole = split == "all" or not has_test or (alone and len(known) == 1)
    parts = known if is_whole else PARTS[split]
    dialogues = []
    for part in parts:
        rows = whole.get(part, [])
        _check(isinstance(rows, list), path, part, "a list of dialogues")
        for number, dialogue in enumerate(rows):
            dialogues.append(_utterances(path, f"{part}[{number}]", dialogue))
    if not has_test and not alone:
        dialogues = split_part(dialogues, split)
    found = [utterance for dialogue in dialogues for utterance in dialogue]
    if not found:
        raise DataError(f"{str(path)!r} holds no utterance for {split!r}; give some dialogues.")
    return found


def _utterances(path, where, dialogue: Any) -> list[Utterance]:
    """The utterances of one dialogue of a file."""
    _check(isinstance(dialogue, dict), path, where, "an object with utterances")
    persona = _texts(path, f"{where}.personality", dialogue.get("personality", []), least=0)
    rows = dialogue.get("utterances")
    _check(isinstance(rows, list), path, f"{where}.utterances", "a list")
    found = []
    for number, row in enumerate(rows):
        place = f"{where}.utterances[{number}]"
        _check(isinstance(row, dict), path, place, "an object with history and candidates")
        history = _texts(path, f"{place}.history", row.get("history"), least=1)
        candidates = _texts(path, f"{place}.candidates", row.get("candidates"), least=1)
        found.append(Utterance(persona, history, candidates))
    return found


def _texts(path, where, values: Any, least: int) -> tuple[str, ...]:
    """A list of strings in a file, as a tuple."""
    is_list = isinstance(values, list) and all(isinstance(value, str) for value in values)
    _check(is_list and len(values) >= least, path, where, f"a list of {least} texts or more")
    return tuple(values)


def _check(holds: bool, path, where: str, expected: str) -> None:
    """raises DataError  if something does not hold"""
    if not holds:
        raise DataError(f"{str(path)!r}, {where}: expected {expected}.")

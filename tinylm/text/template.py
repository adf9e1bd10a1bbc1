"""Templates: how one text, or two, become a model's input, with special tokens and token types.

BERT    [CLS] A [SEP]          [CLS] A [SEP] B:1 [SEP]:1
XLNet   A <sep> <cls>:2        A <sep> B:1 <sep>:1 <cls>:2      padded on the left, with type 3
GPT-1   <start> A <classify>   <start> A <delimiter> B <classify>
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tinylm.data.batching import pad
from tinylm.errors import DataError, TinylmError, VocabularyError
from tinylm.files import as_json, read_json
from tinylm.settings import build

FILE = "template.json"
TYPE = re.compile("[0-9]{1,9}")  # a token type


@dataclass(frozen=True)
class Template:
    """Two patterns of names with spaces between them: A and B are the texts, others special tokens.

    single : the pattern of one text; a name may end in its token type, `B:1` (else the type is 0)
    pair : the pattern of two texts (None: pairs are refused)
    typed : the model has token types
    pad_type : the token type of padding
    pad_left : padding stands before the text

    >>> ids = {"<s>": 0, "</s>": 2}
    >>> template = Template("<s> A </s>", "<s> A </s> B:1 </s>:1")
    >>> template.assemble([7, 8], [9], ids.get, None)
    ([0, 7, 8, 2, 9, 2], [0, 0, 0, 0, 1, 1])
    """

    single: str = "A"
    pair: str | None = None
    typed: bool = False
    pad_type: int = 0
    pad_left: bool = False

    def __post_init__(self):
        if not TYPE.fullmatch(str(self.pad_type)):
            raise VocabularyError(
                f"The template pads with the token type {self.pad_type!r}; "
                "expected a whole number from 0 on."
            )

    def assemble(
        self,
        first: list[int],
        second: list[int] | None,
        find: Callable[[str], int],
        max_length: int | None,
    ) -> tuple[list[int], list[int]]:
        """The ids and the token types of one input.

        find : gives the id of a special token
        max_length : the most tokens; the longer text is cut at its end until both fit (None: no
            limit)
        raises VocabularyError  for a pair without a pattern, or if even the specials do not fit
        """
        parts = parts_of(self.single if second is None else self._pair())
        texts = {"A": first, "B": second or []}
        if max_length is not None:
            names = [name for name, _ in parts]
            specials = sum(name not in texts for name in names)
            uses = max(1, names.count("A"), names.count("B"))  # of one text
            room = max_length - specials
            if room < 0:
                raise VocabularyError(
                    f"max_length is {max_length}, but the special tokens of the template alone "
                    f"are {specials}; ask for {specials} or more."
                )
            texts["A"], texts["B"] = _cut(first, texts["B"], room // uses)
        ids: list[int] = []
        types: list[int] = []
        for name, token_type in parts:
            piece = texts[name] if name in texts else [find(name)]
            ids += piece
            types += [token_type] * len(piece)
        return ids, types

    def arrays(
        self,
        firsts: Sequence[list[int]],
        seconds: Sequence[list[int] | None],
        find: Callable[[str], int],
        max_length: int | None = None,
        pad_id: int = 0,
    ) -> dict[str, np.ndarray]:
        """Several inputs as the keywords of a model's `encode`, see `Encoding.__call__`.

        firsts, seconds : B lists of ids, or None for no second text
        find, max_length : as for `assemble`
        returns "ids" and "mask", (B, T), and "token_types" if the template has types
        """
        rows: list[list[int]] = []
        types: list[list[int]] = []
        for first, second in zip(firsts, seconds, strict=True):
            ids, kinds = self.assemble(first, second, find, max_length)
            rows.append(ids)
            types.append(kinds)
        ids, mask = pad(rows, pad_id, left=self.pad_left)  # (B, T)
        keywords = {"ids": ids, "mask": mask}
        if self.typed:
            keywords["token_types"], _ = pad(types, self.pad_type, left=self.pad_left)
        return keywords

    def places(self, n_first: int) -> dict[str, int]:
        """Where the parts of a pair begin, if the first text has so many tokens.

        returns "A", "B" and the names of the special tokens -> place; of a repeated one its first

        >>> BERT.places(5)
        {'[CLS]': 0, 'A': 1, '[SEP]': 6, 'B': 7}
        """
        found: dict[str, int] = {}
        place = 0
        for name, _ in parts_of(self._pair()):
            found.setdefault(name, place)
            if name == "B":
                break
            place += n_first if name == "A" else 1
        return found

    def written(self) -> str:
        """The template as the content of a file, for `read`."""
        return as_json(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Template:
        """The template in a file.   raises DataError  if it is damaged"""
        fields = read_json(path)
        try:
            if not isinstance(fields, dict):
                raise DataError("expected an object")
            return build(cls, fields)
        except TinylmError as error:
            raise DataError(f"{str(path)!r} holds no template: {error}") from error

    def _pair(self) -> str:
        """The pattern of two texts; raises VocabularyError if there is none."""
        if self.pair is None:
            raise VocabularyError(
                "The encoding has no template for pairs; "
                "set one, such as Template('A', 'A <eos> B')."
            )
        return self.pair


@cache
def parts_of(pattern: str) -> tuple[tuple[str, int], ...]:
    """The (name, token type) of each place in a pattern.

    >>> parts_of("A [SEP] B:1")
    (('A', 0), ('[SEP]', 0), ('B', 1))
    """
    parts = []
    for place in pattern.split():
        name, _, token_type = place.rpartition(":")
        if name and TYPE.fullmatch(token_type):
            parts.append((name, int(token_type)))
        else:  # a name without a type; it may contain a colon
            parts.append((place, 0))
    return tuple(parts)


def _cut(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Cut two texts to `room` tokens together, by shortening the longer one.

    If half a token is left over, the longer text gets it; of two equally long ones, the second.

    >>> _cut([1, 2, 3, 4], [5], 3)
    ([1, 2], [5])
    """
    short = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return first[:short], second[: room - short]
    return first[: max(room - short, 0)], second[:short]


BERT = Template("[CLS] A [SEP]", "[CLS] A [SEP] B:1 [SEP]:1", typed=True)
XLNET = Template(
    single="A <sep> <cls>:2",
    pair="A <sep> B:1 <sep>:1 <cls>:2",
    typed=True,
    pad_type=3,
    pad_left=True,
)
TASK_TOKENS = ("<start>", "<delimiter>", "<classify>")  # GPT-1's fine-tuning adds them
GPT1 = Template("<start> A <classify>", "<start> A <delimiter> B <classify>")

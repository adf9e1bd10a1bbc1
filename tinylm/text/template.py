"""How one text, or two, become a model's input: where its special tokens stand, and which part each token belongs to.

BERT    [CLS] A [SEP]          [CLS] A [SEP] B:1 [SEP]:1
XLNet   A <sep> <cls>:2        A <sep> B:1 <sep>:1 <cls>:2      padded on the left, with type 3
GPT-1   <start> A <classify>   <start> A <delimiter> B <classify>
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tinylm.errors import VocabularyError


@dataclass(frozen=True)
class Template:
    """Two patterns of names with spaces between them: A and B are the texts, all others are special tokens.

    single, pair : a name may end in `:1`, its token type (0 where nothing is said); pair None: pairs are refused
    typed : the model has token types
    pad_type : the token type of padding
    pad_left : padding stands before the text
    """

    single: str = "A"
    pair: str | None = None
    typed: bool = False
    pad_type: int = 0
    pad_left: bool = False

    def assemble(
        self,
        first: list[int],
        second: list[int] | None,
        find: Callable[[str], int],
        max_length: int | None,
    ) -> tuple[list[int], list[int]]:
        """The ids and the token types of one input.

        find : name of a special token -> its id
        max_length : T at most; the longer text is cut at its end until both fit (None: no limit)
        raises VocabularyError  where there is no pattern for pairs, or no room even for the special tokens
        """
        parts = parts_of(self.single if second is None else self._pair())
        texts = {"A": first, "B": second or []}
        if max_length is not None:
            room = max_length - sum(name not in texts for name, _ in parts)
            if room < 0:
                raise VocabularyError(
                    f"max_length is {max_length}, but the {len(parts)} parts of the template need more."
                )
            texts["A"], texts["B"] = _cut(first, texts["B"], room)
        ids: list[int] = []
        types: list[int] = []
        for name, token_type in parts:
            piece = texts[name] if name in texts else [find(name)]
            ids += piece
            types += [token_type] * len(piece)
        return ids, types

    def _pair(self) -> str:
        if self.pair is None:
            raise VocabularyError(
                "The encoding has no template for pairs; set one, such as Template('A', 'A <eos> B')."
            )
        return self.pair


@cache
def parts_of(pattern: str) -> tuple[tuple[str, int], ...]:
    """The (name, token type) of every place of a pattern."""
    split = [name.rpartition(":") for name in pattern.split()]
    return tuple(
        (name, int(kind)) if name and kind.isdigit() else (name + colon + kind, 0)
        for name, colon, kind in split
    )


def _cut(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Both texts cut to `room` tokens together, taken from the longer one.

    An odd token is the longer text's, of equals the second's.
    """
    short = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return first[:short], second[: room - short]
    return first[: max(room - short, 0)], second[:short]


BERT = Template("[CLS] A [SEP]", "[CLS] A [SEP] B:1 [SEP]:1", typed=True)
XLNET = Template(
    "A <sep> <cls>:2", "A <sep> B:1 <sep>:1 <cls>:2", typed=True, pad_type=3, pad_left=True
)
GPT1 = Template("<start> A <classify>", "<start> A <delimiter> B <classify>")

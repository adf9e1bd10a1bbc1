"""Unigram: pieces are drawn independently, and a text is cut in the way that makes it most probable.

    P(text) = max over cuts p₁ … pₘ of Π P(pᵢ)         ▁ is the space: "▁the" begins a word

Every cut has a probability, so a text can also be cut at random (`sample`): noise that makes models robust.
Source: Kudo 2018; SentencePiece 0.2.3. Differs: training splits words between letters, digits and other characters, where
SentencePiece splits between scripts; where symbols of the user overlap, either may be taken.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import regex

from tinylm.errors import DataError, VocabularyError
from tinylm.kernels import viterbi
from tinylm.progress import watched
from tinylm.text import em
from tinylm.text.base import (
    BYTE_TOKENS,
    Encoding,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    shared,
)
from tinylm.text.formats import protobuf
from tinylm.text.formats.protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from tinylm.text.normalise.normalizing import SPACE, Normalizer
from tinylm.text.trie import Dictionary

WORD = regex.compile(
    r"▁*(?:[\p{L}\p{M}]+|\p{N}+|[^\p{L}\p{M}\p{N}▁]+|$)"
)  # what no piece reaches over, in training
SPECIALS = (("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL))
NAMES = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
UNKNOWN_TEXT = " ⁇ "
DEFAULT = em.EMConfig()


class Unigram(Encoding):
    """SentencePiece's encoding; save() writes spiece.model, which sentencepiece loads.

    pieces : (text, log-probability, kind) by id, kinds as in `protobuf`
    normalizer : what is done to text first
    raises VocabularyError  if a log-probability is not finite
    """

    files = (NAMES[0],)

    def __init__(self, pieces: list[tuple[str, float, int]], normalizer: Normalizer | None = None):
        self.pieces, self.normalizer = pieces, normalizer or Normalizer()
        self.vocab = [text for text, _, _ in pieces]
        check_different(self.vocab)
        self.specials = tuple(text for text, _, kind in pieces if kind in (UNKNOWN, CONTROL))
        find = self._index()
        self.unk_id = next(i for i, piece in enumerate(pieces) if piece[2] == UNKNOWN)
        self.end_id = find.get("</s>")
        self.pad_id = find.get("<pad>", self.end_id or 0)
        raw = {t: i for i, (t, _, kind) in enumerate(pieces) if kind == BYTE}
        self._bytes = (
            [raw[name] for name in BYTE_TOKENS] if raw.keys() == BYTE_TOKENS.keys() else []
        )
        broken = [text for text, score, _ in pieces if not abs(score) < 1e30]
        if broken:
            raise VocabularyError(
                f"The piece {broken[0]!r} has no finite log-probability; copy the model again from its source."
            )
        normal = [score for _, score, kind in pieces if kind == NORMAL]
        self.scores = np.array([score for _, score, _ in pieces], np.float32)
        self.scores[self.unk_id] = np.float32(min(normal, default=0.0)) - np.float32(em.PENALTY)
        best = max(normal, default=0.0)
        for i, (text, _, kind) in enumerate(pieces):
            if kind == USER:  # so good that it is always taken
                self.scores[i] = len(text.encode("utf-8", "surrogatepass")) * best - 0.1
        self._dictionary = Dictionary.of(
            [text if kind in (NORMAL, USER) else "" for text, _, kind in pieces]
        )

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, normalizer: Normalizer | None = None, byte_fallback: bool = False,
        exact: bool = True, config: em.EMConfig = DEFAULT,
    ) -> Unigram:  # fmt: skip
        """Learn pieces until the vocabulary holds `vocab_size`: <unk>, <s>, </s>, bytes if wanted, then pieces by score.

        byte_fallback : unknown characters are written as their UTF-8 bytes, 256 tokens more
        exact : False takes vocab_size as an upper bound (SentencePiece calls it hard_vocab_limit=false)
        raises VocabularyError  if there is no text, or vocab_size is too small for its characters or too large for it
        """
        check_numbers("Unigram", vocab_size=vocab_size)
        normalizer = normalizer or Normalizer()
        first = [*SPECIALS, *((name, 0.0, BYTE) for name in (BYTE_TOKENS if byte_fallback else ()))]
        check_vocab_size(vocab_size, len(first) + 1, "the specials and one character")
        found: Counter[str] = Counter()
        for text in watched(as_texts(texts), "texts read"):
            found.update(
                normalizer(text).split(SPACE) if normalizer.collapse else [normalizer(text)]
            )
        words: Counter[str] = Counter()
        for chunk, count in found.items():
            for word in WORD.findall(SPACE + chunk if normalizer.collapse and chunk else chunk):
                words[word] += count
        found.clear()
        del words[""]
        learned = em.learn(words, vocab_size - len(first), config)
        reached = len(first) + len(learned)
        if exact and reached < vocab_size:
            raise VocabularyError(f"The text supports at most {reached} tokens, but vocab_size is {vocab_size}; ask for "
                                  f"{reached} or fewer, pass exact=False, or give more text.")  # fmt: skip
        return cls([*first, *((text, score, NORMAL) for text, score in learned)], normalizer)

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        normal = [self.normalizer(text) for text in texts]
        ids, places = self._cut(normal)
        return shared(ids, places, [*map(len, normal)])

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token; of the bytes of an unknown character the last one covers it."""
        normal, places = self.normalizer.with_places(text)
        _, begins = self._cut([normal])
        edges = [places[begin] for begin in (*begins.tolist(), len(normal))]
        return list(zip(edges, edges[1:], strict=False))

    def _cut(self, normal: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The most probable pieces of normalised texts: ids (T,) int32, and where in the joined text each begins (T,)."""
        text = "".join(normal)
        symbols = self._dictionary.symbols(text)
        first = np.zeros(symbols.size + 1, bool)
        first[np.cumsum([0, *map(len, normal)])] = True
        chosen = np.empty(symbols.size, np.int64)
        viterbi(self.scores, symbols, first[:-1], *self._dictionary.trie, self.unk_id, 1, chosen)
        places = np.flatnonzero(chosen >= 0)
        ids = chosen[places]
        unknown = ids == self.unk_id
        if unknown.any() and not self._bytes:  # side by side in a text they are one
            kept = ~unknown | np.append(True, ~unknown[:-1]) | first[places]
            places, ids = places[kept], ids[kept]
        elif unknown.any():  # one token for each byte
            raw = [
                text[place].encode("utf-8", "surrogatepass") for place in places[unknown].tolist()
            ]
            sizes = np.ones(ids.size, np.int64)
            sizes[unknown] = [*map(len, raw)]
            places, ids, unknown = (np.repeat(values, sizes) for values in (places, ids, unknown))
            ids[unknown] = [self._bytes[byte] for byte in b"".join(raw)]
        return ids.astype(np.int32), places

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: controls vanish, <unk> becomes " ⁇ ", and the space that normalising put in front is removed."""
        out, begin = bytearray(), True
        for i, text in zip(ids := list(ids), self._spellings(ids), strict=True):
            kind = self.pieces[i][2] if i < len(self.pieces) else CONTROL
            begin = begin and not out
            if kind == BYTE:
                out += BYTE_TOKENS[text]
            elif kind == UNKNOWN:
                out += UNKNOWN_TEXT.encode()
            elif kind != CONTROL:
                if (
                    begin
                    and text.startswith(SPACE)
                    and (self.normalizer.prefix or self.normalizer.collapse)
                ):
                    text, begin = (
                        text[1:],
                        self.normalizer.collapse,
                    )  # where spaces are collapsed, none is left in front
                out += text.replace(SPACE, " ").encode("utf-8", "surrogatepass")
        return out.decode("utf-8", "replace")

    def n_best(self, text: str, n: int) -> list[tuple[list[int], float]]:
        """The n most probable cuts, best first: (ids, log-probability in nats)."""
        normal, edges = self._lattice(text)
        ways: list[list[tuple[float, tuple]]] = [[(0.0, ())]] + [
            [] for _ in normal
        ]  # by place: (score, linked ids)
        for end in range(1, len(normal) + 1):
            into = [
                (score + s, (p, way)) for begin, p, s in edges[end] for score, way in ways[begin]
            ]
            ways[end] = heapq.nlargest(n, into, key=lambda pair: pair[0])
        return [(_unlinked(way), score) for score, way in ways[-1]]

    def sample(self, text: str, alpha: float, rng: np.random.Generator) -> list[int]:
        """The ids of a cut drawn with probability ∝ P(cut)^alpha; alpha 0: all cuts alike, large: the most probable one."""
        normal, edges = self._lattice(text)
        total = [0.0] + [-math.inf] * len(normal)
        for end in range(1, len(normal) + 1):
            total[end] = float(
                np.logaddexp.reduce([total[begin] + alpha * s for begin, _, s in edges[end]])
            )
        end, ids = len(normal), []
        while end:
            weights = np.exp([total[begin] + alpha * s - total[end] for begin, _, s in edges[end]])
            begin, p, _ = edges[end][int(rng.choice(len(weights), p=weights / weights.sum()))]
            ids.append(p)
            end = begin
        return ids[::-1]

    def _lattice(self, text: str) -> tuple[str, list[list[tuple[int, int, float]]]]:
        """The normalised text and, for each place, the pieces that end there: (begin, id, log-probability)."""
        normal = self.normalizer(text)
        known = {t: i for i, (t, _, kind) in enumerate(self.pieces) if kind in (NORMAL, USER)}
        longest = max(map(len, known), default=1)
        edges: list[list[tuple[int, int, float]]] = [[] for _ in range(len(normal) + 1)]
        for begin in range(len(normal)):
            for end in range(begin + 1, min(len(normal), begin + longest) + 1):
                p = known.get(normal[begin:end], self.unk_id if end == begin + 1 else None)
                if p is not None:
                    edges[end].append((begin, p, float(self.scores[p])))
        return normal, edges

    def _contents(self) -> dict[str, bytes]:
        kinds = [*self.pieces, *((name, 0.0, CONTROL) for name in self.vocab[len(self.pieces) :])]
        model = protobuf.Model(kinds, charsmap=self.normalizer.charsmap, prefix=self.normalizer.prefix,
                               collapse=self.normalizer.collapse)  # fmt: skip
        return {NAMES[0]: protobuf.write(model)}

    @classmethod
    def _load(cls, folder: Path) -> Unigram:
        """Read spiece.model or tokenizer.model; raises DataError for a missing, damaged or BPE file."""
        path = next(
            (folder / name for name in NAMES if (folder / name).exists()), folder / NAMES[0]
        )
        model = protobuf.read(path)
        if model.kind != protobuf.UNIGRAM or model.suffix:
            raise DataError(
                f"{str(path)!r} is not a unigram model with the space in front; no other kind is read."
            )
        texts = [text for text, _, _ in model.pieces]
        odd = any(
            not NORMAL <= kind <= BYTE or kind == BYTE and text not in BYTE_TOKENS
            for text, _, kind in model.pieces
        )
        if odd or len(set(texts)) != len(texts):
            raise DataError(
                f"{str(path)!r} holds a piece twice, or one of an unknown kind; the file is damaged."
            )
        kept = [text for text, _, kind in model.pieces if kind == USER]
        try:
            return cls(model.pieces, Normalizer(model.charsmap, model.prefix, model.collapse, kept))
        except VocabularyError as error:
            raise DataError(f"{str(path)!r}: {error}") from None


def _unlinked(way: tuple) -> list[int]:
    """Ids from a list linked from its end."""
    ids: list[int] = []
    while way:
        ids.append(way[0])
        way = way[1]
    return ids[::-1]

"""Unigram: draw pieces independently, and cut a text in the way that makes it most probable.

    P(text) = max over cuts p₁ … pₘ of Π P(pᵢ)         ▁ is the space: "▁the" begins a word

`best_cut` is this maximum as code, and `log_probability` the sum over all cuts, which training
raises (em.py). The class `Unigram` does the same by two kernels, `tinylm.kernels.viterbi` and
`expectation`, which look pieces up in a trie.

Every cut has a probability, so a text can also be cut at random (`sample`): noise that makes
models robust.

Source: Kudo 2018; SentencePiece 0.2.3. Differs: training splits words between letters, digits and
other characters, where SentencePiece splits between scripts; where symbols of the user overlap,
either may be taken.
"""

from __future__ import annotations

import heapq
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import regex

from tinylm.arguments import strings
from tinylm.errors import DataError, VocabularyError
from tinylm.kernels import viterbi
from tinylm.progress import watched
from tinylm.settings import argument, at_least, between

from . import em
from .base import (
    BYTE_TOKENS,
    Encoding,
    as_texts,
    check_different,
    check_numbers,
    check_vocab_size,
    shared,
)
from .checks import whole_numbers
from .formats import protobuf
from .formats.protobuf import BYTE, CONTROL, NORMAL, UNKNOWN, USER
from .normalise.normalizing import SPACE, Normalizer
from .trie import Dictionary

# In training no piece reaches over the end of such a word.
WORD = regex.compile(r"▁*(?:[\p{L}\p{M}]+|\p{N}+|[^\p{L}\p{M}\p{N}▁]+|$)")
SPECIALS = (("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL))
XLNET_CONTROLS = ("<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>")
NAMES = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
UNKNOWN_TEXT = " ⁇ "
DEFAULT = em.EMConfig()

Piece = tuple[str, float, int]  # text, log-probability, kind as in `protobuf`
Edge = tuple[int, int, float]  # begin, id, score of a piece that ends at some place


def best_cut(text: str, scores: dict[str, float], unknown: float = -100.0) -> list[str]:
    """Encoding: the most probable cut, by Viterbi's algorithm.

    >>> best_cut("hugs", {"h": -3.0, "u": -3.0, "g": -3.0, "s": -2.0, "ug": -4.0, "hug": -6.0})
    ['hug', 's']

    scores : log-probability of each piece
    unknown : log-probability of a character that is no piece
    """
    best = [0.0] + [-math.inf] * len(text)  # score of the best cut of text[:end]
    start = [0] * (len(text) + 1)  # where the last piece of that cut begins
    for end in range(1, len(text) + 1):
        for begin in range(end):
            otherwise = unknown if end - begin == 1 else -math.inf
            score = best[begin] + scores.get(text[begin:end], otherwise)
            if score > best[end]:
                best[end] = score
                start[end] = begin
    cut: list[str] = []
    end = len(text)
    while end > 0:
        cut.insert(0, text[start[end] : end])
        end = start[end]
    return cut


def log_probability(text: str, scores: dict[str, float], unknown: float = -100.0) -> float:
    """Training: log of the sum of P over all cuts of a text, by the forward pass, in nats.

    >>> half, quarter = math.log(1 / 2), math.log(1 / 4)
    >>> round(math.exp(log_probability("aa", {"a": half, "aa": quarter})), 6)  # a·a + aa
    0.5
    """
    total = [0.0] + [-math.inf] * len(text)  # log of the sum over all cuts of text[:end]
    for end in range(1, len(text) + 1):
        for begin in range(end):
            otherwise = unknown if end - begin == 1 else -math.inf
            score = total[begin] + scores.get(text[begin:end], otherwise)
            total[end] = float(np.logaddexp(total[end], score))
    return total[-1]


class Unigram(Encoding):
    """SentencePiece's encoding; save() writes spiece.model, which sentencepiece loads.

    >>> pieces = [("<unk>", 0.0, UNKNOWN), ("▁a", -1.0, NORMAL), ("b", -2.0, NORMAL)]
    >>> Unigram(pieces).decode([1, 2, 0])
    'ab ⁇ '

    pieces : (text, log-probability, kind) by id, kinds as in `protobuf`
    normalizer : rewrites texts before they are cut, but for the pieces of kind USER
    raises VocabularyError  if a log-probability is not finite, a piece stands twice, or none is for
        unknown text
    """

    files = (NAMES[0],)

    def __init__(self, pieces: list[Piece], normalizer: Normalizer | None = None):
        self.pieces = pieces
        symbols = [text for text, _, kind in pieces if kind == USER]
        self.normalizer = (normalizer or Normalizer()).keeping(symbols)
        self.vocab = [text for text, _, _ in pieces]
        check_different(self.vocab)
        self.specials = tuple(text for text, _, kind in pieces if kind in (UNKNOWN, CONTROL))
        find = self._index()
        kinds = [kind for _, _, kind in pieces]
        if UNKNOWN not in kinds:
            raise VocabularyError("Unigram: no piece is for unknown text; expected one, as <unk>.")
        self.unk_id = kinds.index(UNKNOWN)
        self._follow({"pad_id": self.pad_id, "end_id": self.end_id})
        self._bytes: list[int] = []
        raw = {text for text, _, kind in pieces if kind == BYTE}
        if raw == BYTE_TOKENS.keys():
            self._bytes = [find[name] for name in BYTE_TOKENS]
        self.scores = self._scores()
        spelled = [text if kind in (NORMAL, USER) else "" for text, _, kind in pieces]
        self._dictionary = Dictionary.of(spelled)

    def roles(self) -> dict[str, int | None]:
        """As of every encoding."""
        end_id = self._index().get("</s>")
        return {"end_id": end_id, "pad_id": self._index().get("<pad>", end_id or 0)}

    def _scores(self) -> np.ndarray:
        """The score of each piece, (V,) float32: its log-probability, if it is a normal one.

        The unknown piece is worse than all of them. A symbol of the user is always taken.

        raises VocabularyError  if one is not finite
        """
        for text, score, _ in self.pieces:
            if not abs(score) < 1e30:
                raise VocabularyError(
                    f"The piece {text!r} has no finite log-probability; "
                    "copy the model again from its source."
                )
        normal = [score for _, score, kind in self.pieces if kind == NORMAL]
        scores = np.array([score for _, score, _ in self.pieces], np.float32)
        scores[self.unk_id] = np.float32(min(normal, default=0.0)) - np.float32(em.PENALTY)
        best = max(normal, default=0.0)
        for i, (text, _, kind) in enumerate(self.pieces):
            if kind == USER:  # better than any pieces that spell it
                size = len(text.encode("utf-8", "surrogatepass"))
                scores[i] = size * best - 0.1
        return scores

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        normalizer: Normalizer | None = None,
        byte_fallback: bool = False,
        exact: bool = True,
        config: em.EMConfig = DEFAULT,
        controls: Iterable[str] = (),
    ) -> Unigram:
        """Learn pieces until the vocabulary holds `vocab_size` tokens.

        These are <unk>, <s>, </s>, further controls and the bytes if wanted, then the pieces, the
        best one first.

        byte_fallback : unknown characters are written as their UTF-8 bytes, 256 tokens more
        exact : False takes vocab_size as an upper bound (SentencePiece: hard_vocab_limit=false)
        controls : names of further special tokens, which get the ids from 3 on. XLNET_CONTROLS
            gives XLNet's ids: <cls> 3, <sep> 4, <pad> 5, <mask> 6, <eod> 7, <eop> 8
        raises VocabularyError  if there is no text, or vocab_size is too small for its characters
            or larger than the text supports
        """
        check_numbers("Unigram", vocab_size=vocab_size)
        normalizer = normalizer or Normalizer()
        first = [*SPECIALS, *((name, 0.0, CONTROL) for name in strings(controls, "controls"))]
        if byte_fallback:
            first += [(name, 0.0, BYTE) for name in BYTE_TOKENS]
        check_vocab_size(vocab_size, len(first) + 1, "the specials and one character")
        words = _count(watched(as_texts(texts), "texts read"), normalizer)
        learned = em.learn(words, vocab_size - len(first), config)
        reached = len(first) + len(learned)
        if exact and reached < vocab_size:
            raise VocabularyError(
                f"The text supports at most {reached} tokens, but vocab_size is {vocab_size}; ask "
                f"for {reached} or fewer, pass exact=False, or give more text."
            )
        pieces = first + [(text, score, NORMAL) for text, score in learned]
        return cls(pieces, normalizer)

    def _encode(self, texts: list[str]) -> list[np.ndarray]:
        normal = [self.normalizer(text) for text in texts]
        ids, places = self._cut(normal)
        return shared(ids, places, [*map(len, normal)])

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token its characters; the last byte of an unknown character covers it."""
        normal, places = self.normalizer.with_places(text)
        _, begins = self._cut([normal])
        edges = [places[begin] for begin in (*begins.tolist(), len(normal))]
        return list(zip(edges, edges[1:], strict=False))

    def _cut(self, normal: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cut normalised texts as `best_cut` does.

        returns ids (T,) int32, and where in the joined text each begins (T,)
        """
        text = "".join(normal)
        symbols = self._dictionary.symbols(text)
        first = np.zeros(symbols.size + 1, bool)  # True where a text begins, or ends
        first[np.cumsum([0, *map(len, normal)])] = True
        chosen = np.empty(symbols.size, np.int64)
        viterbi(self.scores, symbols, first[:-1], *self._dictionary.trie, self.unk_id, 1, chosen)
        places = np.flatnonzero(chosen >= 0)
        return self._spelled(text, first, chosen[places], places)

    def _spelled(
        self, text: str, first: np.ndarray, ids: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, places) of a cut, with unknown characters as bytes, or side by side as one token.

        first : (len(text) + 1,) bool, True where a text begins
        ids, places : (T,) of a cut into pieces and single unknown characters
        """
        unknown = ids == self.unk_id
        if unknown.any() and self._bytes:
            ids, places = self._with_bytes(text, ids, places)
        elif unknown.any():  # neighbouring unknown characters of a text become one token
            same_text = ~first[places[1:]]
            repeated = unknown[1:] & unknown[:-1] & same_text
            kept = np.append(True, ~repeated)
            ids = ids[kept]
            places = places[kept]
        return ids.astype(np.int32), places

    def _with_bytes(
        self, text: str, ids: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, places) with one token for each byte of the unknown characters."""
        unknown = ids == self.unk_id
        sizes = np.ones(ids.size, np.int64)
        raw = [text[place].encode("utf-8", "surrogatepass") for place in places[unknown].tolist()]
        sizes[unknown] = [*map(len, raw)]
        ids = np.repeat(ids, sizes)
        ids[np.repeat(unknown, sizes)] = [self._bytes[byte] for byte in b"".join(raw)]
        return ids, np.repeat(places, sizes)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; raises VocabularyError for an id that does not exist.

        Controls vanish, <unk> becomes " ⁇ ", and the space that normalising put in front is
        removed.
        """
        ids = list(whole_numbers(ids))
        out = bytearray()
        begin = self.normalizer.prefix or self.normalizer.collapse  # is a space in front ours?
        for i, text in zip(ids, self._spellings(ids), strict=True):
            kind = self.pieces[i][2] if i < len(self.pieces) else CONTROL
            begin = begin and not out
            if kind == BYTE:
                out += BYTE_TOKENS[text]
            elif kind == UNKNOWN:
                out += UNKNOWN_TEXT.encode()
            elif kind != CONTROL:
                if begin and text.startswith(SPACE):
                    text = text[1:]
                    begin = self.normalizer.collapse  # then no space at all is left in front
                out += text.replace(SPACE, " ").encode("utf-8", "surrogatepass")
        return out.decode("utf-8", "replace")

    def n_best(self, text: str, n: int) -> list[tuple[list[int], float]]:
        """The n most probable cuts, best first: (ids, log-probability in nats).

        raises ArgumentError  unless n is at least 1
        """
        argument("Unigram", "n", n, int, at_least(1))
        normal, edges = self._lattice(text)
        start: tuple = ()
        ways = [[(0.0, start)]]  # by place: (score, ids as in `_unlinked`)
        for end in range(1, len(normal) + 1):
            into = []
            for begin, p, s in edges[end]:
                into += [(score + s, (p, way)) for score, way in ways[begin]]
            ways.append(heapq.nlargest(n, into, key=lambda pair: pair[0]))
        return [(self._as_encoded(normal, _unlinked(way)), score) for score, way in ways[-1]]

    def sample(self, text: str, alpha: float, rng: np.random.Generator) -> list[int]:
        """The ids of a cut drawn with probability ∝ P(cut)^alpha.

        alpha : 0 draws all cuts equally often, a large one, up to 10⁶, the most probable cut
        raises ArgumentError  for another one
        """
        argument("Unigram", "alpha", alpha, float, between(0, 1e6))
        normal, edges = self._lattice(text)
        total = [0.0]  # `log_probability` of the text up to each place
        for end in range(1, len(normal) + 1):
            into = [total[begin] + alpha * s for begin, _, s in edges[end]]
            total.append(float(np.logaddexp.reduce(into)))
        end = len(normal)
        ids = []
        while end:
            scores = [total[begin] + alpha * s - total[end] for begin, _, s in edges[end]]
            weights = np.exp(scores)
            drawn = int(rng.choice(len(weights), p=weights / weights.sum()))
            end, p, _ = edges[end][drawn]
            ids.append(p)
        return self._as_encoded(normal, ids[::-1])

    def _as_encoded(self, normal: str, pieces: list[int]) -> list[int]:
        """The ids that `encode` would give for a cut of a normalised text into these pieces."""
        ids = np.array(pieces, np.int64)
        lengths = [1 if p == self.unk_id else len(self.pieces[p][0]) for p in pieces]
        places = np.cumsum([0, *lengths])[:-1]
        first = np.zeros(len(normal) + 1, bool)
        first[0] = True
        return self._spelled(normal, first, ids, places)[0].tolist()

    def _lattice(self, text: str) -> tuple[str, list[list[Edge]]]:
        """The normalised text, and for each place the pieces that end there."""
        strings([text], "text")
        normal = self.normalizer(text)
        known = {t: i for i, (t, _, kind) in enumerate(self.pieces) if kind in (NORMAL, USER)}
        longest = max(map(len, known), default=1)
        edges: list[list[Edge]] = [[] for _ in range(len(normal) + 1)]
        for begin in range(len(normal)):
            last = min(len(normal), begin + longest)
            for end in range(begin + 1, last + 1):
                p = known.get(normal[begin:end])
                if p is None and end - begin == 1:
                    p = self.unk_id
                if p is not None:
                    edges[end].append((begin, p, float(self.scores[p])))
        return normal, edges

    def _contents(self) -> dict[str, bytes]:
        added = [(name, 0.0, CONTROL) for name in self.vocab[len(self.pieces) :]]
        model = protobuf.Model(
            [*self.pieces, *added],
            charsmap=self.normalizer.charsmap,
            prefix=self.normalizer.prefix,
            collapse=self.normalizer.collapse,
        )
        return {NAMES[0]: protobuf.write(model)}

    @classmethod
    def _load(cls, folder: Path) -> Unigram:
        """Read spiece.model or tokenizer.model.

        raises DataError    for a missing or damaged file, or one of byte-pair encoding
        """
        found = [folder / name for name in NAMES if os.path.exists(folder / name)]
        path = found[0] if found else folder / NAMES[0]
        model = protobuf.read(path)
        if model.kind != protobuf.UNIGRAM or model.suffix:
            raise DataError(
                f"{str(path)!r} is not a unigram model with the space in front; "
                "no other kind is read."
            )
        _check_pieces(model.pieces, path)
        try:
            return cls(model.pieces, Normalizer(model.charsmap, model.prefix, model.collapse))
        except VocabularyError as error:
            raise DataError(f"{str(path)!r}: {error}") from None


def _count(texts: Iterable[str], normalizer: Normalizer) -> Counter[str]:
    """How often each word occurs; parts of texts that recur are cut into words once."""
    found: Counter[str] = Counter()
    for text in texts:
        normal = normalizer(text)
        found.update(normal.split(SPACE) if normalizer.collapse else [normal])
    words: Counter[str] = Counter()
    for chunk, count in found.items():
        if normalizer.collapse and chunk:
            chunk = SPACE + chunk
        for word in WORD.findall(chunk):
            words[word] += count
    del words[""]
    return words


def _check_pieces(pieces: list[Piece], path: Path) -> None:
    """Raise DataError if a file holds a piece twice, or one of an unknown kind."""
    texts = {text for text, _, _ in pieces}
    wrong = len(texts) != len(pieces)
    for text, _, kind in pieces:
        wrong |= not NORMAL <= kind <= BYTE
        wrong |= kind == BYTE and text not in BYTE_TOKENS
    if wrong:
        raise DataError(
            f"{str(path)!r} holds a piece twice, or one of an unknown kind; the file is damaged."
        )


def _unlinked(way: tuple) -> list[int]:
    """Ids from a list linked from its end: (3, (1, ())) -> [1, 3]."""
    ids: list[int] = []
    while way:
        last, way = way
        ids.append(last)
    return ids[::-1]

"""fastText: a word is what its pieces are, so new words have vectors (Bojanowski et al. 2017).

The idea: word2vec gives every word a row of its own, so `shuttles` learns nothing from `shuttle`.
Cut each word into all its pieces of 3 to 6 characters, give every piece a row too, and let the
word's vector be the mean of its own row and its pieces'. Relatives then share most of their rows,
and a word outside the vocabulary is the mean of the pieces that it shares with words inside.

    pieces of <where>, 3 to 4 characters: <wh whe her ere re> <whe wher here ere>
    v_w = (z_w + Σ_{g in pieces(w)} z_g) / (1 + |pieces(w)|)
    loss: word2vec's, with this v_w

Sees one word of the window and its pieces, predicts the word in the middle.

Changes from word2vec.py: the words' vectors, nothing else. Behind the rows of the words stand
`bucket` rows that all pieces share by their hash (vectors/ngrams.py). `mean_vectors` below is the
definition.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinylm import kernels
from tinylm import ops as F
from tinylm.errors import TinylmError
from tinylm.ops.registry import check_ids
from tinylm.settings import at_least, between
from tinylm.tensor import Tensor
from tinylm.vectors.ngrams import NGrams, Subwords, bag_means

from .word2vec import Word2Vec, Word2VecConfig, whole_error

LONGEST_NGRAM = 32  # characters; so a foreign config.json cannot ask for millions of pieces


def mean_vectors(table, words: list[str], ngrams: NGrams) -> np.ndarray:
    """Each word's vector, (V, C): the mean of its own row of the table and those of its pieces.

    table : (V + bucket, C), the words' rows first

    >>> table = np.arange(7.0)[:, None]  # two words, five buckets
    >>> ngrams = NGrams(minn=3, maxn=3, bucket=5)
    >>> ngrams.rows("no")  # <no and no>
    [4, 3]
    >>> mean_vectors(table, ["", "no"], ngrams)  # row 0 alone; the mean of rows 1, 6 and 5
    array([[0.],
           [4.]])
    """
    means = []
    for own, word in enumerate(words):
        rows = [own]
        for bucket in ngrams.rows(word):
            rows.append(len(words) + bucket)
        means.append(table[rows].mean(axis=0))
    return np.stack(means)


@dataclass(frozen=True)
class FastTextConfig(Word2VecConfig):
    """word2vec's sizes and rates, and those of the pieces under fastText's names.

    minn, maxn : the shortest and the longest piece, in characters
    bucket : rows that all pieces share (the released program has 2·10⁶)

    >>> FastTextConfig(1000).maxn
    6
    >>> FastTextConfig(1000, minn=4, maxn=3)
    Traceback (most recent call last):
        ...
    tinylm.errors.TinylmError: FastTextConfig: maxn is 3; expected minn = 4 to 32.
    """

    ranges = {
        "minn": at_least(1),
        "maxn": between(1, LONGEST_NGRAM),
        "bucket": at_least(1, 2**26),
    }
    minn: int = 3
    maxn: int = 6
    bucket: int = 100_000

    def check(self) -> None:
        """Refuse what word2vec refuses, and an empty range of lengths.   raises TinylmError"""
        super().check()
        if self.minn > self.maxn:
            raise TinylmError(
                f"FastTextConfig: maxn is {self.maxn}; "
                f"expected minn = {self.minn} to {LONGEST_NGRAM}."
            )


class FastText(Word2Vec, name="fasttext", encoding="words"):
    """word2vec whose words are the mean of their own row and the rows of their pieces.

    config : FastTextConfig
    rng : numpy Generator of the initial vectors (a fixed one by default)
    vectors : (V + bucket, C) from U(−½, ½)/C: the words, then the pieces
    Source: Bojanowski et al. 2017; pieces and hash as in the released program. Differs: as
    Word2Vec; 100,000 shared rows where the program has 2,000,000; a score takes the mean of a
    word's rows as the program does, where the paper has the sum.

    >>> model = FastText(FastTextConfig(vocab_size=5, size=3, bucket=11))
    >>> model.vectors.shape
    (16, 3)
    >>> model.spell(["<unk>", "<pad>", "<eos>", "shuttle", "orbit"], special_ids=(0, 1, 2))
    >>> model.subwords()["shuttles"].shape
    (3,)
    """

    Config = FastTextConfig

    def vector_rows(self) -> int:
        """The number of rows of `vectors`: one for each word, then the buckets."""
        return self.config.vocab_size + self.config.bucket

    def first_bags(self) -> np.ndarray | None:
        """None: the rows of a word are known once `spell` was called."""
        return None

    @property
    def ngrams(self) -> NGrams:
        """The pieces of a word and their rows."""
        return NGrams(self.config.minn, self.config.maxn, self.config.bucket)

    @property
    def not_derivatives(self) -> dict[str, str]:
        """The means of a window and of a word's pieces: every row gets the whole error."""
        if self.mode == kernels.SKIP_GRAM:
            return {"vectors": whole_error("a word's n-grams")}
        return super().not_derivatives

    def spell(self, words: Iterable[str], special_ids: Iterable[int] = ()) -> None:
        """Learn the words' spellings, and so their pieces.   words : at most V strings, by id"""
        super().spell(words, special_ids)
        unused = [""] * (self.config.vocab_size - len(self.words))
        self.bags = self.ngrams.bags([*self.words, *unused], self.special_ids)

    def sums(self, ids: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Each word's rows of `vectors`, summed, and their number: (..., C) and (...).

        raises TinylmError before `spell`, ShapeError if an id is out of range
        """
        self._spelled()
        ids = check_ids("FastText", ids, self.config.vocab_size)
        words, places = np.unique(ids, return_inverse=True)
        places = places.reshape(ids.shape)
        sizes = self.bags[words + 1] - self.bags[words]
        bags = [self.bags[self.bags[word] : self.bags[word + 1]] for word in words]
        rows = np.concatenate([self.bags[:0], *bags])  # the first one is for no words at all
        sums = F.embedding_bag(rows, np.cumsum(sizes) - sizes, self.vectors)  # (W,C)
        return F.embedding(places, sums), sizes[places]

    def _ready(self):
        sentences = super()._ready()
        self._spelled()
        return sentences

    def _spelled(self):
        """raises TinylmError before `spell`"""
        if self.bags is None:
            raise TinylmError(
                "This FastText does not know how its words are spelled; "
                "call spell(tokenizer.vocab) first."
            )

    def encode(self, ids, mask=None) -> list[Tensor]:
        """The words' vectors, whatever stands around them: [(B, T, C)].

        ids : (B, T) integers     mask : not needed
        raises TinylmError before `spell`, ShapeError if an id is out of range
        """
        sums, sizes = self.sums(ids)
        return [sums * (1 / sizes)[..., None].astype(sums.dtype)]

    token_table = None  # a word's vector is the mean of its pieces'

    def embedding_table(self) -> np.ndarray:
        """The word vectors as an array (V, C).   raises TinylmError before `spell`"""
        self._spelled()
        return bag_means(self.vectors.data, self.bags)

    def subwords(self) -> Subwords:
        """Vectors for words outside the vocabulary, see `Vectors`."""
        return Subwords(self.ngrams, self.vectors.data[self.config.vocab_size :])

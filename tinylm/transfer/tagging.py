"""The network of a tagger: vectors of words in, a score of every tag out.

    x_t = standardise(the encoder's vector of word t), beside an embedding of the word itself
    h_t = x_t, or a BiLSTM's state that has read x_1 … x_T both ways
    scores_t = W dropout(h_t) + b

    linear, bilstm          p(tags | words) = Π_t softmax(scores_t)
    crf, bilstm-crf         a conditional random field on the scores: ops/crf.py

W begins at 0. So at first no gradient reaches a pretrained encoder through a head that knows
nothing yet.
Source: Peters et al. 2018, section 3.3 (frozen vectors beside embeddings); Lample et al. 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylm import nn, settings
from tinylm import ops as F
from tinylm.errors import TinylmError
from tinylm.settings import above, at_least
from tinylm.tensor import Tensor

from .features import mean_and_deviation
from .finetune import AdaptConfig, refuse_own_loss

HEADS = ("linear", "bilstm", "crf", "bilstm-crf")
UNKNOWN = 0  # the id of words that the training sentences lack
RARE = 0.5  # how often a word seen once is read as unknown while training
# Unless a config says how many: PASSES over the sentences, but within these bounds.
PASSES = 10
FEWEST_UPDATES = 150
MOST_UPDATES = 1000


@dataclass(frozen=True)
class TagConfig(AdaptConfig):
    """How a tagger learns: the fields of AdaptConfig, and these.

    rates : peak rates of the encoder, for fine-tuning     head_rate : of everything else
    layers : of a frozen encoder, as in `pool`, or ("mix",): all layers, in shares that are learned.
        Fine-tuning reads the last layer, or the mix
    hidden : units of the BiLSTM in each direction
    embeddings : width of the tagger's own word embeddings beside the encoder's vectors, 0 for none
    constrained : predict only legal BIO, where I-x follows B-x or I-x
    updates : how many; None is PASSES passes over the sentences, within bounds

    >>> TagConfig(hidden=0)
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: TagConfig: hidden is 0; expected a whole number from 1 to 65536.
    """

    ranges = {
        "head_rate": above(0),
        "hidden": at_least(1, 65_536),
        "embeddings": at_least(0, 65_536),
    }
    head_rate: float = 1e-2
    hidden: int = 64
    embeddings: int = 0
    constrained: bool = True

    def check(self) -> None:
        """Refuse what `AdaptConfig` refuses, and what no tagger does.   raises TinylmError"""
        super().check()
        refuse_own_loss(self)
        if self.unfreeze:
            raise TinylmError(
                "TagConfig: unfreeze is True, but a tagger trains all layers from its first "
                "update; leave it out."
            )
        if self.head_gap != AdaptConfig.head_gap:
            raise TinylmError(
                f"TagConfig: head_gap is {self.head_gap}, but a tagger's head has a rate of its "
                "own; give head_rate in its place."
            )


def updates_for(n_sentences: int, batch_size: int) -> int:
    """The number of updates: a recurrent head that begins from nothing needs more than `finetune`.

    >>> [updates_for(n, batch_size=16) for n in (40, 400, 4000)]
    [150, 250, 1000]
    """
    updates = PASSES * n_sentences // batch_size
    return int(np.clip(updates, FEWEST_UPDATES, MOST_UPDATES))


@dataclass(frozen=True)
class Sizes(settings.Config):
    """What a head's weights depend on, beside a TagConfig.

    features : F of a word's vector, 0 for none     layers : L whose mix is learned, 0 for no mix
    words : V of the tagger's own embeddings, 0 for none     tags : K
    """

    ranges = {
        "features": at_least(0),
        "layers": at_least(0),
        "words": at_least(0),
        "tags": at_least(1),
    }
    features: int
    layers: int
    words: int
    tags: int


class TagHead(nn.Module):
    """Scores of K tags from vectors and ids of words.   (B, W, F), (B, W) -> (B, W, K)

    kind : one of HEADS     mean, std : (F,) of the vectors, fixed

    >>> head = TagHead("bilstm-crf", Sizes(features=5, layers=0, words=0, tags=3), TagConfig())
    >>> head(np.zeros((2, 7, 5), np.float32), None, np.ones((2, 7), bool)).shape
    (2, 7, 3)
    """

    def __init__(self, kind: str, sizes: Sizes, config: TagConfig):
        rng = np.random.default_rng(config.seed)
        noise = nn.Noise(config.seed)
        self.sizes = sizes
        self.mean = nn.Buffer(nn.full((sizes.features,), 0))
        self.std = nn.Buffer(nn.full((sizes.features,), 1))
        width = sizes.features // max(sizes.layers, 1)
        if sizes.layers:
            self.mix = nn.ScalarMix(sizes.layers)
        if sizes.words:
            self.words = nn.Embedding(sizes.words, config.embeddings, rng=rng, std=0.1)
            width += config.embeddings
        self.dropout = nn.Dropout(config.dropout, noise)
        self.lstm = None
        if kind.startswith("bilstm"):
            shape = nn.LSTMConfig(width, config.hidden, bidirectional=True)
            self.lstm = nn.LSTM(shape, noise=noise, rng=rng)
            width = 2 * config.hidden
        self.output = nn.Linear(width, sizes.tags, rng=rng, std=0.0)
        self.crf = nn.CRF(sizes.tags) if kind.endswith("crf") else None

    def measure(self, vectors: Sequence[np.ndarray]) -> None:
        """Keep the mean and deviation of words' vectors, (W, F) for each sentence."""
        if not self.sizes.features:
            return
        mean, deviation = mean_and_deviation(np.concatenate(vectors))
        self.mean.data[...] = mean
        self.std.data[...] = deviation

    def forward(
        self, vectors: Tensor | np.ndarray | None, word_ids: np.ndarray | None, mask: np.ndarray
    ) -> Tensor:
        """vectors : (B, W, F)   word_ids : (B, W)   mask : bool (B, W) -> scores (B, W, K)"""
        parts = []
        if self.sizes.features:
            x = F.sub(vectors, self.mean) / self.std
            if self.sizes.layers:
                batch, length, width = x.shape
                layers = F.reshape(x, (batch, length, self.sizes.layers, -1))
                x = self.mix([layers[:, :, i] for i in range(self.sizes.layers)])
            parts.append(x)
        if self.sizes.words:
            parts.append(self.words(word_ids))
        x = self.dropout(F.concatenate(parts, axis=2))
        if self.lstm is not None:
            x, _ = self.lstm(x, mask=mask)
            x = self.dropout(x)
        return self.output(x)

    def loss(self, scores: Tensor, tags: np.ndarray, mask: np.ndarray) -> Tensor:
        """Mean −log p of the right tags (B, W), in nats per word of the mask."""
        if self.crf is not None:
            return self.crf(scores, tags, mask, reduction="token_mean")
        return F.cross_entropy(scores, np.where(mask, tags, -100))

    def best(
        self, scores: Tensor, mask: np.ndarray, allowed: Sequence[np.ndarray | None]
    ) -> np.ndarray:
        """The most probable tags, (B, W), −1 where the mask is False.

        allowed : which tag may follow which, and which may begin, as `data.tags.allowed` says; or
            (None, None) for all
        """
        if self.crf is not None:
            return self.crf.decode(scores, mask, *allowed)
        zeros = np.zeros(self.sizes.tags, scores.dtype)
        no_transitions = np.zeros((self.sizes.tags, self.sizes.tags), scores.dtype)
        return F.crf_decode(scores, no_transitions, zeros, zeros, mask, *allowed)

    def probabilities(self, scores: Tensor, mask: np.ndarray) -> np.ndarray:
        """p of every tag at every word, (B, W, K)."""
        if self.crf is not None:
            return self.crf.marginals(scores, mask)
        return F.softmax(scores).data * mask[..., None]

"""A pretrained encoder and a few tagged sentences become a tagger: entities, parts of speech.

    sentences = [["U.N.", "official", "Ekeus"], ...]
    tags = [["B-ORG", "O", "B-PER"], ...]
    tagger = Tagger(encoder, tokenizer, head="bilstm-crf").fit(sentences, tags)
    tagger.predict([["Ekeus", "leaves"]])

Any objective's encoder serves: words become its tokens, and a word's vector is the state of its
first token (words.py). Either the encoder stays frozen and its vectors are features, beside the
tagger's own word embeddings if wanted, or every weight learns. The heads are in tagging.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinylm import hub, memory, nn, optim, settings
from tinylm import ops as F
from tinylm.arguments import strings
from tinylm.data import tags as bio
from tinylm.data.batching import by_length, endless_buckets, pad
from tinylm.errors import DataError, ShapeError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.tensor import Tensor, no_grad

from .adapted import Adapted, Split, best_rate
from .budgets import folds
from .entities import EntityScores, entity_scores, token_accuracy
from .estimator import Estimator
from .finetune import duplicate
from .mixing import MIX
from .tagging import HEADS, RARE, UNKNOWN, Sizes, TagConfig, TagHead, updates_for
from .task import as_labels
from .updates import Stage, learn
from .words import Reading, gather, read, word_vectors

METHODS = ("features", "finetune")
AT_ONCE = 32  # sentences that are predicted together
DEFAULTS = TagConfig()

Sentences = Sequence[Sequence[str]]  # each a list of words, or of their tags


@dataclass(frozen=True)
class Texts:
    """N sentences as a tagger reads them.

    lengths : (N,) words     reading, vectors : what an encoder makes of them, None without encoder
    word_ids : (W,) for each sentence, in the tagger's own vocabulary
    """

    lengths: np.ndarray
    reading: Reading | None
    vectors: list[np.ndarray] | None
    word_ids: list[np.ndarray]

    def batch(self, chosen: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """Vectors (B, W, F) or None, word ids (B, W) and mask (B, W) of some B sentences."""
        word_ids, mask = pad([self.word_ids[s] for s in chosen], UNKNOWN)
        if self.vectors is None:
            return None, word_ids, mask
        width = self.vectors[chosen[0]].shape[1]
        vectors = np.zeros((*mask.shape, width), np.float32)
        vectors[mask] = np.concatenate([self.vectors[s] for s in chosen])
        return vectors, word_ids, mask


class Network(nn.Module):
    """An encoder, or None where it is frozen or missing, and the head of a tagger."""

    def __init__(self, encoder: Objective | None, head: TagHead):
        self.encoder = encoder
        self.head = head


class Tagger(Estimator, Adapted):
    """A tagger of words: `Tagger(encoder, tokenizer).fit(sentences, tags).predict(sentences)`.

    encoder, tokenizer : as `tinylm.hub.load` returns them; the encoder passed in is never changed.
        None and None for a tagger of its own word embeddings alone
    head : "linear", "bilstm", "crf" or "bilstm-crf", see tagging.py
    method : "features" (frozen encoder) or "finetune" (all weights)
    progress : called as progress(done, updates) while training
    After `fit`: tags_ (K names, entities as BIO); encoder_, the adapted one; head_, a TagHead; and
    rate_, the encoder's learning rate.

    >>> sentences = [["Ada", "sleeps"], ["Bob", "eats"]] * 20
    >>> tags = [["B-PER", "O"]] * 40
    >>> tagger = Tagger(None, None, config=TagConfig(embeddings=8)).fit(sentences, tags)
    >>> tagger.predict([["Bob", "sleeps"]])
    [['B-PER', 'O']]
    """

    task = "tag"
    alone = True
    fitted = "head_"

    def __init__(
        self,
        encoder: Objective | None,
        tokenizer: Any,
        head: str = "linear",
        method: str = "features",
        config: TagConfig = DEFAULTS,
        progress: Callable[[int, int], None] | None = None,
    ):
        for what, given, known in (("head", head, HEADS), ("method", method, METHODS)):
            if given not in known:
                expected = " or ".join(repr(name) for name in known)
                raise TinylmError(f"Tagger: unknown {what} {given!r}; expected {expected}.")
        if encoder is None and (method == "finetune" or not config.embeddings):
            raise TinylmError(
                "Tagger: without an encoder there is nothing to read; give one, or set embeddings "
                "and keep the method 'features'."
            )
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.head = head
        self.method = method
        self.config = config
        self.progress = progress or (lambda done, updates: None)

    @property
    def entities_(self) -> bool:
        """Whether the tags mark entities: then F1 is the score, and legal BIO can be asked for."""
        return bio.mark_entities(self.tags_)

    # ---- fitting

    def fit(self, sentences: Sentences, tags: Sentences) -> "Tagger":
        """Adapt to tagged sentences; tags of entities may be in any dialect, see data/tags.py.

        sentences, tags : N lists of words, and of as many tags       returns self
        raises DataError        for no sentences, an empty one, or fewer than two tags
        raises ShapeError       if the lengths differ
        raises ArgumentError    if a sentence is a single string
        """
        sentences = _checked(sentences, "sentences")
        tags = _matching(sentences, tags)
        flat = [tag for row in tags for tag in row]
        if bio.mark_entities(flat):
            tags = [bio.to_bio(row) for row in tags]
            flat = [tag for row in tags for tag in row]
        names = np.unique(as_labels(flat))
        if names.size < 2:
            raise DataError(f"Tagger: {names.size} tag in the sentences; expected at least two.")
        self.tags_ = names.tolist()
        self.words_ = _vocabulary(sentences) if self.config.embeddings else []
        codes = [np.searchsorted(names, row) for row in tags]
        with self.fitting(), one_pool():
            texts = self._read(self.encoder, sentences)
            self.rate_ = self._choose_rate(texts, codes, sentences, tags)
            everything = np.arange(len(sentences))
            self._keep(self._train(texts, codes, everything, self.rate_))
        return self

    @property
    def _layers(self) -> tuple[str | int, ...]:
        """The layers of the encoder that the head reads."""
        if self.method == "features" or MIX in self.config.layers:
            return self.config.layers
        return ("last",)

    def _read(self, encoder: Objective | None, sentences: list[list[str]]) -> Texts:
        """Sentences as the tagger reads them, with the vectors of an encoder."""
        lengths = np.array([len(words) for words in sentences])
        ids = {word: i for i, word in enumerate(self.words_, UNKNOWN + 1)}
        word_ids = [np.array([ids.get(word, UNKNOWN) for word in words]) for words in sentences]
        if encoder is None:
            return Texts(lengths, None, None, word_ids)
        reading = read(encoder, self.tokenizer, sentences, self.config.max_length)
        vectors = word_vectors(encoder, reading, self._layers, AT_ONCE)
        return Texts(lengths, reading, vectors, word_ids)

    def _sizes(self, texts: Texts) -> Sizes:
        """The sizes of a head for these texts."""
        features = 0
        layers = 0
        if texts.vectors is not None:
            features = texts.vectors[0].shape[1]
        if texts.vectors is not None and MIX in self._layers:
            with no_grad():
                encoded, _ = texts.reading.batch(np.array([0]))
                layers = len(self.encoder.encode(**encoded))
        return Sizes(features, layers, self._n_words, len(self.tags_))

    @property
    def _n_words(self) -> int:
        """Rows of the tagger's own embeddings: its words and the unknown one; 0 without words."""
        return len(self.words_) + 1 if self.words_ else 0

    def _choose_rate(
        self, texts: Texts, codes: list[np.ndarray], sentences: Sentences, tags: Sentences
    ) -> float:
        """The encoder's rate with the best held-out score inside the sentences."""

        def score(split: Split, rate: float) -> float:
            train, held = split
            self._keep(self._train(texts, codes, train, rate))
            words = [sentences[s] for s in held]
            return held.size * self.score(words, [tags[s] for s in held])

        if self.method == "features":
            return max(self.config.rates)  # the encoder has none
        splits = folds(np.zeros(len(codes)), self.config.n_folds, self.config.seed)
        return best_rate(self.config.rates, splits, score)

    def _train(
        self, texts: Texts, codes: list[np.ndarray], rows: np.ndarray, rate: float
    ) -> Network:
        """A new head, and for fine-tuning a copy of the encoder, trained on some sentences.

        rows : numbers of the sentences     rate : peak learning rate of the encoder
        raises TinylmError if training diverges
        """
        config = self.config
        network = self._new_network(texts, rows)
        optimiser = self._optimiser(network, rate)
        updates = config.updates or updates_for(rows.size, config.batch_size)
        batches = endless_buckets(texts.lengths[rows], config.batch_size, config.seed)
        once = self._seen_once(texts, rows)

        def loss(step: int, numbers: np.ndarray) -> Tensor:
            chosen = rows[numbers]
            network.rewind(config.seed, step)
            vectors, word_ids, mask = self._inputs(network, texts, chosen)
            rng = np.random.default_rng([config.seed, 12, step])
            hidden = once[word_ids] & (rng.random(word_ids.shape) < RARE)
            scores = network.head(vectors, np.where(hidden, UNKNOWN, word_ids), mask)
            right, _ = pad([codes[s] for s in chosen])
            return network.head.loss(scores, right, mask)

        stages = [Stage(optimiser, config.head_rate, updates)]
        learn(network, loss, batches, stages, updates, config, "tagging", self.progress)
        return network

    def _new_network(self, texts: Texts, rows: np.ndarray) -> Network:
        """A head that has learned nothing but the scale of its inputs, on what it will train."""
        head = TagHead(self.head, self._sizes(texts), self.config)
        if texts.vectors is not None:
            head.measure([texts.vectors[s] for s in rows])
        return Network(duplicate(self.encoder) if self.method == "finetune" else None, head)

    def _optimiser(self, network: Network, rate: float) -> optim.AdamW:
        """AdamW with the head's rate, and for the encoder's layers shares of it."""
        config = self.config
        trained = network.named_parameters()
        if network.encoder is not None:
            layers = network.encoder.layer_groups()
            top = rate / config.head_rate
            trained = optim.layerwise(network, layers, config.layer_decay or 1.0, top)
        return optim.AdamW(trained, lr=config.head_rate, weight_decay=config.weight_decay)

    def _inputs(
        self, network: Network, texts: Texts, chosen: np.ndarray
    ) -> tuple[Tensor | np.ndarray | None, np.ndarray, np.ndarray]:
        """`Texts.batch`, with vectors that a learning encoder makes anew."""
        vectors, word_ids, mask = texts.batch(chosen)
        if network.encoder is None:
            return vectors, word_ids, mask
        encoded, found = texts.reading.batch(chosen)
        states = network.encoder.encode(**encoded)
        layers = states if MIX in self._layers else states[-1:]
        vectors = F.concatenate([gather(state, found) for state in layers], axis=2)
        return vectors, word_ids, mask

    def _seen_once(self, texts: Texts, rows: np.ndarray) -> np.ndarray:
        """Whether each word of the tagger's vocabulary occurs once, (V,) bool."""
        ids = np.concatenate([texts.word_ids[s] for s in rows])
        return np.bincount(ids, minlength=len(self.words_) + 1) == 1

    def _keep(self, network: Network) -> None:
        """Take what predicts from a trained network."""
        self.encoder_ = self.encoder if network.encoder is None else network.encoder
        self.head_ = network.head

    # ---- predicting

    def predict(self, sentences: Sentences) -> list[list[str]]:
        """The best tags of each sentence, legal BIO if config.constrained.

        sentences : N lists of words       returns N lists of as many tags
        raises TinylmError before `fit`, DataError for an empty sentence
        """
        sentences = list(sentences)
        allowed = (None, None)
        if self.config.constrained and self.head_ is not None:
            allowed = bio.allowed(self.tags_)
        found = []
        for scores, mask in self._scores(sentences):
            best = self.head_.best(scores, mask, allowed)
            found.append([row[real].tolist() for row, real in zip(best, mask, strict=True)])
        rows = self._in_order(sentences, found)
        return [[self.tags_[code] for code in row] for row in rows]

    def predict_proba(self, sentences: Sentences) -> list[np.ndarray]:
        """The probability of each tag of each word, (W, K) for each sentence, columns as in tags_.

        With a CRF these are its marginals.   raises as `predict`
        """
        sentences = list(sentences)
        found = []
        for scores, mask in self._scores(sentences):
            p = self.head_.probabilities(scores, mask)
            found.append([row[real] for row, real in zip(p, mask, strict=True)])
        return self._in_order(sentences, found)

    def _scores(self, sentences: Sentences) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Scores (B, W, K) and mask (B, W) of batches of sentences, short ones first."""
        self.check_fitted()
        sentences = _checked(sentences, "sentences")
        with one_pool(), no_grad():
            texts = self._read(self.encoder_, sentences)
            for chosen in by_length(texts.lengths, AT_ONCE):
                vectors, word_ids, mask = texts.batch(chosen)
                yield self.head_(vectors, word_ids, mask), mask

    def _in_order(self, sentences: Sentences, batches: list[list]) -> list:
        """Results of `_scores`' batches in the order of the sentences."""
        lengths = np.array([len(words) for words in sentences])
        results: list = [None] * lengths.size
        for chosen, batch in zip(by_length(lengths, AT_ONCE), batches, strict=True):
            for s, result in zip(chosen, batch, strict=True):
                results[s] = result
        return results

    def evaluate(self, sentences: Sentences, tags: Sentences) -> EntityScores:
        """Precision, recall and F1 of entities, in all and by type.   raises as `predict`"""
        truth = [bio.to_bio(row) for row in _matching(sentences, tags)]
        return entity_scores(truth, self.predict(sentences))

    def score(self, sentences: Sentences, tags: Sentences) -> float:
        """F1 of entities, or the share of right tags where they mark none; in [0, 1]."""
        self.check_fitted()
        if self.entities_:
            return self.evaluate(sentences, tags).f1
        return token_accuracy(_matching(sentences, tags), self.predict(sentences))

    # ---- folders

    def _arrays(self) -> dict[str, np.ndarray]:
        """The head's weights."""
        return self.head_.state_dict()

    def _facts(self) -> dict[str, Any]:
        """Tags, words, sizes and settings."""
        return {
            "labels": self.tags_,
            "head": self.head,
            "method": self.method,
            "sizes": asdict(self.head_.sizes),
            "words": self.words_,
            "config": asdict(self.config),
        }

    @classmethod
    def _assembled(cls, encoder, tokenizer, facts: dict, arrays: dict) -> "Tagger":
        """The parts of a folder put together.   raises many kinds of error if a part is damaged"""
        config = settings.build(TagConfig, facts["config"])
        sizes = settings.build(Sizes, facts["sizes"])
        self = cls(encoder, tokenizer, facts["head"], facts["method"], config)
        for name in ("labels", "words"):
            if not isinstance(facts[name], list):
                raise TinylmError(f"{name} is {facts[name]!r}, expected a list of strings")
        self.tags_ = strings(facts["labels"], "labels")
        self.words_ = strings(facts["words"], "words")
        n_tags = len(self.tags_)
        if (sizes.tags, sizes.words) != (n_tags, self._n_words):
            raise TinylmError(f"{sizes} does not fit {n_tags} labels and {self._n_words} words")
        with memory.at_most(hub.SLACK + hub.BYTES_EACH * sum(a.size for a in arrays.values())):
            self.head_ = TagHead(self.head, sizes, config)
        self.head_.load_state_dict(arrays)
        self.head_.eval()
        self.encoder_ = encoder
        return self


def _checked(sentences: Sentences, what: str) -> list[list[str]]:
    """Sentences as lists of words.   raises ArgumentError, or DataError for an empty one"""
    rows = [strings(words, f"{what}[{n}]") for n, words in enumerate(sentences)]
    empty = [n for n, words in enumerate(rows) if not words]
    if empty or not rows:
        where = f"{what}[{empty[0]}] holds no word" if empty else f"there are no {what}"
        raise DataError(f"Tagger: {where}; expected at least one sentence, of at least one word.")
    return rows


def _matching(sentences: Sentences, tags: Sentences) -> list[list[str]]:
    """Tags as lists, one for each word.   raises ShapeError if they do not fit the sentences"""
    rows = [strings(row, f"tags[{n}]") for n, row in enumerate(tags)]
    if len(rows) != len(sentences):
        raise ShapeError(
            f"Tagger: {len(sentences)} sentences, but {len(rows)} lists of tags; expected one for "
            "each."
        )
    for n, (words, row) in enumerate(zip(sentences, rows, strict=True)):
        if len(words) != len(row):
            raise ShapeError(
                f"Tagger: sentence {n} has {len(words)} words, but {len(row)} tags; expected one "
                "for each."
            )
    return rows


def _vocabulary(sentences: list[list[str]]) -> list[str]:
    """The words of the sentences, frequent ones first."""
    counts = Counter(word for words in sentences for word in words)
    return sorted(counts, key=lambda word: (-counts[word], word))

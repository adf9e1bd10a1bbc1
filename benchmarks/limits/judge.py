"""ELECTRA's discriminator beside the exact chance that a token was replaced."""

import numpy as np

import tinylm
from tinylm.data.batching import windows
from tinylm.data.gaps import fill
from tinylm.data.markov import HiddenMarkov
from tinylm.objectives.electra import ElectraBatch
from tinylm.text import Words

from .texts import RATE, Score, T, some


class Channel(tinylm.Electra):
    """ELECTRA whose picks, each drawn by itself, become any of V tokens; [CLS] and [SEP] are neither."""

    first: int  # the id of the source's token 0
    V: int  # the source's tokens

    def prepare(self, corpus):
        """Keep the corpus; there are no examples to cut."""
        self.corpus = corpus
        self.fingerprint = corpus.fingerprint

    def batch(self, step, seed):
        """Windows of the text, and the places that a random token takes."""
        starts = windows(len(self.corpus.ids), T, self.config.batch_size, step, seed)
        ids = self.framed(self.corpus.ids[starts[:, None] + np.arange(T)] - self.first)
        judged = np.zeros(ids.shape, bool)
        judged[:, 1:-1] = True
        rng = np.random.default_rng([seed, 11, step])
        picks = np.flatnonzero(judged & (rng.random(ids.shape) < RATE))
        real = np.ones(ids.shape, bool)
        return ElectraBatch(ids, np.zeros_like(ids), real, ids, picks, judged, int(judged.sum()))

    def framed(self, texts):
        """What the model reads.   tokens of the source (B, T) -> ids (B, T+2)"""
        ids = texts.astype(np.int64) + self.first
        return np.pad(ids, ((0, 0), (1, 1)), constant_values=((0, 0), (self.cls_id, self.sep_id)))

    def _samples(self, batch, scores):
        """A token for each pick, (P,): only such as stand in texts."""
        rng = np.random.default_rng(int(self.noise.key()))
        return self.first + rng.integers(self.V, size=batch.picks.size)


def electra(tokenizer: Words, filler, seed: int):
    """A discriminator that begins with the encoder of a BERT; its replacements are any token.

    Whether a token was replaced shows only in the token and its neighbours together: from scratch the loss is hardly
    below the entropy of the labels after a thousand updates. Clark et al. 2020 call this two-stage training
    (section 3.2).
    """
    c = filler.config
    config = tinylm.ElectraConfig.tiny(
        tokenizer.vocab_size,
        num_hidden_layers=c.num_hidden_layers,
        embedding_size=c.hidden_size,
        hidden_size=c.hidden_size,
        num_attention_heads=c.num_attention_heads,
        intermediate_size=c.intermediate_size,
        initializer_range=c.initializer_range,
        max_position_embeddings=T + 2,
        batch_size=c.batch_size,
        uniform_generator=True,
        disc_weight=1.0,
    )
    model = Channel(config, np.random.default_rng(seed))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.first = tokenizer.first
    model.V = len(tokenizer.vocab) - len(tokenizer.special_ids)
    model.encoder.load_state_dict(filler.encoder.state_dict())
    return model


def score_judge(model, texts: np.ndarray, source: HiddenMarkov, rng: np.random.Generator) -> Score:
    """A discriminator beside the exact answer, for every token.   texts : (B, T) tokens of the source"""
    V = source.vocab_size
    picks = np.flatnonzero(rng.random(texts.size) < RATE)
    seen = fill(texts, picks, rng.integers(V, size=picks.size))
    replaced = seen != texts
    parts = [model.judge(model.framed(part)).data[:, 1:-1] for part in some(seen)]
    logits = np.concatenate(parts).astype(float)  # (B,T)

    def nats(chances):
        return -np.log(np.where(replaced, chances, 1 - chances)).mean()

    labels = np.full(seen.shape, RATE * (V - 1) / V)
    found = np.where(replaced, np.logaddexp(0, -logits), np.logaddexp(0, logits)).mean()
    return Score(seen.size, nats(labels), found, nats(source.replaced_chances(seen, RATE)))

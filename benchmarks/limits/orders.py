"""XLNet: each target beside its exact chance, given the tokens that it may see in a random order."""

import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.data.batching import windows
from tinylm.data.markov import HiddenMarkov
from tinylm.data.permutation import Plan, Spans, arrange
from tinylm.objectives.xlnet import XLNetBatch
from tinylm.text import Words

from .texts import Score, T, some


class OneText(tinylm.XLNet):
    """XLNet that reads single texts, without special tokens and without memory.

    Orders, targets and what they may see are those of the chapter; but no second text and no
    memory tells more than the text itself.
    """

    def prepare(self, corpus):
        """Keep the corpus; it is not cut into lanes."""
        self.corpus = corpus
        self.fingerprint = corpus.fingerprint

    def batch(self, step, seed):
        """Windows of the text with targets."""
        starts = windows(len(self.corpus.ids), T, self.config.batch_size, step, seed)
        ids = self.corpus.ids[starts[:, None] + np.arange(T)].astype(np.int64)
        visible, picks = self.arranged(ids.shape, np.random.default_rng([seed, 19, step]))
        targets = np.take_along_axis(ids, picks, axis=1)
        return XLNetBatch(ids, np.zeros_like(ids), visible, picks, targets, False, fresh=True)

    def arranged(self, shape, rng):
        """What every place may see, (B, T, T) bool, and the places to predict, (B, K)."""
        rows, length = shape
        c = self.config
        spans = Spans(c.longest_span, c.mask_alpha, c.mask_beta)
        plan = Plan(c.num_predict, c.perm_size, spans)
        words = np.ones(length, bool)
        visible = np.empty((rows, length, length), bool)
        picks = np.empty((rows, c.num_predict), np.int64)
        for b in range(rows):
            picks[b], visible[b] = arrange(words, ~words, c.reused, plan, rng)
        return visible, picks


def xlnet(tokenizer: Words, seed: int, **over):
    """A new XLNet."""
    sizes = dict(n_head=4, mem_len=0, half_backwards=False, seq_len=T, batch_size=24) | over
    config = tinylm.XLNetConfig.tiny(tokenizer.vocab_size, **sizes)
    model = OneText(config, np.random.default_rng(seed))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model


def score_in_order(
    model, texts: np.ndarray, source: HiddenMarkov, first: int, rng: np.random.Generator
) -> Score:
    """The targets of a permutation LM beside the exact answer.

    texts : (B, T) tokens of the source     first : the id of the source's token 0
    """
    found = 0.0
    counts = 0.0
    exact = 0.0
    n = 0
    chances = source.start @ source.emission
    for part in some(texts):
        visible, picks = model.arranged(part.shape, rng)
        targets = np.take_along_axis(part, picks, axis=1)
        scores = F.log_softmax(model.predict(part + first, picks, visible=visible)).data
        found -= np.take_along_axis(scores, targets[..., None] + first, axis=2).sum(dtype=float)
        counts -= np.log(chances[targets]).sum()
        exact += source.visible_losses(part, visible, picks).sum()
        n += targets.size
    return Score(n, counts / n, found / n, exact / n)

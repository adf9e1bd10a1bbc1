"""BERT in gaps: a masked language model beside the best that anybody could fill in."""

from dataclasses import replace

import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.data import Corpus
from tinylm.data.markov import HiddenMarkov, Masking
from tinylm.nn.encoder import sinusoids
from tinylm.objectives.bert import NOT_COUNTED
from tinylm.text import Words

from .texts import Score, T


def look_near(encoder, std: float) -> None:
    """Let attention begin at the near places: there stands what helps.

    A query equals the key of its place, and the positions are sinusoids, so a place is most like itself and its
    neighbours. Where a model begins to look everywhere, each of 64 places adds next to nothing, and the loss rests
    at the counts for thousands of updates.
    """
    positions = encoder.embeddings.positions.weight.data
    positions[...] = sinusoids(*positions.shape, std, base=30.0)
    for block in encoder.h:
        queries, keys, _ = np.split(block.attn.c_attn.weight.data, 3)
        queries *= 2  # so that near places get most of the weight
        keys[...] = queries


class EachByItself(tinylm.Bert):
    """BERT whose every token is picked with the same chance, whatever happens to the others.

    The published count of picks is fixed, so that the number of [MASK]s tells how many words to doubt.
    """

    def choose(self, ids, candidates, begins_word, n, rng):
        """Places to hide."""
        return candidates[rng.random(len(candidates)) < self.config.mask_rate]


def bert(tokenizer: Words, seed: int, **over):
    """A new BERT without the second task. [CLS] and [SEP] stand around each text."""
    width = 96
    config = tinylm.BertConfig.tiny(
        tokenizer.vocab_size,
        num_hidden_layers=3,
        hidden_size=width,
        num_attention_heads=6,
        intermediate_size=4 * width,
        initializer_range=width**-0.5,
        max_position_embeddings=T + 2,
        sequence_length=T + 2,
        batch_size=24,
        next_sentence=False,
        short_rate=0.0,
    )
    model = EachByItself(replace(config, **over), np.random.default_rng(seed))
    look_near(model.encoder, config.initializer_range)
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model


def score_masked(
    model, corpus: Corpus, source: HiddenMarkov, masking: Masking, first: int
) -> Score:
    """A masked language model beside the exact answer.

    first : the id of the source's token 0
    """
    found = 0.0
    counts = 0.0
    exact = 0.0
    n = 0
    for batch in model.evaluation_batches(corpus):
        scores = F.log_softmax(model.logits(batch.ids, batch.mask)).data  # (B,T,V)
        rows, columns = np.nonzero(batch.targets != NOT_COUNTED)
        places = batch.picks[rows, columns]
        targets = batch.targets[rows, columns]
        ids = batch.ids.copy()
        ids[rows, places] = targets
        picks = np.zeros(ids.shape, bool)
        picks[rows, places] = True
        texts = [array[:, 1:-1] for array in (ids - first, batch.ids - first, picks)]
        n += len(targets)
        found -= scores[rows, places, targets].sum(dtype=float)
        counts += len(targets) * source.masked_loss(*texts, masking, blind=True)
        exact += len(targets) * source.masked_loss(*texts, masking)
    return Score(n, counts / n, found / n, exact / n)

"""Models that read in one direction: GPT-1, ELMo's two directions, AWD-LSTM."""

import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.data.markov import HiddenMarkov
from tinylm.objectives.elmo import ElmoBatch
from tinylm.text import ElmoWords, Words

from .texts import Score, T, some


def gpt1(tokenizer: Words, seed: int):
    """A new GPT-1."""
    config = tinylm.GPT1Config.tiny(
        tokenizer.vocab_size, n_positions=T, n_head=4, initializer_range=64**-0.5, batch_size=24
    )
    return tinylm.GPT1(config, np.random.default_rng(seed))


def ulmfit(tokenizer: Words, seed: int):
    """A new AWD-LSTM. It reads text after text, an end token behind each, and carries its state."""
    config = tinylm.UlmfitConfig.tiny(tokenizer.vocab_size, bptt=32, batch_size=32)
    model = tinylm.Ulmfit(config, np.random.default_rng(seed))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model


def score_causal(
    model, texts: np.ndarray, source: HiddenMarkov, first: int, begin: int | None = None
) -> Score:
    """A left-to-right model beside the exact answer, from the second token of each text on.

    texts : (B, T) tokens of the source     first : the id of the source's token 0
    begin : the id of a token that the model reads before each text, None for nothing
    """
    inputs = texts[:, :-1] + first
    targets = texts[:, 1:]
    if begin is not None:
        inputs = np.pad(inputs, ((0, 0), (1, 0)), constant_values=begin)
    parts = [F.log_softmax(model.logits(part)).data for part in some(inputs)]
    scores = np.concatenate(parts)[:, -targets.shape[1] :]  # (B,T-1,V)
    found = np.take_along_axis(scores, targets[..., None] + first, axis=2)
    exact = [source.token_losses(text)[1:] for text in texts]
    chances = source.start @ source.emission
    return Score(
        targets.size,
        -np.log(chances[targets]).mean(),
        -found.mean(dtype=float),
        np.mean(exact),
    )


def elmo(tokenizer: ElmoWords, seed: int):
    """A new ELMo: both directions, the full softmax."""
    config = tinylm.ElmoConfig.tiny(tokenizer.vocab_size, batch_size=32, unroll_steps=32)
    model = tinylm.Elmo(config, np.random.default_rng(seed))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model


def score_both_ways(model, texts: np.ndarray, source: HiddenMarkov, first: int) -> dict[str, Score]:
    """Each direction of a biLM beside the exact answer, for every token of each text.

    texts : (B, T) tokens of the source     first : the id of the source's token 0
    A text's chance is the product of its tokens' chances in either order, so the exact mean of
    both directions is the same.
    """
    nats = np.zeros(2)
    for part in some(texts + first):
        ways = []
        for before, row in ((model.begin_id, part), (model.end_id, part[:, ::-1])):
            ways.append(np.pad(row, ((0, 0), (1, 0)), constant_values=before))
        both = np.stack(ways)  # (2,B,T+1)
        _, components = model.loss(ElmoBatch(both[..., :-1], both[..., 1:], fresh=True))
        nats += part.size * np.array([components["forward"], components["backward"]])
    exact = np.mean([source.token_losses(text) for text in texts])
    chances = source.start @ source.emission
    counts = -np.log(chances[texts]).mean()
    found = dict(zip(("forward", "backward"), nats / texts.size, strict=True))
    return {way: Score(texts.size, counts, value, exact) for way, value in found.items()}

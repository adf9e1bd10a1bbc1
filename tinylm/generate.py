"""Sampling from a causal model, token by token: each step reads only the newest one, the rest is in a key/value cache.

    p = softmax(logits / temperature), cut to the top_k most probable and to the nucleus of mass top_p, renormalised

Source: Radford et al. 2019 (temperature, then top-k, then top-p); Holtzman et al. 2020 for the nucleus. Ours keeps the
token that crosses top_p, as transformers does; GPT-2's released code drops it.
"""

from dataclasses import dataclass

import numpy as np

from tinylm.errors import ShapeError, TinylmError
from tinylm.tensor import no_grad


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    temperature : 0 takes the most probable token (greedy), 1 samples from the model, above 1 flattens
    top_k : keep this many most probable tokens, 0 = all
    top_p : keep the smallest set of most probable tokens whose mass reaches top_p, 1 = all
    raises TinylmError on a value outside its range
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        for name, holds, expected in (
            ("temperature", 0 <= self.temperature < np.inf, "0 (greedy) or more"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
        ):
            if not holds:
                raise TinylmError(f"{name} is {getattr(self, name)!r}, expected {expected}")


def probabilities(logits, sampling):
    """The distribution that the next token is drawn from. logits (V,) -> (V,) float64, summing to 1."""
    logits = np.asarray(logits, np.float64)
    if sampling.temperature == 0:
        return np.eye(1, len(logits), int(np.argmax(logits)))[0]
    p = np.exp((logits - logits.max()) / sampling.temperature)
    order = np.argsort(-p, kind="stable")  # most probable first; of equals the smaller id
    keep = order[: sampling.top_k or None]
    mass = np.cumsum(p[keep] / p[keep].sum())
    keep = keep[: int(np.searchsorted(mass, sampling.top_p)) + 1]
    cut = np.zeros_like(p)
    cut[keep] = p[keep] / p[keep].sum()
    return cut


def generate(model, ids, steps, rng=None, end_id=None, **sampling):
    """Continue a text: an iterator over `steps` new ids, each available as soon as it is drawn.

    model : causal, with start_cache and step      ids : (T,) the prompt, at least one id
    rng : numpy Generator, needed unless temperature is 0      end_id : stop after this id
    sampling : the fields of `Sampling`
    A text longer than the model's n_positions: the window slides by half its length. The older half is forgotten, the
    rest read again from position 0, so one long read is paid for every n_positions / 2 tokens.
    raises ShapeError on an empty prompt, TinylmError on a model that cannot continue text
    """
    choice = Sampling(**sampling)
    if not hasattr(model, "start_cache"):
        raise TinylmError(f"{type(model).__name__} cannot continue text; give a causal model such as gpt")
    if rng is None and choice.temperature > 0:
        raise TinylmError("sampling needs a random generator: pass rng=np.random.default_rng(seed), or temperature=0")
    ids = np.asarray(ids)
    if ids.ndim != 1 or not len(ids):
        raise ShapeError(f"generate: got a prompt of shape {ids.shape}, expected (T,) ids with T of at least 1")
    return _continue(model, [int(i) for i in ids], steps, _drawer(choice, rng), end_id)


def _drawer(choice, rng):
    """The function from logits (V,) to an id."""
    if choice.temperature == 0:
        return lambda logits: int(np.argmax(logits))
    return lambda logits: int(rng.choice(len(logits), p=probabilities(logits, choice)))


def _continue(model, ids, steps, draw, end_id):
    """The loop behind `generate`; the model is in evaluation mode (no dropout) while it runs."""
    size, cached = model.config.n_positions, 0
    was_training = model.training
    model.eval()
    try:
        for _ in range(steps):
            if cached in (0, size):  # nothing read yet, or the window is full
                window = ids[-max(size // 2, 1) :] if cached else ids[-size:]
                cache, new = model.start_cache(1, size), window
                cached = 0
            with no_grad():
                logits = model.step(np.array([new]), cache)[0]  # (1,T) -> (V,)
            cached += len(new)
            ids.append(draw(logits))
            new = ids[-1:]
            yield ids[-1]
            if ids[-1] == end_id:
                return
    finally:
        model.train(was_training)

"""Sampling from a causal model, token by token: each step reads only the newest one, the rest is in a key/value cache.

id_{t+1} ~ softmax(logits(id_1 … id_t) / temperature), cut to top_k and top_p: see sampling.py
"""

import contextlib

import numpy as np

from tinylm.errors import ShapeError, TinylmError
from tinylm.kernels.runtime.pool import one_thread
from tinylm.sampling import Sampling
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad


def generate(model, ids, steps, rng=None, end_id=None, vocab_size=None, **sampling):
    """Continue a text: an iterator over `steps` new ids, each available as soon as it is drawn.

    model : causal, with start_cache and step      ids : (T,) the prompt, at least one id
    rng : numpy Generator, needed unless temperature is 0      end_id : stop after this id
    vocab_size : draw ids below this only, the number of tokens; a model's table may be padded with rows that no token
        has (None: every row)
    sampling : the fields of `sampling.Sampling`
    A text longer than the model's n_positions: the window slides by half its length. The older half is forgotten, the
    rest read again from position 0, so one long read is paid for every n_positions / 2 tokens.
    raises ShapeError on an empty prompt, ArgumentError on a number out of its range, TinylmError on a model that cannot
    continue text
    """
    choice = Sampling(**sampling)
    model.need("generation")
    steps = argument("generate", "steps", steps, int, at_least(0))
    if rng is None and choice.temperature > 0:
        raise TinylmError(
            "sampling needs a random generator: pass rng=np.random.default_rng(seed), or temperature=0"
        )
    ids = np.asarray(ids)
    if ids.ndim != 1 or not len(ids):
        raise ShapeError(
            f"generate: got a prompt of shape {ids.shape}, expected (T,) ids with T of at least 1"
        )
    if vocab_size is not None and vocab_size < 1:
        raise ShapeError(f"generate: vocab_size is {vocab_size}, expected at least 1, or None")

    def draw(logits):
        return int(choice.draw(logits[:vocab_size], rng))

    return _continue(model, [int(i) for i in ids], steps, draw, end_id)


def _continue(model, ids, steps, draw, end_id):
    """The loop behind `generate`; the model is in evaluation mode (no dropout) while it runs."""
    size, cached = model.max_length or len(ids) + steps, 0
    was_training = model.training
    model.eval()
    try:
        for _ in range(steps):
            if cached in (0, size):  # nothing read yet, or the window is full
                window = ids[-max(size // 2, 1) :] if cached else ids[-size:]
                cache, new = model.start_cache(1, size), window
                cached = 0
            alone = one_thread() if len(new) == 1 else contextlib.nullcontext()
            with no_grad(), alone:
                logits = model.step(np.array([new]), cache)[0]  # (1,T) -> (V,)
            cached += len(new)
            ids.append(draw(logits))
            new = ids[-1:]
            yield ids[-1]
            if ids[-1] == end_id:
                return
    finally:
        model.train(was_training)

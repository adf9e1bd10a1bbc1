"""Sampling from a causal model, token by token.

    id_{t+1} ~ softmax(logits(id_1 ... id_t) / temperature), cut to top_k and top_p

Each step reads only the newest token; a key/value cache holds the rest. See sampling.py.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import ShapeError, TinylmError
from tinylm.kernels.runtime.pool import one_thread
from tinylm.sampling import Sampling
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad


def generate(
    model: Any,
    ids: ArrayLike,
    steps: int,
    rng: np.random.Generator | None = None,
    end_id: int | None = None,
    vocab_size: int | None = None,
    **sampling,
) -> Iterator[int]:
    """Continue a text: an iterator over `steps` new ids, each available as soon as it is drawn.

    model : causal, with start_cache and step
    ids : (T,) the prompt, at least one id
    rng : needed unless temperature is 0
    end_id : stop after this id
    vocab_size : the number of tokens: draw only ids below it. A model's table may be padded with
        rows that no token has. None draws from every row
    sampling : the fields of `sampling.Sampling`

    If the text outgrows the model's n_positions, the window slides by half its length: the model
    forgets the older half and reads the rest again from position 0. So it pays for one long read
    every n_positions / 2 tokens.

    raises ShapeError       on an empty prompt
    raises ArgumentError    on a number out of its range
    raises TinylmError      on a model that cannot continue text
    Example: demos/04_gpt.py
    """
    choice = Sampling(**sampling)
    model.need("generation")
    steps = argument("generate", "steps", steps, int, at_least(0))
    if rng is None and choice.temperature > 0:
        raise TinylmError(
            "sampling needs a random generator: pass rng=np.random.default_rng(seed), "
            "or temperature=0"
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
    """The loop behind `generate`; it holds the model in evaluation mode, so without dropout."""
    size = model.max_length or len(ids) + steps
    cached = 0  # tokens that the cache holds
    was_training = model.training
    model.eval()
    try:
        for _ in range(steps):
            if cached == 0:
                new = ids[-size:]
                cache = model.start_cache(1, size)
            elif cached == size:  # the window is full
                new = ids[-max(size // 2, 1) :]
                cache = model.start_cache(1, size)
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

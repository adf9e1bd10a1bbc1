"""Beam search: greedy if narrow, exhaustive if wide, and its numbers are the model's."""

import itertools
from functools import cache

import numpy as np
import pytest

from tinylm import GPT, GPTConfig
from tinylm.errors import TinylmError
from tinylm.training.beam import beam_search
from tinylm.training.generate import generate
from tinylm.training.zero_shot import token_log_probabilities

V, STEPS, END = 5, 4, 2
PROMPT = [3, 1, 4]


def model(seed=0, vocab_size=V, positions=11):
    """A small GPT whose next tokens depend much on the past."""
    config = GPTConfig(vocab_size, positions, n_embd=12, n_layer=2, n_head=3, initializer_range=0.7)
    return GPT(config, np.random.default_rng(seed)).astype(np.float64).eval()


def continuations(end_id):
    """All continuations of STEPS ids, or of fewer that end with the end id."""
    for length in range(1, STEPS + 1):
        for ids in itertools.product(range(V), repeat=length):
            ended = end_id in ids[-1:]
            if end_id not in ids[:-1] and (ended or length == STEPS):
                yield list(ids)


@cache
def totals(seed, end_id):
    """(log-probability, ids) of all continuations."""
    gpt = model(seed)
    found = []
    for ids in continuations(end_id):
        each = token_log_probabilities(gpt, [*PROMPT, *ids])
        found.append((each[len(PROMPT) - 1 :].sum(), ids))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("length_penalty", [-0.5, 0.0, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("end_id", [None, END])
def test_a_beam_that_holds_everything_finds_the_best_of_all(seed, length_penalty, end_id):
    gpt = model(seed)
    rows = []
    for total, ids in totals(seed, end_id):
        rows.append((total / len(ids) ** length_penalty, total, ids))
    rows.sort(key=lambda row: -row[0])
    found = beam_search(gpt, PROMPT, STEPS, V**STEPS, length_penalty, end_id=end_id, count=7)
    assert [best.ids for best in found] == [row[2] for row in rows[:7]]
    np.testing.assert_allclose([best.score for best in found], [row[0] for row in rows[:7]])
    np.testing.assert_allclose(
        [best.log_probability for best in found], [row[1] for row in rows[:7]]
    )


@pytest.mark.parametrize("end_id", [None, END])
@pytest.mark.parametrize("positions", [11, 31])
def test_a_beam_of_one_is_greedy_search(end_id, positions):
    """Beyond the window too, and up to the end of the text."""
    for seed in range(5):
        gpt = model(seed, positions=positions)
        [found] = beam_search(gpt, PROMPT, 23, width=1, end_id=end_id)
        assert found.ids == list(generate(gpt, PROMPT, 23, temperature=0, end_id=end_id))


def test_the_log_probability_is_the_models_also_when_rows_change_places():
    gpt = model(3, vocab_size=29)
    for found in beam_search(gpt, PROMPT, 7, width=5, count=5):
        nats = token_log_probabilities(gpt, [*PROMPT, *found.ids])[len(PROMPT) - 1 :]
        assert found.log_probability == pytest.approx(nats.sum(), rel=1e-9)
        assert found.score == pytest.approx(nats.mean(), rel=1e-9)


def test_the_best_come_first_and_differ():
    found = beam_search(model(4), PROMPT, 6, width=7, end_id=END, count=7)
    scores = [best.score for best in found]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(best.ids) for best in found}) == 7


def test_a_beam_finds_what_greedy_search_misses():
    gains = []
    for seed in range(7):
        gpt = model(seed, vocab_size=29)
        totals = [beam_search(gpt, PROMPT, 6, width)[0].log_probability for width in (1, 13)]
        gains.append(totals[1] - totals[0])
    assert np.mean(gains) > 0.05


def test_ids_that_no_token_has_are_not_in_the_beam():
    for best in beam_search(model(0), PROMPT, 5, width=3, vocab_size=3, count=3):
        assert max(best.ids) < 3


def test_mistakes_are_sentences():
    with pytest.raises(TinylmError, match="count is 3; expected a whole number from 1 to 2"):
        beam_search(model(), PROMPT, 5, width=2, count=3)
    with pytest.raises(TinylmError, match="steps is 0"):
        beam_search(model(), PROMPT, 0)
    for wrong in (float("nan"), 150.0, -400.0):
        with pytest.raises(TinylmError, match=f"length_penalty is {wrong}"):
            beam_search(model(), PROMPT, 5, length_penalty=wrong)

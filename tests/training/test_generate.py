"""Generation, on a small causal model whose cache can be checked against reading everything anew."""

import numpy as np
import pytest

from tinylm import kernels
from tinylm.errors import ShapeError, TinylmError
from tinylm.objectives import Objective
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.sampling import Sampling
from tinylm.training.generate import generate

V, POSITIONS = 13, 8


class Recalling(Objective):
    """A causal model: the logits of a position are a fixed random function of the ids seen so far and their positions."""

    max_length = POSITIONS

    def __init__(self):
        super().__init__(self.Config(V), np.random.default_rng(7))
        self.reads = []

    def build(self, config, rng):
        self.table = rng.normal(size=(POSITIONS, V, V))

    def start_cache(self, batch_size, length):
        return {"sum": np.zeros((batch_size, V)), "position": 0, "length": length}

    def step(self, ids, cache):
        assert not self.training
        self.reads.append(ids.shape[1])
        for t in range(ids.shape[1]):
            assert cache["position"] < cache["length"] <= POSITIONS
            cache["sum"] = cache["sum"] + self.table[cache["position"], ids[:, t]]
            cache["position"] += 1
        return cache["sum"].copy()

    def uncached(self, ids):
        return self.step(np.array([ids]), self.start_cache(1, POSITIONS))[0]


def draw(steps=5, prompt=(3, 1), seed=0, **sampling):
    return list(
        generate(Recalling(), np.array(prompt), steps, np.random.default_rng(seed), **sampling)
    )


def test_one_candidate_or_a_tiny_nucleus_is_greedy():
    greedy = draw(temperature=0)
    for seed in range(5):
        assert draw(seed=seed, top_k=1) == greedy
        assert draw(seed=seed, top_p=1e-9) == greedy
        assert draw(seed=seed, temperature=1e-6) == greedy
    assert list(generate(Recalling(), [3, 1], 5, temperature=0)) == greedy


def test_the_cache_gives_what_reading_everything_anew_gives():
    model, ids = Recalling(), [3, 1]
    cached = list(generate(model, ids, POSITIONS - 2, temperature=0))
    assert model.reads == [2] + [1] * (POSITIONS - 3)
    model.eval()
    for _ in range(POSITIONS - 2):
        ids.append(int(np.argmax(model.uncached(ids))))
    assert cached == ids[2:]


@pytest.mark.parametrize("known", [1, 2, 5, 12])
@pytest.mark.parametrize("how", [{}, {"top_k": 3}, {"top_p": 0.9}, {"temperature": 0}])
def test_ids_that_no_token_has_are_never_drawn(known, how):
    padded = {
        draw(steps=30, prompt=(0,), seed=seed, vocab_size=known, **how)[-1] for seed in range(9)
    }
    assert padded <= set(range(known))
    drawn = draw(steps=30, prompt=(0,), vocab_size=known, **how)
    assert len(drawn) == 30 and max(drawn) < known
    assert draw(9, vocab_size=V, **how) == draw(9, **how)


def test_a_full_window_slides_by_half():
    model = Recalling()
    ids = [3, 1] + list(generate(model, [3, 1], 20, temperature=0))
    assert len(ids) == 22 and max(model.reads) <= POSITIONS
    model.eval()
    filled = POSITIONS + 1  # the first token that no longer had its whole past
    assert ids[filled] == int(np.argmax(model.uncached(ids[filled - POSITIONS // 2 : filled])))


def test_a_prompt_longer_than_the_window_counts_from_its_end():
    prompt = np.random.default_rng(1).integers(V, size=3 * POSITIONS)
    assert draw(3, prompt, temperature=0) == draw(3, prompt[-POSITIONS:], temperature=0)


def test_the_same_generator_draws_the_same_text_and_samples_follow_the_probabilities():
    assert draw(12, seed=4) == draw(12, seed=4)
    model = Recalling()
    model.eval()
    expected = Sampling(top_k=4).probabilities(model.uncached([2]))
    counts = np.zeros(V)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        counts[next(generate(model, [2], 1, rng, top_k=4))] += 1
    spread = np.sqrt(3000 * expected * (1 - expected))
    assert (np.abs(counts - 3000 * expected) <= 4.5 * spread + 1e-9).all()


def test_the_text_ends_after_its_end_token_and_the_mode_is_restored():
    greedy = draw(6, temperature=0)
    model = Recalling()
    assert (
        list(generate(model, [3, 1], 6, temperature=0, end_id=greedy[2]))
        == greedy[: greedy.index(greedy[2]) + 1]
    )
    assert model.training


def test_mistakes_are_sentences():
    for wrong in (
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -2},
        {"top_p": 0},
        {"top_p": 1.5},
    ):
        with pytest.raises(TinylmError, match="expected"):
            draw(**wrong)
    with pytest.raises(ShapeError, match="at least 1"):
        draw(prompt=())
    with pytest.raises(TinylmError, match="random generator"):
        generate(Recalling(), [1], 3)
    with pytest.raises(ShapeError, match="vocab_size is 0"):
        draw(vocab_size=0)
    word2vec = Word2Vec(Word2VecConfig(V))
    with pytest.raises(TinylmError, match="word2vec has no generation: it cannot continue text"):
        generate(word2vec, [1], 3, temperature=0)


def test_single_tokens_are_read_on_one_thread_and_the_users_count_stays(restored_threads):
    """Sharing one token among threads gains nothing, and on a busy machine each waits for the other."""
    kernels.set_threads(2)
    model = Recalling()
    used = []
    step = model.step

    def noted(ids, cache):
        used.append((ids.shape[1], kernels.threads()))
        return step(ids, cache)

    model.step = noted
    between = [kernels.threads() for _ in generate(model, [3, 1, 4], 4, temperature=0)]
    assert used == [(3, 2), (1, 1), (1, 1), (1, 1)]
    assert between == [2, 2, 2, 2]
    assert kernels.threads() == 2

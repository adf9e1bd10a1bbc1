"""The hidden Markov text keeps its promises: losses are exact, samples follow the tables."""

from itertools import product

import numpy as np
import pytest

from tinylm.data import encode_corpus
from tinylm.data.markov import HiddenMarkov, Masking, hidden_markov
from tinylm.errors import TinylmError
from tinylm.text import Words


def test_forward_algorithm_equals_the_sum_over_all_state_paths():
    model = hidden_markov(states=3, shift=1, forward=0.6, stay=0.3)
    ids = model.sample(5, np.random.default_rng(0))
    total = 0.0
    for path in product(range(3), repeat=5):
        chance = model.start[path[0]] * model.emission[path[0], ids[0]]
        for t in range(1, 5):
            chance *= model.transition[path[t - 1], path[t]] * model.emission[path[t], ids[t]]
        total += chance
    assert model.exact_loss(ids) == pytest.approx(-np.log(total) / 5, rel=1e-12)


def test_tables_are_distributions_and_start_is_stationary():
    model = hidden_markov()
    for table in (model.transition, model.emission, model.start[None]):
        assert (table >= 0).all() and np.allclose(table.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert np.allclose(model.start @ model.transition, model.start, rtol=0, atol=1e-12)


def test_samples_follow_the_tables():
    model = hidden_markov(states=5, shift=2)
    ids = model.sample(50_000, np.random.default_rng(0))
    pairs = (
        model.emission.T @ (model.start[:, None] * model.transition) @ model.emission
    )  # p(x_t, x_t+1)
    seen = np.zeros_like(pairs)
    np.add.at(seen, (ids[:-1], ids[1:]), 1 / (len(ids) - 1))
    assert np.abs(seen - pairs).max() < 5 * np.sqrt(pairs.max() / len(ids))


def test_unigram_entropy_lies_far_above_the_exact_loss_and_one_token_of_context_is_not_enough():
    model = hidden_markov()
    ids = model.sample(20_000, np.random.default_rng(0))
    text = model.text(ids)
    assert np.array_equal(model.ids(text), ids)
    unigram = encode_corpus([text], Words.train([text])).unigram_entropy()
    exact = model.exact_loss(ids)
    joint = model.emission.T @ (model.start[:, None] * model.transition) @ model.emission
    bigram = -(joint * np.log(joint / joint.sum(1, keepdims=True))).sum()
    assert unigram - exact > 0.8
    assert (unigram - bigram) / (unigram - exact) < 0.85


def test_a_window_of_64_tokens_without_memory_still_reaches_97_percent_of_the_gap():
    model = hidden_markov()
    ids = model.sample(64 * 200, np.random.default_rng(1))
    forgetful = np.mean([model.token_losses(part)[1:].mean() for part in ids.reshape(-1, 64)])
    gap = np.log(model.vocab_size) - model.exact_loss(ids)
    assert np.log(model.vocab_size) - forgetful > 0.97 * gap


def test_wrong_ids_words_and_settings_are_one_sentence():
    model = hidden_markov()
    for wrong in ([24], [-1], [[0]]):
        with pytest.raises(TinylmError, match="0 to 23"):
            model.exact_loss(np.array(wrong))
    with pytest.raises(TinylmError, match="'hello'"):
        model.ids("hello")
    with pytest.raises(TinylmError, match="chances"):
        hidden_markov(forward=0.9, stay=0.2)
    with pytest.raises(TinylmError, match="3 to 35 states"):
        hidden_markov(states=36)


# --- texts seen through noise: exact, because brute force over everything hidden says the same

TINY = HiddenMarkov(
    transition=np.array([[0.7, 0.3], [0.2, 0.8]]),
    emission=np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]),
)
MASK = 3  # outside TINY's vocabulary


def everything(length):
    """Every path and every text of TINY, with the chance of both together."""
    for path in product(range(2), repeat=length):
        moved = TINY.start[path[0]] * np.prod(
            [TINY.transition[a, b] for a, b in zip(path, path[1:], strict=False)]
        )
        for text in product(range(3), repeat=length):
            yield (
                text,
                moved * np.prod([TINY.emission[s, x] for s, x in zip(path, text, strict=True)]),
            )


def test_chances_under_any_evidence_equal_the_sum_over_all_paths_and_texts():
    rng = np.random.default_rng(0)
    evidence, own = rng.random((2, 1, 4, 3))
    expected = np.zeros((4, 3))
    for text, chance in everything(4):
        for t in range(4):
            others = [evidence[0, i, text[i]] for i in range(4) if i != t]
            expected[t, text[t]] += chance * np.prod(others) * own[0, t, text[t]]
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(TINY.token_chances(evidence, own)[0], expected, rtol=1e-12)


def shown(token, picked, masking, words):
    """What a place may show, with its chance: {token or MASK: chance}."""
    if not picked:
        return {token: 1.0}
    chances = dict.fromkeys(range(words), masking.random_share / words)
    chances[token] += 1 - masking.masked_share - masking.random_share
    chances[MASK] = chances.get(MASK, 0) + masking.masked_share
    return chances


def brute_force(ids, seen, pick, masking):
    """-log p(ids[pick] | seen, pick is picked): over all paths, texts and choices of picks."""
    words = masking.random_words or 3
    found = np.zeros(3)
    for text, chance in everything(len(ids)):
        for picked in product((False, True), repeat=len(ids)):
            together = chance * picked[pick]
            for x, is_picked, y in zip(text, picked, seen, strict=True):
                together *= masking.rate if is_picked else 1 - masking.rate
                together *= shown(x, is_picked, masking, words).get(y, 0.0)
            found[text[pick]] += together
    return -np.log(found[ids[pick]] / found.sum())


@pytest.mark.parametrize(
    "masking",
    [Masking(0.3), Masking(0.4, 0.5, 0.3, random_words=5), Masking(0.2, 1.0, 0.0)],
    ids=["80/10/10", "random words from more than the text has", "all masked"],
)
def test_the_masked_loss_equals_the_sum_over_all_paths_texts_and_picks(masking):
    ids = np.array([[0, 2, 2, 1]])
    seen = np.array([[0, MASK, 2, MASK]])
    for pick in (1, 2) if masking.masked_share < 1 else (1, 3):
        picks = np.arange(4)[None] == pick
        expected = brute_force(ids[0], seen[0], pick, masking)
        assert TINY.masked_loss(ids, seen, picks, masking) == pytest.approx(expected, rel=1e-12)


def test_a_random_word_that_no_text_has_tells_nothing():
    masking = Masking(0.4, 0.5, 0.3, random_words=5)
    ids, picks = np.array([[0, 2, 2]]), np.array([[False, True, False]])
    losses = [TINY.masked_loss(ids, np.array([[0, y, 2]]), picks, masking) for y in (MASK, 4, -1)]
    assert losses[0] == losses[1] == losses[2]


def masked(ids, masking, rng):
    """Texts with picks drawn one by one: what is shown, and the picks."""
    picks = rng.random(ids.shape) < masking.rate
    lot = rng.random(ids.shape)
    words = rng.integers(masking.random_words or 24, size=ids.shape)
    random_too = lot < masking.masked_share + masking.random_share
    seen = np.where(picks & random_too, words, ids)
    return np.where(picks & (lot < masking.masked_share), 99, seen), picks


@pytest.mark.parametrize(
    "masking,counts,limit", [(Masking(0.15, 1, 0), 3.18, 1.93), (Masking(0.15), 2.99, 1.78)]
)
def test_limits_of_masked_models_on_windows_of_64(masking, counts, limit):
    model, rng = hidden_markov(), np.random.default_rng(0)
    ids = model.sample(64 * 1500, rng).reshape(-1, 64)
    seen, picks = masked(ids, masking, rng)
    assert model.masked_loss(ids, seen, picks, masking) == pytest.approx(limit, abs=0.03)
    alone = model.masked_loss(ids, seen, picks, masking, blind=True)
    assert alone == pytest.approx(counts, abs=0.03)


def test_the_true_channel_predicts_better_than_any_other():
    model, rng, true = hidden_markov(), np.random.default_rng(1), Masking(0.15)
    ids = model.sample(64 * 1000, rng).reshape(-1, 64)
    seen, picks = masked(ids, true, rng)
    best = model.masked_loss(ids, seen, picks, true)
    for other in (Masking(0.05), Masking(0.4), Masking(0.15, 0.8, 0.15)):
        assert model.masked_loss(ids, seen, picks, other) > best


def test_visible_losses_equal_the_sum_over_all_paths_and_texts():
    rng = np.random.default_rng(4)
    ids = rng.integers(3, size=(7, 4))
    visible = rng.random((7, 4, 4)) < 0.6
    visible[:, np.arange(4), np.arange(4)] = False
    picks = np.argsort(rng.random((7, 4)), axis=1)[:, :3]
    every = list(everything(4))
    expected = np.empty((7, 3))
    for b, k in product(range(7), range(3)):
        place = picks[b, k]
        found = np.zeros(3)
        for text, chance in every:
            if all(text[j] == ids[b, j] for j in range(4) if visible[b, place, j]):
                found[text[place]] += chance
        expected[b, k] = -np.log(found[ids[b, place]] / found.sum())
    np.testing.assert_allclose(TINY.visible_losses(ids, visible, picks), expected, rtol=1e-12)


def test_from_left_to_right_the_visible_losses_are_those_of_the_forward_algorithm():
    model = hidden_markov()
    ids = model.sample(13 * 5, np.random.default_rng(0)).reshape(5, 13).astype(np.int64)
    before = np.broadcast_to(np.tri(13, k=-1, dtype=bool), (5, 13, 13))
    everywhere = np.broadcast_to(np.arange(13), (5, 13))
    expected = [model.token_losses(row) for row in ids]
    np.testing.assert_allclose(model.visible_losses(ids, before, everywhere), expected, rtol=1e-9)


def test_contradictions_and_wrong_shapes_are_one_sentence():
    ids = np.array([[0, 1]])
    with pytest.raises(TinylmError, match="contradicts itself"):
        TINY.masked_loss(ids, ids, ids == 1, Masking(0.15, 1, 0))
    with pytest.raises(TinylmError, match="differ in shape"):
        TINY.masked_loss(ids, ids[:, :1], ids == 1, Masking(0.15))
    with pytest.raises(TinylmError, match="do not fit ids"):
        TINY.visible_losses(ids, np.ones((1, 3, 3), bool), np.array([[0]]))
    with pytest.raises(TinylmError, match="expected \\(B, T, 3\\)"):
        TINY.token_chances(np.ones((2, 3)))


@pytest.mark.parametrize("words", [None, 7])
def test_replaced_chances_equal_the_sum_over_all_paths_and_texts(words):
    model = hidden_markov(states=3, shift=1, forward=0.6, stay=0.3)
    V, T, rate = 6, 3, 0.3
    drawn = words or V
    seen = np.random.default_rng(2).integers(drawn, size=(11, T))
    expected = []
    for text in seen:
        total = 0.0
        replaced = np.zeros(T)
        for original in product(range(V), repeat=T):
            chance = 0.0
            for path in product(range(3), repeat=T):
                p = model.start[path[0]]
                for t in range(T):
                    p *= model.emission[path[t], original[t]]
                    p *= model.transition[path[t - 1], path[t]] if t else 1
                chance += p
            for x, y in zip(original, text, strict=True):
                chance *= (1 - rate) * (x == y) + rate / drawn
            total += chance
            replaced += chance * (text != original)
        expected.append(replaced / total)
    found = model.replaced_chances(seen, rate, words)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_replaced_chances_are_calibrated_and_their_entropy_is_the_least_loss():
    model = hidden_markov()
    rng = np.random.default_rng(0)
    texts = model.sample(64 * 1009, rng).reshape(-1, 64)
    picks = rng.random(texts.shape) < 0.15
    seen = np.where(picks, rng.integers(24, size=texts.shape), texts)
    chances = model.replaced_chances(seen, 0.15)
    replaced = seen != texts
    assert abs(replaced.mean() - chances.mean()) < 5 * np.sqrt(0.25 / texts.size)
    loss = -np.log(np.where(replaced, chances, 1 - chances)).mean()
    entropy = -(chances * np.log(chances) + (1 - chances) * np.log(1 - chances)).mean()
    share = 0.15 * 23 / 24
    labels = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert loss == pytest.approx(entropy, abs=0.01)
    assert (round(labels, 2), round(entropy, 2)) == (0.41, 0.22)

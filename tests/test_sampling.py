"""Laws of drawing: frequencies within binomial error, cuts that keep the most probable, expected counts that are right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import sampling
from tinylm.errors import ShapeError
from tinylm.sampling import Sampling, gumbel_max, log_uniform

V = 13
logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=V).map(np.array)


def softmax(x):
    """Probabilities of scores (..., V)."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def within_binomial_error(hits, trials, probability):
    """Five standard deviations of a binomial count."""
    return (
        np.abs(hits - trials * probability)
        <= 5 * np.sqrt(trials * probability * (1 - probability)) + 1e-9
    )


# --- Gumbel-max


def test_gumbel_max_draws_from_the_softmax_and_never_what_is_impossible():
    rng, trials = np.random.default_rng(0), 20_011
    scores = rng.normal(size=(3, V)) * 2
    scores[1, 5] = -np.inf
    drawn = gumbel_max(np.broadcast_to(scores, (trials, 3, V)), rng)
    assert drawn.shape == (trials, 3)
    for row in range(3):
        assert within_binomial_error(
            np.bincount(drawn[:, row], minlength=V), trials, softmax(scores[row])
        ).all()
    assert not (drawn[:, 1] == 5).any()


def test_draws_do_not_depend_on_how_many_rows_get_their_noise_together(monkeypatch):
    scores, results = np.random.default_rng(0).normal(size=(7, 11, V)).astype(np.float32), []
    for together in (1, 5 * V, 1 << 16):
        monkeypatch.setattr(sampling, "_TOGETHER", together)
        results.append(gumbel_max(scores, np.random.default_rng(3)))
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


def test_a_single_row_and_no_rows_can_be_drawn_from():
    rng = np.random.default_rng(0)
    assert gumbel_max(np.array([-np.inf, 0.0, -np.inf]), rng) == 1
    assert gumbel_max(np.zeros((0, 5)), rng).shape == (0,)


# --- temperature, top-k, top-p


@given(logits, st.floats(0.05, 5), st.integers(0, V + 3), st.floats(0.01, 1))
def test_probabilities_sum_to_one_and_keep_the_most_probable(scores, temperature, top_k, top_p):
    p, whole = (
        Sampling(temperature, top_k, top_p).probabilities(scores),
        softmax(scores / temperature),
    )
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-12)
    kept = p > 0
    assert kept.any() and kept[np.argmax(scores)]
    if not kept.all():
        assert whole[kept].min() >= whole[~kept].max()
    if top_k:
        assert kept.sum() <= top_k
    np.testing.assert_allclose(p[kept], whole[kept] / whole[kept].sum(), rtol=1e-9)


@given(logits, st.floats(0.05, 5), st.floats(0.01, 0.99))
def test_the_nucleus_is_the_smallest_set_that_reaches_its_mass(scores, temperature, top_p):
    everything = softmax(scores / temperature)
    kept = Sampling(temperature, top_p=top_p).probabilities(scores) > 0
    mass = everything[kept].sum()
    assert mass >= top_p - 1e-12
    assert mass - everything[kept].min() < top_p + 1e-12


@given(logits)
def test_temperature_goes_from_greedy_to_uniform(scores):
    greedy = Sampling(0.0)
    np.testing.assert_array_equal(
        greedy.probabilities(scores) > 0, np.arange(len(scores)) == np.argmax(scores)
    )
    assert greedy.draw(scores, None) == np.argmax(scores)
    np.testing.assert_allclose(Sampling(1e9).probabilities(scores), 1 / len(scores), rtol=1e-6)


@pytest.mark.parametrize(
    "how",
    (Sampling(0.0), Sampling(0.7), Sampling(1.3, 5), Sampling(1, 0, 0.6), Sampling(1, 7, 0.8)),
)
def test_many_rows_are_cut_as_each_would_be_alone(how):
    scores = np.random.default_rng(0).normal(size=(3, 5, V))
    together = how.probabilities(scores)
    for i in np.ndindex(3, 5):
        np.testing.assert_array_equal(together[i], how.probabilities(scores[i]))


def test_draws_follow_the_cut_distribution():
    rng, trials, how = np.random.default_rng(1), 5003, Sampling(0.8, 7, 0.9)
    scores = rng.normal(size=V)
    drawn = how.draw(np.broadcast_to(scores, (trials, V)), rng)
    assert within_binomial_error(
        np.bincount(drawn, minlength=V), trials, how.probabilities(scores)
    ).all()


@given(logits, st.floats(0.05, 5), st.floats(0.01, 0.99))
def test_the_strict_nucleus_is_the_largest_set_within_its_mass(scores, temperature, top_p):
    everything = softmax(scores / temperature)
    how = Sampling(temperature, top_p=top_p, top_p_rule="within")
    kept = how.probabilities(scores) > 0
    mass = everything[kept].sum()
    assert kept[np.argmax(scores)]
    assert kept.sum() == 1 or mass <= top_p + 1e-12
    if not kept.all():
        assert mass + everything[~kept].max() > top_p - 1e-12


@given(logits, st.floats(0.05, 5), st.floats(0.01, 0.99))
def test_the_nuclei_of_the_two_rules_differ_by_one_id_at_most(scores, temperature, top_p):
    kept = {}
    for rule in ("reaching", "within"):
        how = Sampling(temperature, top_p=top_p, top_p_rule=rule)
        kept[rule] = how.probabilities(scores) > 0
    assert (kept["within"] <= kept["reaching"]).all()
    assert kept["reaching"].sum() - kept["within"].sum() <= 1


def test_all_of_the_mass_is_kept_by_both_rules():
    scores = np.array([1.0, -300.0, 0.0])
    for rule in ("reaching", "within"):
        assert (Sampling(top_p_rule=rule).probabilities(scores) > 0).tolist() == [True, True, True]
        kept = Sampling(top_p_rule=rule, top_k=2).probabilities(scores) > 0
        assert kept.tolist() == [True, False, True]


# --- the penalty on what the text holds


texts = st.lists(st.integers(0, V - 1), max_size=23)


@given(st.integers(0, 99), texts, st.floats(1, 3))
def test_the_penalty_lowers_what_the_text_holds_and_nothing_else(seed, ids, penalty):
    scores = np.random.default_rng(seed).normal(size=V)
    found = Sampling(repetition_penalty=penalty).penalise(scores, ids)
    seen = np.isin(np.arange(V), ids)
    np.testing.assert_array_equal(found[~seen], scores[~seen])
    assert (found[seen] <= scores[seen]).all()
    undone = Sampling(repetition_penalty=1 / penalty).penalise(found, ids)
    np.testing.assert_allclose(undone, scores, rtol=1e-12)


@given(texts, st.integers(1, 5))
def test_no_run_comes_twice_if_that_is_banned(ids, size):
    scores = np.random.default_rng(0).normal(size=V)
    found = Sampling(no_repeat_ngram_size=size).penalise(scores, ids)
    runs = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    again = [tuple([*ids, i][-size:]) in runs for i in range(V)]
    if all(again):
        again = [False] * V  # something must come next
    np.testing.assert_array_equal(np.isneginf(found), again)


@pytest.mark.peer
@given(st.integers(0, 99), texts.filter(len), st.floats(0.5, 2), st.integers(1, 4))
def test_both_are_those_of_transformers(seed, ids, penalty, size):
    import torch
    from transformers.generation import logits_process

    scores = np.random.default_rng(seed).normal(size=V)
    theirs = torch.tensor(scores[None])
    read = torch.tensor([ids])
    theirs = logits_process.RepetitionPenaltyLogitsProcessor(penalty)(read, theirs)
    theirs = logits_process.NoRepeatNGramLogitsProcessor(size)(read, theirs)[0].numpy()
    how = Sampling(repetition_penalty=penalty, no_repeat_ngram_size=size)
    if np.isfinite(theirs).any():
        np.testing.assert_allclose(how.penalise(scores, ids), theirs, rtol=1e-12)


@pytest.mark.peer
@given(st.integers(0, 99), st.floats(0.5, 2), st.integers(1, V), st.floats(0.05, 0.95))
def test_the_cuts_are_those_of_transformers(seed, temperature, top_k, top_p):
    import torch
    from transformers.generation import logits_process

    scores = np.random.default_rng(seed).normal(size=V) * 2
    theirs = torch.tensor(scores[None])
    for cut in (
        logits_process.TemperatureLogitsWarper(temperature),
        logits_process.TopKLogitsWarper(top_k),
        logits_process.TopPLogitsWarper(top_p),
    ):
        theirs = cut(None, theirs)
    ours = Sampling(temperature, top_k, top_p).probabilities(scores)
    np.testing.assert_allclose(ours, torch.softmax(theirs, -1)[0].numpy(), rtol=1e-9)


# --- the log-uniform sampler


def test_log_uniform_ids_are_different_and_as_frequent_as_expected():
    vocabulary, count, trials = 53, 11, 4001
    rng, hits, expected = np.random.default_rng(0), np.zeros(53), np.zeros(53)
    for _ in range(trials):
        ids, of_all, of_ids = log_uniform(np.arange(vocabulary), count, vocabulary, rng)
        assert (
            len(set(ids.tolist())) == count == ids.size
            and 0 <= ids.min()
            and ids.max() < vocabulary
        )
        np.testing.assert_array_equal(of_all[ids], of_ids)
        hits[ids] += 1
        expected += np.exp(of_all)
    assert within_binomial_error(hits, trials, expected / trials).all()
    np.testing.assert_allclose(expected.sum(), trials * count, rtol=0.02)
    assert (np.diff(expected) < 0).all()


def test_one_draw_follows_the_formula():
    vocabulary, trials = 7, 20_011
    rng, k = np.random.default_rng(0), np.arange(7)
    drawn = [log_uniform((), 1, vocabulary, rng)[0][0] if i else 0 for i in range(trials)][1:]
    share = np.log((k + 2) / (k + 1)) / np.log(vocabulary + 1)
    assert within_binomial_error(np.bincount(drawn, minlength=vocabulary), trials - 1, share).all()
    np.testing.assert_allclose(np.exp(log_uniform(k, 1, vocabulary, rng)[1]), share)  # one try


def test_the_whole_vocabulary_can_be_drawn_and_not_more():
    rng = np.random.default_rng(0)
    assert sorted(log_uniform((), 101, 101, rng)[0]) == list(range(101))
    ids, of_targets, of_ids = log_uniform(
        [0, -100], 1, 1, rng
    )  # a target that is not counted has some number
    assert ids.tolist() == [0] and of_targets.tolist() == [0, 0] and of_ids.tolist() == [0]
    with pytest.raises(ShapeError, match="log_uniform: 8 different ids.*expected 1 to 7"):
        log_uniform((), 8, 7, rng)


def test_a_ban_that_leaves_nothing_bans_nothing_also_where_ids_are_excluded():
    logits = [1.0, 2.0, -np.inf]  # the third may never be drawn
    once = Sampling(no_repeat_ngram_size=1)
    assert once.penalise(logits, [0, 1]).tolist() == logits
    assert once.penalise(logits, [0]).tolist() == [-np.inf, 2.0, -np.inf]

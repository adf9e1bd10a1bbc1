"""The benchmark `limits` gives 100 % to a model that sums over all hidden paths, and 0 % to counting."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from benchmarks import limits
from tinylm.data.markov import HiddenMarkov, Masking
from tinylm.tensor import Tensor

SOURCE = HiddenMarkov(
    transition=np.array([[0.7, 0.3], [0.2, 0.8]]),
    emission=np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]),
)
V = 3
LENGTH = 5


def chance_of(text):
    """The chance of a text: the sum over all paths."""
    total = 0.0
    for path in product(range(2), repeat=len(text)):
        chance = SOURCE.start[path[0]]
        for t, state in enumerate(path):
            chance *= SOURCE.emission[state, text[t]]
            if t:
                chance *= SOURCE.transition[path[t - 1], state]
        total += chance
    return total


TEXTS = np.array(list(product(range(V), repeat=LENGTH)))  # all there are
CHANCES = np.array([chance_of(text) for text in TEXTS])
COUNTS = np.array([CHANCES[TEXTS[:, 0] == x].sum() for x in range(V)])


def samples(n):
    """n texts, as the benchmark draws them."""
    return SOURCE.sample(n * LENGTH, np.random.default_rng(3)).reshape(n, LENGTH).astype(np.int64)


def wide(chances, first, vocab_size):
    """Log chances of all tokens, where only those of the source can be.   (V,) -> (vocab_size,)"""
    scores = np.full(vocab_size, -60.0)
    scores[first : first + V] = np.log(chances)
    return scores


# ---- left to right


class Causal:
    """Knows p(x_t+1 | x_1 .. x_t); a blind one knows only how frequent the tokens are."""

    first = 2

    def __init__(self, blind):
        self.blind = blind

    def logits(self, inputs):
        scores = np.empty((*inputs.shape, V + 4))
        for b, row in enumerate(inputs - self.first):
            for t in range(len(row)):
                begins = (TEXTS[:, : t + 1] == row[: t + 1]).all(axis=1)
                chances = [CHANCES[begins & (TEXTS[:, t + 1] == x)].sum() for x in range(V)]
                known = COUNTS if self.blind else np.array(chances) / sum(chances)
                scores[b, t] = wide(known, self.first, V + 4)
        return Tensor(scores)


@pytest.mark.parametrize("blind, share", [(False, 1), (True, 0)])
def test_a_causal_model_that_sums_over_all_paths_closes_the_whole_gap(blind, share):
    score = limits.score_causal(Causal(blind), samples(37), SOURCE, Causal.first)
    assert score.n == 37 * (LENGTH - 1)
    assert score.share == pytest.approx(share, abs=1e-9)


class AfterAnEnd(Causal):
    """The same, but every text begins behind an end token."""

    def logits(self, inputs):
        assert (inputs[:, 0] == 1).all()
        known = super().logits(inputs[:, 1:]).data
        return Tensor(np.pad(known, ((0, 0), (1, 0), (0, 0))))


def test_a_token_before_each_text_changes_nothing():
    texts = samples(37)
    score = limits.score_causal(AfterAnEnd(False), texts, SOURCE, AfterAnEnd.first, begin=1)
    assert score == limits.score_causal(Causal(False), texts, SOURCE, Causal.first)


class BothWays:
    """Knows each token from those before it, and from those behind it."""

    first = 2
    begin_id = 0
    end_id = 1

    def __init__(self, blind):
        self.blind = blind

    def loss(self, batch):
        assert batch.fresh
        ways = zip(batch.inputs, batch.targets, (self.begin_id, self.end_id), strict=True)
        nats = []
        for way, (inputs, targets, before) in enumerate(ways):
            assert (inputs[:, 0] == before).all() and (inputs[:, 1:] == targets[:, :-1]).all()
            texts = targets - self.first
            order = TEXTS[:, ::-1] if way else TEXTS
            nats.append(np.mean([self.losses(text, order) for text in texts]))
        return None, dict(zip(("forward", "backward"), nats, strict=True))

    def losses(self, text, order):
        """Of each token, given those that this direction has read.   order : all texts, its way"""
        if self.blind:
            return -np.log(COUNTS[text])
        begins = [CHANCES[(order[:, :t] == text[:t]).all(axis=1)].sum() for t in range(LENGTH + 1)]
        return -np.log(np.array(begins[1:]) / begins[:-1])


@pytest.mark.parametrize("blind, share", [(False, 1), (True, 0)])
def test_two_directions_that_sum_over_all_texts_close_the_whole_gap(blind, share):
    scores = limits.score_both_ways(BothWays(blind), samples(301), SOURCE, BothWays.first)
    assert list(scores) == ["forward", "backward"]
    for score in scores.values():
        assert score.n == 301 * LENGTH
        assert score.share == pytest.approx(share, abs=1e-9)


# ---- orders


class InOrder(limits.OneText):
    """Knows p(x_i | the tokens that i may see), from all texts."""

    blind = False

    def predict(self, ids, picks, visible):
        scores = np.empty((*picks.shape, self.config.vocab_size))
        for b, row in enumerate(ids - self.first):
            for k, place in enumerate(picks[b]):
                seen = visible[b, place]
                assert not seen[place]
                fits = (TEXTS[:, seen] == row[seen]).all(axis=1)
                known = np.array([CHANCES[fits & (TEXTS[:, place] == x)].sum() for x in range(V)])
                known = COUNTS if self.blind else known / known.sum()
                scores[b, k] = wide(known, self.first, scores.shape[2])
        return Tensor(scores)


@pytest.mark.parametrize("blind, share", [(False, 1), (True, 0)])
def test_a_permutation_model_that_sums_over_all_texts_closes_the_whole_gap(blind, share):
    tokenizer = limits.words_of(SOURCE)
    sizes = dict(seq_len=17, reuse_len=2, perm_size=3, num_predict=3)
    config = limits.xlnet(tokenizer, 0, n_layer=0, **sizes).config
    model = InOrder(config, np.random.default_rng(0))
    model.first = tokenizer.first
    model.blind = blind
    rng = np.random.default_rng(7)
    score = limits.score_in_order(model, samples(41), SOURCE, tokenizer.first, rng)
    assert score.n == 41 * 3
    assert score.share == pytest.approx(share, abs=1e-9)


# ---- gaps


class Masked(limits.EachByItself):
    """Knows p(x_t | what is shown, t is picked), from all texts and all ways to show them."""

    blind = False

    def logits(self, ids, mask=None):
        c = self.config
        first = self.first
        scores = np.zeros((*ids.shape, c.vocab_size))
        every = TEXTS + first
        for b, row in enumerate(ids[:, 1:-1]):
            drawn = c.random_share / c.vocab_size
            kept = 1 - c.masked_share - c.random_share
            picked = c.masked_share * (row == self.gap_id) + drawn + kept * (row == every)
            shown = (1 - c.mask_rate) * (row == every) + c.mask_rate * picked  # (texts, T)
            for t in range(LENGTH):
                others = np.ones(len(TEXTS))
                if not self.blind:
                    others = np.delete(shown, t, axis=1).prod(axis=1)
                joint = CHANCES * others * picked[:, t]
                found = np.array([joint[TEXTS[:, t] == x].sum() for x in range(V)])
                if found.any():  # else this place cannot have been picked
                    scores[b, t + 1] = wide(found / found.sum() + 1e-30, first, c.vocab_size)
        return Tensor(scores)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.8, 0.1), (0.3, 0.5)])
@pytest.mark.parametrize("blind, share", [(False, 1), (True, 0)])
def test_a_masked_model_that_sums_over_all_texts_and_paths_closes_the_whole_gap(
    shares, blind, share
):
    tokenizer = limits.words_of(SOURCE)
    how = dict(zip(("masked_share", "random_share"), shares, strict=True))
    known = limits.bert(tokenizer, 0, sequence_length=LENGTH + 2, mask_rate=0.4, **how)
    model = Masked(replace(known.config, num_hidden_layers=0), np.random.default_rng(0))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.first = tokenizer.first
    model.blind = blind
    corpus = limits.corpus_of(samples(41).reshape(-1), tokenizer)
    masking = Masking(0.4, *shares, tokenizer.vocab_size)
    score = limits.score_masked(model, corpus, SOURCE, masking, tokenizer.first)
    assert 41 < score.n < 41 * LENGTH
    assert score.share == pytest.approx(share, abs=1e-9)


# ---- replaced tokens


class Judge:
    """Knows the chance that a token is replaced."""

    def __init__(self, blind):
        self.blind = blind

    def framed(self, texts):
        return np.pad(texts, ((0, 0), (1, 1)), constant_values=9)

    def judge(self, ids):
        rate = limits.RATE
        seen = ids[:, 1:-1]
        logits = np.empty(seen.shape)
        for b, row in enumerate(seen):
            shown = (1 - rate) * (row == TEXTS) + rate / V  # (texts, T)
            joint = CHANCES * shown.prod(axis=1)
            wrong = (joint[:, None] * (row != TEXTS)).sum(axis=0) / joint.sum()
            if self.blind:
                wrong = np.full(LENGTH, rate * (V - 1) / V)
            logits[b] = np.log(wrong / (1 - wrong))
        return Tensor(np.pad(logits, ((0, 0), (1, 1))))


@pytest.mark.parametrize("blind, share", [(False, 1), (True, 0)])
def test_a_judge_that_sums_over_all_texts_and_paths_closes_the_whole_gap(blind, share):
    score = limits.score_judge(Judge(blind), samples(43), SOURCE, np.random.default_rng(5))
    assert score.n == 43 * LENGTH
    assert score.share == pytest.approx(share, abs=1e-9)


# ---- the command


def test_all_lines_are_trained_and_scored(monkeypatch):
    monkeypatch.setattr(limits.lines, "LEARN", 5_000)
    for name in ("SCORED", "FEWER"):
        monkeypatch.setattr(limits.lines, name, 29)
    assert set(limits.lines.LINES) == set(limits.RECIPES)
    lines = limits.Limits(seed=1, share=1e-9)
    for name in limits.RECIPES:
        scores = lines.measure(name)
        assert len(scores) == (2 if name in ("elmo", "elmo_sampled", "distil") else 1)
        for score in scores.values():
            assert 29 < score.n <= 29 * limits.T
            assert score.exact < score.counts
            assert score.share < 0.5


def test_the_replacements_that_electra_learns_from_are_tokens_of_texts_and_leave_the_frame_alone():
    tokenizer = limits.words_of(SOURCE)
    filler = limits.bert(tokenizer, 0)
    model = limits.electra(tokenizer, filler, 0)
    model.prepare(limits.corpus_of(SOURCE.sample(9_000, np.random.default_rng(2)), tokenizer))
    for step in range(3):
        batch = model.batch(step, seed=0)
        samples = model._samples(batch, None) - tokenizer.first
        assert set(samples) == set(range(V))
        assert batch.judged.reshape(-1)[batch.picks].all()
        assert (batch.ids[:, 0] == model.cls_id).all() and (batch.ids[:, -1] == model.sep_id).all()
        share = batch.picks.size / batch.judged.sum()
        assert abs(share - limits.RATE) < 5 * (limits.RATE / batch.judged.sum()) ** 0.5


def test_a_twin_begins_as_its_student_and_learns_the_gaps_alone():
    tokenizer = limits.words_of(SOURCE)
    teacher = limits.bert(tokenizer, 0)
    student, twin = (limits.student(teacher, 0, twin) for twin in (False, True))
    weights = student.state_dict()
    assert all((weights[name] == array).all() for name, array in twin.state_dict().items())
    assert len(student.encoder.h) == len(teacher.encoder.h) // 2 == 1
    assert student.teacher is twin.teacher is teacher
    corpus = limits.corpus_of(SOURCE.sample(9_000, np.random.default_rng(2)), tokenizer)
    parts = []
    for model in (student, twin):
        model.prepare(corpus)
        parts.append(set(model.loss(model.batch(0, 0))[1]))
    assert parts == [{"masked", "soft", "cosine"}, {"masked"}]


def test_texts_of_a_recurrent_model_are_those_of_the_source_with_an_end_behind_each():
    ids = SOURCE.sample(5 * limits.T, np.random.default_rng(3))
    tokenizer = limits.words_of(SOURCE)
    corpus = limits.texts_of(ids, tokenizer)
    rows = corpus.ids.reshape(5, limits.T + 1)
    assert (rows[:, -1] == tokenizer.end_id).all()
    assert (rows[:, :-1].reshape(-1) == ids + tokenizer.first).all()
    assert np.diff(corpus.starts).tolist() == [limits.T + 1] * 5


def test_more_than_anybody_can_know_is_a_leak():
    limits.Score(7, counts=3.0, found=2.0, exact=2.0).must_not_leak()
    with pytest.raises(AssertionError, match="leak"):
        limits.Score(7, counts=3.0, found=1.99, exact=2.0).must_not_leak()


def near_share(model, reach):
    """How much of the first block's attention stays within some places, over all heads and places."""
    c = model.config
    ids = np.full((1, limits.T), 5)
    x = model.encoder.embeddings(ids).data[0]  # (T,C)
    weight = model.encoder.h[0].attn.c_attn.weight.data
    queries, keys, _ = np.split(x @ weight.T, 3, axis=1)
    heads = (limits.T, c.num_attention_heads, -1)
    scores = np.einsum("thd,shd->hts", queries.reshape(heads), keys.reshape(heads))
    chances = np.exp(scores * (c.hidden_size / c.num_attention_heads) ** -0.5)
    chances /= chances.sum(axis=2, keepdims=True)
    places = np.arange(limits.T)
    near = np.abs(places[:, None] - places) <= reach
    return (chances * near).sum(axis=2).mean()


def test_attention_begins_at_the_near_places_and_would_begin_everywhere_without(monkeypatch):
    tokenizer = limits.words_of(SOURCE)
    near = near_share(limits.bert(tokenizer, 0), reach=4)
    monkeypatch.setattr(limits.gaps, "look_near", lambda encoder, std: None)
    everywhere = near_share(limits.bert(tokenizer, 0), reach=4)
    assert near > 0.5 and everywhere < 0.2

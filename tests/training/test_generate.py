"""Generation, on a small causal model whose cache can be checked against reading everything anew."""

import numpy as np
import pytest

from tinylm import kernels, text
from tinylm.errors import ArgumentError, ShapeError, TinylmError
from tinylm.kernels.runtime.pool import SHARED, threads_for
from tinylm.objectives import Objective
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.objectives.ulmfit import Ulmfit, UlmfitConfig
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig
from tinylm.sampling import Sampling
from tinylm.text import Words
from tinylm.text.spelling import EndOfWord, Metaspace
from tinylm.training.beam import beam_search
from tinylm.training.generate import (
    Texts,
    before_first,
    generate,
    generate_batch,
    stop_at,
    unwritten,
)

V, POSITIONS = 13, 8
TEXTS = ["the cat sat on the mat, the dog sat on the log.", "the cat isn't the dog!"]


class Read:
    """What a Recalling has read: the sum of its rows of the table, and the next position, of each text."""

    def __init__(self, batch_size, length):
        self.sum = np.zeros((batch_size, V))
        self.position = np.zeros(batch_size, int)
        self.left = length

    def reorder(self, rows):
        self.sum = self.sum[rows]
        self.position = self.position[rows]


class Recalling(Objective):
    """A causal model: the logits of a position are a fixed random function of the ids seen so far and their positions."""

    max_length = POSITIONS

    def __init__(self):
        super().__init__(self.Config(V), np.random.default_rng(7))
        self.reads = []

    def build(self, config, rng):
        self.table = rng.normal(size=(POSITIONS, V, V))

    def start_cache(self, batch_size, length):
        return Read(batch_size, length)

    def step(self, ids, cache, mask=None):
        assert not self.training
        self.reads.append(ids.shape[1])
        mask = np.ones(ids.shape, bool) if mask is None else mask
        assert mask[:, -1].all()
        for t in range(ids.shape[1]):
            cache.left -= 1
            assert cache.left >= 0
            rows = np.flatnonzero(mask[:, t])
            cache.sum[rows] += self.table[cache.position[rows], ids[rows, t]]
            cache.position[rows] += 1
        return cache.sum.copy()

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


def test_two_texts_side_by_side_leave_a_model_in_the_mode_it_had():
    model = Recalling().train()
    alone = list(generate(model, [3, 1], 5, temperature=0))
    first, second = (generate(model, [3, 1], 5, temperature=0) for _ in range(2))
    assert [next(first)] == [next(second)] == alone[:1]
    assert model.training  # between two tokens too
    assert list(first) == list(second) == alone[1:]
    assert model.training


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


@pytest.mark.parametrize("mode", [False, True])
def test_who_trains_between_two_tokens_finds_the_mode_as_it_was(mode):
    model = Recalling().train(mode)  # whose `step` fails while it trains
    new = []
    for token in generate(model, [3, 1], 6, temperature=0):
        assert model.training == mode
        mode = not mode
        model.train(mode)
        new.append(token)
    assert new == draw(6, temperature=0)


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


NARROW = {  # model -> a part of its step; the threads for the prompt
    GPT(GPTConfig(V, n_positions=16, n_embd=8, n_layer=2, n_head=2)): ("finish", 2),
    Ulmfit(UlmfitConfig(V, emb_sz=8, n_hid=12, n_layers=2)): ("embed", 1),
}


@pytest.mark.parametrize("model", NARROW, ids=lambda model: model.name)
def test_one_token_of_a_narrow_model_is_read_on_one_thread(model, monkeypatch, restored_threads):
    """Sharing it gains little, and on a busy machine each thread waits for the other."""
    kernels.set_threads(2)
    used = []
    name, at_first = NARROW[model]
    part = getattr(model, name)

    def noted(x):
        used.append(kernels.threads())
        return part(x)

    monkeypatch.setattr(model, name, noted)
    between = [kernels.threads() for _ in generate(model, [3, 1, 4], 4, temperature=0)]
    assert used == [at_first, 1, 1, 1]
    assert between == [2, 2, 2, 2]
    assert kernels.threads() == 2


def test_a_wide_product_is_shared(restored_threads):
    kernels.set_threads(2)
    for count, threads in ((SHARED, 2), (SHARED - 1, 1)):
        with threads_for(count):
            assert kernels.threads() == threads
    assert kernels.threads() == 2


# --- several texts side by side

PROMPTS = [[3], [1, 4, 1, 5, 9], [2, 6, 5], list(range(V)) * 2, [3, 5]]
WAYS = [
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 5},
    {"top_p": 0.8, "repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2, "top_p": 0.9, "top_p_rule": "within"},
]


def one_by_one(model, prompts, steps, seed, **how):
    """What `generate_batch` promises to give."""
    rngs = np.random.default_rng(seed).spawn(len(prompts))
    pairs = zip(prompts, rngs, strict=True)
    return [list(generate(model, prompt, steps, rng, **how)) for prompt, rng in pairs]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("steps", [1, 5, 23])
def test_texts_side_by_side_are_what_each_would_be_alone(how, steps):
    """Prompts of all lengths, longer than the window too, each sliding at its own time, some ending early."""
    model = Recalling()
    for end_id in (None, 4, [4, 7]):
        how = how | {"end_id": end_id}
        found = generate_batch(model, PROMPTS, steps, np.random.default_rng(5), **how)
        assert found == one_by_one(model, PROMPTS, steps, 5, **how)


@pytest.mark.parametrize("how", WAYS)
def test_the_same_holds_for_a_gpt(how):
    config = GPTConfig(V, n_positions=11, n_embd=12, n_layer=2, n_head=3, initializer_range=0.5)
    model = GPT(config).astype(np.float64)
    found = generate_batch(model, PROMPTS, 19, np.random.default_rng(5), end_id=4, **how)
    assert found == one_by_one(model, PROMPTS, 19, 5, end_id=4, **how)
    assert len({len(text) for text in found}) > 1 and model.training


def test_samples_of_one_prompt_differ_and_read_it_once():
    model = Recalling()
    found = generate_batch(model, [[3, 1, 4]] * 5, 4, np.random.default_rng(0))
    assert len({tuple(text) for text in found}) > 1
    assert model.reads == [3, 1, 1, 1]
    assert found == one_by_one(Recalling(), [[3, 1, 4]] * 5, 4, 0)


def test_a_text_stops_where_it_is_told_to_and_the_others_go_on():
    model = Recalling()
    whole = generate_batch(model, PROMPTS, 6, temperature=0)
    told = generate_batch(model, PROMPTS, 6, temperature=0, stop=lambda b, new: len(new) > b)
    assert told == [text[: b + 1] for b, text in enumerate(whole)]


def test_a_text_can_stop_at_words():
    words = Words(["the", "cat", "sat"])
    stop = stop_at(words, [[3], [4]], ["cat sat", "<eos>"])
    assert not stop(0, [4]) and not stop(0, [5]) and stop(0, [4, 5]) and stop(0, [3, 2])
    assert not stop(1, [5])  # "cat" stands in the prompt
    assert before_first("the cat sat", ["sat", "cat"]) == "the "
    assert before_first("the cat", ["dog"]) == "the cat"


def test_no_texts_and_no_steps_are_fine():
    assert generate_batch(Recalling(), [], 5, temperature=0) == []
    assert generate_batch(Recalling(), [[1], [2]], 0, temperature=0) == [[], []]


def test_the_greedy_text_changes_where_it_would_repeat_itself():
    plain = draw(30, temperature=0)
    penalised = draw(30, temperature=0, repetition_penalty=1.5)
    assert len(set(penalised)) > len(set(plain))
    once = [3, 1, *draw(30, temperature=0, no_repeat_ngram_size=2)]
    pairs = list(zip(once, once[1:], strict=False))
    assert len(set(pairs)) == len(pairs)


def every_encoding():
    """One small encoding of every kind, by name."""
    found = {kind: text.learn(kind, list(TEXTS), 300) for kind in text.KINDS}
    found["gpt1"] = text.BPE.train(TEXTS, 300, exact=False, spelling=EndOfWord())
    found["pieces"] = text.BPE.train(TEXTS, 300, exact=False, spelling=Metaspace())
    found["elmo"] = text.ElmoWords.train(TEXTS)
    found["added"] = text.learn("bytes", list(TEXTS))
    found["added"].add_specials(["<stop>", "<name>"])
    return found


@pytest.mark.parametrize("name", every_encoding())
def test_a_text_holds_no_special_token_but_its_end(name):
    encoding = every_encoding()[name]
    rows = encoding.vocab_size + 5
    sizes = dict(n_positions=16, n_embd=6, n_layer=1, n_head=2, initializer_range=2.0)
    gpt = GPT(GPTConfig(rows, **sizes)).eval()
    end = encoding.end_id
    # Make every special token far more probable than any other.
    specials = list(encoding.special_ids)
    assert end is None or end in specials
    gpt.ln_f.bias.data[:] = 0
    gpt.ln_f.bias.data[0] = 30
    gpt.wte.weight.data[:, 0] = 0
    gpt.wte.weight.data[specials, 0] = 1
    before = list(generate(gpt, [0], 40, np.random.default_rng(0)))
    assert set(before) <= set(specials)

    how = {"vocab_size": encoding.vocab_size, "without": unwritten(encoding)}
    allowed = set(range(encoding.vocab_size)) - set(specials)
    if end is not None:
        allowed.add(end)
    drawn = list(generate(gpt, [0], 40, np.random.default_rng(0), **how))
    rows = generate_batch(gpt, [[0], [1, 2]], 40, np.random.default_rng(0), **how)
    beam = beam_search(gpt, [0], 4, 3, count=3, **how)
    for ids in (drawn, *rows, *(best.ids for best in beam)):
        assert ids and set(ids) <= allowed
    if end is not None:
        assert set(drawn) == {end}  # it is as probable as the other special ones, and may come
    assert all(np.isfinite(best.score) for best in beam)


def test_an_id_left_out_changes_only_the_scores_of_others_by_a_constant():
    """The distribution is that of the model, given that none of these ids comes."""
    model = Recalling()
    plain = Texts(model.eval(), [[3, 1]], 4).scores()[0]
    left = Texts(model, [[3, 1]], 4, without=[2, 5, 2]).scores()[0]
    kept = np.delete(np.arange(V), [2, 5])
    np.testing.assert_array_equal(left[kept], plain[kept])
    assert np.isneginf(left[[2, 5]]).all()
    drawn = draw(steps=200, without=[2, 5])
    assert set(drawn) == set(kept)
    assert draw(9, without=[]) == draw(9, without=[V, V + 3]) == draw(9)
    with pytest.raises(ShapeError, match="leaves no id"):
        draw(without=range(V))


def test_what_may_not_stop_a_text_is_refused():
    letters = text.Chars("abc")
    with pytest.raises(ArgumentError, match="is one string"):
        stop_at(letters, [[3]], "ca")
    with pytest.raises(ArgumentError, match="one of the strings is empty"):
        stop_at(letters, [[3]], ["a", ""])

"""word2vec: the kernel is the definition, the draws follow their formulas, and like words become neighbours."""

import dataclasses

import numpy as np
import pytest

import tinylm
from tinylm import kernels
from tinylm.data import Corpus, encode_corpus, toy
from tinylm.errors import ShapeError, TinylmError
from tinylm.kernels import KERNELS
from tinylm.objectives.fasttext import FastText, FastTextConfig
from tinylm.objectives.glove import GloVe
from tinylm.objectives.word2vec import Word2Vec, Word2VecConfig, skip_gram
from tinylm.text import Words


def corpus(ids, starts, vocab_size, special_ids=(0, 1, 2)):
    """A Corpus of given ids and document starts."""
    return Corpus(
        np.array(ids, np.int32),
        np.array(starts, np.int64),
        vocab_size,
        len(ids),
        5 * len(ids),
        special_ids,
    )


def random_corpus(words, vocab_size, rng, documents=7):
    """Zipf-like ids from 3 on, so that 0, 1 and 2 can be the specials."""
    ids = 3 + np.minimum(rng.zipf(1.5, words) - 1, vocab_size - 4)
    return corpus(ids, np.linspace(0, words, documents + 1).astype(int), vocab_size)


FORMS = [
    dict(cbow=cbow, cbow_mean=mean, **more)
    for cbow, mean in ((False, False), (True, False), (True, True))
    for more in (dict(hs=False), dict(hs=True), dict(minn=2, maxn=3, bucket=11))
]


def chapter_of(form):
    """The chapter that has the fields of a form, and its config: fastText's where it has pieces."""
    return (FastText, FastTextConfig) if "maxn" in form else (Word2Vec, Word2VecConfig)


SPELLINGS = [
    "".join("abc"[i // 3**place % 3] for place in range(1 + i % 4)) for i in range(31)
]  # like each other


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_one_kernel_update_is_one_sgd_step_on_the_tape(seed, form, one_thread):
    rng = np.random.default_rng(seed)
    alone = seed == 2 and form.get("hs")  # the tree
    negative = 0 if alone else int(rng.integers(1, 6))
    chapter, make_config = chapter_of(form)
    config = make_config(
        17, size=7, window=3, negative=negative, sample=0.05, batch_words=53, **form
    )
    tape, fast = (chapter(config).astype(np.float64) for _ in range(2))
    for model in (tape, fast):
        model.spell(SPELLINGS[:17])
        model.prepare(random_corpus(53, 17, np.random.default_rng(seed)))
        model.context.data[...] = (
            np.random.default_rng(seed + 1).normal(size=model.context.shape) / 3
        )
    batch, lr = tape.batch(0, seed), 0.05
    centres, inputs, outputs = tape.predictions(batch)
    total, count = 0.0, np.unique(centres).size if config.cbow else inputs.size
    for n in np.unique(centres):  # window after window: one step of SGD on the window's summed loss
        here = centres == n
        nats = tape.nats(centres[here], inputs[here], outputs[here]).sum()
        total += nats.item()
        nats.backward()
        for p in tape.parameters():
            p.data -= lr * p.grad
            p.grad = None
    mean = fast.fast_step(batch, lr)
    assert abs(mean - total / count) < 1e-12
    np.testing.assert_allclose(fast.vectors.data, tape.vectors.data, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast.context.data, tape.context.data, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_window_loop_on_paper_is_the_kernel(seed, one_thread):
    """The draws are the kernel's; subsampling is off, so that every word keeps its place."""
    rng = np.random.default_rng(seed)
    config = Word2VecConfig(13, size=5, window=3, negative=1 + seed, sample=0, batch_words=41)
    model = Word2Vec(config, rng).astype(np.float64)
    model.prepare(random_corpus(41, 13, rng, documents=5))
    model.context.data[...] = rng.normal(size=model.context.shape)
    vectors = model.vectors.data.copy()
    context = model.context.data.copy()
    batch = model.batch(0, seed)
    centres, contexts, negatives = kernels.draw_windows(
        batch.ids, batch.begins, (*model.chances, model.alias), 3, 1 + seed, batch.key
    )
    reach = np.zeros(batch.ids.size, int)
    np.maximum.at(reach, centres, np.abs(contexts - centres))
    loss = 0.0
    bounds = np.append(np.flatnonzero(batch.begins), batch.ids.size)
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        here = slice(first, last)
        drawn = [row[row >= 0] for row in negatives[here]]
        loss += skip_gram(vectors, context, batch.ids[here], reach[here], drawn, lr=0.05)
    assert model.fast_step(batch, 0.05) == pytest.approx(loss / centres.size, rel=1e-12)
    np.testing.assert_allclose(model.vectors.data, vectors, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.context.data, context, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_kernel_equals_its_reference_over_several_chunks_of_text(
    dtype, tolerance, form, one_thread
):
    chapter, make_config = chapter_of(form)
    model = chapter(make_config(31, size=13, batch_words=907, **form)).astype(dtype)
    model.spell(SPELLINGS)
    model.prepare(random_corpus(907, 31, np.random.default_rng(0), documents=67))
    batch, kernel = model.batch(0, 0), KERNELS["word2vec"]
    results = []
    for run in (kernel.reference, kernel.compiled):
        tables, losses = (
            (model.vectors.data.copy(), model.context.data.copy()),
            np.empty((2, batch.ids.size), dtype),
        )
        run(
            *tables,
            model.bags,
            batch.ids,
            batch.begins,
            model.chances,
            model.alias,
            model.ways,
            5,
            5,
            model.mode,
            0.05,
            batch.key,
            losses,
        )
        results.append([*tables, *losses])
    for ours, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_the_loss_of_an_untrained_model_is_that_of_guessing():
    model = Word2Vec(Word2VecConfig(3000, negative=5))
    model.prepare(corpus(np.arange(3, 3000), [0, 2997], 3000))
    batch = model.batch(0, 0)
    loss, components = model.loss(batch)
    _, inputs, outputs = model.predictions(batch)
    # σ(0) = 1/2 for the truth and every negative that was not skipped
    assert loss.item() == pytest.approx(np.log(2) * (outputs >= 0).sum() / inputs.size, rel=1e-6)
    assert components["tokens"] == inputs.size


def within_binomial_error(hits, trials, probability):
    """Five standard deviations of a binomial count."""
    return (
        np.abs(hits - trials * probability)
        <= 5 * np.sqrt(trials * probability * (1 - probability)) + 1e-9
    )


def test_words_survive_with_the_probability_of_the_released_program():
    rng, sample, words = np.random.default_rng(3), 0.01, 200_003
    text = random_corpus(words, 23, rng, documents=1009)
    model = Word2Vec(Word2VecConfig(23, sample=sample, window=1))
    model.prepare(text)
    share = text.counts / words
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.minimum((np.sqrt(share / sample) + 1) * sample / share, 1)
    # window 1: every survivor with a surviving neighbour is a centre, and sentences here are about 198 words long
    batch = dataclasses.replace(
        model.batch(0, 0), ids=text.ids.astype(np.int64), begins=np.arange(words) == 0
    )
    centres, _, _ = model.predictions(batch)
    kept = np.bincount(text.ids[np.unique(centres)], minlength=23)
    seen = text.counts > 0
    assert within_binomial_error(kept, text.counts, np.where(seen, expected, 0))[seen].all()
    assert expected[seen].min() < 0.2  # the most frequent word is thinned out indeed


def test_subsampling_keeps_everything_when_switched_off():
    model = Word2Vec(Word2VecConfig(11, sample=0, window=2))
    model.prepare(random_corpus(101, 11, np.random.default_rng(0), documents=1))
    centres, _, _ = model.predictions(model.batch(0, 0))
    assert set(centres) == set(range(101))


def test_windows_are_uniform_and_never_leave_the_sentence():
    window, length, sentences = 4, 41, 1009
    words = length * sentences
    model = Word2Vec(Word2VecConfig(53, sample=0, window=window, negative=1, batch_words=words))
    model.prepare(
        corpus(np.tile(np.arange(3, 3 + length), sentences), np.arange(sentences + 1) * length, 53)
    )
    batch = model.batch(0, 0)
    _, inputs, outputs = model.predictions(batch)
    distance = np.abs(inputs - outputs[:, 0])  # ids count the positions within a sentence
    assert batch.begins.sum() == sentences and batch.ids.size == words
    assert distance.min() == 1 and distance.max() == window
    middle = (outputs[:, 0] >= 3 + window) & (outputs[:, 0] < 3 + length - window)
    centres = sentences * (length - 2 * window)
    for d in range(1, window + 1):  # a window of b words to each side reaches distance d when b ≥ d
        hits = (distance[middle] == d).sum() / 2  # both sides belong to one draw
        assert within_binomial_error(hits, centres, (window + 1 - d) / window)


def test_words_reach_over_what_subsampling_dropped():
    model = Word2Vec(Word2VecConfig(5, window=1, sample=1))
    model.prepare(corpus([1, 0, 2] * 10, [0, 30], 5, ()))
    model.chances[0] = [0, 1, 1, 1, 1]  # word 0 never survives
    _, inputs, outputs = model.predictions(model.batch(0, 0))
    assert set(zip(inputs.tolist(), outputs[:, 0].tolist(), strict=True)) == {(1, 2), (2, 1)}


def test_negatives_follow_the_counts_to_the_power_of_three_quarters_without_the_centre():
    rng, words, K = np.random.default_rng(5), 20_011, 5
    text = random_corpus(words, 19, rng, documents=11)
    model = Word2Vec(Word2VecConfig(19, sample=0, window=1, negative=K, batch_words=words))
    model.prepare(text)
    centres, _, outputs = model.predictions(model.batch(0, 0))
    _, first = np.unique(centres, return_index=True)
    truth, negatives = outputs[first, 0], outputs[first, 1:]
    noise = np.where(text.counts > 0, text.counts, 0.0) ** 0.75
    noise /= noise.sum()
    for word in np.flatnonzero(noise):
        others = truth != word
        assert within_binomial_error(
            (negatives[others] == word).sum(), others.sum() * K, noise[word]
        )
        assert not (negatives[~others] == word).any()  # skipped, not redrawn
        assert within_binomial_error(
            (negatives[~others] == -1).sum(), (~others).sum() * K, noise[word]
        )


def test_the_alias_table_is_the_distribution_exactly():
    weights = np.random.default_rng(1).random(101) ** 3
    weights[[0, 50]] = 0
    accept, alias = kernels.alias_table(weights)
    chance = accept / 101 + np.bincount(alias, (1 - accept) / 101, 101)
    np.testing.assert_allclose(chance, weights / weights.sum(), rtol=0, atol=1e-12)


def test_an_epoch_holds_every_sentence_once_and_steps_are_a_pure_function():
    text = corpus(np.arange(3, 1010), np.array([0, 5, 5, 400, 1007]), 1010)
    model = Word2Vec(Word2VecConfig(1010, max_sentence=101, batch_words=211))
    model.prepare(text)
    epochs = [
        [model.batch(e * model.steps_per_epoch + s, 7) for s in range(model.steps_per_epoch)]
        for e in range(2)
    ]
    for batches in epochs:
        assert sorted(np.concatenate([b.ids for b in batches])) == list(range(3, 1010))
        for batch in batches:
            lengths = np.diff(np.append(np.flatnonzero(batch.begins), batch.ids.size))
            assert (lengths <= 101).all() and lengths.sum() == batch.ids.size
            inside = ~batch.begins[1:]
            assert (np.diff(batch.ids)[inside] == 1).all()  # sentences keep their order inside
    again = Word2Vec(model.config)
    again.prepare(text)
    late, same = again.batch(7, 7), epochs[1][7 - model.steps_per_epoch]
    assert (late.ids == same.ids).all() and late.key == same.key
    assert epochs[0][0].ids.tolist() != epochs[1][0].ids.tolist()
    assert model.batch(0, 8).key != model.batch(0, 7).key


@pytest.mark.parametrize("batch_words", [2, 5, 40, 100, 333])
def test_no_batch_is_empty_where_sentences_are_longer_than_a_batch(batch_words):
    """The loss of a step without a word would be 0, and the mean of the last steps too low."""
    model = Word2Vec(Word2VecConfig.tiny(50, batch_words=batch_words))
    model.prepare(random_corpus(997, 50, np.random.default_rng(0), documents=3))
    sizes = [len(model.batch(step, 0).ids) for step in range(model.steps_per_epoch)]
    assert sum(sizes) == 997 and min(sizes) > 0 and max(sizes) <= 2 * batch_words


def test_specials_vanish_before_windows_are_cut():
    model = Word2Vec(Word2VecConfig(9, window=1, sample=0))
    model.prepare(corpus([5, 0, 6, 2, 0, 2, 7, 1, 8, 2], [0, 4, 6, 10], 9))
    batch = model.batch(0, 0)
    assert sorted(batch.ids.tolist()) == [5, 6, 7, 8] and batch.begins.sum() == 2
    _, inputs, outputs = model.predictions(batch)
    assert set(zip(inputs.tolist(), outputs[:, 0].tolist(), strict=True)) == {
        (5, 6),
        (6, 5),
        (7, 8),
        (8, 7),
    }
    assert (model.vectors.data[:3] == 0).all()


def toy_model(documents, **over):
    """A model, its tokenizer and the corpus of toy text that it is prepared for."""
    texts = toy.documents(documents)
    tokenizer = Words.train(texts)
    text = encode_corpus(texts, tokenizer, end_id=tokenizer.end_id)
    chapter, make_config = chapter_of(over)
    model = chapter(make_config.tiny(tokenizer.vocab_size, size=31, batch_words=4001, **over))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.prepare(text)
    return model, tokenizer, text


def train(model, epochs, lr=0.025):
    """Linear decay over some epochs, as Trainer does it; returns the mean loss of the last epoch."""
    steps = epochs * model.steps_per_epoch
    losses = []
    for step in range(steps):
        losses.append(model.fast_step(model.batch(step, 1), lr * (1 - step / steps)))
    return np.mean(losses[-model.steps_per_epoch :])


def test_one_thread_gives_the_same_bits_for_the_same_seed(one_thread):
    runs = []
    for _ in range(2):
        model, _, _ = toy_model(200)
        train(model, 1)
        runs.append((model.vectors.data, model.context.data))
    for first, second in zip(*runs, strict=True):
        assert (first == second).all() and np.abs(first).max() > 0


def test_words_of_one_topic_become_neighbours_and_the_held_out_loss_beats_knowing_the_counts():
    model, tokenizer, text = toy_model(2000)
    train(model, 15)
    topic = {word: name for (name, _), words in toy.Language().lexicon.items() for word in words}
    known = [
        word
        for word, count in zip(tokenizer.vocab, text.counts, strict=False)
        if word in topic and count >= 20
    ]
    vectors = tinylm.Vectors(tokenizer.vocab, model.embedding_table())
    near = [(word, other) for word in known for other, _ in vectors.most_similar(word, n=5)]
    right = np.mean([topic[word] == topic.get(other) for word, other in near])
    assert len(known) > 100 and right > 0.9  # 1/6 by chance
    texts = toy.documents(600, seed=9)
    held_out = encode_corpus(texts, tokenizer, end_id=tokenizer.end_id)
    batches = list(model.evaluation_batches(held_out))
    parts = [model.loss(batch)[1] for batch in batches]
    loss = np.average([part["loss"] for part in parts], weights=[part["tokens"] for part in parts])
    assert loss < loss_without_context(model, batches)


def loss_without_context(model, batches):
    """The least nats per prediction of a guesser who knows how often each word is the output, and nothing else.

    With negatives σ = true / (true + drawn), word by word; with a tree alone, the entropy of the centres.
    """
    parts = []
    for batch in batches:
        centres, _, outputs = model.predictions(batch)
        windows = np.flatnonzero(np.diff(centres, prepend=-1))
        parts.append(outputs[windows] if model.config.cbow else outputs)
    outputs = np.concatenate(parts)
    size = model.config.vocab_size
    true = np.bincount(outputs[:, 0], minlength=size)
    if not model.config.negative:
        return np.sum(true * np.log(len(outputs) / np.maximum(true, 1))) / len(outputs)
    drawn = np.bincount(outputs[:, 1:][outputs[:, 1:] >= 0], minlength=size)
    terms = [n * np.log(np.maximum(true + drawn, 1) / np.maximum(n, 1)) for n in (true, drawn)]
    return np.sum(terms) / len(outputs)


def test_adamw_on_the_tape_learns_too():
    model, _, text = toy_model(60)
    optimizer = tinylm.optim.AdamW(model.named_parameters(), lr=0.01, weight_decay=0)
    losses = []
    for step in range(12):
        optimizer.zero_grad()
        loss, _ = model.loss(model.batch(step, 0))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * 6 * np.log(2)


def test_what_transfer_and_generation_use():
    model = Word2Vec(Word2VecConfig(11, size=5))
    ids = np.array([[3, 4, 0], [10, 3, 3]])
    (states,) = model.encode(ids, mask=ids > 0)
    assert states.shape == (2, 3, 5) and (states.data == model.embedding_table()[ids]).all()
    model.context.data[...] = np.random.default_rng(0).normal(size=(11, 5))
    np.testing.assert_allclose(
        model.logits(ids).data, states.data @ model.context.data.T, rtol=1e-5
    )
    assert [name for name, _ in model.named_parameters()] == ["vectors", "context"]
    assert sum(model.layer_groups(), []) == model.parameters()


@pytest.mark.parametrize(
    "run, words",
    [
        (lambda: Word2VecConfig(10, window=0), "window is 0"),
        (lambda: Word2Vec(Word2VecConfig(10)).batch(0, 0), "call prepare"),
        (
            lambda: Word2Vec(Word2VecConfig(10)).prepare(corpus([3, 4], [0, 2], 11)),
            "11 kinds of tokens",
        ),
        (
            lambda: Word2Vec(Word2VecConfig(10)).prepare(corpus([0, 2], [0, 2], 10)),
            "no word that the vocabulary knows",
        ),
    ],
)
def test_mistakes_get_one_clear_sentence(run, words):
    with pytest.raises((TinylmError, ShapeError), match=words):
        run()


def test_a_text_of_single_words_trains_on_nothing():
    model = Word2Vec(Word2VecConfig(10))
    model.prepare(corpus([3, 4, 5], [0, 1, 2, 3], 10))
    before = model.vectors.data.copy()
    assert (
        model.fast_step(model.batch(0, 0), 0.025) == 0.0
        and model.loss(model.batch(0, 0))[0].item() == 0.0
    )
    assert (model.vectors.data == before).all()


def test_a_weight_that_is_not_finite_shows_in_the_loss():
    model = Word2Vec(Word2VecConfig(10, sample=0))
    model.prepare(corpus([3, 4, 5, 6], [0, 4], 10))
    model.vectors.data[4, 7] = np.nan
    batch = model.batch(0, 0)
    assert np.isnan(model.loss(batch)[0].item()) and np.isnan(model.fast_step(batch, 0.025))


def test_a_window_of_cbow_is_one_prediction_from_the_mean_or_the_sum():
    """Scores see the mean, but every word of the window gets the whole error, as in the released program."""
    for mean in (False, True):
        model = Word2Vec(
            Word2VecConfig(9, size=3, window=2, sample=0, cbow=True, cbow_mean=mean)
        ).astype(np.float64)
        model.prepare(corpus([3, 4, 5, 6, 7, 8, 3], [0, 7], 9))
        rng = np.random.default_rng(0)
        model.vectors.data[...], model.context.data[...] = rng.normal(size=(2, 9, 3))
        centres, inputs, outputs = (
            np.array([5, 5, 5]),
            np.array([3, 4, 4]),
            np.array([[6, 7, -1]] * 3),
        )
        h = model.vectors.data[inputs].sum(axis=0) / (3 if mean else 1)
        u = model.context.data[[6, 7]]
        nats = model.nats(centres, inputs, outputs)
        scores = u @ h * [1, -1]
        np.testing.assert_allclose(nats.data, [np.log1p(np.exp(-scores)).sum()], rtol=1e-12)
        nats.sum().backward()
        error = -([1, -1] / (1 + np.exp(scores))) @ u
        np.testing.assert_allclose(model.vectors.grad[3], error, rtol=1e-12)
        np.testing.assert_allclose(model.vectors.grad[4], 2 * error, rtol=1e-12)


def test_the_probabilities_of_hierarchical_softmax_sum_to_one():
    model = Word2Vec(Word2VecConfig(23, size=5, negative=0, hs=True)).astype(np.float64)
    model.prepare(random_corpus(301, 23, np.random.default_rng(0)))
    model.context.data[...] = np.random.default_rng(1).normal(size=model.context.shape)
    centres, inputs, outputs = np.arange(23), np.full(23, 7), np.arange(23)[:, None]
    assert np.exp(-model.nats(centres, inputs, outputs).data).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_learns_topics(form):
    ngrams = {"bucket": 1009} if "maxn" in form else {}
    model, tokenizer, text = toy_model(1500, negative=0 if form.get("hs") else 5, **form | ngrams)
    rates = {
        kernels.CBOW_SUM: 0.02,
        kernels.CBOW_MEAN: 0.15,
    }  # a sum of hundreds of rows, each changed whole, or their mean
    lr = rates.get(model.mode, 0.05) if ngrams else 0.05
    epoch = [model.batch(step, 1) for step in range(model.steps_per_epoch)]
    assert train(model, 12, lr) < loss_without_context(model, epoch)
    topic = {word: name for (name, _), words in toy.Language().lexicon.items() for word in words}
    known = [
        word
        for word, count in zip(tokenizer.vocab, text.counts, strict=False)
        if word in topic and count >= 20
    ]
    vectors = tinylm.Vectors(tokenizer.vocab, model.embedding_table())
    near = [(word, other) for word in known for other, _ in vectors.most_similar(word, n=5)]
    assert np.mean([topic[word] == topic.get(other) for word, other in near]) > 0.6  # 1/6 by chance
    ids = np.array([[3, 4, 0]])
    assert model.logits(ids).shape == (1, 3, tokenizer.vocab_size)


@pytest.mark.parametrize("config", [Word2VecConfig, FastTextConfig])
def test_likeness_alone_teaches_nothing(config):
    with pytest.raises(TinylmError, match=f"{config.__name__}: negative is 0 without hs"):
        config(23, negative=0)


@pytest.mark.parametrize("chapter", [Word2Vec, GloVe])
def test_special_ids_may_be_an_iterator(chapter):
    model = chapter(chapter.Config(11))
    model.spell([f"w{i}" for i in range(11)], iter([0, 1]))
    assert model.special_ids == (0, 1)
    assert not model.vectors.data[:2].any() and model.vectors.data[2:].any()

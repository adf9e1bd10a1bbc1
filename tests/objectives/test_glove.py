"""GloVe: the kernel is the definition, its AdaGrad is the program's, and like words become neighbours."""

import dataclasses

import numpy as np
import pytest

from tinylm.data import Corpus, encode_corpus, load_texts, toy
from tinylm.errors import CheckpointError, DataError, ShapeError, TinylmError
from tinylm.kernels import KERNELS
from tinylm.objectives.glove import GloVe, GloVeBatch, GloVeConfig, count_pairs, fit_cell
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


def prepared(seed=0, **over):
    """A model of random numbers, in float64, that has counted a random text."""
    rng = np.random.default_rng(seed)
    model = GloVe(GloVeConfig(19, vector_size=7, window_size=3, **over), rng).astype(np.float64)
    model.prepare(corpus(rng.integers(3, 19, 101), [0, 53, 101], 19))
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    return model


@pytest.mark.parametrize("seed", range(5))
def test_the_counts_and_updates_on_paper_are_the_kernels(seed, one_thread):
    model = prepared(seed, x_max=0.7, grad_clip=0.3 + seed)
    ids = model.corpus.ids.tolist()
    expected = count_pairs([ids[:53], ids[53:]], window=3)
    cells = {(int(row), int(column)): count for row, column, count in model.cells}
    assert cells == pytest.approx(expected, rel=1e-6)
    tables = [p.data.copy() for p in model.parameters()]
    squares = [G.copy() for G in model.squares]
    batch = model.batch(0, seed)
    cells = zip(batch.rows, batch.columns, batch.counts.astype(float), strict=True)
    costs = [fit_cell(*tables, squares, cell, model.config, lr=0.05) for cell in cells]
    assert model.fast_step(batch, 0.05) == pytest.approx(np.mean(costs), rel=1e-12)
    for ours, theirs in zip(tables + squares, [*model.parameters(), *model.squares], strict=True):
        np.testing.assert_allclose(ours, getattr(theirs, "data", theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_one_kernel_update_is_one_step_of_adagrad_on_the_tape(seed, one_thread):
    over = dict(x_max=0.7, grad_clip=0.3 + seed)  # some gradients are cut, some weights are below 1
    tape, fast = prepared(seed, **over), prepared(seed, **over)
    batch, lr, costs = tape.batch(0, seed), 0.05, []
    for n in range(batch.tokens):
        one = GloVeBatch(*(getattr(batch, f.name)[n : n + 1] for f in dataclasses.fields(batch)))
        costs.append(tape.adagrad_step(one, lr))
    assert abs(fast.fast_step(batch, lr) - np.mean(costs)) < 1e-12
    for ours, theirs in zip(
        [*fast.parameters(), *fast.squares], [*tape.parameters(), *tape.squares], strict=True
    ):
        np.testing.assert_allclose(
            getattr(ours, "data", ours), getattr(theirs, "data", theirs), rtol=0, atol=1e-12
        )


def transcribed(model, batch, eta, W=None, G=None):
    """The released program's inner loop, line by line, on arrays whose last column is the bias; W, G : to go on from."""
    tables = zip((model.vectors, model.context), model.biases.data, strict=True)
    W = W or [np.column_stack([t.data, b]).astype(float) for t, b in tables]
    G, c, cost = G or [np.ones_like(table) for table in W], model.config, 0.0
    for i, j, x in zip(batch.rows, batch.columns, batch.counts.astype(float), strict=True):
        diff = W[0][i, :-1] @ W[1][j, :-1] + W[0][i, -1] + W[1][j, -1] - np.log(x)
        fdiff = diff if x > c.x_max else (x / c.x_max) ** c.alpha * diff
        cost += 0.5 * fdiff * diff
        temp1 = np.clip(fdiff * W[1][j, :-1], -c.grad_clip, c.grad_clip) * eta
        temp2 = np.clip(fdiff * W[0][i, :-1], -c.grad_clip, c.grad_clip) * eta
        for table, squares, row, temp in ((W[0], G[0], i, temp1), (W[1], G[1], j, temp2)):
            table[row, :-1] -= temp / np.sqrt(squares[row, :-1])
            squares[row, :-1] += temp**2
            table[row, -1] -= fdiff / np.sqrt(squares[row, -1])
            squares[row, -1] += fdiff**2
    return W, G, cost / batch.tokens


def test_some_epochs_are_those_of_the_released_program(one_thread):
    model = prepared(7, x_max=0.9)
    batch = model.batch(0, 0)
    W, _, cost = transcribed(model, batch, 0.05)
    assert model.fast_step(batch, 0.05) == pytest.approx(cost, rel=1e-12)
    np.testing.assert_allclose(model.vectors.data, W[0][:, :-1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.biases.data, [W[0][:, -1], W[1][:, -1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_kernel_equals_its_reference_over_several_chunks(dtype, tolerance, one_thread):
    model, results = prepared(3).astype(dtype), []
    batch = model.batch(0, 0)
    counts = batch.counts.astype(dtype)
    weights, logs = np.minimum(counts / 10, 1), np.log(counts)
    for run in (KERNELS["glove"].reference, KERNELS["glove"].compiled):
        arrays = [np.array(p.data) for p in model.parameters()] + [
            np.array(s) for s in model.squares
        ]
        losses = np.empty(batch.tokens, dtype)
        run(*arrays, batch.rows, batch.columns, weights, logs, 0.05, 100.0, losses)
        results.append([*arrays, losses])
    for ours, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_a_cell_that_is_not_finite_shows_in_the_cost_and_changes_nothing():
    model = prepared()
    model.vectors.data[4, 2] = np.nan
    before = [p.data.copy() for p in model.parameters()]
    batch = GloVeBatch(np.array([4]), np.array([5]), np.ones(1, np.float32))
    assert np.isnan(model.fast_step(batch, 0.05)) and np.isnan(model.loss(batch)[0].item())
    for p, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)


def test_an_epoch_holds_every_cell_once_and_steps_are_a_pure_function():
    model, again = prepared(batch_cells=37), prepared(batch_cells=37)
    assert model.steps_per_epoch > 3
    for epoch in range(2):
        batches = [
            model.batch(epoch * model.steps_per_epoch + s, 5) for s in range(model.steps_per_epoch)
        ]
        seen = np.concatenate([b.rows * 19 + b.columns for b in batches])
        assert seen.size == np.unique(seen).size == model.cells.size
    np.testing.assert_array_equal(again.batch(4, 5).rows, model.batch(4, 5).rows)


def test_an_epoch_reads_the_text_once():
    model = prepared(batch_cells=29)
    batches = [model.batch(step, seed=0) for step in range(model.steps_per_epoch)]
    read = sum(model.tokens_read(batch) for batch in batches)
    assert len(batches) > 2 and abs(read - 101) <= len(batches) / 2


def test_the_squares_are_carried_from_step_to_step(one_thread):
    model, other = prepared(), prepared()
    model.fast_step(model.batch(0, 0), 0.05)
    other.load_state_dict(model.state_dict())
    other.load_state({name: array.copy() for name, array in model.state().items()})
    losses = [m.fast_step(m.batch(1, 0), 0.05) for m in (model, other)]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(model.vectors.data, other.vectors.data)


def test_sums_that_do_not_fit_are_refused_before_a_kernel_sees_them():
    model = prepared()
    for change in ({"context": np.ones((19, 5))}, {"biases": np.ones(2)}):
        with pytest.raises(CheckpointError, match=f"lacks AdaGrad's sums of {next(iter(change))}"):
            model.load_state(model.state() | change)
    with pytest.raises(CheckpointError, match="lacks AdaGrad's sums of vectors"):
        model.load_state({})


def test_words_of_one_topic_become_neighbours_and_the_cost_on_other_text_falls():
    texts, fresh = toy.documents(2000), toy.documents(300, seed=9)
    tokenizer = Words.train(texts)
    text = encode_corpus(texts, tokenizer, end_id=tokenizer.end_id)
    held_out = encode_corpus(fresh, tokenizer, end_id=tokenizer.end_id)

    def fitted(size):
        """A model after 30 epochs, and its cost on the other text; of size 0 it has no vectors, only biases."""
        model = GloVe(
            GloVeConfig.tiny(
                tokenizer.vocab_size, vector_size=max(size, 1), window_size=20, batch_cells=5000
            )
        )
        model.prepare(text)
        for table in (model.vectors, model.context):
            table.data *= size > 0
        for step in range(30 * model.steps_per_epoch):
            model.fast_step(model.batch(step, 1), 0.05)
        parts = [model.loss(batch)[1] for batch in model.evaluation_batches(held_out)]
        return model, np.average(
            [part["loss"] for part in parts], weights=[part["tokens"] for part in parts]
        )

    model, cost = fitted(31)
    assert cost < fitted(0)[1]
    topic = {word: name for (name, _), words in toy.Language().lexicon.items() for word in words}
    counts = text.counts
    known = [i for i, word in enumerate(tokenizer.vocab) if word in topic and counts[i] >= 20]
    table = model.embedding_table()
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    near = np.argsort(-(unit[known] @ unit.T), axis=1)[:, 1:6]
    right = np.mean(
        [
            topic[tokenizer.vocab[i]] == topic.get(tokenizer.vocab[j])
            for i, js in zip(known, near, strict=True)
            for j in js
        ]
    )
    assert len(known) > 100 and right > 0.8  # 1/6 by chance


def test_what_transfer_uses():
    model = GloVe(GloVeConfig(11, vector_size=5))
    model.spell([], special_ids=(0,))
    ids = np.array([[3, 4, 0], [10, 3, 3]])
    (states,) = model.encode(ids)
    assert states.shape == (2, 3, 5) and (states.data == model.embedding_table()[ids]).all()
    assert (states.data[0, 2] == 0).all()
    expected = model.vectors.data[ids] @ model.context.data.T + model.biases.data[1]
    np.testing.assert_allclose(model.logits(ids).data, expected, rtol=1e-5, atol=1e-7)
    assert sorted(map(id, sum(model.layer_groups(), []))) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize(
    "run, words",
    [
        (lambda: GloVeConfig(10, window_size=0), "window_size is 0"),
        (lambda: GloVeConfig(10, x_max=0.0), "x_max is 0.0; expected a number above 0"),
        (lambda: GloVeConfig(10, memory=float("nan")), "memory is nan"),
        (lambda: GloVe(GloVeConfig(10)).batch(0, 0), "call prepare"),
        (lambda: GloVe(GloVeConfig(10)).prepare(corpus([3, 4], [0, 2], 11)), "11 kinds of tokens"),
        (lambda: GloVe(GloVeConfig(10)).prepare(corpus([3, 0], [0, 2], 10)), "No two words"),
        (lambda: GloVe(GloVeConfig(10)).encode(np.array([[10]])), "10"),
    ],
)
def test_mistakes_get_one_clear_sentence(run, words):
    with pytest.raises((TinylmError, ShapeError, DataError), match=words):
        run()


def final_costs(texts, epochs, min_count=1, **over):
    """Mean cost of a cell in the last epoch, lock-free and in the transcription, from the same cells in the same order."""
    tokenizer = Words.train(texts, min_count=min_count)
    model = GloVe(GloVeConfig(tokenizer.vocab_size, x_max=10.0, batch_cells=2**31 - 1, **over))
    model.prepare(encode_corpus(texts, tokenizer))
    whole, theirs = model.batch(0, 0), None
    for _ in range(epochs):
        theirs = transcribed(model, whole, 0.05, *(theirs or ())[:2])
    return [model.fast_step(whole, 0.05) for _ in range(epochs)][-1], theirs[2]


def test_without_locks_the_cost_is_still_that_of_the_released_program():
    ours, theirs = final_costs(toy.documents(150), 3, vector_size=11, window_size=5)
    assert ours == pytest.approx(theirs, rel=0.01)


@pytest.mark.named_set
def test_without_locks_the_cost_on_newsgroups_is_still_that_of_the_released_program():
    ours, theirs = final_costs(load_texts("newsgroups")[:100], 3, min_count=5, vector_size=100)
    assert ours == pytest.approx(theirs, rel=0.01)

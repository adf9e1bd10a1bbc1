"""Laws of GPT: what it may see, that its gradients are right, and that backends, threads and caches change nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tinylm
from tinylm import GPT, GPTConfig, check_grads, nn
from tinylm.data import Corpus
from tinylm.errors import ShapeError, TinylmError
from tinylm.objectives.gpt import GPTBatch, next_token_loss
from tinylm.optim import AdamW
from tinylm.training.evaluation import evaluate

V, T = 23, 11
CONFIG = GPTConfig(
    V,
    n_positions=T,
    n_embd=12,
    n_layer=2,
    n_head=3,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
)


def ids(*shape, seed=0):
    """Random token ids."""
    return np.random.default_rng(seed).integers(0, V, shape)


def batch():
    """Three windows and what follows each token."""
    tokens = ids(3, T + 1)
    return GPTBatch(tokens[:, :-1], tokens[:, 1:])


def test_future_tokens_cannot_change_earlier_logits():
    model, a = GPT(CONFIG).eval(), ids(2, T)
    b = a.copy()
    b[:, 7:] = (b[:, 7:] + 1) % V
    before, after = model.logits(a).data, model.logits(b).data
    assert np.array_equal(before[:, :7], after[:, :7]) and not np.allclose(
        before[:, 7:], after[:, 7:]
    )


def test_the_loss_on_paper_is_the_models():
    model = GPT(CONFIG).eval()
    texts = ids(3, T)
    scores = model.logits(texts).data.astype(np.float64)
    expected = np.mean([next_token_loss(*pair) for pair in zip(scores, texts, strict=True)])
    loss, _ = model.loss(GPTBatch(texts[:, :-1], texts[:, 1:]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_padding_on_the_right_changes_no_real_position():
    model, a = GPT(CONFIG).eval(), ids(1, 5)
    padded, mask = np.pad(a, ((0, 0), (0, 4))), np.arange(9)[None] < 5
    for real, with_padding in zip(model.encode(a), model.encode(padded, mask), strict=True):
        np.testing.assert_allclose(with_padding.data[:, :5], real.data, atol=1e-5)


def test_padding_on_the_left_with_position_ids_changes_no_real_position():
    model, a = GPT(CONFIG).eval(), ids(1, 5)
    padded, mask = np.pad(a, ((0, 0), (4, 0))), np.arange(9)[None] >= 4
    positions = np.maximum(np.arange(9) - 4, 0)[None]
    shifted = model.encode(padded, mask, position_ids=positions)[-1].data[:, 4:]
    np.testing.assert_allclose(shifted, model.encode(a)[-1].data, atol=1e-5)


def test_the_cache_gives_the_logits_of_the_whole_text():
    model, a = GPT(CONFIG).eval(), ids(2, T)
    cache = model.start_cache(2, T)
    model.step(a[:, :4], cache)
    for t in range(4, T):
        last = model.step(a[:, t : t + 1], cache)
    np.testing.assert_allclose(last, model.logits(a).data[:, -1], atol=1e-5)


def test_a_left_padded_batch_in_a_cache_gives_what_each_text_gives_alone():
    model = GPT(CONFIG).astype(np.float64).eval()
    lengths, more = (5, 2, 7), 4
    texts = [ids(n + more, seed=n) for n in lengths]
    padded = np.zeros((3, 7), int)
    mask = np.zeros((3, 7), bool)
    for b, n in enumerate(lengths):
        padded[b, 7 - n :] = texts[b][:n]
        mask[b, 7 - n :] = True
    cache = model.start_cache(3, T)
    scores = [model.step(padded, cache, mask)]
    for t in range(more):
        newest = np.array([[text[n + t]] for text, n in zip(texts, lengths, strict=True)])
        scores.append(model.step(newest, cache))
    for b, n in enumerate(lengths):
        alone = model.logits(texts[b][None]).data[0, n - 1 :]
        np.testing.assert_allclose([row[b] for row in scores], alone, rtol=1e-11, atol=1e-13)


def test_padding_may_come_between_two_parts_of_a_text():
    model = GPT(CONFIG).astype(np.float64).eval()
    a = ids(2, 6)
    cache = model.start_cache(2, T)
    model.step(a[:, :3], cache)
    second = np.array([[0, a[0, 3], a[0, 4]], [a[1, 3], a[1, 4], a[1, 5]]])
    found = model.step(second, cache, np.array([[False, True, True], [True, True, True]]))
    np.testing.assert_allclose(found[0], model.logits(a[:1, :5]).data[0, -1], rtol=1e-11)
    np.testing.assert_allclose(found[1], model.logits(a[1:]).data[0, -1], rtol=1e-11)


def test_reordering_the_cache_is_reading_the_reordered_texts():
    model = GPT(CONFIG).astype(np.float64).eval()
    a = ids(3, 6)
    cache = model.start_cache(3, T)
    model.step(a[:, :4], cache)
    rows = [2, 2, 0, 1, 2]
    cache.reorder(rows)
    newest = ids(5, 1, seed=8)
    found = model.step(newest, cache)
    whole = np.concatenate([a[rows, :4], newest], axis=1)
    np.testing.assert_allclose(found, model.logits(whole).data[:, -1], rtol=1e-11, atol=1e-13)


def test_more_positions_than_the_model_has_are_refused_before_the_cache_changes():
    model = GPT(CONFIG).eval()
    cache = model.start_cache(1, 2 * T)
    model.step(ids(1, T - 1), cache)
    with pytest.raises(ShapeError, match="after 10 cached positions; expected .B, T. with at most"):
        model.step(ids(1, 2), cache)
    assert cache.length == T - 1
    model.step(ids(1, 1), cache)


def test_every_parameter_has_the_gradient_of_the_loss_dropout_included():
    config = GPTConfig(
        V,
        n_positions=T,
        n_embd=6,
        n_layer=1,
        n_head=2,
        resid_pdrop=0.2,
        embd_pdrop=0.2,
        attn_pdrop=0.2,
    )
    model = GPT(config).astype(np.float64)
    holders = [
        (module, name)
        for module in model.modules()
        for name, p in vars(module).items()
        if isinstance(p, tinylm.nn.Parameter)
    ]

    def loss(*tensors):
        for (module, name), x in zip(holders, tensors, strict=True):
            setattr(module, name, x)
        model.rewind(seed=5, step=0)
        return model.loss(batch())[0]

    check_grads(loss, *(3 * getattr(module, name).data for module, name in holders), draws=1)


def test_both_gradients_of_the_tied_table_add_up():
    model = GPT(CONFIG).astype(np.float64)
    model.loss(batch())[0].backward()
    untied = GPT(CONFIG).astype(np.float64)
    head = tinylm.nn.Parameter(untied.wte.weight.data.copy())
    tinylm.ops.linear_cross_entropy(
        untied.encode(batch().inputs)[-1], head, batch().targets
    ).backward()
    assert min(np.abs(untied.wte.weight.grad).max(), np.abs(head.grad).max()) > 1e-3
    np.testing.assert_allclose(
        model.wte.weight.grad, untied.wte.weight.grad + head.grad, rtol=0, atol=1e-14
    )


def test_the_loss_of_an_untrained_model_is_near_log_v():
    loss, components = GPT(CONFIG).loss(batch())
    assert abs(loss.item() - np.log(V)) < 0.05 and components["loss"] == loss.item()


def losses_and_gradients(threads):
    """Loss and gradients of one step with dropout, as bytes."""
    tinylm.set_threads(threads)
    config = GPTConfig(331, n_positions=64, n_embd=48, n_layer=2, n_head=3)
    model = GPT(config)
    tokens = np.random.default_rng(1).integers(0, 331, (5, 65))
    optimizer = AdamW(model)
    out = []
    for _ in range(3):
        optimizer.zero_grad()
        loss, _ = model.loss(GPTBatch(tokens[:, :-1], tokens[:, 1:]))
        loss.backward()
        optimizer.step(max_norm=1.0)
        out += [loss.data.tobytes(), *(p.grad.tobytes() for p in model.parameters())]
    return out + [p.data.tobytes() for p in model.parameters()]


def test_one_and_two_threads_give_the_same_bits():
    assert losses_and_gradients(1) == losses_and_gradients(2)


BACKENDS = """
import sys, numpy as np, tinylm
from tinylm.objectives.gpt import GPTBatch
tokens = np.random.default_rng(1).integers(0, 37, (3, 14))
model = tinylm.GPT(tinylm.GPTConfig(37, n_positions=13, n_embd=20, n_layer=2, n_head=2)).astype(np.dtype(sys.argv[1]))
loss, _ = model.loss(GPTBatch(tokens[:, :-1], tokens[:, 1:]))
loss.backward()
np.savez(sys.argv[2], loss=loss.data, **{name: p.grad for name, p in model.named_parameters()})
"""


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_loss_and_gradients_agree_between_the_backends(tmp_path, dtype, tolerance):
    found = []
    for backend in ("numba", "numpy"):
        path = tmp_path / f"{backend}.npz"
        subprocess.run(
            [sys.executable, "-c", BACKENDS, dtype, str(path)],
            check=True,
            env=os.environ | {"TINYLM_BACKEND": backend},
        )
        found.append(dict(np.load(path)))
    for name, value in found[1].items():
        np.testing.assert_allclose(
            found[0][name], value, atol=tolerance * max(np.abs(value).max(), 1e-3), err_msg=name
        )


def test_config_and_input_mistakes_are_one_sentence_each():
    with pytest.raises(ShapeError, match="n_embd = 10 is not a multiple of n_head = 3"):
        GPTConfig(V, n_embd=10, n_head=3)
    for name in (
        "vocab_size",
        "n_positions",
        "n_embd",
        "n_layer",
        "n_head",
        "n_inner",
        "batch_size",
    ):
        for wrong in (0, -1):
            with pytest.raises(
                TinylmError, match=f"GPTConfig: {name} is {wrong}; expected a whole number from 1"
            ):
                GPTConfig(**{"vocab_size": V, name: wrong})
    with pytest.raises(TinylmError, match="initializer_range is nan; expected a finite number"):
        GPTConfig(V, initializer_range=float("nan"))
    with pytest.raises(TinylmError, match="activation_function is 'mish'"):
        GPTConfig(V, activation_function="mish")
    model = GPT(CONFIG)
    with pytest.raises(ShapeError, match="at most n_positions = 11"):
        model.encode(ids(1, T + 1))
    with pytest.raises(ShapeError, match="id 23 is out of range"):
        model.encode(np.full((1, 2), V))
    with pytest.raises(TinylmError, match="more than one window"):
        model.prepare(Corpus(ids(T), np.array([0, T]), V, T, T))
    with pytest.raises(TinylmError, match="too short to predict a single token"):
        evaluate(model, Corpus(ids(1), np.array([0, 1]), V, 1, 1))


def test_batches_are_a_pure_function_and_cover_an_epoch():
    model = GPT(GPTConfig(V, n_positions=T, n_embd=12, n_layer=1, n_head=3, batch_size=2))
    text = ids(5 * 2 * T + 1).astype(np.int32)
    model.prepare(Corpus(text, np.array([0, len(text)]), V, len(text), len(text)))
    first, again = model.batch(3, seed=1), model.batch(3, seed=1)
    assert np.array_equal(first.inputs, again.inputs) and np.array_equal(
        first.inputs[:, 1:], first.targets[:, :-1]
    )
    evaluated = list(model.evaluation_batches(model.corpus))
    assert sum(b.tokens for b in evaluated) == len(text) - 1
    assert np.array_equal(
        np.concatenate([b.inputs.ravel() for b in evaluated])[: len(text) - 1], text[:-1]
    )


class Louder(GPT):
    """A GPT whose tokens are read twice as loud."""

    def embed(self, ids, position_ids, tables, speakers=None):
        return super().embed(ids, position_ids, tables, speakers) * 2.0


class Sharper(GPT):
    """A GPT that speaks with more certainty: `encode` as a whole is its own."""

    def encode(self, ids, *arguments, **family):
        *lower, last = super().encode(ids, *arguments, **family)
        return [*lower, last * 3.0]


class Block(nn.TransformerBlock):
    """A block whose results are three times as large."""

    def forward(self, x, *others, **how):
        return super().forward(x, *others, **how) * 3.0


class OwnBlocks(GPT):
    """A GPT with blocks of another kind."""

    def build(self, config, rng):
        super().build(config, rng)
        for block in self.h:
            block.__class__ = Block


@pytest.mark.parametrize("chapter", [Louder, Sharper, OwnBlocks])
def test_a_token_read_alone_passes_through_what_a_subclass_changes(chapter):
    model = chapter(GPTConfig(11, n_positions=9, n_embd=6, n_layer=2, n_head=3)).eval()
    ids = np.array([[3, 4, 7, 1]])
    cache = model.start_cache(1, 4)
    for t in range(4):
        scores = model.step(ids[:, t : t + 1], cache)
    np.testing.assert_allclose(scores, model.logits(ids).data[:, -1], rtol=1e-4, atol=1e-5)

"""Laws of GPT-1: its layers on paper, one table for tokens and positions, and where a text is read."""

from dataclasses import replace

import numpy as np
import pytest

import tinylm
from tinylm import GPT1, GPT1Config, check_grads
from tinylm.errors import ShapeError, TinylmError
from tinylm.objectives.gpt import GPTBatch
from tinylm.objectives.gpt1 import for_tasks
from tinylm.text import Chars

V, T, C, H, L = 23, 11, 12, 3, 2
CONFIG = GPT1Config(
    V,
    n_positions=T,
    n_embd=C,
    n_layer=L,
    n_head=H,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    initializer_range=0.3,
)


def ids(*shape, seed=0):
    """Random token ids."""
    return np.random.default_rng(seed).integers(0, V, shape)


def batch():
    """Three windows and what follows each token."""
    tokens = ids(3, T + 1)
    return GPTBatch(tokens[:, :-1], tokens[:, 1:])


def model64(**changes):
    """A float64 model with gains and biases away from one and zero, in evaluation mode."""
    model = GPT1(replace(CONFIG, **changes)).astype(np.float64).eval()
    rng = np.random.default_rng(3)
    for p in model.parameters():
        p.data[...] += 0.2 * rng.standard_normal(p.shape)
    return model


# -- GPT-1 on paper ----------------------------------------------------------------------------


def norm(x, weight, bias):
    """(x − mean)/√(var + 1e-5)·w + b"""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    """The tanh form, which GPT-1's code calls gelu."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def on_paper(weights, text, activation=gelu, n_tokens=V):
    """Every layer's states of one text, head by head and norm after norm.   text : (T,) ids"""
    w = weights
    table = w["table.weight"]
    x = table[text] + table[n_tokens + np.arange(len(text))]
    states = [x]
    for n in range(L):
        q, k, v = np.split(
            x @ w[f"h.{n}.attn.c_attn.weight"].T + w[f"h.{n}.attn.c_attn.bias"], 3, 1
        )
        heads = []
        for part in np.split(np.arange(C), H):
            scores = q[:, part] @ k[:, part].T / np.sqrt(C // H)
            scores[np.triu_indices(len(text), 1)] = -np.inf
            heads.append(softmax(scores) @ v[:, part])
        attended = np.concatenate(heads, 1) @ w[f"h.{n}.attn.c_proj.weight"].T
        attended += w[f"h.{n}.attn.c_proj.bias"]
        x = norm(x + attended, w[f"h.{n}.ln_1.weight"], w[f"h.{n}.ln_1.bias"])
        hidden = activation(x @ w[f"h.{n}.mlp.c_fc.weight"].T + w[f"h.{n}.mlp.c_fc.bias"])
        inner = hidden @ w[f"h.{n}.mlp.c_proj.weight"].T + w[f"h.{n}.mlp.c_proj.bias"]
        x = norm(x + inner, w[f"h.{n}.ln_2.weight"], w[f"h.{n}.ln_2.bias"])
        states.append(x)
    return states


ACTIVATIONS = {
    "gelu": gelu,
    "relu": lambda x: np.maximum(x, 0),
    "swish": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("afn", ACTIVATIONS)
def test_states_and_logits_are_those_on_paper(afn):
    model = model64(afn=afn)
    [text] = ids(1, 7)
    expected = on_paper(model.state_dict(), text, ACTIVATIONS[afn])
    for ours, theirs in zip(model.encode(text[None]), expected, strict=True):
        np.testing.assert_allclose(ours.data[0], theirs, rtol=1e-11, atol=1e-12)
    scores = expected[-1] @ model.state_dict()["table.weight"][:V].T
    np.testing.assert_allclose(model.logits(text[None]).data[0], scores, rtol=1e-11, atol=1e-11)


# -- laws ----------------------------------------------------------------------------------------


def test_future_tokens_cannot_change_earlier_logits():
    model = GPT1(CONFIG).eval()
    a = ids(2, T)
    b = a.copy()
    b[:, 7:] = (b[:, 7:] + 1) % V
    before = model.logits(a).data
    after = model.logits(b).data
    assert np.array_equal(before[:, :7], after[:, :7])
    assert not np.allclose(before[:, 7:], after[:, 7:])


def test_padding_on_the_right_changes_no_real_position():
    model = GPT1(CONFIG).eval()
    a = ids(1, 5)
    padded = np.pad(a, ((0, 0), (0, 4)))
    mask = np.arange(9)[None] < 5
    for real, with_padding in zip(model.encode(a), model.encode(padded, mask), strict=True):
        np.testing.assert_allclose(with_padding.data[:, :5], real.data, atol=1e-5)


def test_the_cache_gives_the_logits_of_the_whole_text():
    model = GPT1(CONFIG).eval()
    a = ids(2, T)
    cache = model.start_cache(2, T)
    model.step(a[:, :4], cache)
    for t in range(4, T):
        last = model.step(a[:, t : t + 1], cache)
    np.testing.assert_allclose(last, model.logits(a).data[:, -1], atol=1e-5)


def test_the_loss_is_the_mean_surprise_at_the_next_token():
    model = model64()
    scores = model.logits(batch().inputs).data
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, batch().targets[..., None], -1).mean()
    loss, components = model.loss(batch())
    assert loss.item() == pytest.approx(expected, rel=1e-12) == components["loss"]


def test_every_parameter_has_the_gradient_of_the_loss_dropout_included():
    rates = dict(resid_pdrop=0.2, embd_pdrop=0.2, attn_pdrop=0.2)
    model = GPT1(replace(CONFIG, n_embd=6, n_layer=1, **rates)).astype(np.float64)
    holders = []
    for module in model.modules():
        for name, p in vars(module).items():
            if isinstance(p, tinylm.nn.Parameter):
                holders.append((module, name))

    def loss(*tensors):
        for (module, name), x in zip(holders, tensors, strict=True):
            setattr(module, name, x)
        model.rewind(seed=5, step=0)
        return model.loss(batch())[0]

    check_grads(loss, *(getattr(module, name).data for module, name in holders), draws=1)


def test_a_position_that_no_text_reaches_gets_no_gradient():
    model = model64()
    text = ids(3, 5)
    model.loss(GPTBatch(text[:, :-1], text[:, 1:]))[0].backward()
    gradient = model.table.weight.grad
    reached = np.abs(gradient[V : V + 4]).max(axis=1)
    assert not gradient[V + 4 :].any() and reached.min() > 0
    assert np.abs(gradient[:V]).max(axis=1).min() > 0  # the head scores every token


def test_dropout_takes_an_entry_of_a_token_out_of_every_place_and_of_the_head():
    model = model64(embd_pdrop=0.5).train()
    model.table.weight.data[V:] = 0  # no positions: the embeddings are the tokens' rows
    tokens, positions = model.tables()
    dropped = (tokens.data == 0).mean()
    assert 0.35 < dropped < 0.65 and not positions.data.any()
    text = np.full((1, 5), 7)
    embeddings = model.encode(text, tables=(tokens, positions))[0].data[0]
    assert np.array_equal(embeddings, np.tile(tokens.data[7], (5, 1)))
    kept = tokens.data != 0
    np.testing.assert_allclose(tokens.data[kept], 2 * model.table.weight.data[:V][kept])


def test_head_and_embeddings_of_one_step_share_their_dropout():
    model = model64(embd_pdrop=0.5).train()
    model.rewind(seed=5, step=0)
    tables = model.tables()
    states = model.encode(batch().inputs, tables=tables)
    expected = tinylm.ops.linear_cross_entropy(states[-1], tables[0], batch().targets)
    model.rewind(seed=5, step=0)
    assert model.loss(batch())[0].item() == expected.item()


def test_a_text_is_read_at_its_last_real_token():
    model = GPT1(CONFIG).eval()
    text = ids(3, 7)
    lengths = np.array([7, 2, 5])
    mask = np.arange(7) < lengths[:, None]
    states = model.encode(text, mask)
    read = model.summary(states, mask).data
    for b, length in enumerate(lengths):
        assert np.array_equal(read[b], states[-1].data[b, length - 1])
    flipped = model.summary(states, mask[:, ::-1]).data  # padding on the left
    assert np.array_equal(flipped, states[-1].data[:, -1])


def test_the_groups_of_layers_hold_every_parameter_once():
    model = GPT1(CONFIG)
    grouped = [id(p) for group in model.layer_groups() for p in group]
    assert sorted(grouped) == sorted(map(id, model.parameters()))
    assert len(model.layer_groups()) == 1 + L


def test_the_published_model_has_the_published_size():
    c = GPT1Config.gpt1()
    block = 12 * c.n_embd**2 + 13 * c.n_embd
    total = (c.vocab_size + c.n_positions) * c.n_embd + c.n_layer * block
    assert total == 116_534_784  # as transformers counts openai-gpt
    small = GPT1(CONFIG)
    block = 12 * C**2 + 13 * C
    assert sum(p.size for p in small.parameters()) == (V + T) * C + L * block


def test_the_loss_of_an_untrained_model_is_near_log_v():
    loss, _ = GPT1(replace(CONFIG, initializer_range=0.02)).loss(batch())
    assert abs(loss.item() - np.log(V)) < 0.05


def test_config_and_input_mistakes_are_one_sentence_each():
    with pytest.raises(ShapeError, match="GPT1Config: n_embd = 10 is not a multiple of n_head = 3"):
        GPT1Config(V, n_embd=10, n_head=3)
    with pytest.raises(TinylmError, match="afn is 'tanh'"):
        GPT1Config(V, afn="tanh")
    model = GPT1(CONFIG)
    with pytest.raises(ShapeError, match="at most n_positions = 11"):
        model.encode(ids(1, T + 1))
    with pytest.raises(ShapeError, match="id 23 is out of range"):
        model.encode(np.full((1, 2), V))  # the first position's row is no token


# -- tasks ---------------------------------------------------------------------------------------


LETTERS = "abcdefgh"


def reader(**changes):
    """A float64 model of letters and its tokenizer, both ready for tasks."""
    letters = Chars(LETTERS)
    model = GPT1(replace(CONFIG, vocab_size=letters.vocab_size, **changes))
    model, tokenizer = for_tasks(model, letters)
    return model.astype(np.float64).eval(), tokenizer


def test_task_tokens_get_rows_of_their_own_and_change_nothing_else():
    letters = Chars(LETTERS)
    model = GPT1(replace(CONFIG, vocab_size=letters.vocab_size)).eval()
    ready, tokenizer = for_tasks(model, letters, np.random.default_rng(5))
    assert letters.vocab_size == 11 and tokenizer.vocab_size == 14  # the letters are copied
    text = np.array([letters.encode("gabe")])
    for before, after in zip(model.encode(text), ready.encode(text), strict=True):
        assert np.array_equal(before.data, after.data)
    assert np.array_equal(model.logits(text).data, ready.logits(text).data[..., :11])
    others, _ = for_tasks(model, letters, np.random.default_rng(6))
    new = ready.table.weight.data[11:14]
    assert not np.array_equal(new, others.table.weight.data[11:14])
    assert np.array_equal(ready.table.weight.data[14:], model.table.weight.data[11:])


def test_the_vectors_of_task_tokens_have_the_initial_deviation():
    letters = Chars(LETTERS)
    wide = GPT1(replace(CONFIG, vocab_size=11, n_embd=1026, n_layer=1, initializer_range=0.02))
    ready, _ = for_tasks(wide, letters)
    new = ready.table.weight.data[11:14]
    assert abs(new.std() - 0.02) < 0.002 and abs(new.mean()) < 0.002


def test_the_auxiliary_loss_is_the_mean_of_the_texts_means_specials_counted_padding_not():
    model, tokenizer = reader()
    batch = tokenizer(["gabe", "b", ""], ["fad", "", "c"])
    weights = model.state_dict()
    table = weights["table.weight"][: tokenizer.vocab_size]
    means = []
    for ids, mask in zip(batch["ids"], batch["mask"], strict=True):
        real = ids[mask]
        top = on_paper(weights, real, n_tokens=tokenizer.vocab_size)[-1]
        p = softmax(top @ table.T)
        nats = [-np.log(p[t, real[t + 1]]) for t in range(len(real) - 1)]
        means.append(np.mean(nats))
    states, loss = model.states_and_loss(**batch)
    assert loss.item() == pytest.approx(np.mean(means), rel=1e-11)
    for ours, plain in zip(states, model.encode(**batch), strict=True):
        assert np.array_equal(ours.data, plain.data)


def test_a_text_of_one_token_adds_nothing_to_the_auxiliary_loss():
    model, _ = reader()
    ids = np.array([[3, 4, 5], [6, 0, 0]])
    mask = np.array([[True, True, True], [True, False, False]])
    _, both = model.states_and_loss(ids, mask)
    _, alone = model.states_and_loss(ids[:1], mask[:1])
    assert both.item() == pytest.approx(alone.item() / 2, rel=1e-12)


def test_a_folder_keeps_the_template_of_tasks(tmp_path):
    model, tokenizer = reader()
    tinylm.hub.save(tmp_path, model, tokenizer)
    loaded, again = tinylm.hub.load(tmp_path)
    batch = tokenizer(["gabe"], ["fad"])
    assert np.array_equal(again(["gabe"], ["fad"])["ids"], batch["ids"])
    assert np.array_equal(again(["fad"])["ids"], tokenizer(["fad"])["ids"])
    expected = model.summary(model.encode(**batch), batch["mask"]).data
    found = loaded.summary(loaded.encode(**batch), batch["mask"]).data
    np.testing.assert_allclose(found, expected, atol=1e-5)

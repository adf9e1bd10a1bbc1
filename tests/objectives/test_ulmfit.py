"""Laws of ULMFiT: one layer on paper, what each dropout drops, a state that is carried on, and how a text is summed up."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinylm
from tinylm import Ulmfit, UlmfitConfig, gradcheck, nn
from tinylm import ops as F
from tinylm.data import Corpus, encode_corpus, toy
from tinylm.errors import CheckpointError, TinylmError
from tinylm.objectives.ulmfit import DROPOUTS, UlmfitBatch, read_on_paper
from tinylm.text import Words
from tinylm.training.evaluation import evaluate
from tinylm.training.generate import generate, generate_batch
from tinylm.training.pretrain import PretrainConfig, complete, pretrain
from tinylm.training.train import TrainConfig, Trainer

V, E, H, T, B = 23, 5, 7, 11, 3
CONFIG = UlmfitConfig(V, emb_sz=E, n_hid=H, n_layers=3, bptt=T, batch_size=B).dropped(0)


def ids(*shape, seed=0):
    """Random token ids."""
    return np.random.default_rng(seed).integers(0, V, shape)


def corpus(n=997, seed=0):
    """A text of random ids."""
    return Corpus(ids(n, seed=seed).astype(np.int32), np.array([0, n]), V, words=n, characters=n)


def model64(**changes):
    """A float64 model with every weight drawn, in evaluation mode."""
    model = Ulmfit(replace(CONFIG, **changes)).astype(np.float64).eval()
    rng = np.random.default_rng(3)
    for p in model.parameters():
        p.data[...] = 0.5 * rng.standard_normal(p.shape)
    return model


def batch(length=T, fresh=True, seed=0):
    """Windows and what follows each token."""
    tokens = ids(B, length + 1, seed=seed)
    return UlmfitBatch(tokens[:, :-1], tokens[:, 1:], fresh)


# -- on paper ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_layer_is_the_one_on_paper_with_one_mask_of_weights_for_all_steps(rate):
    config = nn.LSTMConfig(E, H, weight_drop=rate)
    layer = nn.LSTM(config, noise=nn.Noise(7), rng=np.random.default_rng(0)).astype(np.float64)
    weights = layer.state_dict()
    kept = np.ones((4 * H, H))
    if rate:
        kept = F.dropout(kept, rate, nn.Noise(7).key()).data
        assert set(np.unique(kept)) == {0.0, 2.0}
    x = np.random.default_rng(1).normal(size=(2, T, E))
    h, c = np.random.default_rng(2).normal(size=(2, 2, H))
    out, _ = layer(x, [(tinylm.Tensor(h), tinylm.Tensor(c))])
    for b in range(2):
        names = ("weight_ih_l0", "weight_hh_l0", "bias_l0")
        wanted = read_on_paper(x[b], h[b], c[b], *(weights[name] for name in names), kept)
        np.testing.assert_allclose(out.data[b], wanted, atol=1e-12)


def test_states_and_loss_are_those_on_paper():
    model = model64()
    w = model.state_dict()
    given = batch()
    states = [w["table"][given.inputs]]
    for i, width in enumerate((H, H, E)):
        names = ("weight_ih_l0", "weight_hh_l0", "bias_l0")
        layer = [w[f"lstm.rnns.{i}.{name}"] for name in names]
        zeros = np.zeros(width)
        kept = np.ones((4 * width, width))
        rows = [read_on_paper(x, zeros, zeros, *layer, kept) for x in states[-1]]
        states.append(np.array(rows))
    for mine, wanted in zip(model.encode(given.inputs), states, strict=True):
        np.testing.assert_allclose(mine.data, wanted, atol=1e-12)
    scores = states[-1] @ w["table"].T + w["bias"]
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    nats = -np.take_along_axis(log_p, given.targets[..., None], 2).mean()
    assert model.loss(given)[0].item() == pytest.approx(nats, rel=1e-12)
    np.testing.assert_allclose(model.logits(given.inputs).data, scores, atol=1e-12)


def test_the_training_loss_adds_the_penalties_of_dropped_and_of_raw_states():
    model = model64(output_p=0.4, alpha=3.0, beta=5.0).train()
    given = batch()
    model.rewind(0, 1)
    loss, parts = model.loss(given)
    model.rewind(0, 1)
    states, _ = model.read(given.inputs)
    raw = states[-1]
    dropped = model.output_drop(raw).data
    raw = raw.data
    assert not np.allclose(dropped, raw)
    activation = (dropped**2).mean()
    slowness = ((raw[:, 1:] - raw[:, :-1]) ** 2).mean()
    assert parts["activation"] == pytest.approx(activation, rel=1e-12)
    assert parts["slowness"] == pytest.approx(slowness, rel=1e-12)
    wanted = parts["next_token"] + 3 * activation + 5 * slowness
    assert loss.item() == parts["loss"] == pytest.approx(wanted, rel=1e-12)
    evaluated, parts = model.eval().loss(given)
    assert parts == {"loss": evaluated.item()}


def test_a_window_of_one_token_has_no_differences():
    model = model64().train()
    loss, parts = model.loss(batch(length=1))
    assert np.isfinite(loss.item()) and "slowness" not in parts


# -- what each dropout drops -------------------------------------------------------------------


def test_embedding_dropout_takes_whole_kinds_of_words():
    model = model64(embed_p=0.5).train()
    text = ids(B, 97)
    model.rewind(0, 1)
    key = copy.deepcopy(model.noise).key()
    x = model.embed(text).data
    wanted = F.dropout(model.table.data, 0.5, key, shared=(1,)).data[text]
    np.testing.assert_array_equal(x, wanted)
    gone = {int(i) for i in text[(x == 0).all(axis=2)]}
    left = {int(i) for i in text[(x != 0).all(axis=2)]}
    assert gone and left and not gone & left and gone | left == set(text.ravel().tolist())


@pytest.mark.parametrize("name", ["input_p", "hidden_p", "output_p"])
def test_a_variational_mask_is_one_for_all_steps_and_another_for_each_row(name):
    model = model64(**{name: 0.5}).train()
    layers = {
        "input_p": model.input_drop,
        "hidden_p": model.lstm.drop,
        "output_p": model.output_drop,
    }
    assert [layer.rate for layer in layers.values() if layer.rate] == [0.5]
    y = layers[name](tinylm.Tensor(np.ones((B, T, 97)))).data
    assert (y == y[:, :1]).all() and not (y[0] == y[1]).all()
    assert set(np.unique(y)) == {0.0, 2.0}


@pytest.mark.parametrize("name", DROPOUTS)
def test_each_dropout_is_noise_while_training_and_nothing_in_evaluation(name):
    noisy = model64(**{name: 0.5})
    plain = model64()
    given = batch()
    assert noisy.loss(given)[0].item() == plain.loss(given)[0].item()
    plain.train()
    noisy.train()
    losses = {plain.loss(given)[0].item()}
    for step in (1, 2):
        noisy.rewind(0, step)
        losses.add(noisy.loss(given)[0].item())
    assert len(losses) == 3
    noisy.rewind(0, 2)
    assert noisy.loss(given)[0].item() in losses


def test_a_dropped_recurrent_weight_has_no_gradient_and_the_others_have_the_derivative():
    model = model64(weight_p=0.5, n_layers=1).train()
    line = gradcheck.check_gradient(model, batch())
    assert line.status == "ok" and "in training mode too" in line.detail
    model.rewind(0, 1)
    key = copy.deepcopy(model.noise).key()
    model.loss(batch())[0].backward()
    weight = model.lstm.rnns[0].weight_hh_l0
    kept = F.dropout(np.ones(weight.shape), 0.5, key).data != 0
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_array_equal(weight.grad != 0, kept)


# -- reading on --------------------------------------------------------------------------------


@settings(max_examples=10)
@given(cut=st.integers(1, T - 1))
def test_two_windows_with_the_carried_state_are_one(cut):
    model = model64()
    whole = batch()
    wanted = model.loss(whole)[0].item() * T
    first = UlmfitBatch(whole.inputs[:, :cut], whole.targets[:, :cut], True)
    second = UlmfitBatch(whole.inputs[:, cut:], whole.targets[:, cut:], False)
    nats = model.loss(first)[0].item() * cut + model.loss(second)[0].item() * (T - cut)
    assert nats == pytest.approx(wanted, rel=1e-12)


def test_a_fresh_batch_forgets_and_another_does_not():
    model = model64()
    alone = model.loss(batch())[0].item()
    model.loss(batch(seed=1))
    assert model.loss(batch())[0].item() == alone
    model.loss(batch(seed=1))
    assert model.loss(batch(fresh=False))[0].item() != alone


def test_evaluation_reads_on_from_its_own_state_and_leaves_trainings_alone():
    model = model64().train()
    model.loss(batch(seed=1))
    before = {name: array.copy() for name, array in model.state().items()}
    model.eval()
    model.loss(batch(seed=2))
    model.loss(batch(seed=3, fresh=False))
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_no_gradient_passes_into_the_window_before():
    model = model64().train()
    model.loss(batch(seed=1))
    carried = model._carried[True]
    assert not any(part.requires_grad for pair in carried for part in pair)


def test_the_state_comes_back_and_that_of_another_model_is_refused():
    model, other = model64().train(), model64().train()
    model.loss(batch(seed=1))
    other.load_state(model.state())
    given = batch(fresh=False)
    assert other.loss(given)[0].item() == model.loss(given)[0].item()
    other.load_state({})
    assert other.state() == {}
    with pytest.raises(CheckpointError, match="layer 0 is missing or has not 13 columns"):
        model64(n_hid=13).load_state(model.state())
    with pytest.raises(CheckpointError, match="layer 2"):
        model.load_state({name: a for name, a in model.state().items() if name != "c.2"})


def test_lengths_vary_lanes_go_on_and_the_rate_goes_with_the_length():
    model = Ulmfit(CONFIG)
    model.prepare(corpus())
    lane = 997 // B
    parts = [model.batch(step, seed=5) for step in range(20)]
    assert [part.fresh for part in parts] == [True] + [False] * 19
    assert len({part.inputs.shape[1] for part in parts}) > 5
    read = np.concatenate([part.inputs for part in parts], axis=1)
    lanes = corpus().ids[: B * lane].reshape(B, lane)
    assert np.array_equal(read, lanes[:, : read.shape[1]])
    for part in parts:
        assert model.rate_scale(part) == part.inputs.shape[1] / T


@pytest.mark.parametrize("backward", [False, True])
@given(n=st.integers(2, 300))
def test_evaluation_predicts_every_token_but_the_first_once(backward, n):
    model = Ulmfit(replace(CONFIG, backward=backward))
    text = corpus(n)
    pairs = []
    for part in model.evaluation_batches(text):
        counted = part.targets >= 0
        pairs.append(np.stack([part.inputs[counted], part.targets[counted]], axis=1))
    found = np.concatenate(pairs)
    wanted = np.stack([text.ids[:-1], text.ids[1:]], axis=1)
    if backward:
        wanted = wanted[:, ::-1]
    assert sorted(found.tolist()) == sorted(wanted.tolist())


@pytest.mark.parametrize("backward", [False, True])
def test_evaluation_compares_with_single_tokens_in_both_directions(backward):
    found = evaluate(Ulmfit(replace(CONFIG, backward=backward)), corpus())
    assert found["token_loss"] == found["loss"] and found["unigram"] > 0
    assert found["nats_per_word"] == pytest.approx(found["loss"])


def test_a_single_lane_is_evaluated_as_one_long_text():
    model = model64(batch_size=1)
    text = corpus(101)
    model_of_long_windows = model64(batch_size=1, bptt=1000)
    found = [evaluate(m, text)["loss"] for m in (model, model_of_long_windows)]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_another_schedule_or_optimiser_leaves_the_preferred_ones_options():
    assert TrainConfig.of(Ulmfit, steps=9).schedule_options
    assert not TrainConfig.of(Ulmfit, steps=9, schedule="constant").schedule_options
    assert TrainConfig.of(Ulmfit, steps=9, schedule="slanted_triangular").schedule_options
    given = PretrainConfig("ulmfit", "mine", size="awd_lstm", options={"optimizer": "adam"})
    assert "nonmono" not in complete(Ulmfit, given).options.get("optimizer_options", {})


def test_a_text_that_is_too_short_is_refused_in_one_sentence():
    with pytest.raises(TinylmError, match="3 lanes of windows of 11 need 36"):
        Ulmfit(CONFIG).prepare(corpus(35))


# -- a text for a task -------------------------------------------------------------------------


@pytest.mark.parametrize("backward", [False, True])
def test_chunks_change_no_state(backward):
    text = ids(2, 29)
    mask = np.arange(29) < np.array([[29], [13]])
    whole = model64(bptt=1000, backward=backward)
    parts = model64(bptt=5, backward=backward)
    for a, b in zip(whole.encode(text, mask), parts.encode(text, mask), strict=True):
        np.testing.assert_allclose(a.data[mask], b.data[mask], atol=1e-12)


def test_gradients_stay_inside_a_chunk_and_reach_only_chunks_that_are_pooled():
    text = np.arange(22)[None]  # every token once, so that its row tells its place
    for max_len, first in ((1000, 0), (6, 15)):  # chunks begin at 0, 5, 10, 15, 20
        model = model64(bptt=5, max_len=max_len)
        states = model.encode(text)
        model.summary(states, np.ones((1, 22), bool)).sum().backward()
        reached = np.flatnonzero(np.abs(model.table.grad).sum(axis=1))
        assert reached.tolist() == list(range(first, 22))
    model = model64(bptt=5)
    model.encode(text)[-1][:, -1].sum().backward()
    reached = np.flatnonzero(np.abs(model.table.grad).sum(axis=1))
    assert reached.tolist() == [20, 21]


@pytest.mark.parametrize("backward", [False, True])
@given(seed=st.integers(0, 99), max_len=st.integers(1, 20))
@settings(max_examples=20)
def test_the_summary_is_the_last_state_and_maximum_and_mean_of_the_last_ones(
    backward, seed, max_len
):
    rng = np.random.default_rng(seed)
    model = Ulmfit(replace(CONFIG, max_len=max_len, backward=backward))
    states = rng.normal(size=(4, 13, E))
    lengths = rng.integers(1, 14, 4)
    mask = np.arange(13) < lengths[:, None]
    found = model.summary([tinylm.Tensor(states)], mask).data
    for row, text, length in zip(found, states, lengths, strict=True):
        read = text[:length][::-1] if backward else text[:length]
        pooled = read[-max_len:]
        wanted = np.concatenate([read[-1], pooled.max(axis=0), pooled.mean(axis=0)])
        np.testing.assert_allclose(row, wanted, atol=1e-12)


def test_a_backward_model_is_a_forward_one_on_reversed_texts():
    forward, backward = model64(), model64(backward=True)
    text = ids(2, T)
    for a, b in zip(forward.encode(text[:, ::-1]), backward.encode(text), strict=True):
        np.testing.assert_allclose(a.data[:, ::-1], b.data, atol=1e-12)
    given = corpus()
    turned = replace(given, ids=given.ids[::-1].copy())
    backward.prepare(given)
    forward.prepare(turned)
    for step in range(5):
        a, b = forward.batch(step, 3), backward.batch(step, 3)
        if step == 0:
            assert a.inputs.shape == b.inputs.shape
        assert (b.targets[:, :-1] == b.inputs[:, 1:]).all()
    assert evaluate(forward, turned)["loss"] == pytest.approx(evaluate(backward, given)["loss"])


def test_a_backward_model_reads_neither_what_came_before_nor_padding():
    model = model64(backward=True, bptt=4)
    text = ids(2, T)
    changed = text.copy()
    changed[:, 4] = (changed[:, 4] + 1) % V
    before, after = model.encode(text), model.encode(changed)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a.data[:, 5:], b.data[:, 5:])
    assert (before[-1].data[:, :5] != after[-1].data[:, :5]).any(axis=2).all()
    mask = np.arange(T) < np.array([[T], [6]])
    padded = model.encode(text, mask)
    short = model.encode(text[1:, :6])
    for a, b in zip(padded, short, strict=True):
        np.testing.assert_allclose(a.data[1, :6], b.data[0], atol=1e-12)


def test_a_backward_model_cannot_continue_a_text_and_says_so():
    model = Ulmfit(replace(CONFIG, backward=True))
    assert not model.causal
    with pytest.raises(TinylmError, match="cannot continue text"):
        list(generate(model, [3], 5, temperature=0))


# -- writing -----------------------------------------------------------------------------------


def test_step_by_step_gives_the_scores_of_the_whole_text():
    model = model64()
    text = ids(2, T)
    wanted = model.logits(text).data
    cache = model.start_cache(2, T)
    for t in range(T):
        scores = model.step(text[:, t : t + 1], cache)
        np.testing.assert_allclose(scores, wanted[:, t], atol=1e-12)


def test_texts_of_any_lengths_side_by_side_are_continued_as_each_alone():
    model = model64()
    prompts = [ids(n, seed=n).tolist() for n in (1, 5, 3)]
    together = generate_batch(model, prompts, 9, temperature=0)
    alone = [list(generate(model, prompt, 9, temperature=0)) for prompt in prompts]
    assert together == alone
    samples = generate_batch(model, [prompts[1]] * 3, 9, np.random.default_rng(0))
    assert len({tuple(sample) for sample in samples}) > 1


# -- sizes and training ------------------------------------------------------------------------


def test_the_published_sizes_have_the_published_numbers_of_weights():
    model = Ulmfit(UlmfitConfig.awd_lstm())
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert shapes["table"] == (10000, 400)
    assert [shapes[f"lstm.rnns.{i}.weight_hh_l0"] for i in range(3)] == [
        (4600, 1150),
        (4600, 1150),
        (1600, 400),
    ]
    assert round(sum(p.size for p in model.parameters()) / 1e6) == 24  # Merity et al. 2018, table 1
    assert UlmfitConfig.ulmfit().n_hid == 1152 and UlmfitConfig.ulmfit().n_layers == 3
    assert UlmfitConfig(V).dropped(0).weight_p == 0


def test_layers_are_grouped_from_the_bottom_up():
    model = Ulmfit(CONFIG)
    groups = model.layer_groups()
    assert [len(group) for group in groups] == [1, 3, 3, 4]
    assert groups[0] == [model.table]
    assert sorted(map(id, sum(groups, []))) == sorted(map(id, model.parameters()))


def test_the_awd_lstm_recipe_is_sgd_then_its_average():
    asked = complete(Ulmfit, PretrainConfig("ulmfit", "mine", size="awd_lstm"))
    wanted = dict(optimizer="asgd", lr=30.0, clip=0.25, weight_decay=1.2e-6, schedule="constant")
    assert wanted.items() <= asked.options.items()
    sizes = dict(emb_sz=13, n_hid=17, batch_size=2, bptt=7, steps=6, eval_every=1)
    options = sizes | {"optimizer_options": {"nonmono": 0}, "lr": 100.0}
    asked = PretrainConfig("ulmfit", "mine", size="awd_lstm", options=options)
    model, _, result = pretrain(asked, toy.documents(40, seed=1), quiet=True)
    assert np.isfinite(result["loss"]) and model.config.weight_p == 0.5


def test_it_learns_the_toy_language_far_below_the_unigram_entropy():
    texts = toy.documents(300, seed=0)
    words = Words.train(texts)
    model = Ulmfit(UlmfitConfig.tiny(words.vocab_size, batch_size=8))
    text = encode_corpus(texts, words, end_id=words.end_id)
    model.prepare(text)
    Trainer(model, config=TrainConfig.of(Ulmfit, steps=150, lr=1e-2), quiet=True).run()
    held_out = encode_corpus(toy.documents(40, seed=1), words, end_id=words.end_id)
    found = evaluate(model, held_out)
    assert found["loss"] < 0.75 * found["unigram"]


def test_an_empty_text_has_no_states():
    states = Ulmfit(CONFIG).encode(np.zeros((2, 0), int))
    assert [state.shape[:2] for state in states] == [(2, 0)] * 4

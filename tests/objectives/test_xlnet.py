"""Laws of XLNet: who sees whom, the order of prediction, the memory, and what a step reads."""

import numpy as np
import pytest

import tinylm
from tinylm import XLNet, XLNetConfig, nn, text
from tinylm.data import encode_corpus, toy
from tinylm.errors import ArgumentError, CheckpointError, ShapeError, TinylmError
from tinylm.objectives.xlnet import RECIPE, XLNetBatch
from tinylm.optim.groups import is_decayed
from tinylm.tensor import no_grad
from tinylm.training.check import check
from tinylm.training.config import TrainConfig
from tinylm.training.evaluation import evaluate

TEXTS = toy.documents(60)
TOKENIZER = text.learn("unigram", TEXTS, 211, XLNet.needs_tokens)
CORPUS = encode_corpus(TEXTS, TOKENIZER, end_id=TOKENIZER.end_id, structure=True)
V = TOKENIZER.vocab_size
SEP, CLS = 4, 3
B, T, K = 2, 11, 3


def model_of(**options):
    """A small model that has read the toy texts."""
    sizes = dict(d_model=12, n_head=3, d_inner=22, seq_len=37, reuse_len=13, mem_len=17)
    sizes |= dict(num_predict=9, perm_size=13, batch_size=4)
    model = XLNet(XLNetConfig.tiny(V, **sizes | options))
    model.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    model.prepare(CORPUS)
    return model.astype(np.float64).eval()


def drawn(seed):
    """ids (B, T), an order with targets, what may be seen (B, T, T) and the picks (B, K)."""
    from tinylm.data.permutation import visibility

    rng = np.random.default_rng(seed)
    ids = rng.integers(9, V, size=(B, T))
    picks = np.sort(np.array([rng.permutation(T - 1)[:K] for _ in range(B)]), axis=1)
    views = []
    for row in picks:
        is_target = np.isin(np.arange(T), row)
        views.append(visibility(rng.permutation(T), is_target, np.arange(T) == T - 1))
    return ids, picks, np.array(views)


def reached(seen, start):
    """Which tokens can reach the prediction at `start`: along chains of what may be seen."""
    known = seen | np.eye(len(seen), dtype=bool)  # of the content stream
    reach = seen[start].copy()
    for _ in range(len(seen)):
        reach = reach | known[reach].any(axis=0)
    return reach


@pytest.mark.parametrize("seed", range(4))
def test_a_token_changes_exactly_the_predictions_that_may_see_it(seed):
    model = model_of()
    ids, picks, visible = drawn(seed)
    with no_grad():
        before = model.predict(ids, picks, visible=visible).data
        for j in range(T):
            other = ids.copy()
            other[:, j] = (other[:, j] - 8) % (V - 9) + 9
            after = model.predict(other, picks, visible=visible).data
            changed = np.abs(after - before).max(axis=2) > 0  # (B,K)
            for b in range(B):
                for k in range(K):
                    assert changed[b, k] == reached(visible[b], picks[b, k])[j]
                    assert reached(visible[b], picks[b, k])[j] == visible[b, picks[b, k], j]


def test_no_prediction_depends_on_the_token_that_it_predicts():
    model = model_of()
    ids, picks, visible = drawn(7)
    other = ids.copy()
    np.put_along_axis(other, picks[:, -1:], 9, axis=1)
    with no_grad():
        first = model.predict(ids, picks[:, -1:], visible=visible).data
        second = model.predict(other, picks[:, -1:], visible=visible).data
    assert np.array_equal(first, second)


def test_a_step_of_text_lets_no_target_see_what_it_may_not():
    model = model_of()
    batch = model.batch(0, 0)
    picks = np.maximum(batch.picks, 0)
    family = dict(token_types=batch.token_types, visible=batch.visible, half_backwards=True)
    with no_grad():
        before = model.predict(batch.ids, picks, **family).data
        for b in range(len(picks)):
            for k in np.flatnonzero(batch.picks[b] >= 0)[:5]:
                other = batch.ids.copy()
                other[b, ~batch.visible[b, picks[b, k]]] = 9
                after = model.predict(other, picks, **family).data
                assert np.array_equal(before[b, k], after[b, k])


def test_in_natural_order_the_content_stream_is_a_causal_model():
    model = model_of()
    causal = model_of(attn_type="uni")
    causal.load_state_dict(model.state_dict())
    ids = drawn(0)[0]
    visible = np.repeat(np.tri(T, T, -1, dtype=bool)[None], B, axis=0)
    with no_grad():
        ordered = model.encode(ids, visible=visible)
        expected = causal.encode(ids)
    for ours, theirs in zip(ordered, expected, strict=True):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=0, atol=1e-12)


def test_in_natural_order_prediction_i_depends_exactly_on_what_stands_before_it():
    model = model_of()
    ids = drawn(0)[0]
    picks = np.repeat(np.arange(T)[None], B, axis=0)
    visible = np.repeat(np.tri(T, T, -1, dtype=bool)[None], B, axis=0)
    memory = np.random.default_rng(0).normal(size=(2, B, 1, 12))  # so that the first sees something
    family = dict(visible=visible, memory=memory)
    with no_grad():
        before = model.predict(ids, picks, **family).data
        for j in range(T):
            other = ids.copy()
            other[:, j] = (other[:, j] - 8) % (V - 9) + 9
            after = model.predict(other, picks, **family).data
            changed = np.abs(after - before).max(axis=(0, 2)) > 0
            assert (changed == (np.arange(T) > j)).all()


@pytest.mark.parametrize("half_backwards", [False, True])
@pytest.mark.parametrize("clamp_len", [-1, 3])
def test_two_texts_with_memory_are_one_whose_first_half_may_not_see_the_second(
    half_backwards, clamp_len
):
    model = model_of(clamp_len=clamp_len)
    rng = np.random.default_rng(0)
    ids = rng.integers(9, V, size=(B, 7 + T))
    types = rng.integers(2, size=(B, 7 + T))
    types[:, :7] = 0  # the segment of a memory
    seen = np.ones((B, 7 + T, 7 + T), bool)
    seen[:, :7, 7:] = False
    way = dict(half_backwards=half_backwards)
    with no_grad():
        whole = model.encode(ids, token_types=types, visible=seen, **way)
        first = model.encode(ids[:, :7], token_types=types[:, :7], **way)
        memory = nn.remember(first[:-1])
        second = model.encode(ids[:, 7:], token_types=types[:, 7:], memory=memory, **way)
    for one, before, after in zip(whole, first, second, strict=True):
        joined = np.concatenate([before.data, after.data], axis=1)
        np.testing.assert_allclose(joined, one.data, rtol=0, atol=1e-12)


def test_a_reversed_text_with_distances_turned_round_is_the_text():
    model = model_of()
    ids = drawn(1)[0]
    both = np.concatenate([ids, ids[:, ::-1]])
    with no_grad():
        states = model.encode(both, half_backwards=True)
    for state in states:
        np.testing.assert_allclose(state.data[B:, ::-1], state.data[:B], rtol=0, atol=1e-12)


def test_an_odd_batch_cannot_run_in_two_directions():
    with pytest.raises(ArgumentError, match="even number"):
        XLNetConfig(V, batch_size=3)
    with pytest.raises(ShapeError, match="even number"):
        model_of().encode(np.zeros((3, T), int), half_backwards=True)


def test_what_stands_far_away_is_all_alike_when_distances_are_clamped():
    model = model_of(clamp_len=2, n_layer=1)
    ids = drawn(2)[0][:1]
    turned = ids.copy()
    turned[0, :5] = ids[0, :5][::-1]
    with no_grad():
        before = model.encode(ids)[-1].data
        after = model.encode(turned)[-1].data
    np.testing.assert_allclose(before[0, 7:], after[0, 7:], rtol=0, atol=1e-12)
    assert np.abs(before[0, 5:7] - after[0, 5:7]).max() > 1e-6


def test_of_the_same_length_every_token_sees_equally_many():
    model = model_of(attn_type="uni", same_length=True, n_layer=1)
    rng = np.random.default_rng(0)
    ids = rng.integers(9, V, size=(B, T))
    memory = rng.normal(size=(1, B, 4, 12))
    with no_grad():
        before = model.encode(ids, memory=memory)[-1].data
        other = memory.copy()
        other[:, :, 1] += 1.0
        after = model.encode(ids, memory=other)[-1].data
    changed = np.abs(after - before).max(axis=(0, 2)) > 0
    assert (changed == (np.arange(T) <= 1)).all()


def test_a_batch_holds_the_tokens_at_its_picks_and_its_special_tokens_in_place():
    model = model_of()
    for step in range(5):
        batch = model.batch(step, 0)
        real = batch.picks >= 0
        there = np.take_along_axis(batch.ids, np.maximum(batch.picks, 0), axis=1)
        assert (there[real] == batch.targets[real]).all() and (batch.targets[~real] == -100).all()
        assert batch.tokens == real.sum() and batch.tokens >= 0.6 * real.size
        assert (batch.ids[:, -2:] == [SEP, CLS]).all()
        assert not np.isin(batch.targets[real], [SEP, CLS]).any()
        assert (batch.token_types[:, -1] == 2).all() and batch.half_backwards


def test_half_of_the_rows_run_backwards_through_the_same_text():
    model = model_of(batch_size=2)
    lanes = model.lanes
    reused = model.config.reused
    first = model.batch(0, 0)
    last = model.batch(lanes.steps - 1, 0)
    lane = CORPUS.ids[: lanes.lane]
    assert (first.ids[0, :reused] == lane[:reused]).all()
    assert (first.ids[1, :reused] == lane[::-1][:reused]).all()
    begin = (lanes.steps - 1) * reused
    assert (last.ids[1, :reused] == lane[::-1][begin : begin + reused]).all()


def test_the_loss_carries_a_memory_that_a_new_reading_forgets():
    model = model_of()
    first, second = model.batch(0, 0), model.batch(1, 0)
    model.loss(first)
    once = model.memory.states.copy()
    assert once.shape == (2, 4, 13, 12)  # reuse_len of the first step
    with_memory = model.loss(second)[0].item()
    assert model.memory.states.shape == (2, 4, 17, 12)  # mem_len of both
    assert np.array_equal(model.memory.states[:, :, :4], once[:, :, -4:])
    model.memory = nn.Memory()
    assert model.loss(second)[0].item() != with_memory
    model.loss(first)
    assert np.array_equal(model.memory.states, once)


def test_the_memory_is_what_the_layers_read():
    model = model_of()
    batch = model.batch(0, 0)
    content, _ = model.streams(
        batch.ids, token_types=batch.token_types, visible=batch.visible, half_backwards=True
    )
    model.loss(batch)
    for layer, state in zip(model.memory.states, content[:-1], strict=True):
        np.testing.assert_allclose(layer, state.data[:, :13], rtol=0, atol=1e-12)


def test_a_memory_comes_back_from_its_state_and_a_damaged_one_is_refused():
    model = model_of()
    model.loss(model.batch(0, 0))
    arrays = {name: array.copy() for name, array in model.state().items()}
    kept = model.memory.states
    other = model_of()
    other.load_state(arrays)
    assert np.array_equal(other.memory.states, kept)
    with pytest.raises(CheckpointError, match="damaged"):
        other.load_state({"memory": arrays["memory"]})
    with pytest.raises(CheckpointError, match="cannot hold"):
        other.load_state(arrays | {"remembered": np.array([99])})


def test_a_batch_with_other_rows_begins_without_a_memory():
    model = model_of()
    model.loss(model.batch(0, 0))
    other = model_of(batch_size=2)
    step = other.batch(1, 0)
    assert model.loss(step)[0].item() == other.loss(step)[0].item()
    assert model.state()["remembered"] == 0


def test_evaluation_has_a_memory_of_its_own():
    model = model_of()
    model.loss(model.batch(0, 0))
    before = model.memory.states.copy()
    held_out = encode_corpus(TEXTS[:20], TOKENIZER, end_id=TOKENIZER.end_id, structure=True)
    first = evaluate(model, held_out)["loss"]
    assert np.array_equal(model.memory.states, before)
    assert evaluate(model, held_out)["loss"] == first


def test_biases_can_be_shared_by_all_layers():
    own = {name for name, _ in model_of().named_parameters()}
    shared = {name for name, _ in model_of(untie_r=False).named_parameters()}
    assert own - shared == {
        f"network.layer.1.rel_attn.biases.{name}" for name in ("r_w_bias", "r_r_bias", "r_s_bias")
    }


def test_weights_decay_as_released_with_the_biases_of_attention():
    parameters = dict(model_of().named_parameters())
    released = TrainConfig.of(tinylm.XLNet, steps=1)
    left_out = {
        name for name, p in parameters.items() if not is_decayed(released.no_decay, name, p)
    }
    assert left_out and all(name.split(".")[-1] in ("bias", "weight") for name in left_out)
    for name in parameters.keys() - left_out:
        last = name.split(".")[-1]
        assert last.startswith("r_") or (last != "bias" and "norm" not in name), name
    assert not released.bias_correction
    assert TrainConfig.of(tinylm.XLNet, steps=1, **RECIPE).bias_correction


def test_only_the_picks_pass_through_the_query_stream():
    model = model_of()
    ids, picks, visible = drawn(0)
    content, query = model.streams(ids, picks=picks, visible=visible)
    assert content[-1].shape == (B, T, 12) and query[-1].shape == (B, K, 12)
    assert query[0].data.std(axis=(0, 1)).max() == 0  # one vector, wherever it asks


def test_the_query_stream_needs_no_content_above_the_last_layer():
    model = model_of()
    ids, picks, visible = drawn(0)
    content, query = model.streams(ids, picks=picks, visible=visible)
    inputs, alone = model.streams(ids, picks=picks, visible=visible, query_only=True)
    assert len(inputs) == len(content) - 1
    for ours, theirs in zip([*inputs, *alone], [*content[:-1], *query], strict=True):
        assert np.array_equal(ours.data, theirs.data)


def test_fine_tuning_reads_the_content_stream_alone():
    model = model_of()
    inputs = TOKENIZER(["one text", "another text that is longer"])
    model.encode(**inputs)[-1].sum().backward()
    assert model.network.mask_emb.grad is None and model.bias.grad is None


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.1, "dropatt": 0.1},
        {"mem_len": 0, "half_backwards": False},
        {"untie_r": False, "clamp_len": 7, "released_spans": True, "reuse_len": None},
    ],
    ids=["dropout", "no memory", "switches"],
)
def test_xlnet_keeps_its_promises(options):
    lines = check("xlnet", options={"n_layer": 1, **options})
    assert [str(line) for line in lines if line.status == "FAIL"] == []


def test_without_special_tokens_there_are_no_batches():
    model = XLNet(XLNetConfig.tiny(V))
    model.prepare(CORPUS)
    with pytest.raises(TinylmError, match="<sep>, <cls>"):
        model.batch(0, 0)


@pytest.mark.parametrize(
    "options,said",
    [
        ({"reuse_len": 60}, "reuse_len"),
        ({"num_predict": 64}, "num_predict"),
        ({"num_predict": 58}, "num_predict"),
        ({"d_model": 10, "n_head": 3}, "not a multiple"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, said):
    with pytest.raises(TinylmError, match=said):
        XLNetConfig.tiny(V, **options)


def test_it_learns_more_than_single_tokens():
    model = model_of(d_model=48, n_head=2, d_inner=96, batch_size=8, initializer_range=0.14)
    model.astype(np.float32)
    config = tinylm.TrainConfig.of(model, steps=150, lr=3e-3)
    result = tinylm.Trainer(model, config=config, quiet=True).run()
    assert result["loss"] < CORPUS.unigram_entropy() - 0.2


def test_a_batch_says_how_many_tokens_it_predicts():
    nothing = np.zeros((1, 1))
    batch = XLNetBatch(nothing, nothing, nothing, nothing, np.array([[3, -100]]), False, True)
    assert batch.tokens == 1

"""Laws of ELMo: what each direction sees, what both share, what is carried on, how words are spelled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm import nn
from tinylm.data import encode_corpus, toy
from tinylm.errors import ArgumentError, TinylmError
from tinylm.objectives.elmo import Elmo, ElmoBatch, ElmoConfig, two_way_loss
from tinylm.tensor import Tensor, no_grad
from tinylm.text import ElmoWords, Words
from tinylm.text.elmo import character_ids, sentence_characters

SIZES = dict(
    embedding_dim=3,
    filters=((1, 5), (3, 7)),
    projection_dim=5,
    dim=11,
    n_layers=3,
    cell_clip=0.7,
    proj_clip=0.6,
    unroll_steps=7,
    batch_size=3,
)
TEXTS = toy.documents(13, seed=5)
TOKENIZER = ElmoWords.train(TEXTS, 59)
CORPUS = encode_corpus(TEXTS, TOKENIZER, TOKENIZER.end_id, structure=True)


def elmo(seed=0, **options):
    """A float64 Elmo with every weight drawn, in evaluation mode."""
    model = Elmo(ElmoConfig.tiny(TOKENIZER.vocab_size, **SIZES | options))
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data[...] = 0.4 * rng.standard_normal(p.shape)
    model.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    return model.astype(np.float64).eval()


def ids(rows, length, seed=1):
    return np.random.default_rng(seed).integers(0, TOKENIZER.vocab_size, (rows, length))


def read(model, tokens, **how):
    """Every layer as an array."""
    with no_grad():
        return [layer.data for layer in model.encode(tokens, **how)]


def halves(layer):
    """The forward half and the backward half of a layer."""
    return np.split(layer, 2, axis=2)


# ---- what is seen


@settings(max_examples=15)
@given(seed=st.integers(0, 99), place=st.integers(0, 6))
def test_the_forward_half_never_sees_the_future_nor_the_backward_half_the_past(seed, place):
    model = elmo(seed)
    text = ids(2, 7, seed)
    other = text.copy()
    other[:, place] = (text[:, place] + 1 + seed) % TOKENIZER.vocab_size
    for before, after in zip(read(model, text)[1:], read(model, other)[1:], strict=True):
        (left, right), (left_now, right_now) = halves(before), halves(after)
        np.testing.assert_allclose(left_now[:, :place], left[:, :place], atol=1e-12)
        np.testing.assert_allclose(right_now[:, place + 1 :], right[:, place + 1 :], atol=1e-12)
        if not np.array_equal(
            model.reader.chars[text[:, place]], model.reader.chars[other[:, place]]
        ):
            assert not np.allclose(left_now[:, place], left[:, place], atol=1e-9)
            assert not np.allclose(right_now[:, place], right[:, place], atol=1e-9)


def test_the_first_layer_depends_on_the_spelling_alone_and_stands_there_twice():
    model = elmo()
    text = np.array([[4, 9, 4, 13], [17, 4, 9, 9]])
    left, right = halves(read(model, text)[0])
    assert np.array_equal(left, right)
    np.testing.assert_allclose(left[0, 0], left[1, 1], atol=1e-12)
    np.testing.assert_allclose(left[1, 3], left[0, 1], atol=1e-12)
    np.testing.assert_allclose(left[0, 0], model.embedding_table()[4], atol=1e-12)


def test_padding_and_the_other_rows_change_nothing():
    model = elmo()
    text = ids(3, 7)
    lengths = np.array([7, 3, 5])
    mask = np.arange(7) < lengths[:, None]
    together = read(model, text, mask=mask)
    for row, length in enumerate(lengths):
        for both, alone in zip(together, read(model, text[row : row + 1, :length]), strict=True):
            np.testing.assert_allclose(both[row, :length], alone[0], atol=1e-12)


def test_words_never_seen_have_vectors_of_their_own():
    model = elmo()
    unseen = TOKENIZER(["Quokka", "quokkas"])
    assert (unseen["ids"][:, 1] == TOKENIZER.unk_id).all()
    layers = read(model, unseen["ids"], mask=unseen["mask"], chars=unseen["chars"])
    assert all(not np.allclose(layer[0, 1], layer[1, 1]) for layer in layers)
    subwords = model.subwords()
    np.testing.assert_allclose(subwords["Quokka"], halves(layers[0])[0][0, 1], atol=1e-12)
    assert "Quokka" in subwords and "" not in subwords


def test_states_of_words_stand_at_their_words_between_sentence_marks():
    model = elmo()
    sentences = [["the", "Quokka", "!"], [], ["a"]]
    layers, mask = model.word_states(sentences)
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    for row, words in enumerate(sentences):
        chars, _ = sentence_characters([words])
        alone = model.encode(None, chars=chars)
        for layer, whole in zip(layers, alone, strict=True):
            got = layer.data[row, : len(words)]
            np.testing.assert_allclose(got, whole.data[0, 1:-1], atol=1e-12)
    own = model.encode(None, chars=np.stack([character_ids("<S>")])[None])
    marks = halves(own[0].data)[0][0, 0]
    assert not np.allclose(marks, model.embedding_table()[0])  # a word called <S>


def test_kept_vectors_are_those_that_are_read_and_go_when_the_model_learns(monkeypatch):
    model = elmo()
    seen = TOKENIZER(["The Quokka saw", TOKENIZER.vocab[9]])
    text = ids(2, 5)
    plain, spelled = read(model, text), read(model, seen["ids"], chars=seen["chars"])
    model.reader.keep()
    counted = []
    each_once = model.reader.each_once
    monkeypatch.setattr(
        model.reader, "each_once", lambda chars: counted.append(len(chars)) or each_once(chars)
    )
    for before, after in zip(plain, read(model, text), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)
    assert counted == []
    for before, after in zip(spelled, read(model, seen["ids"], chars=seen["chars"]), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)
    assert counted == [(seen["ids"] == model.unk_id).sum()]
    model.train()
    model.encode(text)[0].sum().backward()
    assert model.reader.kept is None and model.reader.char_embed.weight.grad is not None


# ---- what both directions share


def test_directions_share_the_words_and_the_softmax_and_nothing_else():
    model = elmo()
    model.prepare(CORPUS)
    batch = model.batch(0, 0)
    text = ids(2, 5)
    _, parts = model.loss(batch)
    before = [halves(layer) for layer in read(model, text)[1:]]
    moved = {}
    for name, p in model.named_parameters():
        old = p.data.copy()
        p.data += 0.1 * np.random.default_rng(3).standard_normal(p.shape)
        _, now = model.loss(batch)
        after = [halves(layer) for layer in read(model, text)[1:]]
        states = [
            not np.allclose([pair[way] for pair in after], [pair[way] for pair in before])
            for way in (0, 1)
        ]
        p.data[...] = old
        changed = [now[way] != parts[way] for way in ("forward", "backward")]
        moved[name] = changed, states
    for name, (losses, states) in moved.items():
        if name.startswith("reader"):
            assert losses == states == [True, True], name
        elif name.startswith("softmax"):
            assert losses == [True, True] and states == [False, False], name
        else:
            way = int(name.split(".")[2])
            assert losses == states == [way == 0, way == 1], name


def test_a_layers_input_is_added_from_the_second_layer_on_and_not_to_the_state():
    with_skip = elmo()
    without = elmo(use_skip_connections=False)
    without.load_state_dict(with_skip.state_dict())
    text = ids(2, 5)
    _, first, *_ = read(with_skip, text)
    np.testing.assert_allclose(first, read(without, text)[1], atol=1e-12)
    direction = with_skip.lm.directions[0]
    x = with_skip.reader.words(text)
    outputs, ends = direction(x)
    own = x
    for layer, (output, end) in enumerate(zip(outputs, ends, strict=True)):
        plain, [(h, c)] = direction.rnns[layer](own)
        wanted = plain.data + own.data if layer else plain.data
        np.testing.assert_allclose(output.data, wanted, atol=1e-12)
        np.testing.assert_allclose(end[0].data, h.data, atol=1e-12)
        own = output


def test_the_clips_bound_cells_and_states_but_not_what_skips_them():
    model = elmo(cell_clip=0.07, proj_clip=0.03)
    outputs, ends = model.lm.directions[1](model.reader.words(ids(2, 5)))
    for h, c in ends:
        assert np.abs(h.data).max() == 0.03 and np.abs(c.data).max() == 0.07
    assert np.abs(outputs[2].data).max() > 0.03


def test_what_is_added_is_the_dropped_input():
    noise = nn.Noise()
    layer = nn.LSTMConfig(7, 11, proj_size=7)
    how = dict(skip=True, dropout=0.5, noise=noise, rng=np.random.default_rng(0))
    lm = nn.BiLM(layer, 2, **how).train()
    for direction in lm.directions:
        direction.rnns[1].weight_hr_l0.data[...] = 0  # the second layer adds nothing of its own
    x = Tensor(np.random.default_rng(1).standard_normal((3, 5, 7)).astype(np.float32))
    first, second = lm.directions[0](x)[0]
    dropped = second.data == 0
    assert 0.2 < dropped.mean() < 0.8
    np.testing.assert_allclose(second.data[~dropped], 2 * first.data[~dropped], rtol=1e-6)


# ---- the loss


def test_the_loss_of_a_sentence_is_its_definition():
    model = elmo()
    words = np.array([7, 21, 4, 7])
    sentence = np.array([model.begin_id, *words, model.end_id])
    inputs = np.array([[sentence[:-1]], [sentence[:0:-1]]])
    targets = np.array([[sentence[1:]], [sentence[-2::-1]]])
    loss, parts = model.loss(ElmoBatch(inputs, targets, fresh=True))
    left, right = halves(read(model, sentence[None])[-1])
    weight, bias = model.softmax.weight.data, model.softmax.bias.data
    scores = [half[0] @ weight.T + bias for half in (left, right)]
    assert abs(loss.item() - two_way_loss(*scores, sentence)) < 1e-12
    assert abs((parts["forward"] + parts["backward"]) / 2 - loss.item()) < 1e-12


def test_rare_words_are_read_as_spelled_and_predicted_as_unknown():
    model = elmo(n_tokens_vocab=29)
    model.prepare(CORPUS)
    assert model.softmax.weight.shape[0] == 29
    batch = model.batch(0, 0)
    assert batch.inputs.max() >= 29 > batch.targets.max()
    following = batch.inputs[0, :, 1:]
    rare = following >= 29
    assert (batch.targets[0, :, :-1][rare] == model.unk_id).all()
    with pytest.raises(TinylmError, match="n_tokens_vocab is 2"):
        elmo(n_tokens_vocab=2)


def test_sampling_every_word_is_the_full_softmax_and_evaluation_never_samples():
    model = elmo(n_negative_samples_batch=59, dropout=0.0)
    model.prepare(CORPUS)
    batch = model.batch(0, 0)
    whole = model.loss(ElmoBatch(batch.inputs, batch.targets, fresh=True))[0].item()
    assert model.loss(batch)[0].item() == whole
    everything = tuple((drawn,) for drawn, _, _ in batch.samples)  # each equally often: no log E
    assert all(sorted(drawn) == list(range(59)) for (drawn,) in everything)
    model.train()
    sampled = ElmoBatch(batch.inputs, batch.targets, fresh=True, samples=everything)
    assert abs(model.loss(sampled)[0].item() - whole) < 1e-9
    fewer = elmo(n_negative_samples_batch=13, dropout=0.0)
    fewer.prepare(CORPUS)
    assert fewer.train().loss(fewer.batch(0, 0))[0].item() < whole


def test_the_laptop_sizes_sample_where_a_vocabulary_is_large_and_all_words_are_dear():
    assert ElmoConfig.small(20_000).n_negative_samples_batch == 512
    assert ElmoConfig.small(5_000).n_negative_samples_batch == 0
    assert ElmoConfig.small(20_000, n_tokens_vocab=5_000).n_negative_samples_batch == 0
    assert ElmoConfig.tiny(20_000, n_negative_samples_batch=0).n_negative_samples_batch == 0
    assert ElmoConfig.published().n_negative_samples_batch == 8192


def test_the_gradient_of_sampling_is_on_average_nearly_that_of_the_full_softmax():
    model = elmo(n_negative_samples_batch=31, dropout=0.0)
    model.prepare(CORPUS)

    def gradient(batch):
        for p in model.parameters():
            p.grad = None
        model.loss(batch)[0].backward()
        return np.array(model.lm.directions[0].rnns[0].weight_ih_l0.grad)

    first = model.batch(0, 0)
    full = gradient(ElmoBatch(first.inputs, first.targets, fresh=True))
    model.train()
    drawn = [model.batch(step * model.steps_per_epoch, 0).samples for step in range(60)]
    mean = np.mean(
        [gradient(ElmoBatch(first.inputs, first.targets, True, each)) for each in drawn], axis=0
    )
    cosine = (mean * full).sum() / np.linalg.norm(mean) / np.linalg.norm(full)
    assert cosine > 0.95


def test_perplexities_are_e_to_the_nats_of_each_direction():
    model = elmo()
    model.prepare(CORPUS)
    found = model.perplexities(CORPUS)
    nats = {"forward": [], "backward": []}
    count = 0
    for batch in model.evaluation_batches(CORPUS):
        _, parts = model.loss(batch)
        count += batch.tokens
        for name, each in nats.items():
            each.append((parts[name], batch.tokens))
    for name, each in nats.items():
        mean = sum(nat * n for nat, n in each) / count
        assert abs(found[name] - np.exp(mean)) < 1e-9 * found[name]


# ---- what is carried on


def test_a_carried_state_makes_several_texts_one_long_text():
    model = elmo()
    text = ids(2, 11)
    whole = read(model, text)
    parts = [read(model, text[:, :4], carry=True), read(model, text[:, 4:], carry=True)]
    for number in range(1, len(whole)):
        left = np.concatenate([halves(part[number])[0] for part in parts], axis=1)
        np.testing.assert_allclose(left, halves(whole[number])[0], atol=1e-12)
    model.forget()
    parts = [read(model, text[:, 4:], carry=True), read(model, text[:, :4], carry=True)]
    for number in range(1, len(whole)):
        right = np.concatenate([halves(part[number])[1] for part in parts[::-1]], axis=1)
        np.testing.assert_allclose(right, halves(whole[number])[1], atol=1e-12)


def test_calls_with_a_carried_state_differ_and_agree_after_forgetting():
    model = elmo()
    text = ids(2, 5)
    first = read(model, text, carry=True)
    second = read(model, text, carry=True)
    assert not np.allclose(first[1], second[1]) and np.array_equal(first[0], second[0])
    model.forget()
    again = read(model, text, carry=True)
    plain = read(model, text)
    for one, other, without in zip(first, again, plain, strict=True):
        assert np.array_equal(one, other) and np.array_equal(one, without)


def test_rows_that_a_reading_lacks_begin_fresh_and_rows_left_out_wait():
    model = elmo()
    text = ids(3, 5)
    read(model, text[:2], carry=True)
    third = read(model, text, carry=True)
    np.testing.assert_allclose(third[-1][2], read(model, text[2:])[-1][0], atol=1e-12)
    read(model, text[:1], carry=True)
    last = read(model, text, carry=True)
    model.forget()
    read(model, text[1:2], carry=True)
    read(model, text[1:2], carry=True)
    waited = read(model, text[1:2], carry=True)
    np.testing.assert_allclose(last[-1][1], waited[-1][0], atol=1e-12)


def test_training_goes_on_from_batch_to_batch_and_evaluation_leaves_it_alone():
    model = elmo().train()
    model.prepare(CORPUS)
    first, second = model.batch(0, 0), model.batch(1, 0)
    assert first.fresh and not second.fresh
    model.loss(first)
    carried = {name: array.copy() for name, array in model.state().items()}
    model.perplexities(CORPUS)
    model.encode(ids(2, 5), carry=True)
    assert all(np.array_equal(carried[name], model.state()[name]) for name in carried)
    continued = model.loss(second)[0].item()
    inputs = np.concatenate([first.inputs, second.inputs], axis=2)
    targets = np.concatenate([first.targets, second.targets], axis=2)
    whole = ElmoBatch(inputs, targets, fresh=True)
    mean = (model.loss(first)[0].item() + continued) / 2
    assert abs(model.loss(whole)[0].item() - mean) < 1e-12
    alone = ElmoBatch(second.inputs, second.targets, fresh=True)
    assert model.loss(alone)[0].item() != continued


# ---- batches


def test_batches_read_every_document_once_an_epoch_in_both_directions():
    model = elmo(batch_size=1, unroll_steps=13)
    model.prepare(CORPUS)
    steps = model.steps_per_epoch
    batches = [model.batch(step, 7) for step in range(2 * steps)]
    for epoch in (batches[:steps], batches[steps:]):
        text = np.concatenate([batch.targets[0, 0] for batch in epoch])
        assert [batch.fresh for batch in epoch] == [True] + [False] * (steps - 1)
        counts = np.bincount(text, minlength=59)
        known = CORPUS.counts - np.bincount(CORPUS.ids[CORPUS.starts[1:] - 1], minlength=59)
        known[model.end_id] = len(CORPUS.sentences) - 1
        assert (counts <= known).all() and counts.sum() > known.sum() - 13
    assert not np.array_equal(batches[0].inputs, batches[steps].inputs)


def test_evaluation_predicts_every_word_once_in_each_direction():
    model = elmo()
    words = ~np.isin(CORPUS.ids, (model.begin_id, model.end_id))
    predictions = words.sum() + len(CORPUS.sentences) - 1
    for lanes in (1, 3, 50):
        model = elmo(batch_size=lanes)
        batches = list(model.evaluation_batches(CORPUS))
        assert sum(batch.tokens for batch in batches) == 2 * predictions


def test_the_words_of_another_encoding_are_spelled_too():
    words = Words.train(TEXTS, 59)
    words.add_specials(Elmo.needs_tokens)
    model = Elmo(ElmoConfig.tiny(words.vocab_size, **SIZES))
    with pytest.raises(TinylmError, match="how its words are spelled"):
        model.encode(np.array([[3]]))
    with pytest.raises(TinylmError, match="knows no <S>"):
        model.prepare(CORPUS)
    model.spell(words.vocab, words.special_ids)
    model.prepare(encode_corpus(TEXTS, words, words.end_id, structure=True))
    assert np.isfinite(model.loss(model.batch(0, 0))[0].item())


def test_a_projection_wider_than_the_cells_is_refused():
    with pytest.raises(ArgumentError, match="projection_dim = 13 is above dim = 11"):
        ElmoConfig.tiny(59, projection_dim=13, dim=11)


def test_layers_thaw_from_the_top_and_the_softmax_belongs_to_none():
    model = elmo()
    groups = model.layer_groups()
    assert len(groups) == 4
    grouped = {id(p) for group in groups for p in group}
    others = [name for name, p in model.named_parameters() if id(p) not in grouped]
    assert others == ["softmax.weight", "softmax.bias"]

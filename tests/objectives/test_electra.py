"""Laws of ELECTRA: what it corrupts, what counts as replaced, and which weights each loss teaches."""

import numpy as np
import pytest

import tinylm
from tinylm import Electra, ElectraConfig, nn
from tinylm import ops as F
from tinylm.data import encode_corpus, toy
from tinylm.errors import ShapeError, TinylmError
from tinylm.objectives.electra import HIDDEN, electra_loss
from tinylm.sampling import gumbel_max
from tinylm.tensor import no_grad
from tinylm.text import Chars, WordPiece
from tinylm.training.check import check

TEXTS = toy.documents(40)
TOKENIZER = WordPiece.train(TEXTS, 211)
CORPUS = encode_corpus(TEXTS, TOKENIZER, end_id=TOKENIZER.end_id, structure=True)
V = TOKENIZER.vocab_size
PAD, CLS, SEP, MASK = (TOKENIZER.vocab.index(f"[{name}]") for name in ("PAD", "CLS", "SEP", "MASK"))


def model_of(**options):
    """A small model that has read the toy texts."""
    sizes = dict(embedding_size=10, hidden_size=12, num_attention_heads=3, intermediate_size=22)
    sizes |= dict(sequence_length=37, batch_size=5)
    model = Electra(ElectraConfig.tiny(V, **sizes | options))
    model.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    model.prepare(CORPUS)
    return model.eval()


def parts_of(model, batch):
    """The parts of the loss as {name: (sum, count)}, with the dice of step 0."""
    model.rewind(0, 0)
    return model.loss(batch)[1]


def binomial(n, p):
    """Five standard deviations around the mean."""
    spread = 5 * np.sqrt(n * p * (1 - p))
    return n * p - spread, n * p + spread


def test_the_loss_on_paper_is_the_models():
    model = model_of(gen_weight=0.7, disc_weight=11.0, temperature=1.3)
    for step in range(7):
        batch = model.batch(step, 0)
        scores = model.logits(batch.masked, batch.mask, token_types=batch.token_types).data
        scores = scores.reshape(-1, V)[batch.picks]
        rng = np.random.default_rng(int(nn.Noise().at(0, 0).key()))
        samples = gumbel_max(scores / 1.3, rng)
        corrupted = batch.ids.copy().reshape(-1)
        corrupted[batch.picks] = samples
        judged = model.judge(
            corrupted.reshape(batch.ids.shape), batch.mask, token_types=batch.token_types
        )
        real = batch.mask.reshape(-1)
        place = np.cumsum(real) - 1  # of each token, among the real ones
        chances = np.exp(scores.astype(float))
        on_paper = electra_loss(
            batch.ids.reshape(-1)[real],
            place[batch.picks],
            chances / chances.sum(axis=1, keepdims=True),
            samples,
            judged.data.reshape(-1)[real].astype(float),
            gen_weight=0.7,
            disc_weight=11.0,
        )
        model.rewind(0, 0)
        assert model.loss(batch)[0].item() == pytest.approx(on_paper, rel=1e-5)


def test_the_generator_reads_the_mask_or_the_token_itself_and_nothing_else():
    model = model_of(sequence_length=101)
    hidden = picked = 0
    for step in range(60):
        batch = model.batch(step, 0)
        places = np.unique(batch.picks)
        changed = np.flatnonzero(batch.masked != batch.ids)
        assert np.isin(changed, places).all() and (batch.masked.reshape(-1)[changed] == MASK).all()
        once, counts = np.unique(batch.picks, return_counts=True)
        once = once[counts == 1]
        picked += len(once)
        hidden += (batch.masked.reshape(-1)[once] == MASK).sum()
    low, high = binomial(picked, HIDDEN)
    assert low <= hidden <= high


def test_special_tokens_and_padding_are_never_picked_and_all_other_tokens_are():
    model = model_of()
    seen = set()
    for step in range(80):
        batch = model.batch(step, 0)
        assert batch.mask.reshape(-1)[batch.picks].all()
        seen |= set(batch.ids.reshape(-1)[batch.picks].tolist())
    assert not seen & {PAD, CLS, SEP, MASK} and len(seen) > 0.8 * len(np.unique(CORPUS.ids))


def test_a_lucky_guess_is_real():
    model = model_of()
    favourite = int(np.argmax(CORPUS.counts * (np.arange(V) > MASK)))
    model.generator_head.bias.data[favourite] = 1e4  # the generator knows one word only
    lucky = 0
    for step in range(9):
        batch = model.batch(step, 0)
        originals = batch.ids.reshape(-1)[np.unique(batch.picks)]
        replaced, count = parts_of(model, batch)["replaced"]
        assert replaced == (originals != favourite).sum() and count == batch.mask.sum()
        lucky += (originals == favourite).sum()
    assert lucky > 0


def test_all_real_tokens_are_judged_or_the_picked_ones_only():
    batch = model_of().batch(0, 0)
    assert np.array_equal(batch.judged, batch.mask) and batch.tokens == batch.mask.sum()
    model = model_of(discriminate="picked")
    batch = model.batch(0, 0)
    places = np.unique(batch.picks)
    assert np.array_equal(np.flatnonzero(batch.judged), places) and batch.tokens == len(places)
    parts = parts_of(model, batch)
    assert parts["discriminator"][1] == parts["replaced"][1] == len(places)


def gradients(model, batch):
    """Names of the parameters that the loss moves."""
    for p in model.parameters():
        p.grad = None
    model.rewind(0, 0)
    model.loss(batch)[0].backward()
    named = model.named_parameters()
    return {name for name, p in named if p.grad is not None and np.abs(p.grad).max() > 0}


def test_each_loss_teaches_its_own_weights_and_the_shared_tables():
    shared = {f"encoder.embeddings.{part}" for part in ("words.weight", "positions.weight")}
    shared |= {"encoder.embeddings.types.weight"}
    shared |= {f"encoder.embeddings.norm.{part}" for part in ("weight", "bias")}
    model = model_of()
    batch = model.batch(0, 0)
    names = {name for name, _ in model.named_parameters()}
    of_generator = {name for name in names if name.startswith("generator")}
    both = gradients(model, batch)
    generator = gradients(model_of(disc_weight=0.0), batch)
    discriminator = gradients(model_of(gen_weight=0.0), batch)
    assert both == names
    assert generator == of_generator | shared
    assert discriminator == names - of_generator


def test_the_discriminators_gradient_does_not_pass_through_the_samples():
    model = model_of(gen_weight=0.0).astype(np.float64)
    batch = model.batch(0, 0)
    model.rewind(0, 0)
    model.loss(batch)[0].backward()
    through_loss = model.encoder.embeddings.words.weight.grad.copy()
    model.rewind(0, 0)
    with no_grad():
        scores = model.logits(batch.masked, batch.mask, token_types=batch.token_types)
        scores = scores.data.reshape(-1, V)[batch.picks]
    rng = np.random.default_rng(int(model.noise.key()))
    corrupted = batch.ids.copy().reshape(-1)
    corrupted[batch.picks] = gumbel_max(scores, rng)
    corrupted = corrupted.reshape(batch.ids.shape)
    model.encoder.embeddings.words.weight.grad = None
    judged = model.judge(corrupted, batch.mask, token_types=batch.token_types)
    losses = F.binary_cross_entropy_with_logits(judged, corrupted != batch.ids, reduction="none")
    loss = (losses * batch.mask).sum() * (50 / batch.mask.sum())
    loss.backward()
    alone = model.encoder.embeddings.words.weight.grad
    np.testing.assert_allclose(through_loss, alone, rtol=0, atol=1e-12 * np.abs(alone).max())


def test_a_uniform_generator_replaces_by_any_token_and_has_no_weights():
    model = model_of(uniform_generator=True)
    assert model.generator is None and model.generator_head is None
    replaced = places = 0
    for step in range(60):
        batch = model.batch(step, 0)
        model.rewind(0, step)
        loss, parts = model.loss(batch)
        replaced += parts["replaced"][0]
        places += len(np.unique(batch.picks))
        assert loss.item() == pytest.approx(50 * parts["discriminator"][0] / batch.tokens, rel=1e-5)
    low, high = binomial(places, 1 - 1 / V)
    assert low <= replaced <= high and "generator" not in parts
    with pytest.raises(TinylmError, match="electra has no scores"):
        model.need("scores")


def test_a_cold_generator_takes_its_best_guess_and_a_hot_one_any():
    cold, hot = model_of(temperature=1e-6), model_of(temperature=1e6)
    replaced = places = 0
    for step in range(40):
        batch = cold.batch(step, 0)
        best = cold.logits(batch.masked, batch.mask, token_types=batch.token_types).data.argmax(-1)
        once = np.unique(batch.picks)
        wrong = (best.reshape(-1)[once] != batch.ids.reshape(-1)[once]).sum()
        assert parts_of(cold, batch)["replaced"][0] == wrong
        replaced += parts_of(hot, batch)["replaced"][0]
        places += len(once)
    low, high = binomial(places, 1 - 1 / V)
    assert low <= replaced <= high


@pytest.mark.parametrize("options", [{}, {"uniform_generator": True}])
def test_a_generator_that_may_not_be_right_replaces_every_pick(options):
    model = model_of(disallow_correct=True, **options)
    if not options:
        model.generator_head.bias.data[CORPUS.ids] = 3.0
    for step in range(9):
        batch = model.batch(step, 0)
        assert parts_of(model, batch)["replaced"][0] == len(np.unique(batch.picks))


def test_what_is_called_replaced_is_counted():
    model = model_of()
    batch = model.batch(0, 0)
    for bias, called in ((1e3, batch.tokens), (-1e3, 0)):
        model.out.bias.data[:] = bias
        parts = parts_of(model, batch)
        replaced, count = parts["replaced"]
        assert parts["precision"] == (replaced if called else 0, called)
        assert parts["accuracy"] == (replaced if called else count - replaced, count)


def test_without_the_electra_objective_it_is_a_masked_language_model():
    model = model_of(electra_objective=False)
    batch = model.batch(0, 0)
    assert model.generator is model.encoder and model.dense is None and model.out is None
    scores = model.logits(batch.masked, batch.mask, token_types=batch.token_types)
    picked = scores.reshape(-1, V).data[batch.picks]
    expected = F.cross_entropy(picked, batch.ids.reshape(-1)[batch.picks]).item()
    loss, parts = model.loss(batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5) and batch.tokens == batch.picks.size
    assert set(parts) == {"generator", "right"}
    with pytest.raises(TinylmError, match="cannot judge"):
        model.need("judgement")


def test_generator_and_model_share_tables_all_weights_or_nothing():
    shared = model_of()
    assert shared.generator.embeddings is shared.encoder.embeddings
    assert shared.generator.project.weight.shape == (6, 10)
    assert shared.encoder.project.weight.shape == (12, 10)
    tied = model_of(untied_generator=False)
    assert tied.generator is tied.encoder
    alone = model_of(untied_generator_embeddings=True)
    assert alone.generator.embeddings.words.weight.shape == (V, 6)
    assert alone.generator.project is None
    names = {name.split(".")[0] for name in alone.state_dict()}
    assert names == {"encoder", "generator", "generator_head", "dense", "out"}


def test_padding_teaches_nothing():
    model = model_of()
    batch = model.batch(1, 0)
    wider = {}
    for name in ("ids", "token_types", "mask", "masked", "judged"):
        wider[name] = np.pad(getattr(batch, name), ((0, 0), (0, 3)))
    length = batch.ids.shape[1]
    rows, places = batch.picks // length, batch.picks % length
    wider = type(batch)(picks=rows * (length + 3) + places, tokens=batch.tokens, **wider)
    model.rewind(0, 0)
    loss = model.loss(batch)[0].item()
    model.rewind(0, 0)
    assert model.loss(wider)[0].item() == pytest.approx(loss, rel=1e-5)


def test_an_evaluation_reads_every_example_once_with_the_same_dice():
    model = model_of()
    batches = list(model.evaluation_batches(CORPUS))
    rows = sum(len(batch.ids) for batch in batches)
    assert rows == len(model.pieces.examples(0))
    found = [tinylm.training.evaluation.evaluate(model, CORPUS) for _ in range(2)]
    assert found[0] == found[1] and found[0]["tokens"] == sum(b.tokens for b in batches)


def test_an_epoch_holds_every_example_once():
    model = model_of()
    n = len(model.pieces.examples(3))
    steps = -(-n // 5)
    rows = []
    for step in range(steps):
        batch = model.batch(step, 3)
        rows += [tuple(row[m]) for row, m in zip(batch.ids, batch.mask, strict=True)]
    ids, _, mask = model.pieces.rows(model.pieces.examples(3), CLS, SEP, PAD)
    assert sorted(rows[:n]) == sorted(tuple(row[m]) for row, m in zip(ids, mask, strict=True))


def test_lengths_come_by_turns_and_every_step_reads_as_many_tokens():
    """Each length has its own examples, of which an epoch holds every one once."""
    model = model_of(sequence_length=36, batch_size=5, lengths=(9, 9, 36))
    config = model.config
    turns = [config.turn(step) for step in range(6)]
    assert [length for length, _, _ in turns] == [9, 9, 36, 9, 9, 36]
    assert {length * count for length, count, _ in turns} == {5 * 36}
    assert [number for length, _, number in turns if length == 9] == [0, 1, 2, 3]
    for length in (9, 36):
        pieces = model.by_length[length]
        n = len(pieces.examples(3))
        rows = []
        step = 0
        while len(rows) < n:
            if config.turn(step)[0] == length:
                batch = model.batch(step, 3)
                assert len(batch.ids) == 5 * 36 // length
                rows += [tuple(row[m]) for row, m in zip(batch.ids, batch.mask, strict=True)]
                assert batch.ids.shape[1] <= length
            step += 1
        ids, _, mask = pieces.rows(pieces.examples(3), CLS, SEP, PAD)
        expected = [tuple(row[m]) for row, m in zip(ids, mask, strict=True)]
        assert sorted(rows[:n]) == sorted(expected)
        assert max(map(len, rows)) == length
    with pytest.raises(TinylmError, match="none above 36"):
        model_of(sequence_length=36, lengths=(9, 37))


def losses_and_gradients(threads):
    """Loss and gradients of one step with dropout, as bytes."""
    tinylm.set_threads(threads)
    model = model_of(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1).train()
    model.rewind(0, 0)
    loss, _ = model.loss(model.batch(0, 0))
    loss.backward()
    return [loss.data.tobytes(), *(p.grad.tobytes() for p in model.parameters())]


def test_one_and_two_threads_give_the_same_bits(restored_threads):
    assert losses_and_gradients(1) == losses_and_gradients(2)


OPTIONS = [
    {},
    {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "accumulate": 2},
    {"uniform_generator": True, "embedding_size": 24},
    {"untied_generator": False, "disallow_correct": True},
    {"untied_generator_embeddings": True, "discriminate": "picked", "temperature": 2.0},
    {"electra_objective": False, "hidden_act": "silu"},
    {"repeats": "mean", "type_vocab_size": 0, "num_hidden_layers": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "plain")
def test_it_keeps_its_promises_with_every_option(options):
    sizes = dict(embedding_size=16, hidden_size=24, intermediate_size=40, sequence_length=24)
    lines = check("electra", options=sizes | options)
    assert [str(line) for line in lines if line.status == "FAIL"] == []


def test_the_published_sizes_have_their_numbers_of_weights():
    config = ElectraConfig.electra_small()
    model = Electra(config)
    in_generator = {id(p) for p in model.generator.parameters() + model.generator_head.parameters()}
    in_generator -= {id(p) for p in model.encoder.embeddings.parameters()}
    sizes = [p.size for p in model.parameters() if id(p) not in in_generator]
    assert sum(sizes) == 13_549_057  # of transformers' ElectraForPreTraining
    assert (config.generator_width, config.generator_heads) == (64, 1)
    base, large = ElectraConfig.electra_base(), ElectraConfig.electra_large()
    assert (base.generator_width, base.generator_heads, base.most_picks) == (256, 4, 79)
    assert (large.generator_width, large.mask_prob, large.most_picks) == (256, 0.25, 130)


def test_mistakes_are_one_sentence_each():
    with pytest.raises(ShapeError, match="200 wide, which its 3 heads"):
        ElectraConfig(V, hidden_size=800, generator_size=0.25)
    with pytest.raises(ShapeError, match="hidden_size = 10 is not a multiple"):
        ElectraConfig(V, hidden_size=10, num_attention_heads=3)
    with pytest.raises(TinylmError, match="discriminate is 'some'"):
        ElectraConfig(V, discriminate="some")
    with pytest.raises(TinylmError, match="temperature is 0"):
        ElectraConfig(V, temperature=0.0)
    model = Electra(ElectraConfig.tiny(V))
    with pytest.raises(TinylmError, match="call prepare"):
        model.batch(0, 0)
    with pytest.raises(TinylmError, match=r"does not know the tokens \[CLS\]"):
        model.prepare(CORPUS)
    letters = Chars.train(TEXTS)
    model.spell(letters.vocab, letters.special_ids)
    with pytest.raises(TinylmError, match="after add_specials"):
        model.prepare(encode_corpus(TEXTS, letters))


def test_an_encoding_without_the_special_tokens_can_get_them():
    letters = Chars.train(TEXTS)
    letters.add_specials(Electra.needs_tokens)
    text = encode_corpus(TEXTS, letters, end_id=letters.end_id, structure=True)
    model = Electra(ElectraConfig.tiny(letters.vocab_size))
    model.spell(letters.vocab, letters.special_ids)
    model.prepare(text)
    batch = model.batch(0, 0)
    seen = np.unique(batch.ids[batch.mask])
    assert {model.cls_id, model.sep_id} <= set(seen) and letters.end_id not in seen
    assert np.isfinite(model.loss(batch)[0].item())

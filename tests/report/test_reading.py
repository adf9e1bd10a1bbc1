"""What a model makes of a text: the numbers are those of the model, and nobody sees its own token."""

import numpy as np
import pytest

import tinylm
from tinylm import nn
from tinylm.errors import DataError, VocabularyError
from tinylm.nn.relative import RelativeAttention, View, distance_table, distances
from tinylm.objectives import find
from tinylm.report import looking, show
from tinylm.report.reading import label, read
from tinylm.text import BPE, Chars, WordPiece, Words
from tinylm.text.elmo import ElmoWords
from tinylm.training.filling import fill
from tinylm.training.zero_shot import score

WORDS = "ash birch cedar elm fir hazel larch maple oak pine rowan yew".split()
TEXT = "ash elm oak fir yew"


def made(name, **sizes):
    """A chapter's tiny model with large random weights, and a tokenizer of WORDS for it."""
    chapter = find(name)
    tokenizer = ElmoWords(WORDS) if chapter.encoding == "elmo" else Words(WORDS)
    missing = [token for token in chapter.needs_tokens if token not in tokenizer.vocab]
    tokenizer.add_specials(missing)
    if chapter.template is not None:
        tokenizer.arrange(chapter.template)
    config = chapter.Config.tiny(tokenizer.vocab_size, **sizes)
    model = chapter(config, np.random.default_rng(7))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    for parameter in model.parameters():
        rng = np.random.default_rng(parameter.size)
        noise = 0.2 * rng.standard_normal(parameter.shape)
        parameter.data[...] += noise.astype(parameter.dtype)
    return model.eval(), tokenizer


def choices(reading, way):
    """The choices at the text's own tokens."""
    pairs = zip(reading.guesses[way], reading.own, strict=True)
    return [guess and guess.choices for guess, own in pairs if own]


@pytest.mark.parametrize("name", ["gpt", "gpt1", "ulmfit"])
def test_losses_from_the_left_are_those_of_score(name):
    model, tokenizer = made(name)
    reading = read(model, tokenizer, TEXT)
    assert reading.tokens == ["<eos>", *TEXT.split()] and reading.own == [False] + [True] * 5
    [expected] = score(model, tokenizer, "", [TEXT])
    nats = [guess.nats for guess in reading.guesses["left"][1:]]
    np.testing.assert_allclose(nats, -expected.nats, rtol=1e-5)
    assert list(reading.guesses) == ["left"] and reading.guesses["left"][0] is None


def test_what_follows_is_what_a_greedy_model_would_write():
    model, tokenizer = made("gpt")
    reading = read(model, tokenizer, TEXT, count=3)
    ids = [tokenizer.end_id, *tokenizer.encode(TEXT)]
    scores = model.logits(np.array([ids])).data[0, -1, : tokenizer.vocab_size]
    best = np.argsort(-scores)[:3]
    assert [token for token, _ in reading.following.choices] == [tokenizer.vocab[i] for i in best]
    assert reading.following.nats is None and reading.following.rank is None


@pytest.mark.parametrize("name", ["bert", "electra", "distil"])
def test_choices_of_a_hidden_token_are_those_of_fill(name):
    model, tokenizer = made(name)
    reading = read(model, tokenizer, TEXT, count=50)
    hidden = "ash elm [MASK] fir yew"
    [expected] = fill(model, tokenizer, hidden, count=50)
    found = dict(reading.guesses["others"][3].choices)
    for choice in expected:
        assert found[choice.token] == pytest.approx(choice.probability, rel=1e-4)
    oak = reading.guesses["others"][3]
    assert oak.nats == pytest.approx(-np.log(found["oak"]))
    assert oak.rank == 1 + sum(p > found["oak"] for p in found.values())


@pytest.mark.parametrize("name", ["bert", "electra", "distil", "xlnet"])
def test_no_token_sees_itself_and_every_token_sees_the_others(name):
    model, tokenizer = made(name)
    before = choices(read(model, tokenizer, "ash elm oak fir yew"), "others")
    after = choices(read(model, tokenizer, "ash elm pine fir yew"), "others")
    for t in range(5):
        first = np.array([p for _, p in before[t]])
        second = np.array([p for _, p in after[t]])
        assert np.allclose(first, second, rtol=1e-4) == (t == 2)


@pytest.mark.parametrize(("way", "seen"), [("left", [3, 4]), ("right", [0, 1])])
def test_each_direction_of_elmo_sees_one_side(way, seen):
    model, tokenizer = made("elmo")
    before = choices(read(model, tokenizer, "ash elm oak fir yew"), way)
    after = choices(read(model, tokenizer, "ash elm pine fir yew"), way)
    for t in range(5):
        first = np.array([p for _, p in before[t]])
        second = np.array([p for _, p in after[t]])
        assert np.allclose(first, second, rtol=1e-5) == (t not in seen)


def test_losses_of_elmo_are_those_of_its_objective():
    model, tokenizer = made("elmo")
    reading = read(model, tokenizer, TEXT)
    ids = np.array([[0, *tokenizer.encode(TEXT), 1]])
    assert (
        [tokenizer.vocab[i] for i in (0, 1)]
        == ["<S>", "</S>"]
        == reading.tokens[:: len(ids[0]) - 1]
    )
    both = np.stack([ids, ids[:, ::-1]])
    unseen = np.full((2, 1, 1), -100)
    targets = np.concatenate([both[:, :, 1:], unseen], axis=2)
    batch = tinylm.objectives.elmo.ElmoBatch(both, targets, fresh=True)
    _, parts = model.loss(batch)
    for way, part in (("left", "forward"), ("right", "backward")):
        nats = [guess.nats for guess in reading.guesses[way] if guess is not None]
        assert len(nats) == 6 and np.mean(nats) == pytest.approx(parts[part], rel=1e-4)


def test_a_model_that_reads_backwards_is_asked_from_the_right():
    model, tokenizer = made("ulmfit", backward=True)
    before = read(model, tokenizer, "ash elm oak fir yew")
    after = read(model, tokenizer, "ash elm pine fir yew")
    assert list(before.guesses) == ["right"] and before.following is None
    same = [a == b for a, b in zip(choices(before, "right"), choices(after, "right"), strict=True)]
    assert same == [False, False, True, True, True]


def test_a_gap_of_the_text_stays_one_and_has_no_loss():
    model, tokenizer = made("bert")
    reading = read(model, tokenizer, "ash elm [MASK] fir yew", count=50)
    assert reading.tokens[3] == "[MASK]" and reading.guesses["others"][3].nats is None
    [expected] = fill(model, tokenizer, "ash elm [MASK] fir yew", count=50)
    found = dict(reading.guesses["others"][3].choices)
    assert all(found[c.token] == pytest.approx(c.probability, rel=1e-4) for c in expected)
    others = [guess for t, guess in enumerate(reading.guesses["others"]) if t in (1, 2, 4, 5)]
    assert all(guess.nats > 0 for guess in others)


def test_a_judge_says_how_probably_each_token_is_replaced():
    model, tokenizer = made("electra")
    reading = read(model, tokenizer, TEXT)
    logits = model.judge(np.array([[tokenizer.token_id(token) for token in reading.tokens]])).data
    np.testing.assert_allclose(reading.replaced, 1 / (1 + np.exp(-logits[0])), rtol=1e-5)
    plain, _ = made("electra", electra_objective=False)
    assert read(plain, tokenizer, TEXT).replaced is None
    alone, _ = made("electra", uniform_generator=True)
    reading = read(alone, tokenizer, TEXT)
    assert reading.replaced is not None and reading.guesses == {} and reading.nearest


@pytest.mark.parametrize("name", ["word2vec", "glove", "fasttext"])
def test_word_vectors_have_neighbours_and_no_choices(name):
    model, tokenizer = made(name)
    reading = read(model, tokenizer, "ash elm unheard", count=4)
    assert reading.guesses == {} and reading.attention == [] and reading.following is None
    found = looking.nearest(model, tokenizer, "elm", 4)
    assert [word for word, _ in reading.nearest[1].choices] == [word for word, _ in found]
    cosines = [cosine for _, cosine in reading.nearest[1].choices]
    np.testing.assert_allclose(cosines, [cosine for _, cosine in found], rtol=1e-5)
    assert reading.tokens[2] == "unheard"
    assert (reading.nearest[2] is None) == (name != "fasttext")


def test_attention_of_a_relative_layer_is_what_it_mixes_its_values_with():
    config = nn.BlockConfig(width=15, heads=3, hidden=7, std=0.5)
    rng = np.random.default_rng(3)
    layer = RelativeAttention(config, noise=nn.Noise(), rng=rng).eval()
    x = tinylm.Tensor(rng.standard_normal((1, 11, 15)).astype(np.float32))
    table = tinylm.Tensor(distance_table(distances(11, 11), 15)[None].astype(np.float32))
    view = View(np.tri(11, dtype=bool)[None], rng.random((1, 11, 11)) < 0.5)
    seen = layer.keys(x, table)
    calls = []
    with looking._recorded([layer], calls):
        layer(x, seen, view)
    shown = looking._weights(*calls[0])
    assert np.all(np.triu(shown, 1) == 0)
    mixed = (shown @ seen[1].data[0]).swapaxes(0, 1).reshape(1, 11, 15)  # (H,T,D) -> (1,T,C)
    rebuilt = layer.layer_norm(layer.o(tinylm.Tensor(mixed.astype(np.float32)), residual=x))
    np.testing.assert_allclose(rebuilt.data, layer(x, seen, view).data, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt", "gpt1", "bert", "electra", "distil", "tinybert", "xlnet"])
def test_every_layer_and_head_has_rows_that_sum_to_one(name):
    model, tokenizer = made(name)
    reading = read(model, tokenizer, TEXT)
    length = len(reading.tokens)
    assert len(reading.attention) == 2
    for weights in reading.attention:
        assert weights.shape == (2, length, length) and weights.min() >= 0
        np.testing.assert_allclose(weights.sum(axis=-1), 1)


def test_weights_can_be_seen_of_frozen_layers_too():
    model, tokenizer = made("bert")
    expected = read(model, tokenizer, TEXT).attention
    for parameter in model.parameters():
        parameter.requires_grad = False
    for frozen, weights in zip(read(model, tokenizer, TEXT).attention, expected, strict=True):
        np.testing.assert_array_equal(frozen, weights)


@pytest.mark.parametrize("name", ["gpt", "bert", "xlnet", "elmo", "word2vec"])
@pytest.mark.parametrize("most", [5, 64])
def test_a_long_text_is_cut_and_the_rest_is_counted(name, most):
    model, tokenizer = made(name)
    reading = read(model, tokenizer, " ".join(WORDS * 7), most=most)
    assert len(reading.tokens) == most
    assert sum(reading.own) + reading.left_out == 7 * len(WORDS)


def test_no_more_is_read_than_the_model_can():
    model, tokenizer = made("gpt", n_positions=7)
    assert len(read(model, tokenizer, TEXT * 3, most=64).tokens) == 7


def test_reading_leaves_the_model_as_it_was():
    model, tokenizer = made("bert")
    model.train()
    weights = {name: array.copy() for name, array in model.state_dict().items()}
    first = read(model, tokenizer, TEXT)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert all("forward" not in vars(module) for module in model.modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, weights[name])
    assert read(model, tokenizer, TEXT).guesses == first.guesses


@pytest.mark.parametrize("text", ["", "   "])
def test_a_text_without_a_token_is_one_sentence(text):
    model, tokenizer = made("bert")
    with pytest.raises(DataError, match="holds no token"):
        read(model, tokenizer, text)
    with pytest.raises(VocabularyError, match="special tokens of the template alone"):
        read(model, tokenizer, TEXT, most=1)


def test_a_label_is_what_one_reads():
    pieces = WordPiece(["[UNK]", "[MASK]", "un", "##able"])
    assert [label(pieces, i) for i in range(4)] == ["[UNK]", "[MASK]", "un", "##able"]
    bpe = BPE.train(["the naïve the naïve"] * 3, 262, exact=False)
    ids = bpe.encode("the é")
    texts = [label(bpe, i) for i in ids]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts) and "" not in texts
    assert label(Chars("ab "), Chars("ab ").token_id(" ")) == " "


@pytest.mark.parametrize(("name", "asked"), [("gpt", "ash"), ("word2vec", "zebra")])
def test_a_page_of_a_text_without_any_guess_is_drawn(name, asked):
    model, tokenizer = made(name)
    found = read(model, tokenizer, asked, most=1)
    assert "token by token" in show.document(found, name)

"""Laws of tasks with several sequences and of the auxiliary loss, as GPT-1 adapts."""

import numpy as np
import pytest

from tinylm import GPT1, Classifier, GPT1Config, Word2Vec, Word2VecConfig, check_grads, nn
from tinylm import ops as F
from tinylm.errors import DataError, TinylmError
from tinylm.objectives.gpt1 import for_tasks
from tinylm.text import Chars
from tinylm.transfer import AdaptConfig, both_orders, choice_scores
from tinylm.transfer.features import Features, encode_texts, take
from tinylm.transfer.finetune import Network, tune
from tinylm.transfer.linear import SoftmaxRegression

FIRSTS = ["gabe", "fad", "b"]
SECONDS = ["cab", "h", "deaf"]
TEXTS = ["aaaa", "bbbbbbb", "aa", "bbb", "aaaaa", "bb"]
CLASSES = np.array([0, 1, 0, 1, 0, 1])


def reader(**changes):
    """A small GPT-1 of letters, ready for tasks, and its tokenizer."""
    letters = Chars("abcdefgh")
    sizes = dict(n_positions=16, n_embd=12, n_layer=2, n_head=3, initializer_range=0.3)
    rates = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    model = GPT1(GPT1Config(letters.vocab_size, **(sizes | rates | changes)))
    model, tokenizer = for_tasks(model, letters)
    return model.eval(), tokenizer


def at_classify(model, tokenizer, first, second):
    """The top state at <classify> of one pair, read alone: <start> first <delimiter> second <classify>."""
    start, delimiter, classify = map(tokenizer.token_id, ("<start>", "<delimiter>", "<classify>"))
    a, b = tokenizer.encode(first), tokenizer.encode(second)
    ids = np.array([[start, *a, delimiter, *b, classify]])
    return model.encode(ids)[-1].data[0, -1]


def test_similarity_is_the_sum_of_both_orders_read_at_classify():
    model, tokenizer = reader()
    found = both_orders(model, tokenizer, FIRSTS, SECONDS).data
    for b, (first, second) in enumerate(zip(FIRSTS, SECONDS, strict=True)):
        forward = at_classify(model, tokenizer, first, second)
        backward = at_classify(model, tokenizer, second, first)
        np.testing.assert_allclose(found[b], forward + backward, atol=1e-5)
    turned = both_orders(model, tokenizer, SECONDS, FIRSTS).data
    np.testing.assert_allclose(turned, found, atol=1e-5)


ANSWERS = [["a", "bad", "hag", "gaga", "fed"]] * 2 + [["hhh", "d", "c", "be", "feed"]]


def test_every_answer_is_scored_by_its_own_sequence():
    model, tokenizer = reader()
    head = nn.Linear(12, 1, rng=np.random.default_rng(0), std=1.0)
    head.bias.data[...] = 0.7
    found = choice_scores(model, tokenizer, head, FIRSTS, ANSWERS).data
    assert found.shape == (3, 5)
    for b, context in enumerate(FIRSTS):
        for k, answer in enumerate(ANSWERS[b]):
            state = at_classify(model, tokenizer, context, answer)
            assert found[b, k] == pytest.approx(head.weight.data[0] @ state + 0.7, abs=1e-4)


def test_the_answers_of_a_context_share_their_dropout():
    model, tokenizer = reader()
    head = nn.Linear(12, 1, rng=np.random.default_rng(0), std=1.0)
    same = [["cab"] * 5] * 3
    scores = choice_scores(model, tokenizer, head, FIRSTS, same, dropout=0.5, key=7).data
    assert np.ptp(scores, axis=1).max() < 1e-5  # equal answers stay equal
    plain = choice_scores(model, tokenizer, head, FIRSTS, same).data
    assert np.abs(scores - plain).max() > 1e-3


def test_long_pairs_are_cut_to_the_positions_that_the_model_has():
    model, tokenizer = reader()
    found = both_orders(model, tokenizer, ["gabe" * 9], ["h" * 9])
    assert found.shape == (1, 12) and np.isfinite(found.data).all()


@pytest.mark.parametrize("answers", [[["a"], ["b"]], [["a"], ["b", "c"], ["d"]], [[], [], []]])
def test_unequal_numbers_of_answers_are_refused(answers):
    model, tokenizer = reader()
    head = nn.Linear(12, 1, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="the same number of answers"):
        choice_scores(model, tokenizer, head, FIRSTS, answers)


# -- the auxiliary loss --------------------------------------------------------------------------


def network(config, **changes):
    """A Network before its first update, and its texts as keywords of encode."""
    model, tokenizer = reader(**changes)
    features = Features(model, tokenizer, layers=("summary",))
    encoded = encode_texts(model, tokenizer, TEXTS)
    rows = features.fit_encoded(encoded)
    regression = SoftmaxRegression(config.C).fit(rows, CLASSES)
    return Network(features, regression, config), encoded


def test_the_loss_of_an_update_is_the_classifiers_mean_plus_lm_coef_times_the_texts():
    net, encoded = network(AdaptConfig(dropout=0.0))
    classes = F.cross_entropy(net(encoded), CLASSES).item()
    _, own = net.encoder.states_and_loss(**encoded)
    assert net.loss(encoded, CLASSES, 0.0).item() == classes
    total = net.loss(encoded, CLASSES, 0.5).item()
    assert total == pytest.approx(classes + 0.5 * own.item(), rel=1e-6)


def test_the_loss_of_an_update_has_the_gradient_of_every_weight():
    net, encoded = network(AdaptConfig(dropout=0.0), n_embd=6, n_layer=1)
    net.astype(np.float64)
    net.mean, net.scale = net.mean.astype(float), net.scale.astype(float)
    batch = take(encoded, [1, 2, 3])
    holders = []
    for module in net.modules():
        for name, p in vars(module).items():
            if isinstance(p, nn.Parameter):
                holders.append((module, name))

    def loss(*tensors):
        for (module, name), x in zip(holders, tensors, strict=True):
            setattr(module, name, x)
        return net.loss(batch, CLASSES[1:4], 0.5)

    check_grads(loss, *(getattr(module, name).data for module, name in holders), draws=1)


def test_the_auxiliary_loss_keeps_the_texts_predictable():
    config = AdaptConfig(updates=40, rates=(1e-2,), dropout=0.0, batch_size=3)
    own = {}
    for lm_coef in (0.0, 0.5):
        model, tokenizer = reader()
        features = Features(model, tokenizer, layers=("summary",))
        encoded = encode_texts(model, tokenizer, TEXTS)
        changed = AdaptConfig(**(vars(config) | {"lm_coef": lm_coef}))
        net = tune(features, encoded, CLASSES, 1e-2, changed, lambda done, updates: None)
        own[lm_coef] = net.encoder.states_and_loss(**encoded)[1].item()
    assert own[0.5] < own[0.0] - 0.5


@pytest.mark.parametrize("lm_coef", [0.0, 0.5])
def test_a_classifier_fine_tunes_gpt1_with_its_template_and_survives_its_folder(lm_coef, tmp_path):
    model, tokenizer = reader(attn_pdrop=0.1)
    config = AdaptConfig(updates=40, rates=(1e-2,), lm_coef=lm_coef)
    tuned = Classifier(model, tokenizer, "finetune", config).fit(TEXTS, CLASSES)
    assert tuned.score(["aaa", "bbbbb"], [0, 1]) == 1.0
    tuned.save(tmp_path)
    again = Classifier.load(tmp_path)
    assert again.config.lm_coef == lm_coef
    expected = tuned.predict_proba(["abab", "b"])
    np.testing.assert_allclose(again.predict_proba(["abab", "b"]), expected, atol=1e-6)


def test_an_encoder_that_predicts_no_next_token_has_no_auxiliary_loss():
    letters = Chars("abcdefgh")
    encoder = Word2Vec(Word2VecConfig(letters.vocab_size, size=5))
    classifier = Classifier(encoder, letters, "finetune", AdaptConfig(lm_coef=0.5))
    with pytest.raises(TinylmError, match="word2vec has no auxiliary loss.*lm_coef to 0"):
        classifier.fit(TEXTS, CLASSES)

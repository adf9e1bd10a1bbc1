"""Where a list is asked for, one string, one generator, or a name that is none is refused or read whole."""

import numpy as np
import pytest

from tinylm import GPT, GPTConfig, nn, optim
from tinylm.data import Choice
from tinylm.errors import ArgumentError, DataError, ShapeError, TinylmError
from tinylm.tensor import Tensor
from tinylm.text import Words
from tinylm.text.template import Template
from tinylm.training.generate import generate
from tinylm.training.zero_shot import first_sentences, token_log_probabilities
from tinylm.transfer import AdaptConfig, Classifier, TagConfig, Tagger
from tinylm.transfer.budgets import label_array
from tinylm.transfer.distil import _softened, distilled
from tinylm.transfer.multitask import MultiTask
from tinylm.transfer.tasks.answers import exact_match, reading_scores, word_f1
from tinylm.transfer.tasks.choice import Chooser
from tinylm.transfer.tasks.overlap import bleu, rouge
from tinylm.transfer.tasks.ridge import RidgeRegression

WORDS = Words(["sea", "ice", "calm", "bad"])
TEXTS = ["sea", "ice", "calm"] * 3
LABELS = ["a", "b", "c"] * 3
CONFIG = AdaptConfig(updates=2, max_length=8, C=(1.0,))


def gpt():
    """A GPT that learned nothing."""
    return GPT(GPTConfig.tiny(WORDS.vocab_size, n_positions=16)).eval()


@pytest.mark.parametrize("call", [
    lambda: exact_match("sea", "sea"),
    lambda: word_f1("sea", "sea"),
    lambda: reading_scores(["sea"], ["sea"]),
    lambda: rouge("the sea", "the sky"),
    lambda: rouge([["the sea"]], ["the sky"]),
])  # fmt: skip
def test_scorers_take_no_string_for_a_list(call):
    with pytest.raises(ArgumentError, match="expected a (list of )?string"):
        call()


def test_bleu_needs_a_reference_for_each_text():
    with pytest.raises(ShapeError, match="a text has no reference"):
        bleu([[]], ["a b c d e"])


@pytest.mark.parametrize("group", [
    {"lr": 0.0}, {"wieght_decay": 9.0}, {"param": []},
])  # fmt: skip
def test_a_setting_that_no_optimiser_knows_is_refused(group):
    layer = nn.LayerNorm(3)
    pairs = layer.named_parameters()
    given = group if "param" in group else {"params": pairs} | group
    with pytest.raises(ArgumentError, match="A group of an optimiser holds .*expected 'params'"):
        optim.SGD([given], lr=0.5)


@pytest.mark.parametrize("limit", [dict(max_norm=-1.0), dict(max_value=-1.0),
                                   dict(max_norm=float("nan"))])  # fmt: skip
def test_a_limit_of_the_gradient_is_not_negative(limit):
    p = Tensor([1.0, 2.0], requires_grad=True)
    optimiser = optim.SGD([("p", p)], lr=0.5)
    p.grad = np.array([2.0, 1.0], np.float32)
    with pytest.raises(ArgumentError, match="SGD: max_(norm|value) is"):
        optimiser.step(**limit)
    assert p.data.tolist() == [1.0, 2.0]


def test_patterns_may_come_from_a_generator():
    p = Tensor([1.0], requires_grad=True)
    each = optim.AdamW([("x.bias", p)], lr=0.5, weight_decay=0.5, no_decay=(x for x in ["bias"]))
    p.grad = np.zeros(1, np.float32)
    each.step()
    assert p.data.tolist() == [1.0]


@pytest.mark.parametrize("last", [-1, 99])
def test_every_id_of_a_text_is_checked_the_last_one_too(last):
    with pytest.raises(ShapeError, match=f"id {last} is out of range"):
        token_log_probabilities(gpt(), [1, 2, last])
    with pytest.raises(ShapeError, match="id 5 is out of range; expected ids from 0 to 3"):
        token_log_probabilities(gpt(), [1, 2, 5], vocab_size=4)


def test_a_prompt_is_of_whole_numbers():
    with pytest.raises(ShapeError, match="the prompt holds float64"):
        generate(gpt(), [1.9], 3, temperature=0)


def test_labels_that_numpy_would_round_are_refused():
    with pytest.raises(DataError, match="give labels as texts"):
        label_array([2**63, 2**63 + 1, -1])
    assert label_array([0.5, 1]).dtype.kind == "f"


def test_choices_without_a_right_answer_are_not_scored():
    choices = [Choice("sea", ("ice", "calm"), 0), Choice("ice", ("sea", "bad"), 1)]
    pairs = Words(["sea", "ice", "calm", "bad"])
    pairs.arrange(Template("A", "A <eos> B"))
    chooser = Chooser(gpt(), pairs, config=CONFIG).fit(choices)
    with pytest.raises(DataError, match=r"choices\[1\] does not say which answer is right"):
        chooser.score([choices[0], Choice("sea", ("ice", "calm"))])
    for wrong in (0.5, "0", 2):
        with pytest.raises(DataError, match="does not say which answer is right"):
            Chooser(gpt(), pairs).fit([Choice("sea", ("ice", "calm"), wrong)])
    assert chooser.score(choice for choice in choices) == chooser.score(choices)


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".hidden", "", 1])
def test_a_task_is_called_as_a_folder_may_be(name):
    with pytest.raises(TinylmError, match="expected a name that a folder may have"):
        MultiTask(gpt(), WORDS, CONFIG).fit({name: (TEXTS, LABELS)})


def test_distillation_refuses_what_it_would_pass_over_and_softens_any_answer():
    teacher = Classifier(gpt(), WORDS, config=CONFIG).fit(TEXTS, LABELS)
    for wrong in (dict(lm_coef=0.5), dict(unfreeze=True)):
        with pytest.raises(TinylmError, match="lm_coef|unfreeze"):
            distilled(teacher, gpt(), WORDS, TEXTS, AdaptConfig(updates=2, **wrong))
    sharp = _softened(np.array([[0.2, 0.8], [0.0, 1.0]]), 1e-3)
    assert sharp.tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_a_tagger_reads_sentences_from_a_generator():
    sentences, tags = [["sea", "ice"], ["calm"]], [["O", "B-x"], ["O"]]
    tagger = Tagger(gpt(), WORDS, config=TagConfig(updates=2)).fit(sentences, tags)
    wanted = tagger.predict(sentences)
    assert tagger.predict(words for words in sentences) == wanted
    assert len(tagger.predict_proba(words for words in sentences)) == 2


def test_mistakes_with_models_and_numbers_are_sentences():
    with pytest.raises(ArgumentError, match="has no tokenizer"):
        Classifier(gpt(), None).fit(TEXTS, LABELS)
    with pytest.raises(ArgumentError, match="count is 0"):
        first_sentences("It rained. We left!", 0)
    with pytest.raises(DataError, match="NaN or infinite"):
        RidgeRegression().fit([[np.nan], [2.0]], [1, 2])
    for wrong in (-1.0, ()):
        with pytest.raises(ArgumentError, match="RidgeRegression: C is"):
            RidgeRegression(C=wrong)

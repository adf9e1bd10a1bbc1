"""Pairs, numbers, choices and spans: laws that hold for every encoder that reads two texts as one."""

import numpy as np
import pytest

import tinylm
from tinylm.data import Answer, Choice, Question
from tinylm.errors import ArgumentError, CheckpointError, DataError, ShapeError, TinylmError
from tinylm.text import Chars, WordPiece
from tinylm.text.template import XLNET
from tinylm.transfer import (
    AdaptConfig,
    Chooser,
    Classifier,
    PairClassifier,
    Regressor,
    SentenceEncoder,
    SoftmaxRegression,
    SpanConfig,
    SpanReader,
    TagConfig,
    TowerClassifier,
    paired,
    pearson,
)

TEXTS = ["abab", "bba", "a", "aabb", "bb", "ba", "aaa"]
PAIRS = [(first, second) for first in TEXTS for second in ("ab", "c", "cbd")]
LABELS = np.array(["yes", "no", "maybe"] * 7)
LABELS_AS_CODES = np.unique(LABELS, return_inverse=True)[1]
NUMBERS = np.array([len(first) - 2.0 * len(second) for first, second in PAIRS])
CHOICES = [Choice(text, ("c", "dd", "ee")[: 2 + n % 2], n % 2) for n, text in enumerate(TEXTS * 3)]
QUESTIONS = []
for n, text in enumerate(TEXTS):
    QUESTIONS.append(Question(f"in{n}", "c", f"{text} cd", (Answer("cd", len(text) + 1),)))
    QUESTIONS.append(Question(f"out{n}", "c", text))

LETTERS = Chars("abcde")
PIECES = WordPiece.train(["a b ab ba abab c cd d e dd ee"] * 3, 40, exact=False)
LEFT = Chars("abcde")
LEFT.add_specials(["<sep>", "<cls>"])
LEFT.arrange(XLNET)
OFF = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SIZES = dict(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=13)


def bert():
    return tinylm.Bert(tinylm.BertConfig.tiny(PIECES.vocab_size, **SIZES, **OFF)), PIECES


def electra():
    sizes = SIZES | {"embedding_size": 7}
    config = tinylm.ElectraConfig.tiny(PIECES.vocab_size, **sizes, **OFF)
    return tinylm.Electra(config), PIECES


def xlnet():
    config = tinylm.XLNetConfig.tiny(LEFT.vocab_size, d_model=12, n_layer=1, n_head=3, d_inner=13)
    return tinylm.XLNet(config), LEFT


def gpt1():
    config = tinylm.GPT1Config(LETTERS.vocab_size, n_positions=32, n_embd=12, n_layer=1, n_head=3)
    return paired(tinylm.GPT1(config), LETTERS)


def gpt():
    config = tinylm.GPTConfig(LETTERS.vocab_size, n_positions=32, n_embd=12, n_layer=1, n_head=3)
    return paired(tinylm.GPT(config), LETTERS)


def word2vec():
    return paired(tinylm.Word2Vec(tinylm.Word2VecConfig(LETTERS.vocab_size, size=7)), LETTERS)


ENCODERS = {f.__name__: f for f in (bert, electra, xlnet, gpt1, gpt, word2vec)}
QUICK = AdaptConfig(updates=5, batch_size=4, rates=(1e-2,))
QUICK_SPANS = SpanConfig(updates=5, batch_size=4, rates=(1e-2,))


def fitted(task, reader, method="finetune"):
    """A model of a task after a few updates, and the inputs that it was fitted on."""
    encoder, tokenizer = ENCODERS[reader]()
    if task is SpanReader:
        return SpanReader(encoder, tokenizer, method, QUICK_SPANS).fit(QUESTIONS), QUESTIONS
    model = task(encoder, tokenizer, method, QUICK)
    if task is Chooser:
        return model.fit(CHOICES), CHOICES
    return model.fit(PAIRS, NUMBERS if task is Regressor else LABELS), PAIRS


def said(model, inputs):
    """Everything that a model predicts, as an array."""
    if isinstance(model, SpanReader):
        best = [spans[0] for spans in model.answers(inputs)]
        return np.array([[span.start, span.end, span.score, span.probability] for span in best])
    if isinstance(model, Regressor):
        return model.predict(inputs)
    return np.concatenate([np.ravel(p) for p in model.predict_proba(inputs)])


TASKS = (PairClassifier, TowerClassifier, Regressor, Chooser, SpanReader)
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.task)


@each_task
@pytest.mark.parametrize("reader", ENCODERS)
def test_every_encoder_learns_every_task_saves_it_and_loads_it(task, reader, tmp_path):
    model, inputs = fitted(task, reader)
    model.save(tmp_path / "run")
    again = task.load(tmp_path / "run")
    np.testing.assert_allclose(said(again, inputs), said(model, inputs), atol=1e-4)
    with pytest.raises(CheckpointError, match=f"adapted to the task '{task.task}'"):
        Classifier.load(tmp_path / "run")


@each_task
@pytest.mark.parametrize("method", ["features", "finetune", "gradual"])
def test_the_encoder_passed_in_stays_and_the_same_seed_gives_the_same_bits(task, method):
    if task is SpanReader and method == "features":
        return
    encoder, _ = bert()
    before = {name: array.copy() for name, array in encoder.state_dict().items()}
    first, inputs = fitted(task, "bert", method)
    second, _ = fitted(task, "bert", method)
    for name, array in first.encoder.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(said(first, inputs), said(second, inputs))


@each_task
def test_predictions_follow_the_order_of_the_examples(task):
    model, inputs = fitted(task, "bert")
    order = np.random.default_rng(1).permutation(len(inputs))
    shuffled = [inputs[i] for i in order]
    if task is Chooser:
        expected = [model.predict_proba(inputs)[i] for i in order]
        found = model.predict_proba(shuffled)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        return
    expected = said(model, inputs).reshape(len(inputs), -1)[order]
    found = said(model, shuffled).reshape(len(inputs), -1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@each_task
def test_nothing_is_predicted_before_fit(task):
    encoder, tokenizer = bert()
    model = task(encoder, tokenizer, "finetune")
    with pytest.raises(TinylmError, match="not fitted yet"):
        model.predict(CHOICES[:1] if task in (Chooser, SpanReader) else [PAIRS[0]])


@each_task
def test_a_damaged_folder_is_one_sentence(task, tmp_path):
    model, _ = fitted(task, "word2vec")
    model.save(tmp_path / "run")
    facts = tinylm.training.checkpoint.read_json(tmp_path / "run" / "classifier.json")
    del facts["config"]
    tinylm.files.write_json(tmp_path / "run" / "classifier.json", facts)
    with pytest.raises(CheckpointError, match="is damaged"):
        task.load(tmp_path / "run")


# ---- pairs


def test_both_texts_of_a_pair_and_their_order_count():
    model, _ = fitted(PairClassifier, "bert")
    pairs = [("abab", "cd"), ("abab", "c"), ("b", "cd"), ("cd", "abab")]
    p = model.predict_proba(pairs)
    for i in range(4):
        for j in range(i):
            assert np.abs(p[i] - p[j]).max() > 1e-6


def test_towers_join_the_vectors_of_texts_that_are_read_alone():
    encoder, tokenizer = bert()
    model = TowerClassifier(encoder, tokenizer, "features").fit(PAIRS, LABELS)
    firsts, seconds = (model.features_.transform(list(texts)) for texts in zip(*PAIRS, strict=True))
    rows = np.hstack([firsts, seconds, np.abs(firsts - seconds), firsts * seconds])
    expected = SoftmaxRegression(model.config.C, seed=model.config.seed).fit(rows, LABELS_AS_CODES)
    np.testing.assert_allclose(model.predict_proba(PAIRS), expected.predict_proba(rows), atol=1e-4)


@pytest.mark.parametrize("task", [PairClassifier, TowerClassifier])
@pytest.mark.parametrize("method", ["features", "finetune"])
def test_pairs_can_learn_a_mix_of_the_layers(task, method, tmp_path):
    config = AdaptConfig(updates=5, batch_size=4, rates=(1e-2,), layers=("mix",))
    model = task(*bert(), method, config).fit(PAIRS, LABELS)
    assert model.features_.mix_.shape == (2,)
    model.save(tmp_path / "run")
    again = task.load(tmp_path / "run")
    np.testing.assert_allclose(said(again, PAIRS), said(model, PAIRS), atol=1e-4)


def test_towers_compare_texts_and_leave_vectors_of_each(tmp_path):
    """Pairs whose texts agree in one word: neither text alone says which class it is."""
    words = ["ab", "ba", "c", "cd"]
    pairs = [(first, second) for first in words for second in words] * 4
    labels = ["same" if first == second else "other" for first, second in pairs]
    config = AdaptConfig(updates=200, batch_size=16, rates=(1e-3, 1e-2))
    model = TowerClassifier(*bert(), "finetune", config).fit(pairs, labels)
    assert model.rate_ in config.rates and model.score(pairs, labels) == 1
    model.save(tmp_path / "run")
    vectors = SentenceEncoder.load(tmp_path / "run")(words)
    assert vectors.shape == (4, 12)


def test_pairs_are_read_as_the_tokenizer_writes_two_texts():
    encoder, tokenizer = bert()
    model = PairClassifier(encoder, tokenizer, "features").fit(PAIRS, LABELS)
    firsts, seconds = zip(*PAIRS, strict=True)
    encoded = tokenizer(list(firsts), list(seconds))
    encoder.eval()
    last = encoder.encode(**encoded)[-1].data
    mask = encoded["mask"][..., None]
    means = (last * mask).sum(axis=1) / mask.sum(axis=1)
    np.testing.assert_allclose(model.features_.means(PAIRS)[:, :12], means, atol=1e-5)


@pytest.mark.parametrize(
    "texts, error",
    [
        (["ab", "c"], DataError),
        ([("ab", "c"), ("a",)], ArgumentError),
        ([("ab", 5)], ArgumentError),
        ([("ab", "c"), "ab"], ArgumentError),
        ("ab", ArgumentError),
    ],
)
def test_what_is_no_pair_is_refused(texts, error):
    with pytest.raises(error):
        PairClassifier(*bert()).fit(texts, LABELS[: len(texts)])
    with pytest.raises(error):
        TowerClassifier(*bert()).fit(texts, LABELS[: len(texts)])


def test_an_encoding_that_knows_pairs_stays_and_another_gets_the_three_tokens_of_gpt1():
    encoder, tokenizer = bert()
    assert paired(encoder, tokenizer) == (encoder, tokenizer)
    model, letters = gpt()
    ids = letters(["ab"], ["c"])["ids"][0]
    assert [letters.vocab[i] for i in ids] == [
        "<start>",
        "a",
        "b",
        "<delimiter>",
        "c",
        "<classify>",
    ]
    assert model.config.vocab_size == LETTERS.vocab_size + 3


# ---- numbers


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_numbers_of_another_scale_give_predictions_of_that_scale(method):
    encoder, tokenizer = bert()
    models = []
    for scale, shift in ((1.0, 0.0), (100.0, 7.0)):
        model = Regressor(encoder, tokenizer, method, QUICK)
        models.append(model.fit(PAIRS, NUMBERS * scale + shift).predict(PAIRS))
    np.testing.assert_allclose(models[1], models[0] * 100 + 7, rtol=1e-3, atol=1e-2)


def test_a_regressor_learns_what_the_words_say():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcde"), 7)) for _ in range(80)]
    counts = [text.count("a") - text.count("b") for text in texts]
    model = Regressor(*word2vec(), "features").fit(texts[:60], counts[:60])
    scores = model.evaluate(texts[60:], counts[60:])
    assert scores["pearson"] > 0.9 and scores["pearson"] == model.score(texts[60:], counts[60:])
    assert scores["pearson"] == pearson(counts[60:], model.predict(texts[60:]))


@pytest.mark.parametrize(
    "numbers, error, words",
    [
        ([1.0] * 7, DataError, "not all the same"),
        ([1.0, np.nan, 2, 3, 4, 5, 6], DataError, "finite"),
        (["good"] * 7, DataError, "no numbers"),
        ([1.0, 2.0], ShapeError, "7 texts"),
    ],
)
def test_numbers_that_cannot_be_learned_are_refused(numbers, error, words):
    with pytest.raises(error, match=words):
        Regressor(*word2vec()).fit(TEXTS, numbers)


# ---- choices


def test_the_probabilities_of_a_choice_do_not_depend_on_the_order_of_its_answers():
    model, _ = fitted(Chooser, "bert")
    choice = Choice("abab", ("c", "dd", "ee"))
    turned = Choice("abab", ("ee", "c", "dd"))
    p, q = model.predict_proba([choice, turned])
    np.testing.assert_allclose(p, q[[1, 2, 0]], atol=1e-5)
    assert p.sum() == pytest.approx(1.0) and np.ptp(p) > 1e-6


def test_a_chooser_learns_which_answer_is_right_from_few_choices():
    rng = np.random.default_rng(0)
    choices = []
    for _ in range(40):
        n = int(rng.integers(2, 5))
        answers = ["".join(rng.choice(list("bcde"), 4)) for _ in range(n)]
        right = int(rng.integers(n))
        answers[right] = "a" + answers[right][1:]
        choices.append(Choice("b", tuple(answers), right))
    model = Chooser(*word2vec(), "features").fit(choices[:30])
    assert model.score(choices[30:]) == 1.0


@pytest.mark.parametrize(
    "choices, words",
    [
        ([], "no choices"),
        ([Choice("a", ("b",), 0)], "at least two answers"),
        ([Choice("a", ("b", "c"))], "which answer is right"),
        ([Choice("a", ("b", "c"), 2)], "which answer is right"),
        ([("a", "b")], "no Choice"),
    ],
)
def test_choices_that_cannot_be_learned_are_refused(choices, words):
    with pytest.raises(DataError, match=words):
        Chooser(*bert()).fit(choices)


# ---- spans


def test_a_reader_finds_what_was_marked_and_nothing_where_nothing_was():
    config = SpanConfig(updates=150, batch_size=8, rates=(1e-2,), dropout=0.0)
    reader = SpanReader(*bert(), config=config).fit(QUESTIONS)
    assert reader.predict(QUESTIONS) == ["cd", ""] * 7
    scores = reader.evaluate(QUESTIONS)
    assert scores["exact"] == scores["f1"] == scores["NoAns_exact"] == 1.0
    for spans in reader.answers(QUESTIONS):
        assert sum(span.probability for span in spans) == pytest.approx(1.0)
        assert "" in [span.text for span in spans]
    certain = SpanReader(*bert(), config=config).fit(QUESTIONS[::2])
    assert "" not in certain.predict(QUESTIONS)


def test_a_higher_threshold_gives_more_answers():
    reader, _ = fitted(SpanReader, "bert")
    given = []
    for threshold in (-1e9, 1e9):
        reader.config = SpanConfig(threshold=threshold)
        given.append(sum(answer != "" for answer in reader.predict(QUESTIONS)))
    assert given == [0, len(QUESTIONS)]


def test_an_answer_is_words_of_its_text_wherever_the_window_lies():
    config = SpanConfig(updates=3, max_length=12, stride=2, max_answer=4)
    long = [Question("x", "c", "abab c dd ba cd e ab " * 3, (Answer("cd", 13),))]
    for encoder in (bert, gpt1, xlnet):
        reader = SpanReader(*encoder(), config=config).fit(long)
        for span in reader.answers(long)[0]:
            assert long[0].context[span.start : span.end].strip() == span.text
            assert len(reader.tokenizer.encode(span.text)) <= 4


def test_a_reader_needs_an_answer_to_learn_from():
    with pytest.raises(DataError, match="no question has an answer"):
        SpanReader(*bert()).fit([Question("x", "c", "ab")])


def test_an_answer_is_the_characters_that_it_names():
    reader = SpanReader(*bert(), config=QUICK_SPANS)
    reader.may_lack_ = False
    context = "the sea is  "
    [found] = [reader._ranked(Question("q", "where", context), [(1.0, 3, 7)], -9.0)]
    assert (found[0].text, found[0].start, found[0].end) == ("sea", 4, 7)
    assert context[found[0].start : found[0].end] == found[0].text


def test_labels_alone_teach_a_reader_and_a_tagger():
    for config in (SpanConfig, TagConfig):
        with pytest.raises(TinylmError, match=f"{config.__name__}: lm_coef is 0.5"):
            config(lm_coef=0.5)


@pytest.mark.parametrize(
    "config, fields",
    [
        (SpanConfig, {"layers": ("mix",)}),
        (TagConfig, {"unfreeze": True}),
        (TagConfig, {"head_gap": 1}),
    ],
)
def test_what_a_task_would_pass_over_is_refused(config, fields):
    [name] = fields
    with pytest.raises(
        TinylmError, match=f"{config.__name__}: {name} is .*; (leave it out|give head_rate)"
    ):
        config(**fields)

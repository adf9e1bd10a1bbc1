"""Laws of frozen features and of the classifier, held by a small encoder that is no chapter of the library."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinylm import files, nn
from tinylm import ops as F
from tinylm.errors import CheckpointError, DataError, ShapeError, TinylmError
from tinylm.files import read_json, write_json
from tinylm.objectives import Objective
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.tensor import Tensor
from tinylm.text import Words
from tinylm.transfer import AdaptConfig, Classifier, Features, accuracy, label_budget
from tinylm.transfer.adapt import duplicate, twin, updates_for
from tinylm.transfer.features import encode_texts, pool, take
from tinylm.transfer.finetune import parameters_of, stages_of

TOPICS = {
    "ice": "puck goal skate rink",
    "sky": "star orbit moon comet",
    "sea": "wave tide sail anchor",
}


@dataclass(frozen=True)
class SmallConfig(Objective.Config):
    """V words, width C."""

    width: int = 11


class Small(Objective):
    """Embeddings and one tanh layer over each position by itself."""

    Config = SmallConfig
    max_length = 31

    def build(self, config, rng):
        self.table = nn.Embedding(config.vocab_size, config.width, rng=rng, std=0.5)
        self.mix = nn.Linear(config.width, config.width, rng=rng, std=0.5)
        self.unused = nn.Linear(config.width, 2, rng=rng)  # a head that adaptation never reaches

    def encode(self, ids, mask=None):
        """(B,T) -> [(B,T,C), (B,T,C)]."""
        first = self.table(ids)
        return [first, F.tanh(self.mix(first))]


def posts(n_per_class, seed=0):
    """Texts of 2 to 12 words, half of them from the topic."""
    rng, texts, labels = np.random.default_rng(seed), [], []
    for name, words in TOPICS.items():
        for _ in range(n_per_class):
            n = int(rng.integers(1, 7))
            words_of_all = "the and of with".split()
            texts.append(" ".join([*rng.choice(words.split(), n), *rng.choice(words_of_all, n)]))
            labels.append(name)
    return texts, np.array(labels)


@pytest.fixture(scope="module")
def tokenizer():
    return Words.train(posts(40)[0], 100)


@pytest.fixture
def encoder(tokenizer):
    return Small(SmallConfig(tokenizer.vocab_size), np.random.default_rng(7))


def weights(module):
    return {name: np.array(value) for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


LABEL = st.text(
    st.one_of(st.characters(exclude_categories=()), st.sampled_from("\ud83d\ude00\0\x85\u2028 ")),
    max_size=5,
)


@settings(max_examples=20)
@given(st.lists(LABEL, min_size=2, max_size=4, unique=True))
@example(["\ud83d", "\udc80"])
@example(["a", "a\0"])
@example(["\ud83d\ude00", "b"])
@example(["", "\ufeff"])
def test_labels_of_any_strings_come_back_or_are_refused_before_the_fit(names):
    texts = ["puck", "star", "wave", "sea"] * 3
    labels = (names * 12)[:12]
    words = Words.train(texts)
    model = GPT(GPTConfig.tiny(words.vocab_size), np.random.default_rng(0))
    held = not any(name.endswith("\0") or files.HALVES.search(name) for name in names)
    classifier = Classifier(model, words, "features", AdaptConfig(C=(1.0,)))
    if not held:
        with pytest.raises(DataError, match="label"):
            classifier.fit(texts, labels)
        return
    classifier.fit(texts, labels)
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder) / "classifier")
        loaded = Classifier.load(Path(folder) / "classifier")
    assert loaded.classes_.tolist() == sorted(names) == classifier.classes_.tolist()


def test_one_long_label_costs_no_more_than_itself():
    """NumPy would give every label the room of the longest one: 40 GB here."""
    names = ["a" * 10**6, *(f"{i}" for i in range(10_000))]
    classifier = Classifier(None, None)
    classifier._name(names)
    assert classifier._labels() == names
    assert accuracy(names, names) == 1.0
    assert len(label_budget(names, 1, seed=0)) == len(names)


@pytest.mark.parametrize(
    "names", ["ab", [["a"], ["b"]], [{"a": 1}], [None, "a"], ["a", 1], {"a": "b"}, 5]
)
def test_labels_that_are_no_names_are_one_sentence(names):
    with pytest.raises(TinylmError, match="label"):
        Classifier(None, None)._name(names)


# ---- features


def test_features_do_not_depend_on_the_neighbours_in_a_batch(encoder, tokenizer):
    texts, _ = posts(5)
    together = Features(encoder, tokenizer, batch_size=7).means(texts)
    alone = np.concatenate([Features(encoder, tokenizer).means([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_features_follow_the_order_of_the_texts(encoder, tokenizer):
    texts, _ = posts(5)
    order = np.random.default_rng(1).permutation(len(texts))
    features = Features(encoder, tokenizer, batch_size=4).fit(texts)
    shuffled = features.transform([texts[i] for i in order])
    np.testing.assert_allclose(shuffled, features.transform(texts)[order], atol=1e-5)


def test_fitted_features_have_mean_0_and_deviation_1(encoder, tokenizer):
    rows = Features(encoder, tokenizer).fit_transform(posts(9)[0])
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-9)


def test_a_mean_over_words_does_not_mind_their_order(encoder, tokenizer):
    a, b = Features(encoder, tokenizer).means(["puck goal the moon", "moon the goal puck"])
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_pooling_is_the_mean_over_real_positions(encoder, tokenizer):
    batch = encode_texts(encoder, tokenizer, ["puck goal star", "moon"])
    states = encoder.encode(**batch)
    last, every = pool(states, batch["mask"], ("last",)), pool(states, batch["mask"], ("all",))
    np.testing.assert_allclose(last[1], states[1].data[1, 0], atol=1e-6)
    np.testing.assert_allclose(last[0], states[1].data[0].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        every, np.concatenate([pool(states, batch["mask"], (i,)) for i in (0, 1)], axis=1)
    )
    np.testing.assert_allclose(
        pool(states, batch["mask"], ("mean",)), (every[:, :11] + every[:, 11:]) / 2, atol=1e-6
    )
    assert np.array_equal(
        pool(states[:1], batch["mask"]), every[:, :11]
    )  # a single layer is not counted twice
    with pytest.raises(ShapeError, match="layer 2 "):
        pool(states, batch["mask"], (2,))


def test_layers_are_chosen_by_their_published_names():
    rng = np.random.default_rng(0)
    states = [Tensor(rng.normal(size=(3, 5, 7))) for _ in range(6)]
    mask = np.arange(5) < np.array([[5], [2], [1]])
    one_by_one = [pool(states, mask, (i,)) for i in range(6)]

    def chosen(name):
        return pool(states, mask, (name,))

    assert np.array_equal(chosen("second-to-last"), one_by_one[4])
    np.testing.assert_allclose(chosen("sum-last-4"), sum(one_by_one[2:]), atol=1e-12)
    assert np.array_equal(chosen("concat-last-4"), np.concatenate(one_by_one[2:], axis=1))
    for few in (1, 2, 3):  # of fewer layers, as many as there are
        assert np.array_equal(
            pool(states[:few], mask, ("concat-last-4",)), np.concatenate(one_by_one[:few], axis=1)
        )
    narrow = [Tensor(rng.normal(size=(3, 5, 2))), *states]
    assert pool(narrow, mask, ("sum-last-4",)).shape == (3, 7)
    for name, of in (("sum-last-4", narrow[:3]), ("second-to-last", states[:1])):
        with pytest.raises(ShapeError, match=name):
            pool(of, mask, (name,))


def test_rows_taken_from_a_batch_lose_the_columns_that_only_pad(encoder, tokenizer):
    batch = encode_texts(encoder, tokenizer, ["puck goal star", "moon"])
    assert take(batch, [1])["ids"].shape == (1, 1) and take(batch, [1, 0])["ids"].shape == (2, 3)


def test_texts_are_cut_to_what_was_asked_and_to_the_positions_there_are(encoder, tokenizer):
    long = ["puck " * 97]
    assert encode_texts(encoder, tokenizer, long, 13)["ids"].shape == (1, 13)
    assert encode_texts(encoder, tokenizer, long, None)["ids"].shape == (1, 31)


def test_an_empty_text_has_finite_features_and_no_text_is_an_error(encoder, tokenizer):
    assert np.isfinite(Features(encoder, tokenizer).fit_transform(["", "puck", ""])).all()
    assert Features(encoder, tokenizer).means([""]).shape == (1, 22)
    with pytest.raises(DataError, match="at least one"):
        Features(encoder, tokenizer).means([])
    with pytest.raises(ShapeError, match="not fitted"):
        Features(encoder, tokenizer).transform(["puck"])
    with pytest.raises(ShapeError, match="no layer"):
        Features(encoder, tokenizer, layers=())


def test_extracting_features_leaves_the_encoder_as_it_was(encoder, tokenizer):
    before = weights(encoder)
    encoder.train()
    Features(encoder, tokenizer).fit(posts(3)[0])
    assert encoder.training and same(before, weights(encoder))


# ---- classifier


@pytest.mark.parametrize("method", ["features", "finetune", "gradual"])
def test_a_classifier_learns_topics_and_leaves_the_encoder_unchanged(encoder, tokenizer, method):
    before = weights(encoder)
    model = Classifier(encoder, tokenizer, method, AdaptConfig(rates=(0.01,), updates=80))
    model.fit(*posts(10))
    assert model.score(*posts(20, seed=1)) > 0.9  # chance is 1/3
    assert same(before, weights(encoder))
    assert model.classes_.tolist() == ["ice", "sea", "sky"]


@pytest.mark.parametrize("stop", [1, 12], ids=["in the first update", "in the second fold"])
def test_a_fit_that_is_stopped_leaves_no_half_fitted_model(encoder, tokenizer, stop):
    calls = []

    def progress(done, updates):
        calls.append(done)
        if armed and len(calls) == stop:
            raise KeyboardInterrupt

    armed = False
    config = AdaptConfig(updates=7, rates=(1e-3, 1e-2))
    model = Classifier(encoder, tokenizer, "finetune", config, progress).fit(*posts(4))
    armed = True
    calls.clear()
    texts, labels = posts(4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(texts, [f"other {label}" for label in labels])
    with pytest.raises(TinylmError, match="not fitted"):
        model.predict(texts)


def test_labels_that_are_refused_leave_the_fitted_model_alone(encoder, tokenizer):
    model = Classifier(encoder, tokenizer).fit(*posts(4))
    with pytest.raises(DataError, match="1 class"):
        model.fit(["a", "b"], ["same", "same"])
    assert model.classes_.tolist() == ["ice", "sea", "sky"]


def test_another_method_forgets_the_recipe_of_gradual(encoder, tokenizer):
    plain = AdaptConfig(updates=7)
    model = Classifier(encoder, tokenizer, "gradual", plain)
    assert model.config == plain  # a grid search of methods sets them one after another
    gradual = weights(model.fit(*posts(4)).encoder_)
    asked = Classifier(encoder, tokenizer, "finetune", plain.gradual()).fit(*posts(4))
    assert same(gradual, weights(asked.encoder_))
    finetuned = weights(model.set_params(method="finetune").fit(*posts(4)).encoder_)
    assert same(
        finetuned,
        weights(Classifier(encoder, tokenizer, "finetune", plain).fit(*posts(4)).encoder_),
    )
    assert not same(gradual, finetuned)


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_predictions_follow_the_order_of_the_texts(encoder, tokenizer, method):
    texts, labels = posts(4)
    model = Classifier(encoder, tokenizer, method, AdaptConfig(updates=5)).fit(texts, labels)
    order = np.random.default_rng(2).permutation(len(texts))
    p = model.predict_proba(texts)
    np.testing.assert_allclose(model.predict_proba([texts[i] for i in order]), p[order], atol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(encoder, tokenizer):
    def tuned(seed):
        config = AdaptConfig(updates=7, seed=seed)
        return weights(Classifier(encoder, tokenizer, "finetune", config).fit(*posts(4)).encoder_)

    assert same(tuned(3), tuned(3)) and not same(tuned(3), tuned(4))


def test_a_copy_is_equal_and_independent_and_a_twin_shares_only_the_architecture(encoder):
    copy, other = duplicate(encoder), twin(encoder)
    assert same(weights(copy), weights(encoder)) and not same(weights(other), weights(encoder))
    copy.mix.weight.data += 1
    assert not same(weights(copy), weights(encoder))
    assert {n: w.shape for n, w in weights(other).items()} == {
        n: w.shape for n, w in weights(encoder).items()
    }


def test_the_rate_is_chosen_inside_the_labels(encoder, tokenizer, monkeypatch):
    tune, seen = Classifier._tune, []

    def ruined_by_large_rates(self, encoded, codes, rate):
        seen.append((codes.size, rate))
        network = tune(self, encoded, codes, 1e-3)
        if rate > 1:
            network.head.weight.data *= -1
        return network

    monkeypatch.setattr(Classifier, "_tune", ruined_by_large_rates)
    config = AdaptConfig(rates=(10.0, 0.01), updates=2, n_folds=2)
    assert Classifier(encoder, tokenizer, "finetune", config).fit(*posts(8)).rate_ == 0.01
    assert seen == [(12, 0.01), (12, 10.0)] * 2 + [
        (24, 0.01)
    ]  # halves of the labels, then all of them


def test_fine_tuning_begins_where_the_features_end(encoder, tokenizer):
    """With a rate of almost nothing, a tuned classifier is softmax regression on the frozen last layer."""
    texts, labels = posts(8)
    tuned = Classifier(
        encoder, tokenizer, "finetune", AdaptConfig(rates=(1e-9,), updates=3, weight_decay=0.0)
    )
    frozen = Classifier(encoder, tokenizer, "features", AdaptConfig(layers=("last",)))
    p, q = (model.fit(texts, labels).predict_proba(texts) for model in (tuned, frozen))
    np.testing.assert_allclose(p, q, atol=1e-4)


def test_progress_is_reported_for_every_update(encoder, tokenizer):
    seen = []
    Classifier(
        encoder, tokenizer, "finetune", AdaptConfig(updates=6), lambda *at: seen.append(at)
    ).fit(*posts(3))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_more_labels_never_mean_fewer_updates():
    assert all(updates_for(n, 16) <= updates_for(n + 13, 16) for n in range(1, 3000, 13))


def test_mistakes_are_explained(encoder, tokenizer):
    with pytest.raises(TinylmError, match="'finetune' or 'gradual'"):
        Classifier(encoder, tokenizer, "prompt")
    with pytest.raises(DataError, match="at least two"):
        Classifier(encoder, tokenizer).fit(["puck", "goal"], ["ice", "ice"])
    with pytest.raises(ShapeError, match="2 texts"):
        Classifier(encoder, tokenizer).fit(["puck", "goal"], ["ice"])
    with pytest.raises(TinylmError, match="not fitted"):
        Classifier(encoder, tokenizer).predict(["puck"])


# ---- folders, with hub replaced by one that keeps the parts in memory: the published layouts are tested elsewhere


@pytest.fixture
def shelf(monkeypatch):
    kept = {}
    monkeypatch.setattr(
        "tinylm.hub.write",
        lambda path, model, tokenizer, origin: kept.update(last=(model, tokenizer)),
    )
    monkeypatch.setattr("tinylm.hub.load", lambda path: kept["last"])
    return kept


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_a_saved_classifier_predicts_the_same_bits(encoder, tokenizer, method, tmp_path, shelf):
    model = Classifier(encoder, tokenizer, method, AdaptConfig(updates=5)).fit(*posts(4))
    model.save(tmp_path / "run")
    texts = posts(5, seed=9)[0]
    loaded = Classifier.load(tmp_path / "run")
    assert np.array_equal(loaded.predict_proba(texts), model.predict_proba(texts))
    assert loaded.config == model.config and loaded.classes_.tolist() == model.classes_.tolist()


def test_a_save_that_is_killed_leaves_the_classifier_of_before(
    encoder, tokenizer, tmp_path, shelf, monkeypatch
):
    model = Classifier(encoder, tokenizer).fit(*posts(4))
    model.save(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinylm.transfer.adapted.save_tensors", killed)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path, overwrite=True)
    assert Classifier.load(tmp_path).classes_.tolist() == model.classes_.tolist()
    assert {path.name for path in tmp_path.iterdir()} == {
        "classifier.json",
        "classifier.safetensors",
    }


DAMAGES = [
    (part, wrong)
    for part in ("labels", "method", "layers", "config")
    for wrong in (None, ["a"], "ice", 7)
]
DAMAGES += [
    ("labels", {}),
    ("labels", [["ice"], ["sea"], ["sky"]]),
    ("labels", ["ice", None, "sky"]),
    ("layers", {}),
]
DAMAGES += [
    ("config", {"max_length": "long"}),
    ("config", {"batch_size": 0}),
    ("config", {"rates": "fast"}),
]


@pytest.mark.parametrize("part, wrong", DAMAGES)
def test_a_damaged_classifier_is_one_sentence(encoder, tokenizer, tmp_path, shelf, part, wrong):
    Classifier(encoder, tokenizer).fit(*posts(4)).save(tmp_path)
    path = tmp_path / "classifier.json"
    write_json(path, read_json(path) | {part: wrong})
    with pytest.raises(TinylmError) as caught:
        Classifier.load(tmp_path).predict(["puck"])
    assert "\n" not in str(caught.value)


def test_a_classifier_cannot_do_without_an_encoder(encoder, tokenizer, tmp_path, shelf):
    Classifier(encoder, tokenizer).fit(*posts(4)).save(tmp_path)
    path = tmp_path / "classifier.json"
    write_json(path, read_json(path) | {"encoder": False})
    assert Classifier.load(tmp_path).predict(["puck"]).size == 1  # it is read all the same


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"updates": 0}, {"max_length": 0}, {"clip": 0.0}, {"warmup": -0.1}]
)
def test_a_setting_that_cannot_be_meant_is_one_sentence(wrong):
    with pytest.raises(TinylmError, match=f"AdaptConfig: {next(iter(wrong))} is"):
        AdaptConfig(**wrong)


def test_a_classifier_never_overwrites_a_pretraining_run(encoder, tokenizer, tmp_path, shelf):
    model = Classifier(encoder, tokenizer).fit(*posts(4))
    (tmp_path / "trainer.safetensors").write_bytes(b"precious")
    with pytest.raises(CheckpointError, match="already holds a run"):
        model.save(tmp_path)
    with pytest.raises(DataError, match="cannot be made a folder"):
        model.save(tmp_path / "trainer.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["trainer.safetensors"] and not shelf


@pytest.mark.parametrize("layers", [1, 3])
def test_layer_decay_is_electras_rule(layers):
    config = GPTConfig.tiny(11, n_layer=layers, n_embd=6, n_head=2)
    network = nn.Module()
    network.encoder = GPT(config)
    network.head = nn.Linear(6, 2, rng=np.random.default_rng(0))
    groups = parameters_of(network, 0.8)
    rates = {name: group["scale"] for group in groups for name, _ in group["params"]}
    assert rates["head.weight"] == rates["head.bias"] == 1
    for i in range(layers):
        assert rates[f"encoder.h.{i}.attn.c_attn.weight"] == pytest.approx(0.8 ** (layers + 1 - i))
    assert rates["encoder.wte.weight"] == pytest.approx(0.8 ** (layers + 2))
    assert len(rates) == len(network.named_parameters())


def test_layer_decay_of_1_is_one_rate_for_all_to_the_bit(encoder, tokenizer):
    found = []
    for layer_decay in (None, 1.0):
        config = AdaptConfig(rates=(0.01,), updates=7, layer_decay=layer_decay)
        found.append(
            weights(Classifier(encoder, tokenizer, "finetune", config).fit(*posts(5)).encoder_)
        )
    assert same(*found)


def test_a_small_layer_decay_keeps_the_encoder_near_its_pretraining(encoder, tokenizer):
    before = weights(encoder)["table.weight"]
    moved = []
    for layer_decay in (1e-3, None):
        config = AdaptConfig(rates=(0.01,), updates=7, layer_decay=layer_decay)
        tuned = Classifier(encoder, tokenizer, "finetune", config).fit(*posts(5)).encoder_
        moved.append(np.abs(weights(tuned)["table.weight"] - before).max())
    assert moved[0] < 1e-4 * moved[1]


# ---- gradual fine-tuning


@pytest.mark.parametrize("layers", [1, 3])
def test_gradual_rates_are_ulmfits_rule(layers):
    network = nn.Module()
    network.encoder = GPT(GPTConfig.tiny(11, n_layer=layers, n_embd=6, n_head=2))
    network.head = nn.Linear(6, 2, rng=np.random.default_rng(0))
    config = AdaptConfig().gradual()
    groups = parameters_of(network, config.layer_decay, config.head_gap)
    rates = {name: group["scale"] for group in groups for name, _ in group["params"]}
    assert rates["head.weight"] == 1
    for i in range(layers):
        assert rates[f"encoder.h.{i}.attn.c_attn.weight"] == pytest.approx(2.6 ** (i - layers))
    assert rates["encoder.wte.weight"] == pytest.approx(2.6 ** (-1 - layers))


@given(updates=st.integers(1, 400), groups=st.integers(1, 14), per_epoch=st.integers(1, 300))
def test_stages_make_all_updates_one_epoch_each_and_the_last_what_is_left(
    updates, groups, per_epoch
):
    stages = stages_of(updates, groups, per_epoch)
    assert len(stages) == groups and sum(stages) == updates
    assert len(set(stages[:-1])) <= 1 and stages[-1] >= stages[0]
    if updates >= groups * per_epoch:
        assert stages[:-1] == [per_epoch] * (groups - 1)


def test_layers_thaw_from_the_top_down_one_epoch_after_another(tokenizer):
    config = GPTConfig.tiny(tokenizer.vocab_size, n_layer=2, n_embd=6, n_head=2)
    encoder = GPT(config, np.random.default_rng(0))
    texts, labels = posts(8)  # 24 texts: an epoch is 3 updates of 8
    frozen = []

    def look(done, updates):
        groups = live[0].layer_groups()
        frozen.append([not p.requires_grad for p in (group[0] for group in groups)])

    live = []
    make = Classifier._features

    class Watched(Classifier):
        def _features(self, encoder, layers):
            live[:] = [encoder]
            return make(self, encoder, layers)

    adapt = AdaptConfig(updates=13, batch_size=8)
    Watched(encoder, tokenizer, "gradual", adapt, look).fit(texts, labels)
    below = [[True, True, True], [True, True, False], [True, False, False], [False] * 3]
    assert frozen == [below[0]] * 3 + [below[1]] * 3 + [below[2]] * 3 + [below[3]] * 4


def test_a_frozen_layer_keeps_its_bits(tokenizer):
    config = GPTConfig.tiny(tokenizer.vocab_size, n_layer=1, n_embd=6, n_head=2)
    encoder = GPT(config, np.random.default_rng(0))
    adapt = AdaptConfig(updates=2, batch_size=24, rates=(0.1,))  # too few for the embeddings
    tuned = Classifier(encoder, tokenizer, "gradual", adapt).fit(*posts(8)).encoder_
    before = weights(encoder)
    after = weights(tuned)
    assert not np.array_equal(before["wte.weight"], after["wte.weight"])  # the last stage has all

    adapt = AdaptConfig(updates=3, batch_size=24, rates=(0.1,), layer_decay=1e-9)
    adapt = replace(adapt, unfreeze=True)
    tuned = Classifier(encoder, tokenizer, "finetune", adapt).fit(*posts(8)).encoder_
    after = weights(tuned)
    assert np.abs(after["wte.weight"] - before["wte.weight"]).max() < 1e-7


def test_the_same_gradual_run_gives_the_same_bits_and_is_saved(encoder, tokenizer, tmp_path):
    config = AdaptConfig(updates=9)
    first, again = (
        Classifier(encoder, tokenizer, "gradual", config).fit(*posts(5)) for _ in range(2)
    )
    assert same(weights(first.encoder_), weights(again.encoder_))
    gpt = GPT(GPTConfig.tiny(tokenizer.vocab_size, n_layer=1, n_embd=6, n_head=2))
    saved = Classifier(gpt, tokenizer, "gradual", config).fit(*posts(5))
    saved.save(tmp_path / "out")
    loaded = Classifier.load(tmp_path / "out")
    assert loaded.method == "gradual" and loaded.config == saved.config
    texts = posts(3, seed=1)[0]
    np.testing.assert_allclose(loaded.predict_proba(texts), saved.predict_proba(texts), atol=1e-6)


def test_a_schedule_that_does_not_exist_or_has_no_such_option_is_refused():
    with pytest.raises(TinylmError, match="schedule"):
        AdaptConfig(schedule="staircase")
    with pytest.raises(TinylmError, match="ratio"):
        AdaptConfig(schedule_options={"ratio": 8})


def test_the_mean_of_layers_leaves_out_those_of_other_widths():
    rng = np.random.default_rng(0)
    states = [Tensor(rng.normal(size=(2, 3, width))) for width in (5, 7, 5)]
    mask = np.ones((2, 3), bool)
    found = pool(states, mask, ["mean"])
    np.testing.assert_allclose(found, ((states[0] + states[2]) / 2).data.mean(axis=1))

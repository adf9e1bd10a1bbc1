"""ULMFiT's three stages as commands: a text, the texts of a task, its labels; forwards, backwards and both averaged."""

import json

import numpy as np
import pytest
from posts import posts

from tinylm import hub
from tinylm.app.cli import main
from tinylm.data import toy
from tinylm.errors import DataError, TinylmError
from tinylm.objectives.ulmfit import DROPOUTS
from tinylm.text import Words
from tinylm.training import checkpoint
from tinylm.transfer import AdaptConfig, Averaged, Classifier

SIZES = dict(emb_sz=24, n_hid=32, n_layers=2, bptt=11, batch_size=8, lr=0.01)
SIZES |= dict.fromkeys(DROPOUTS, 0.0)
STRANGE = "zwyx qwvk"  # words that the first text lacks


pytestmark = pytest.mark.usefixtures("one_thread_throughout")


def call(*words):
    """A command that must succeed."""
    assert main([*map(str, words), "--quiet"]) == 0


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Folders: a language model, the same after the texts of a task, its classifier; each in both directions."""
    out = tmp_path_factory.mktemp("stages")
    labelled = posts(640, seed=1)
    general = toy.documents(50, seed=0) + [text for text, _ in posts(300, seed=0)]
    (out / "general.txt").write_text("\n\n".join(general))
    texts = [f"{text} {STRANGE}" if i % 7 == 0 else text for i, (text, _) in enumerate(labelled)]
    (out / "task.txt").write_text("\n\n".join(texts))
    rows = [f"{text}\t{label}" for text, (_, label) in zip(texts, labelled, strict=True)]
    (out / "task.tsv").write_text("\n".join(rows) + "\n")
    sizes = [word for key, value in SIZES.items() for word in ("--set", f"{key}={value}")]
    for way in ("forward", "backward"):
        lm, adapted, classifier = (out / f"{way}{n}" for n in (1, 2, 3))
        turn = ["--set", f"backward={str(way == 'backward').lower()}"]
        text = ["--data", out / "general.txt"]
        call("pretrain", "ulmfit", *text, "--out", lm, "--steps", 500, *sizes, *turn)
        text = ["--init", lm, "--data", out / "task.txt"]
        rates = ["--set", "layer_decay=0.385", "--set", "lr=0.01"]
        call("pretrain", "ulmfit", *text, "--out", adapted, "--steps", 100, *rates)
        train = ["--train", out / "task.tsv", "--out", classifier]
        # Ten passes; after the usual five a draw in four still says one label of every text.
        call("finetune", adapted, "--method", "gradual", "--set", "updates=400", *train)
    return out


def test_the_second_stage_keeps_the_words_of_the_first_and_adds_those_of_the_task(stages):
    first, old = hub.load(stages / "forward1")
    second, new = hub.load(stages / "forward2")
    assert new.vocab[: old.vocab_size] == old.vocab
    assert set(STRANGE.split()) <= set(new.vocab) - set(old.vocab)
    assert second.config.vocab_size == new.vocab_size > first.config.vocab_size
    option = checkpoint.load_state(stages / "forward2").facts["identity"]["option"]
    assert option["layer_decay"] == 0.385 and option["schedule"] == "slanted_triangular"


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_the_classifier_has_learned_its_task(stages, way):
    classifier = Classifier.load(stages / f"{way}3")
    assert classifier.method == "gradual"
    assert classifier.encoder_.config.backward == (way == "backward")
    texts, labels = zip(*posts(60, seed=2), strict=True)
    assert classifier.score(list(texts), list(labels)) > 0.9  # chance is a half


def test_predict_averages_the_probabilities_of_both_directions(stages, tmp_path, capsys):
    texts = [text for text, _ in posts(7, seed=3)]
    (tmp_path / "new.txt").write_text("\n".join(texts))
    both = ["predict", stages / "forward3", tmp_path / "new.txt", "--with", stages / "backward3"]
    capsys.readouterr()
    call(*both, "--json")
    rows = json.loads(capsys.readouterr().out)
    forward, backward = (Classifier.load(stages / f"{way}3") for way in ("forward", "backward"))
    wanted = (forward.predict_proba(texts) + backward.predict_proba(texts)) / 2
    assert [row["label"] for row in rows] == forward.classes_[wanted.argmax(axis=1)].tolist()
    np.testing.assert_allclose([row["probability"] for row in rows], wanted.max(axis=1), atol=1e-6)


def test_classifiers_of_other_labels_cannot_be_averaged(stages):
    classifier = Classifier.load(stages / "forward3")
    other = Classifier.load(stages / "backward3")
    other.classes_ = np.array([*other.classes_[:-1], "another"])
    with pytest.raises(DataError, match="train both on the same labels"):
        Averaged([classifier, other])
    with pytest.raises(TinylmError, match="not fitted"):
        Averaged([classifier, Classifier(classifier.encoder, classifier.tokenizer)])


def test_one_classifier_averaged_is_itself():
    texts = ["ice ice", "sea sea", "ice rink", "sea wave"] * 3
    labels = ["ice", "sea"] * 6
    words = Words.train(texts)
    model = hub.objectives.find("ulmfit")
    encoder = model(model.Config.tiny(words.vocab_size, emb_sz=7, n_hid=5))
    fitted = Classifier(encoder, words, "gradual", AdaptConfig(updates=4)).fit(texts, labels)
    alone = Averaged([fitted])
    np.testing.assert_array_equal(alone.predict_proba(texts), fitted.predict_proba(texts))
    assert alone.score(texts, labels) == fitted.score(texts, labels)

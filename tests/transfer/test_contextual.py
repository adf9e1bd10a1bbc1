"""Laws of features and comparison that must hold for every chapter, whose states depend on the whole text."""

import numpy as np
import pytest
from quick import some

from tinylm.objectives import registry
from tinylm.report import write
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import AdaptConfig, Classifier, Features, compare, verdict

SIZES = {
    "gpt1": {"n_positions": 16, "n_embd": 10, "n_head": 2, "batch_size": 3},
    "gpt": {"n_positions": 16, "n_embd": 10, "n_head": 2, "batch_size": 3},
    "bert": {
        "hidden_size": 10,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "batch_size": 3,
    },
    "electra": {"hidden_size": 10, "embedding_size": 7, "sequence_length": 16, "batch_size": 3},
    "xlnet": {"d_model": 12, "n_head": 2, "d_inner": 20, "n_layer": 1, "batch_size": 2},
    "word2vec": {"size": 7},
    "fasttext": {"size": 7, "bucket": 101},
    "glove": {"vector_size": 7},
    "elmo": {"filters": ((1, 5), (3, 7)), "projection_dim": 5, "dim": 11, "batch_size": 3},
    "ulmfit": {"emb_sz": 7, "n_hid": 11, "batch_size": 3, "bptt": 16},
}
TEXTS = ["one", "a much longer text that goes on and on and on until it ends", "two words"]


@pytest.fixture(scope="module")
def models():
    """Every chapter, trained for a moment: name -> (model, tokenizer)."""
    found = {}
    for name in registry.CHAPTERS:
        asked = PretrainConfig(name, "toy", options=SIZES.get(name, {}) | {"steps": 5})
        model, tokenizer, _ = pretrain(asked, quiet=True)
        found[name] = model.eval(), tokenizer
    return found


@pytest.mark.parametrize("name", registry.CHAPTERS)
def test_every_chapter_can_be_adapted_on_an_encoding_that_was_made_for_bert(name):
    options = SIZES.get(name, {}) | {"steps": 2}
    asked = PretrainConfig(name, "toy", options=options, encoding="wordpiece")
    model, tokenizer, _ = pretrain(asked, quiet=True)
    for method in ("features", "finetune"):
        config = AdaptConfig(max_length=13, updates=2)
        fitted = Classifier(model, tokenizer, method, config).fit(TEXTS, ["a", "b", "a"])
        assert fitted.predict_proba(TEXTS).shape == (3, 2)


@pytest.mark.parametrize("name", registry.CHAPTERS)
@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_texts_features_depend_on_no_other_text_and_no_padding(models, name, batch_size):
    model, tokenizer = models[name]
    features = Features(model, tokenizer, batch_size=batch_size, max_length=13)
    together = features.means(TEXTS)
    alone = np.concatenate([features.means([text]) for text in TEXTS])
    turned = features.means(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max())
    np.testing.assert_allclose(together, turned, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("name", registry.CHAPTERS)
def test_a_texts_prediction_depends_on_no_other_text(models, name):
    model, tokenizer = models[name]
    config = AdaptConfig(updates=3, max_length=13)
    tuned = Classifier(model, tokenizer, "finetune", config).fit(TEXTS * 3, [0, 1, 0] * 3)
    together = tuned.predict_proba(TEXTS)
    alone = np.concatenate([tuned.predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_every_chapter_stands_in_a_comparison_and_its_report(tmp_path):
    names = tuple(some(registry.CHAPTERS, 4))
    adapt = AdaptConfig(max_length=13, updates=2)
    config = compare.CompareConfig(
        data="toy",
        objectives=names,
        minutes=0.002,
        labels=(2,),
        seeds=1,
        out=tmp_path,
        size="tiny",
        test_size=40,
        adapt=adapt,
        quiet=True,
    )
    found = compare.run(config)
    kinds = (compare.FEATURES, compare.FINETUNED, compare.SCRATCH)
    expected = {f"{name} {kind}" for name in names for kind in kinds}
    assert expected <= set(found.methods()) and set(found.pretrained) == set(names)
    page = write(found).read_text(encoding="utf-8")
    assert all(system in page for system in expected)
    head, rows = verdict.pretraining(found)
    assert [row[0] for row in rows] == list(names) and len(head) == len(rows[0])

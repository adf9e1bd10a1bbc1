"""Several tasks on one trunk: one task is fine-tuning, a batch of one leaves the other heads alone."""

import json
from itertools import pairwise

import numpy as np
import pytest

from tinylm import GPT, GPTConfig, hub
from tinylm.app.cli import main
from tinylm.errors import DataError, TinylmError
from tinylm.text import Words
from tinylm.transfer import AdaptConfig, Classifier, MultiTask, multitask
from tinylm.transfer.multitask import drawn, own_parameters

WORDS = Words("sea wave boat rock hill sand good bad so a the is".split())
CONFIG = AdaptConfig(updates=13, batch_size=5, max_length=8)


def encoder(dropout=0.1):
    """A GPT that learned nothing."""
    sizes = dict(n_positions=11, n_embd=12, n_layer=2, n_head=3, initializer_range=0.3)
    return GPT(GPTConfig(WORDS.vocab_size, resid_pdrop=dropout, embd_pdrop=dropout, **sizes))


def places(n, seed=0):
    """n texts about the sea or the land."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(n):
        words = ["sea wave boat", "rock hill sand"][i % 2].split()
        filler = rng.choice(["a", "the", "so", "is"], 3).tolist()
        texts.append(" ".join([*filler, str(rng.choice(words))]))
        labels.append(["sea", "land"][i % 2])
    return texts, labels


def moods(n):
    """n texts that are good or bad, in three classes."""
    texts = [f"the {WORDS.vocab[3 + i % 6]} is {['good', 'bad', 'so'][i % 3]}" for i in range(n)]
    return texts, ["+-0"[i % 3] for i in range(n)]


def weights(model):
    """Copies of all parameters by name."""
    return {name: p.data.copy() for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    "over",
    [{}, {"layer_decay": 0.5}, {"lm_coef": 0.5}, {"layers": ("mix",)}],
    ids=["plain", "layerwise", "lm", "mix"],
)
def test_one_task_is_the_single_task_run_bit_for_bit(over):
    config = AdaptConfig(**{**vars(CONFIG), **over})
    model = encoder()
    texts, labels = places(23)
    single = Classifier(model, WORDS, "finetune", config).fit(texts, labels)
    several = MultiTask(model, WORDS, config).fit({"place": (texts, labels)})
    ours = several.of("place")
    for name, weight in weights(single.encoder_).items():
        np.testing.assert_array_equal(weights(ours.encoder_)[name], weight)
    for mine, theirs in zip(ours.head_, single.head_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(ours.predict_proba(texts), single.predict_proba(texts))
    assert several.drawn_ == {"place": 13}


def test_a_batch_of_one_task_leaves_the_other_heads_untouched(monkeypatch):
    networks = []
    started = multitask.started

    def kept(*arguments):
        networks.append(started(*arguments))
        return networks[-1]

    history = []  # after each update: the draws, the weights of each head, and the trunk's

    def record(done, updates):
        heads = [[p.data.copy() for p in own_parameters(network)] for network in networks]
        history.append((list(several.drawn_.values()), heads, weights(networks[0].encoder)))

    monkeypatch.setattr(multitask, "started", kept)
    config = AdaptConfig(**{**vars(CONFIG), "updates": 24, "warmup": 0.0, "weight_decay": 0.3})
    several = MultiTask(encoder(), WORDS, config, power=0.0, progress=record)
    several.fit({"place": places(23), "mood": moods(19)})
    assert len(networks) == 2 and min(several.drawn_.values()) >= 4
    for (draws, heads, trunk), (later, moved, after) in pairwise(history):
        for task in range(2):
            pairs = zip(heads[task], moved[task], strict=True)
            same = [np.array_equal(a, b) for a, b in pairs]
            assert all(same) if draws[task] == later[task] else not any(same)
        assert any(not np.array_equal(after[name], trunk[name]) for name in trunk)


def test_all_tasks_end_with_one_trunk_and_the_given_encoder_stays():
    model = encoder()
    before = weights(model)
    several = MultiTask(model, WORDS, CONFIG).fit({"place": places(23), "mood": moods(19)})
    first, second = several.of("place").encoder_, several.of("mood").encoder_
    assert first is second and first is not model
    for name, weight in weights(model).items():
        np.testing.assert_array_equal(weight, before[name])
    assert all(p.requires_grad for p in first.parameters())
    assert set(several.predict("mood", ["so good"])) <= set("+-0")


@pytest.mark.parametrize("power, expected", [(1.0, 0.9), (0.5, 0.75), (0.0, 0.5)])
def test_tasks_are_drawn_in_proportion_to_a_power_of_their_size(power, expected):
    order = drawn({"large": 900, "small": 100}, power, seed=3)
    draws = [next(order) for _ in range(2000)]
    share = draws.count("large") / len(draws)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(draws))
    again = drawn({"large": 900, "small": 100}, power, seed=3)
    assert [next(again) for _ in range(100)] == draws[:100]


def test_both_tasks_are_learned():
    config = AdaptConfig(updates=200, batch_size=8, max_length=8, rates=(1e-2,))
    several = MultiTask(encoder(0.0), WORDS, config)
    several.fit({"place": places(40), "mood": moods(36)})
    texts, labels = places(40, seed=1)
    assert several.score("place", texts, labels) >= 0.9
    assert several.score("mood", *moods(36)) >= 0.9


def test_mistakes_are_one_sentence():
    with pytest.raises(TinylmError, match="no task; give at least one"):
        MultiTask(encoder(), WORDS).fit({})
    with pytest.raises(TinylmError, match="gradual unfreezing"):
        MultiTask(encoder(), WORDS, AdaptConfig().gradual())
    with pytest.raises(TinylmError, match="power is 2"):
        MultiTask(encoder(), WORDS, power=2.0)
    with pytest.raises(DataError, match="1 class"):
        MultiTask(encoder(), WORDS).fit({"a": (["sea", "wave"], ["x", "x"])})
    with pytest.raises(TinylmError, match="not fitted yet"):
        MultiTask(encoder(), WORDS).predict("a", ["sea"])
    fitted = MultiTask(encoder(), WORDS, CONFIG).fit({"place": places(12)})
    with pytest.raises(TinylmError, match="no task 'places'; there are place"):
        fitted.predict("places", ["sea"])


def test_the_command_writes_a_folder_for_each_task_that_predict_reads(tmp_path, capsys):
    hub.save(tmp_path / "gpt", encoder(), WORDS)
    for name, (texts, labels) in {"place": places(24), "mood": moods(24)}.items():
        lines = [
            f"{text} {i}\t{label}\n"
            for i, (text, label) in enumerate(zip(texts, labels, strict=True))
        ]
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
    command = ["multitask", str(tmp_path / "gpt"), "--out", str(tmp_path / "out")]
    for name in ("place", "mood"):
        command += ["--train", f"{name}={tmp_path / name}.tsv"]
    command += ["--test", f"mood={tmp_path / 'mood'}.tsv"]
    assert main([*command, "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert tasks["place"]["accuracy"] is None and 0 <= tasks["mood"]["accuracy"] <= 1
    assert tasks["place"]["train"] == 24 and tasks["mood"]["train"] < 24
    assert tasks["place"]["batches"] + tasks["mood"]["batches"] == 60
    (tmp_path / "new.txt").write_text("the sea is good\n")
    assert main(["predict", str(tmp_path / "out" / "mood"), str(tmp_path / "new.txt")]) == 0
    assert capsys.readouterr().out[0] in "+-0"
    assert main(command) == 2  # before anything is learned
    said = capsys.readouterr().err
    assert "--overwrite" in said and "adapting" not in said
    assert main([*command, "--overwrite"]) == 0
    assert main([*command[:2], "--out", "", *command[4:]]) == 2
    assert "the name of the output folder is empty" in capsys.readouterr().err
    assert main([*command[:4], "--train", "a=toy", "--test", "b=toy"]) == 2
    assert "--test names the task b" in capsys.readouterr().err

"""Numbers that are not finite, and sizes that cannot be meant, are refused wherever they come in."""

import dataclasses
import importlib
import json
import math
import pkgutil
import shutil
import types
from unittest import mock

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import tinylm
from tinylm import files, finite, hub, memory, nn, optim, settings, text
from tinylm.app.cli import main
from tinylm.data import load_texts
from tinylm.data.batching import windows
from tinylm.errors import CheckpointError, TinylmError
from tinylm.sampling import Sampling
from tinylm.settings import argument, from_to_below
from tinylm.text.unigram import Unigram
from tinylm.training import checkpoint
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import AdaptConfig, Classifier, Features, SoftmaxRegression
from tinylm.vectors import FORMATS, Vectors, write_vectors

for module in pkgutil.walk_packages(tinylm.__path__, "tinylm."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

BROKEN = (math.nan, math.inf, -math.inf)
broken_numbers = st.sampled_from(BROKEN)


# ---- configs


def subclasses(cls):
    """Every config of the package, however deep."""
    found = []
    for child in cls.__subclasses__():
        found += [child, *subclasses(child)]
    return [each for each in found if each.__module__.startswith("tinylm.")]


NEEDED = {
    "TrainConfig": {"steps": 5},
    "PretrainConfig": {"objective": "gpt", "data": "toy"},
    "LSTMConfig": {"input_size": 3, "hidden_size": 5},
    "ObjectiveConfig": {"vocab_size": 7},
    "BlockConfig": {"width": 6, "heads": 2, "hidden": 7},
    "EncoderConfig": {"vocab_size": 11, "positions": 7, "types": 2, "layers": 1, "table_width": 6},
    "StreamsConfig": {"vocab_size": 11, "layers": 1},
    "Sizes": {"features": 5, "layers": 0, "words": 0, "tags": 3},
}  # where a config has fields without a default
CONFIGS = subclasses(settings.Config)


def with_broken(value, wrong):
    """The value with one number in it replaced by `wrong`, once for each number; a number becomes `wrong` itself."""
    if isinstance(value, tuple):
        for i, part in enumerate(value):
            for changed in with_broken(part, wrong):
                yield (*value[:i], changed, *value[i + 1 :])
    elif isinstance(value, dict):
        yield value | {"number": wrong}
    else:
        yield wrong


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("wrong", BROKEN, ids=str)
def test_no_field_of_any_config_takes_a_number_that_is_not_finite(config_class, wrong):
    config = config_class(**NEEDED.get(config_class.__name__, {}))
    for field in dataclasses.fields(config):
        for value in with_broken(getattr(config, field.name), wrong):
            with pytest.raises(TinylmError, match=rf"\b{field.name}\b"):
                dataclasses.replace(config, **{field.name: value})


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda each: each.__name__)
@given(st.integers() | st.floats())
def test_any_number_in_any_field_is_taken_or_refused_in_a_sentence(config_class, number):
    config = config_class(**NEEDED.get(config_class.__name__, {}))
    for field in dataclasses.fields(config):
        try:
            changed = dataclasses.replace(config, **{field.name: number})
        except TinylmError as error:
            assert "\n" not in str(error)
        else:
            assert getattr(changed, field.name) == number and math.isfinite(number)


def test_every_dataclass_that_is_called_a_config_is_checked():
    for module in pkgutil.walk_packages(tinylm.__path__, "tinylm."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.endswith("Config") and dataclasses.is_dataclass(value):
                assert issubclass(value, settings.Config), (module.name, name)


def test_a_range_may_leave_out_its_end_and_says_so():
    assert from_to_below(0, 1).holds(1 - 2**-53) and not from_to_below(0, 1).holds(1)
    with pytest.raises(TinylmError, match="x: rate is 1; expected a number from 0 to below 1"):
        argument("x", "rate", 1, float, from_to_below(0, 1))
    with pytest.raises(TinylmError, match="x: count is 1e.400|x: count is"):
        argument("x", "count", 10**400, float, settings.at_least(0))


# ---- arguments of functions


def parameters():
    return [("w", nn.Parameter(np.ones(3, np.float32)))]


OPTIMIZER_NUMBERS = {
    "adamw": ("lr", "eps", "weight_decay"),
    "adam": ("lr", "eps", "weight_decay"),
    "sgd": ("lr", "momentum", "dampening", "weight_decay"),
    "asgd": ("lr", "weight_decay", "nonmono"),
    "adagrad": ("lr", "eps", "weight_decay", "initial_accumulator_value"),
}


@given(st.sampled_from(sorted(OPTIMIZER_NUMBERS)), st.data())
def test_no_optimizer_takes_a_number_that_is_not_finite_or_negative(name, data):
    which = data.draw(st.sampled_from(OPTIMIZER_NUMBERS[name]))
    wrong = data.draw(broken_numbers | st.floats(max_value=-1e-9))
    if which == "dampening" and math.isfinite(wrong):
        return  # PyTorch takes any
    with pytest.raises(TinylmError, match=f": {which} is "):
        optim.OPTIMIZERS[name](parameters(), **{which: wrong})


@given(st.floats() | st.integers(), st.booleans())
def test_betas_lie_between_0_and_1_as_in_pytorch(beta, first):
    betas = (beta, 0.9) if first else (0.9, beta)
    if 0 <= beta < 1:
        assert optim.AdamW(parameters(), betas=betas).betas == betas
        return
    with pytest.raises(TinylmError, match="AdamW: betas is"):
        optim.AdamW(parameters(), betas=betas)


def test_epsilon_0_is_refused_where_it_would_divide_by_zero():
    with pytest.raises(TinylmError, match="AdamW: eps is 0; expected a number above 0"):
        optim.AdamW(parameters(), eps=0)
    with pytest.raises(TinylmError, match="Adagrad: initial_accumulator_value is 0"):
        optim.Adagrad(parameters(), eps=0.0)
    assert optim.Adagrad(parameters(), eps=0.0, initial_accumulator_value=1.0).eps == 0


@given(broken_numbers)
def test_groups_and_single_steps_take_finite_numbers_only(wrong):
    for key in ("scale", "grad_scale", "weight_decay"):
        with pytest.raises(TinylmError, match=f"SGD: {key} is"):
            optim.SGD([{"params": parameters(), key: wrong}])
    optimizer = optim.SGD(parameters())
    with pytest.raises(TinylmError, match="SGD: lr is"):
        optimizer.step(lr=wrong)
    assert optimizer.steps == 0


@given(st.sampled_from(sorted(optim.SCHEDULES)), broken_numbers, st.integers(0, 2))
def test_schedules_take_finite_numbers_only(name, wrong, place):
    arguments = [3, 11, 2]
    arguments[place] = wrong
    with pytest.raises(TinylmError, match=f"{name}: (step|steps|warmup) is"):
        optim.SCHEDULES[name](*arguments)
    with pytest.raises(TinylmError, match=f"{name}: warmup is"):
        optim.SCHEDULES[name](3, 11, warmup=-1)


TRAINED = {
    "bpe": text.BPE,
    "wordpiece": text.WordPiece,
    "words": text.Words,
    "chars": text.Chars,
    "unigram": text.Unigram,
}


@given(
    st.sampled_from(sorted(TRAINED)),
    broken_numbers | st.integers(max_value=0) | st.integers(min_value=2**31) | st.floats(),
)
def test_no_encoding_is_trained_to_a_number_that_cannot_be_meant(kind, wrong):
    with pytest.raises(TinylmError, match="vocab_size is"):
        TRAINED[kind].train(["some text"], wrong)
    with pytest.raises(TinylmError, match="vocab_size is"):
        text.learn(kind, ["some text"], wrong)
    if kind != "unigram":
        with pytest.raises(TinylmError, match="min_count is"):
            TRAINED[kind].train(["some text"], 300, min_count=wrong)
    for option in ("min_count", "phrases"):
        with pytest.raises(TinylmError, match=f"{option} is"):
            text.learn("words", ["some text"], **{option: wrong if wrong != 0 else -1})


@given(broken_numbers)
def test_layers_and_regressions_take_finite_numbers_only(wrong):
    rng = np.random.default_rng(0)
    for make, name in (
        (lambda: nn.Linear(3, 5, rng=rng, std=wrong), "std"),
        (lambda: nn.LayerNorm(3, eps=wrong), "eps"),
        (lambda: nn.BatchNorm1d(3, momentum=wrong), "momentum"),
        (lambda: nn.Dropout(wrong, nn.Noise()), "rate"),
        (lambda: SoftmaxRegression(C=wrong), "C"),
        (lambda: SoftmaxRegression(C=(1.0, wrong)), "C"),
    ):
        with pytest.raises(TinylmError, match=f"{name} is"):
            make()


COMMANDS = (
    ("weight_decay=nan", "weight_decay"),
    ("betas=0.9,2", "betas"),
    ("betas=0.9,nan", "betas"),
    ("eps=0", "eps"),
    ("weight_decay=-1", "weight_decay"),
    ("lr=inf", "lr"),
    ("vocab_size=-1", "vocab_size"),
)


@pytest.mark.parametrize("assignment, name", COMMANDS)
def test_a_number_from_the_command_line_is_one_sentence(tmp_path, capsys, assignment, name):
    out = str(tmp_path / "run")
    command = ["pretrain", "gpt", "--data", "toy", "--out", out, "--quiet", "--steps", "1"]
    assert main([*command, "--set", assignment]) == 2
    said = capsys.readouterr().err
    assert name in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


# ---- sizes and the memory


def test_this_machine_has_memory_and_this_process_uses_some():
    assert memory.physical() > 2**28
    assert 2**20 < memory.used() < memory.physical()


HUGE = 10**9
TOO_LARGE = {
    "block": lambda: nn.BlockConfig(width=HUGE, heads=1, hidden=HUGE),
    "lstm": lambda: nn.LSTMConfig(HUGE, HUGE),
    "lstm layers": lambda: nn.LSTMConfig(3, 5, num_layers=HUGE),
    "characters": lambda: nn.CharCNNConfig(n_characters=HUGE, embedding_dim=HUGE),
    "filters": lambda: nn.CharCNNConfig(filters=((HUGE, HUGE),)),
    "linear": lambda: nn.Linear(HUGE, HUGE, rng=None),
    "bias": lambda: nn.LayerNorm(HUGE**2),
    "embedding": lambda: nn.Embedding(HUGE, HUGE, rng=None),
    "cache": lambda: nn.Cache(5, HUGE, 2, HUGE, 3),
    "gpt": lambda: tinylm.GPT(tinylm.GPTConfig(vocab_size=HUGE, n_embd=HUGE, n_head=1)),
    "batch": lambda: windows(HUGE, 65, HUGE, 0, 0),
    "window": lambda: importlib.import_module("tinylm.data.cooccurrence").Window(HUGE),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_sizes_of_a_thousand_million_are_refused_before_anything_is_allocated(name):
    with pytest.raises(TinylmError, match="GB; this machine has|expected a whole number from"):
        TOO_LARGE[name]()


def test_a_negative_size_is_one_sentence():
    with pytest.raises(TinylmError, match="negative size"):
        nn.Linear(-3, 5, rng=np.random.default_rng(0))


def test_what_training_needs_beside_the_weights_is_refused_before_it_starts(monkeypatch):
    p = nn.Parameter(np.ones(2**20, np.float32))  # 4 MiB
    monkeypatch.setattr(memory, "used", lambda: 4 * 2**20)
    monkeypatch.setattr(memory, "physical", lambda: 15 * 2**20)
    with pytest.raises(TinylmError, match="AdamW: what training needs beside the weights"):
        optim.AdamW([("p", p)])
    optim.SGD([("p", p)])  # has no moments


def test_a_memory_error_of_the_system_is_one_sentence(capsys, monkeypatch):
    def run(options):
        raise MemoryError("Unable to allocate 3 TiB")

    monkeypatch.setattr("tinylm.app.commands.run", run)
    assert main(["data", "list"]) == 2
    assert "the memory is too small: Unable to allocate 3 TiB" in capsys.readouterr().err


# ---- arrays


@given(
    st.sampled_from(["<f2", "<f4", "<f8", ">f4"]),
    st.sampled_from([(1,), (7,), (3, 5), (2, 3, 5)]),
    st.booleans(),
    st.data(),
)
def test_a_single_broken_number_is_found_and_large_ones_are_not_mistaken(dtype, shape, turn, data):
    array = np.full(shape, np.finfo(dtype).max, dtype)  # whose sum is infinite
    array = array.T if turn else array
    assert finite.is_finite(array)
    place = data.draw(st.integers(0, array.size - 1))
    array[np.unravel_index(place, array.shape)] = data.draw(broken_numbers)
    assert not finite.is_finite(array)


def test_every_chunk_of_a_large_array_is_looked_at(monkeypatch):
    monkeypatch.setattr(finite, "CHUNK", 5)
    for place in range(23):
        array = np.ones(23, np.float32)
        array[place] = np.nan
        assert not finite.is_finite(array)
    assert finite.is_finite(np.ones(23)) and finite.is_finite(np.ones(0))
    assert finite.is_finite(np.arange(3))


def test_what_would_be_refused_is_not_written(tmp_path):
    with pytest.raises(CheckpointError, match="is not written: y holds NaN or infinity"):
        checkpoint.save_tensors(tmp_path / "a", {"x": np.ones(3), "y": np.array([1, np.nan])})
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_their_model_are_refused():
    model = nn.Linear(2, 3, rng=np.random.default_rng(0))
    arrays = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    arrays["weight"] = arrays["weight"] + 1e300
    with pytest.raises(CheckpointError, match="'weight' is float32, but .* too large"):
        model.load_state_dict(arrays)


# ---- folders

GPT = {"n_embd": 6, "n_layer": 1, "n_head": 2, "n_positions": 8, "vocab_size": 270}
RUNS = {
    "gpt": ("gpt", GPT),
    "averaged": ("gpt", GPT | {"optimizer": "asgd", "lr": 1.0, "eval_every": 1}),
    "word2vec": ("word2vec", {"size": 5}),
    "glove": ("glove", {"vector_size": 5}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run folder of every kind, and a classifier."""
    texts = load_texts("toy")[:60]
    made = {}
    for name, (objective, options) in RUNS.items():
        made[name] = tmp_path_factory.mktemp(name)
        config = PretrainConfig(objective, "toy", made[name], options={"steps": 3, **options})
        pretrain(config, texts, quiet=True)
    made["classifier"] = tmp_path_factory.mktemp("classifier")
    adapt = AdaptConfig(max_length=7)
    model = Classifier(*hub.load(made["gpt"]), "features", adapt)
    model.fit(texts[:8], ["a", "b"] * 4).save(made["classifier"])
    return made


def resume(folder, name):
    objective, options = RUNS[name]
    config = PretrainConfig(objective, "toy", folder, options={"steps": 3, **options})
    pretrain(config, load_texts("toy")[:60], resume=True, quiet=True)


READERS = {
    hub.WEIGHTS: lambda folder, name: hub.load(folder),
    checkpoint.STATE: resume,
    "classifier.safetensors": lambda folder, name: Classifier.load(folder),
}


@pytest.mark.parametrize("name", [*RUNS, "classifier"])
@hypothesis.settings(max_examples=12)
@given(st.data())
def test_a_single_broken_number_anywhere_in_a_folder_is_refused(
    tmp_path_factory, folders, name, data
):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(folders[name], folder, dirs_exist_ok=True)
    path = data.draw(
        st.sampled_from([folder / part for part in READERS if (folder / part).exists()])
    )
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    fractions = [key for key, array in arrays.items() if array.dtype.kind == "f" and array.size]
    key = data.draw(st.sampled_from(sorted(fractions)))
    place = data.draw(st.integers(0, arrays[key].size - 1))
    arrays[key].reshape(-1)[place] = data.draw(broken_numbers)
    save_file(arrays, path, metadata)
    with pytest.raises(CheckpointError) as caught:
        READERS[path.name](folder, name)
    assert path.name in str(caught.value) and f"{key} holds NaN or infinity" in str(caught.value)
    shutil.rmtree(folder)


def test_a_classifier_whose_deviations_are_not_positive_is_refused(tmp_path, folders):
    shutil.copytree(folders["classifier"], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "classifier.safetensors"
    arrays, _ = checkpoint.load_tensors(path)
    for wrong in (0.0, -1.0):
        arrays["std"][3] = wrong
        checkpoint.save_tensors(path, arrays)
        with pytest.raises(CheckpointError, match="std holds a number that is not above 0"):
            Classifier.load(tmp_path)


@given(st.sampled_from(FORMATS), st.booleans(), st.integers(0, 34), broken_numbers)
def test_a_single_broken_number_in_a_file_of_vectors_is_refused(
    tmp_path_factory, form, mapped, place, wrong
):
    path = tmp_path_factory.mktemp("vectors") / "v"
    table = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    table[2] = 3e38  # legal, though its length is not
    write_vectors(path, list("abcdefg"), table, form=form)
    assert len(Vectors.load(path, mapped=mapped)) == 7
    table.reshape(-1)[place] = wrong
    with mock.patch("tinylm.vectors.formats.is_finite", lambda array: True):  # it refuses them too
        write_vectors(path, list("abcdefg"), table, form=form, overwrite=True)
    with pytest.raises(
        CheckpointError, match=f"v: the vector of '{'abcdefg'[place // 5]}' holds NaN"
    ):
        Vectors.load(path, mapped=mapped)


def test_a_number_too_large_for_float32_in_a_text_of_vectors_is_refused(tmp_path):
    (tmp_path / "v").write_text("a 1 2\nb 1e99 3\n")
    with pytest.raises(CheckpointError, match="the vector of 'b' holds NaN or infinity"):
        Vectors.load(tmp_path / "v")


@given(broken_numbers)
def test_a_piece_without_a_finite_probability_is_refused(wrong):
    encoding = text.Unigram.train(["some text, some more"], 12)
    kind, score = encoding.pieces[4][2], wrong
    with pytest.raises(TinylmError, match="has no finite log-probability"):
        Unigram([*encoding.pieces[:4], ("x", score, kind)])


# ---- what a broken model would say


@given(
    broken_numbers.filter(lambda x: x != -math.inf), st.sampled_from([0.0, 1.0]), st.integers(0, 6)
)
def test_no_token_is_drawn_from_scores_that_are_not_finite(wrong, temperature, place):
    scores = np.zeros(7, np.float32)
    scores[place] = wrong
    with pytest.raises(TinylmError, match="scores are not finite"):
        Sampling(temperature).draw(scores, np.random.default_rng(0))


def test_features_of_a_model_that_overflows_are_one_sentence(folders):
    model, tokenizer = hub.load(folders["gpt"])
    for p in model.parameters():
        p.data[...] = 1e30
    with np.errstate(all="ignore"), pytest.raises(TinylmError, match="states are NaN or infinite"):
        Features(model, tokenizer).fit(["the sea and the sea", "the stars"])


def test_fine_tuning_that_diverges_is_one_sentence(folders):
    model, tokenizer = hub.load(folders["gpt"])
    config = AdaptConfig(rates=(1e30,), updates=20, max_length=7)
    texts = load_texts("toy")[:8]
    with np.errstate(all="ignore"), pytest.raises(TinylmError, match="fine-tuning diverged"):
        Classifier(model, tokenizer, "finetune", config).fit(texts, ["a", "b"] * 4)


# ---- JSON

values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


def strict(text):
    """JSON as others read it: NaN is no number there."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@given(values, st.sampled_from([None, 2]))
def test_json_never_contains_nan(value, indent):
    back = strict(files.as_json(value, indent))
    assert json.dumps(back) == json.dumps(json.loads(json.dumps(back)))
    if isinstance(value, float) and not math.isfinite(value):
        assert back is None
    elif not isinstance(value, list | dict | tuple):
        assert back == value


def test_logs_results_and_printed_values_are_strict_json(tmp_path, capsys):
    log = checkpoint.RunLog(tmp_path / "log.jsonl")
    log.write("step", step=1, components={"perplexity": math.inf, "next": [math.nan, 2.5]})
    line = strict((tmp_path / "log.jsonl").read_text())
    assert line["components"] == {"perplexity": None, "next": [None, 2.5]}
    files.write_json(tmp_path / "x.json", {"spearman": math.nan})
    assert strict((tmp_path / "x.json").read_text()) == {"spearman": None}
    from tinylm.app import results

    results.print_result(types.SimpleNamespace(json=True), [{"accuracy": math.nan}], [])
    assert strict(capsys.readouterr().out) == [{"accuracy": None}]

"""The command line: mistakes are one sentence with status 2, results go to stdout, progress to stderr."""

import codecs
import dataclasses
import io
import json
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

import tinylm
from tinylm import hub, progress, text
from tinylm.app import commands
from tinylm.app.cli import main, parser
from tinylm.data.dialogues import Utterance
from tinylm.errors import visible
from tinylm.kernels.runtime import cache
from tinylm.progress import note
from tinylm.training import checkpoint
from tinylm.training.train import Interrupted
from tinylm.transfer import Chat, ChatConfig

GPT = [
    "--config",
    "tiny",
    "--set",
    "vocab_size=300",
    "--set",
    "n_positions=32",
    "--set",
    "n_embd=16",
    "--set",
    "n_layer=1",
]


pytestmark = pytest.mark.usefixtures("one_thread_throughout")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished pretraining run on the toy language, made through the command line."""
    out = tmp_path_factory.mktemp("runs") / "gpt"
    arguments = [
        "pretrain",
        "gpt",
        "--data",
        "toy",
        *GPT,
        "--steps",
        "12",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main(arguments) == 0
    return out


def said(capsys):
    """stdout and stderr of the last command."""
    captured = capsys.readouterr()
    return captured.out, captured.err


def labelled(path, count=60):
    """A TSV whose label can be read off one word."""
    rng, lines = np.random.default_rng(0), []
    for i in range(count):
        filler = " ".join(rng.choice(["the", "a", "of", "and", "to"], 4))
        lines.append(
            f"{'ocean waves' if i % 2 else 'mountain rocks'} {filler} {i}\t{'sea' if i % 2 else 'land'}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_pretraining_leaves_a_whole_folder_and_reports_beside_the_unigram_entropy(run, capsys):
    names = {path.name for path in run.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "trainer.safetensors",
        "trainer.json",
        "log.jsonl",
    } <= names
    summary = checkpoint.read_json(run / checkpoint.SUMMARY)
    assert summary["step"] == 12 and set(summary["result"]["held_out"]) == {
        "loss",
        "tokens",
        "nats_per_word",
        "token_loss",
        "unigram",
        "unit",
    }
    arguments = [
        "pretrain",
        "gpt",
        "--data",
        "toy",
        *GPT,
        "--steps",
        "12",
        "--out",
        str(run),
        "--quiet",
    ]
    capsys.readouterr()
    assert main([*arguments, "--resume", "--json"]) == 0  # finished: left alone
    out, err = said(capsys)
    assert json.loads(out)["held_out"] == summary["result"]["held_out"] and err == ""
    assert main(arguments) == 2
    assert "already holds a run; add --resume" in said(capsys)[1]


def test_generate_streams_text_and_repeats_with_the_same_seed(run, capsys):
    texts = []
    for _ in range(2):
        assert (
            main(
                [
                    "generate",
                    str(run),
                    "--prompt",
                    "the",
                    "--tokens",
                    "40",
                    "--seed",
                    "5",
                    "--top-k",
                    "20",
                ]
            )
            == 0
        )
        texts.append(said(capsys)[0])
    assert texts[0] == texts[1] and texts[0].startswith("the") and len(texts[0]) > 4
    assert (
        main(
            [
                "generate",
                str(run),
                "--prompt",
                "the",
                "--tokens",
                "40",
                "--seed",
                "5",
                "--top-k",
                "20",
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(said(capsys)[0])
    assert "the" + visible(found["text"]) + "\n" == texts[0] and 1 <= found["tokens"] <= 40
    assert main(["generate", str(run), "--tokens", "3", "--temperature", "0"]) == 0


def test_neighbors_are_sorted_by_cosine_and_leave_out_the_word(run, capsys):
    assert main(["neighbors", str(run), "e", "--count", "7", "--json"]) == 0
    found = json.loads(said(capsys)[0])
    cosines = [row["cosine"] for row in found["neighbors"]]
    assert len(cosines) == 7 and cosines == sorted(cosines, reverse=True) and cosines[0] < 1
    assert main(["neighbors", str(run), "e"]) == 0
    assert len(said(capsys)[0].splitlines()) == 10


def test_neighbors_are_those_of_vectors_unless_they_are_centred(run, capsys):
    found = []
    for more in ([], ["--centred"]):
        assert main(["neighbors", str(run), "e", "--count", "5", "--json", *more]) == 0
        found.append(json.loads(said(capsys)[0])["neighbors"])
    model, tokenizer = hub.load(run)
    table = model.embedding_table()[: tokenizer.vocab_size]
    (e,) = next(ids for ids in map(tokenizer.encode, (" e", "e")) if len(ids) == 1)
    row = table[e]
    cosines = table @ row / (np.linalg.norm(table, axis=1) * np.linalg.norm(row))
    nearest = {}
    for i in np.argsort(-cosines):
        word = tokenizer.decode([i]).strip()
        if word and word not in ("e", *tokenizer.specials):
            nearest.setdefault(word, cosines[i])
    expected = list(nearest.items())[:5]
    assert [row["word"] for row in found[0]] == [word for word, _ in expected]
    given = [row["cosine"] for row in found[0]]
    np.testing.assert_allclose(given, [cosine for _, cosine in expected], rtol=0, atol=1e-6)
    assert found[0] != found[1]


def test_a_model_padded_beyond_its_tokenizer_generates_to_the_end(run, tmp_path, capsys):
    model, tokenizer = hub.load(run)
    config = dataclasses.replace(model.config, vocab_size=tokenizer.vocab_size * 50)
    padded = type(model)(config, np.random.default_rng(0))
    hub.save(tmp_path / "padded", padded, tokenizer)
    command = ["generate", str(tmp_path / "padded"), "--prompt", "the", "--json"]
    for seed in range(5):
        assert main([*command, "--seed", str(seed), "--tokens", "20"]) == 0
        assert json.loads(said(capsys)[0])["tokens"] >= 1
    assert main(["neighbors", str(tmp_path / "padded"), "e", "--count", "9999", "--json"]) == 0
    rows = json.loads(said(capsys)[0])["neighbors"]
    assert 0 < len(rows) < tokenizer.vocab_size


def test_word2vec_learns_from_a_users_own_file_and_leaves_vectors(tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "mine.txt").write_text(
        " ".join(rng.choice(["sea", "wave", "rock", "stone", "wind"], 3000))
    )
    out = tmp_path / "run"
    command = [
        "pretrain",
        "word2vec",
        "--data",
        str(tmp_path / "mine.txt"),
        "--out",
        str(out),
        "--minutes",
        "0.005",
    ]
    assert main([*command, "--set", "size=7", "--set", "batch_words=500", "--json"]) == 0
    result = json.loads(said(capsys)[0])
    assert result["steps"] >= 1 and np.isfinite(result["loss"])
    assert main(["neighbors", str(out), "sea", "--json"]) == 0
    assert {row["word"] for row in json.loads(said(capsys)[0])["neighbors"]} == {
        "wave",
        "rock",
        "stone",
        "wind",
    }
    assert (out / "vectors.bin").read_bytes().startswith(b"8 7\n")
    assert (
        main(["neighbors", str(out), "waves"]) == 2
        and "similar tokens are 'wave'" in said(capsys)[1]
    )
    assert (
        main([*command[:-3], str(tmp_path / "b"), "--steps", "1", "--set", "min_count=often"]) == 2
    )
    assert "min_count is 'often'; expected a whole number" in said(capsys)[1]
    assert (
        main([*command[:-3], str(tmp_path / "c"), "--steps", "1", "--set", "min_count=100000"]) == 2
    )
    assert "lower min_count" in said(capsys)[1]
    assert main(["generate", str(out), "--prompt", "sea"]) == 2
    assert "cannot continue text" in said(capsys)[1]


def test_fasttext_has_neighbours_for_a_word_that_it_never_saw(tmp_path, capsys):
    out = str(tmp_path / "run")
    command = [
        "pretrain",
        "fasttext",
        "--data",
        "toy",
        "--out",
        out,
        "--steps",
        "20",
    ]
    assert main([*command, "--set", "bucket=997", "--set", "size=7"]) == 0 and said(capsys)
    known = max(text.load(out).vocab[3:], key=len)
    assert main(["neighbors", out, known + "s", "--json", "--centred"]) == 0
    assert known in [row["word"] for row in json.loads(said(capsys)[0])["neighbors"]]
    assert main(["neighbors", out, ""]) == 2 and len(said(capsys)[1].splitlines()) == 1


def test_glove_learns_line_by_line_resumes_and_leaves_vectors(tmp_path, capsys):
    rng = np.random.default_rng(0)
    lines = [
        " ".join(rng.choice(words, 7))
        for _ in range(300)
        for words in (["sea", "wave", "shore"], ["rock", "stone"])
    ]
    (tmp_path / "mine.txt").write_text("\n".join(lines))
    out = tmp_path / "run"
    command = [
        "pretrain",
        "glove",
        "--data",
        str(tmp_path / "mine.txt"),
        "--out",
        str(out),
        "--steps",
        "40",
    ]
    assert main([*command, "--set", "vector_size=7", "--json"]) == 0
    result = json.loads(said(capsys)[0])
    assert np.isfinite(result["loss"]) and result["held_out"]["unit"] == "squared error per cell"
    assert result["held_out"]["tokens"] == 3 * 3 + 2 * 2  # no pair of words of two lines
    assert main(["neighbors", str(out), "rock", "--json"]) == 0
    assert {row["word"] for row in json.loads(said(capsys)[0])["neighbors"]} == {
        "sea",
        "wave",
        "shore",
        "stone",
    }
    assert (out / "vectors.bin").read_bytes().startswith(b"8 7\n")
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    epochs = [row["loss"] for row in rows if row["event"] == "epoch"]  # the text is a single step
    assert epochs == [row["loss"] for row in rows if row["event"] == "step"]
    for source, target in ((out, "v.bin"), ("v.bin", "v.txt"), ("v.txt", "v.vec"), ("v.vec", "v")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), "--json"]) == 0
        assert json.loads(said(capsys)[0])["words"] == 5  # the special tokens stay behind
    assert (tmp_path / "v" / "words.txt").read_text().split() == (
        tmp_path / "v.txt"
    ).read_text().split()[::8]
    assert main(["convert", str(out), str(tmp_path / "v.zip")]) == 2
    assert "the suffix '.zip' says no format" in said(capsys)[1]
    assert main([*command, "--set", "vector_size=7", "--set", "min_count=2", "--resume"]) == 2
    assert "encoding min_count = None, now it is 2" in said(capsys)[1]
    assert main([*command, "--set", "vector_size=7", "--resume", "--json"]) == 0
    assert json.loads(said(capsys)[0])["loss"] == result["loss"]


@pytest.mark.parametrize("method", ["features", "finetune", "gradual"])
def test_finetune_and_predict_work_on_a_users_own_table(run, tmp_path, capsys, method):
    table, out = labelled(tmp_path / "mine.tsv"), tmp_path / "classifier"
    command = [
        "finetune",
        str(run),
        "--train",
        str(table),
        "--test",
        str(table),
        "--method",
        method,
        "--out",
        str(out),
    ]
    assert main([*command, "--quiet", "--json"]) == 0
    result = json.loads(said(capsys)[0])
    assert (
        result["classes"] == ["land", "sea"]
        and result["train"] + result["test"] == 60
        and result["accuracy"] > 0.9
    )
    (tmp_path / "new.txt").write_text(
        "ocean waves of the\n\nmountain rocks and a\n", encoding="utf-8"
    )
    assert main(["predict", str(out), str(tmp_path / "new.txt"), "--json"]) == 0
    rows = json.loads(said(capsys)[0])
    first, blank, last = rows  # one row for each line
    assert (first["text"], last["text"]) == ("ocean waves of the", "mountain rocks and a")
    assert blank == {"text": "", "label": None, "probability": None}
    for row in (first, last):
        assert row["label"] in result["classes"] and 0.5 <= row["probability"] <= 1


def test_nothing_is_overwritten_unless_asked_and_never_what_is_read(run, tmp_path, capsys):
    def held():
        return {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    copy, out, table = tmp_path / "copy", tmp_path / "out", labelled(tmp_path / "mine.tsv")
    shutil.copytree(run, copy)
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "vocab.txt").write_text("mine")
    (tmp_path / "v.txt").write_text("sea 1.0 2.0\n")
    (tmp_path / "old.vec").write_text("mine")
    pretrain = ["pretrain", "gpt", "--data", "toy", *GPT, "--steps", "2", "--quiet", "--out"]
    finetune = ["finetune", copy, "--train", table, "--method", "features", "--quiet", "--out"]
    convert = ["convert", tmp_path / "v.txt"]
    refused = [
        [*pretrain, copy],
        [*pretrain, out],
        [*pretrain, ""],
        [*pretrain, out, "--resume"],
        [*pretrain, copy, "--resume", "--overwrite"],
        [*finetune, copy],
        [*finetune, copy, "--overwrite"],
        [*finetune, out],
        [*finetune, tmp_path, "--overwrite"],  # it holds the table
        [*finetune, ""],
        [*convert, out],
        [*convert, copy, "--format", "folder", "--overwrite"],
        [*convert, tmp_path, "--format", "folder", "--overwrite"],
        [*convert, tmp_path / "old.vec"],
        [*convert, tmp_path / "v.txt", "--overwrite"],
        [*convert, ""],
        ["compare", "--data", "toy", "--out", out],
        ["compare", "--data", "toy", "--out", copy],
        ["compare", "--data", "toy", "--out", ""],
    ]
    before = held()
    for arguments in refused:
        assert main(list(map(str, arguments))) == 2, arguments
        printed, err = said(capsys)
        assert printed == "" and len(err.splitlines()) == 1, err
        assert held() == before, arguments
    allowed = [
        [*finetune, out, "--overwrite"],
        [*pretrain, out, "--overwrite"],
        [*convert, tmp_path / "old.vec", "--overwrite"],
        [*convert, tmp_path / "folder"],
        [*convert, tmp_path / "folder", "--overwrite"],
    ]
    for arguments in allowed:
        assert main(list(map(str, arguments))) == 0, said(capsys)
    names = {path.name for path in out.iterdir()}
    assert (out / "notes.txt").read_text() == "mine"
    assert checkpoint.STATE in names and not names & {"vocab.txt", checkpoint.LABELS}


def test_bytes_that_are_no_text_are_one_sentence(run, tmp_path):
    out = tmp_path / "classifier"
    command = [
        "finetune",
        str(run),
        "--train",
        str(labelled(tmp_path / "a.tsv")),
        "--method",
        "features",
    ]
    assert main([*command, "--out", str(out), "--quiet"]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "tinylm", "predict", str(out)],
        input=b"na\xefve",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and b"not UTF-8" in done.stderr and b"Traceback" not in done.stderr


def test_a_field_that_the_method_sets_itself_is_refused(run, tmp_path, capsys):
    table = str(labelled(tmp_path / "a.tsv"))
    command = ["finetune", str(run), "--train", table, "--out", str(tmp_path / "out")]
    assert main([*command, "--method", "gradual", "--set", "layer_decay=0.5"]) == 2
    assert "--set layer_decay does not go with --method gradual" in said(capsys)[1]
    assert main([*command, "--method", "features", "--set", "updates=9"]) == 2
    assert "--set updates does not go with --method features" in said(capsys)[1]


@pytest.fixture(scope="module")
def classifier(run, tmp_path_factory):
    """The folder of a classifier of frozen features."""
    folder = tmp_path_factory.mktemp("classifier")
    table = labelled(folder / "a.tsv")
    command = ["finetune", str(run), "--train", str(table), "--method", "features"]
    assert main([*command, "--out", str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """The folder of a BERT that learned nothing."""
    folder = tmp_path_factory.mktemp("masked") / "out"
    tokenizer = text.WordPiece.train(["sea waves, land rocks"], 60, exact=False)
    hub.save(folder, tinylm.Bert(tinylm.BertConfig.tiny(tokenizer.vocab_size)), tokenizer)
    return folder


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """The folder of a conversational agent that has read one reply."""
    folder = tmp_path_factory.mktemp("chat") / "out"
    letters = text.Chars("abcdefghijklmnopqrstuvwxyz ")
    model = tinylm.GPT(tinylm.GPTConfig.tiny(letters.vocab_size, n_embd=4, n_layer=1))
    said = Utterance((), ("a sea",), ("no", "yes"))
    Chat(model, letters, ChatConfig(epochs=1)).fit([said]).save(folder)
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_predict_gives_one_row_per_line_of_a_file_or_of_standard_input(
    classifier, tmp_path, capsys, monkeypatch, end, mark
):
    lines = ["", "sea waves", " \t", "", "land\twith a tab", "rocks", ""]
    raw = mark + "".join(line + end for line in lines).encode()
    (tmp_path / "new.txt").write_bytes(raw)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    printed = []
    for source in ([str(tmp_path / "new.txt")], []):
        assert main(["predict", str(classifier), *source, "--json"]) == 0
        printed.append(json.loads(said(capsys)[0]))
    assert printed[0] == printed[1]
    assert [row["text"] for row in printed[0]] == lines
    assert [row["label"] is None for row in printed[0]] == [not line.strip() for line in lines]
    assert main(["predict", str(classifier), str(tmp_path / "new.txt")]) == 0
    rows = said(capsys)[0].removesuffix("\n").split("\n")
    assert [row.split("\t", 2)[2] if row else "" for row in rows] == [
        line if line.strip() else "" for line in lines
    ]


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "A.NDJSON", "a.csv", "a.json"])
def test_predict_does_not_read_the_labels_of_a_table_as_text(classifier, tmp_path, capsys, name):
    (tmp_path / name).write_text("sea waves\tsea\n")
    assert main(["predict", str(classifier), str(tmp_path / name)]) == 2
    out, err = said(capsys)
    assert out == "" and name in err and ".txt" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("command, fits, name", [
    ("find-rate gpt --data toy", ".svg", "rates.png"),
    ("show {run} sea", ".html or .htm", "page.pdf"),
])  # fmt: skip
def test_a_file_of_one_format_has_no_other_ending(command, fits, name, run, tmp_path, capsys):
    out = tmp_path / name
    with pytest.raises(SystemExit, match="2"):
        main([*command.format(run=run).split(), "--out", str(out)])
    err = capsys.readouterr().err
    assert f"expected a name that ends in {fits}" in err and not out.exists()


QUIET = {
    "compare": ["--data", "TMP/again.tsv", "--objectives", "word2vec", "--minutes", "0.002",
                "--labels", "2", "--seeds", "1", "--out", "TMP/compare"],
    "pretrain": ["gpt", "--data", "toy", *GPT, "--steps", "2", "--out", "TMP/run"],
    "distil": ["MASKED", "--data", "toy", "--steps", "1", "--out", "TMP/student"],
    "find-rate": ["gpt", "--data", "toy", *GPT, "--steps", "8"],
    "check": ["word2vec", "--set", "size=5"],
    "finetune": ["RUN", "--train", "TMP/again.tsv", "--out", "TMP/classifier"],
    "multitask": ["RUN", "--train", "a=TMP/again.tsv", "--out", "TMP/several"],
    "predict": ["CLASSIFIER", "TMP/new.txt"],
    "classify": ["RUN", "TMP/new.txt", "--pattern", "{text} e{label}", "--labels", "a,e"],
    "entities": ["MASKED", "toy", "--types", "person=s,place=l"],
    "generate": ["RUN", "--prompt", "the", "--tokens", "3"],
    "chat": ["CHAT", "TMP/new.txt"],
    "score": ["RUN", "--prompt", "the", " e"],
    "fill": ["MASKED", "sea [MASK]"],
    "show": ["RUN", "the sea", "--out", "TMP/show.html"],
    "neighbors": ["RUN", "e"],
    "search": ["RUN", "TMP/new.txt", "sea"],
    "evaluate-words": ["TMP/a.vec"],
    "convert": ["TMP/a.vec", "TMP/b.bin"],
    "data": ["get", "spam"],
}  # fmt: skip


def test_every_command_is_tried_quietly():
    assert set(QUIET) == set(commands.COMMANDS)


@pytest.mark.parametrize("command", QUIET)
@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_is_quiet(
    command, terminal, run, classifier, masked, chat, tmp_path, capsys, monkeypatch
):
    """Kernels are "compiled", sets are "fetched", examples are left out, pictures are missing: nothing says so."""
    table = labelled(tmp_path / "again.tsv")
    table.write_text(table.read_text() + "ocean\tsea\nocean\tland\n")
    (tmp_path / "new.txt").write_text("a sea\n")
    (tmp_path / "a.vec").write_text("2 2\nsea 1 0\nwave 0 1\n")

    def fetched(name, quiet=False):
        note(f"fetching {name}")
        warnings.warn("a warning of a library", RuntimeWarning, stacklevel=1)
        cache.announce()
        return {"a.txt": tmp_path / "new.txt"}

    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr(commands.finetune, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr("tinylm.data.get", fetched)
    monkeypatch.setattr("tinylm.data.load_similarity", lambda name: [("sea", "wave", 1.0)])
    monkeypatch.setattr("tinylm.data.load_analogies", lambda: [("a", "sea", "wave", "sea", "wave")])
    monkeypatch.setattr("tinylm.report.pictures.available", lambda: False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setitem(cache._state, "told", False)
    places = {"RUN": str(run), "CLASSIFIER": str(classifier), "MASKED": str(masked)}
    places["CHAT"] = str(chat)
    arguments = [places.get(a, a.replace("TMP", str(tmp_path))) for a in QUIET[command]]
    capsys.readouterr()
    assert main([command, *arguments, "--quiet"]) == 0
    assert said(capsys)[1] == ""


def test_the_named_sets_are_listed(capsys):
    assert main(["data", "list", "--json"]) == 0
    assert "newsgroups" in {row["name"] for row in json.loads(said(capsys)[0])}
    assert main(["data", "list"]) == 0
    assert "newsgroups" in said(capsys)[0]


def damaged(run, tmp_path):
    """A copy of the run whose weight file was cut."""
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in run.iterdir():
        content = path.read_bytes()
        (copy / path.name).write_bytes(
            content[: len(content) // 2] if path.name.startswith("model") else content
        )
    return copy


MISTAKES = {
    "unknown objective": (["pretrain", "gtp", "--data", "toy", "--out", "OUT"], "gtp"),
    "unknown config": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--config", "huge"],
        "huge",
    ),
    "unknown option": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--set", "n_lair=3"],
        "n_lair",
    ),
    "option of the wrong kind": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--set", "lr=fast"],
        "lr",
    ),
    "model option of the wrong kind": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--set", "n_layer=x"],
        "n_layer",
    ),
    "unknown set": (["pretrain", "gpt", "--data", "newsgroup", "--out", "OUT"], "newsgroup"),
    "missing file": (["pretrain", "gpt", "--data", "TMP/none.txt", "--out", "OUT"], "none.txt"),
    "empty text": (["pretrain", "gpt", "--data", "TMP/empty.txt", "--out", "OUT"], "empty"),
    "folder is a file": (
        ["pretrain", "gpt", "--data", "toy", *GPT, "--steps", "1", "--out", "TMP/empty.txt"],
        "empty.txt",
    ),
    "missing run": (["generate", "TMP/none", "--prompt", "x"], "does not exist"),
    "not a run": (["generate", "TMP", "--prompt", "x"], "config.json"),
    "damaged checkpoint": (["generate", "DAMAGED", "--prompt", "x"], "damaged"),
    "impossible temperature": (
        ["generate", "RUN", "--prompt", "x", "--temperature", "-1"],
        "temperature",
    ),
    "a causal model fills no gap": (["fill", "RUN", "a [MASK]"], "cannot fill gaps"),
    "unknown word": (["neighbors", "RUN", "zyxwv qwrtp"], "zyxwv"),
    "missing table": (["finetune", "RUN", "--train", "TMP/none.tsv", "--out", "OUT"], "none.tsv"),
    "classifier into its own run": (
        ["finetune", "RUN", "--train", "TMP/none.tsv", "--out", "RUN"],
        "holds what is read here",
    ),
    "classifier into a file": (
        ["finetune", "RUN", "--train", "TMP/none.tsv", "--out", "TMP/empty.txt"],
        "empty.txt",
    ),
    "seed among the options": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--set", "seed=3"],
        "seed",
    ),
    "two lengths": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--steps", "5", "--set", "minutes=1"],
        "one of the four",
    ),
    "the same length twice": (
        ["pretrain", "gpt", "--data", "toy", "--out", "OUT", "--steps", "3", "--set", "steps=5"],
        "--steps and --set steps",
    ),
    "the same time twice": (
        [
            "pretrain",
            "gpt",
            "--data",
            "toy",
            "--out",
            "OUT",
            "--minutes",
            "1",
            "--set",
            "minutes=1",
        ],
        "--minutes and --set minutes",
    ),
    "a set to list": (["data", "list", "kjv"], "`tinylm data get kjv`"),
    "the same seed twice": (
        ["finetune", "DIR", "--train", "toy", "--out", "OUT", "--seed", "1", "--set", "seed=2"],
        "--seed and --set seed",
    ),
    "the same embeddings twice": (
        ["finetune", "DIR", "--task", "tag", "--train", "toy", "--out", "OUT"]
        + ["--embeddings", "16", "--set", "embeddings=8"],
        "--embeddings and --set embeddings",
    ),
    "an objective twice": (
        ["compare", "--data", "toy", "--objectives", "word2vec,gpt,word2vec", "--out", "OUT"],
        "objectives names 'word2vec' twice",
    ),
    "a budget twice": (
        ["compare", "--data", "toy", "--labels", "2,10,2", "--out", "OUT"],
        "labels names 2 twice",
    ),
    "option that the kernel lacks": (
        ["pretrain", "word2vec", "--data", "toy", "--out", "OUT", "--set", "clip=2"],
        "word2vec has no use for clip",
    ),
    "not a classifier": (["predict", "RUN", "TMP/empty.txt"], "classifier.json"),
    "unknown set to fetch": (["data", "get", "wikipedias"], "wikipedias"),
    "no set to fetch": (["data", "get"], "name of a set"),
    "too many threads": (["data", "list", "--threads", "100000"], "threads"),
    "unknown objective to compare": (
        ["compare", "--data", "toy", "--objectives", "gtp", "--out", "OUT"],
        "gtp",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(name, run, tmp_path, capsys):
    arguments, hint = MISTAKES[name]
    (tmp_path / "empty.txt").write_text(" \n")
    places = {"OUT": str(tmp_path / "out"), "RUN": str(run)}
    if "DAMAGED" in arguments:
        places["DAMAGED"] = str(damaged(run, tmp_path))
    arguments = [places.get(a, a.replace("TMP", str(tmp_path))) for a in arguments]
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = said(capsys)
    lines = [line for line in err.splitlines() if "compiling kernels" not in line]
    assert out == "" and len(lines) == 1 and lines[0].startswith("tinylm: ") and hint in lines[0]
    assert "Traceback" not in err


RUN = ["pretrain", "gpt", "--data", "toy", "--out", "x"]
TWICE = [
    [*RUN, "--set", "lr=1", "--set", "lr=2"],
    [*RUN, "--set", "vocab_size=300", "--set", "n_layer=1", "--set", "vocab_size = 300"],
    [*RUN, "--steps", "3", "--steps", "5"],
    [*RUN, "--steps=3", "--step=3"],
    [*RUN, "--data", "kjv"],
    [*RUN, "--seed", "1", "--seed", "2"],
    [*RUN, "--config", "tiny", "--config", "small"],
    ["compare", "--labels", "2", "--labels", "5"],
    ["compare", "--threads", "1", "--threads", "1"],
    ["generate", "x", "--top-k", "1", "--top-k", "2"],
]


@pytest.mark.parametrize("arguments", TWICE)
def test_an_option_given_twice_says_so(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "given twice; give it once" in said(capsys)[1]


def test_the_version_is_answered(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0 and said(capsys) == (f"tinylm {tinylm.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["pretend"],
        ["pretrain", "gpt"],
        ["data", "list", "--seed", "-1"],
        ["pretrain", "gpt", "--data", "toy", "--out", "x", "--steps", "0"],
        ["pretrain", "gpt", "--data", "toy", "--out", "x", "--steps", "3", "--minutes", "1"],
        ["pretrain", "gpt", "--data", "toy", "--out", "x", "--set", "lr"],
        ["compare", "--labels", "2,x"],
        *TWICE,
    ],
)
def test_what_argparse_refuses_is_status_2_too(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "Traceback" not in said(capsys)[1]


@pytest.mark.parametrize(
    "stop, status",
    [
        (Interrupted(signal.SIGTERM, "saved at step 7 of 9"), 143),
        (Interrupted(signal.SIGINT, "saved at step 7 of 9"), 130),
        (Interrupted(signal.SIGINT, "stopped at step 7 of 9"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_interruption_is_one_line_and_its_own_status(stop, status, monkeypatch, capsys):
    def interrupted(options):
        raise stop

    monkeypatch.setattr("tinylm.app.commands.run", interrupted)
    assert main(["data", "list"]) == status
    err = said(capsys)[1]
    assert err.startswith("tinylm: interrupted") and len(err.splitlines()) == 1
    assert str(stop) in err
    assert ("saved at step 7 of 9, continue with" in err) == str(stop).startswith("saved")
    assert "continue" not in err or "saved" in err


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_every_command_takes_seed_threads_quiet_and_json(command):
    common = ["--seed", "3", "--threads", "2", "--quiet", "--json"]
    options = parser().parse_args([command, *QUIET[command], *common])
    assert (options.seed, options.threads, options.quiet, options.json) == (3, 2, True, True)


def test_values_on_the_command_line_have_their_natural_kind():
    given = [
        "n_layer=3",
        "lr=3e-4",
        "betas=0.9,0.98",
        "bias_correction=false",
        "schedule=cosine",
        "no_decay=bias,",
    ]
    options = parser().parse_args(
        ["pretrain", "gpt", "--data", "x", "--out", "y"] + [a for g in given for a in ("--set", g)]
    )
    assert dict(options.set) == {
        "n_layer": 3,
        "lr": 3e-4,
        "betas": (0.9, 0.98),
        "bias_correction": False,
        "schedule": "cosine",
        "no_decay": ("bias",),
    }


def test_a_dot_in_set_reaches_into_a_field_of_options(tmp_path, capsys):
    out = tmp_path / "run"
    given = [
        "--set",
        "schedule=cosine",
        "--set",
        "schedule_options.floor=0.5",
        "--set",
        "n_layer=1",
    ]
    arguments = ["pretrain", "gpt", "--data", "toy", "--steps", "2", "--out", str(out), "--quiet"]
    assert main([*arguments, *given, "--set", "n_positions=16"]) == 0
    state = json.loads((out / "trainer.json").read_text())
    assert state["identity"]["option"]["schedule_options"] == {"floor": 0.5}
    assert main([*arguments, "--overwrite", "--set", "schedule_options.flor=0.5"]) == 2
    assert "has no option 'flor'" in capsys.readouterr().err
    twice = ["--set", "schedule_options=1", "--set", "schedule_options.floor=0.5"]
    assert main([*arguments, "--overwrite", *twice]) == 2


def test_the_module_runs_as_a_program_and_help_imports_nothing_heavy():
    code = "import sys; from tinylm.cli import parser; parser().format_help(); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    done = subprocess.run(
        [sys.executable, "-m", "tinylm", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "pretrain" in done.stdout


def test_the_chapters_load_no_network_pictures_or_progress_bar():
    heavy = ("ssl", "http.client", "tqdm", "matplotlib", "sklearn")
    code = f"import sys, tinylm, tinylm.text, tinylm.objectives; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

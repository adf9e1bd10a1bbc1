"""The commands that write and score text, on a small GPT that has learned nothing."""

import json

import numpy as np
import pytest

from tinylm import GPT, GPTConfig, hub
from tinylm.app.cli import main
from tinylm.text import Chars, Words
from tinylm.training.beam import beam_search
from tinylm.training.generate import generate, unwritten
from tinylm.training.zero_shot import score

LETTERS = Chars("abcdefgh .")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a GPT of LETTERS."""
    path = tmp_path_factory.mktemp("models") / "gpt"
    config = GPTConfig(
        LETTERS.vocab_size, 13, n_embd=12, n_layer=2, n_head=3, initializer_range=0.5
    )
    hub.save(path, GPT(config), LETTERS)
    return str(path)


@pytest.fixture
def run(folder, capsys):
    """A function that runs a command on the folder and returns its JSON, or its lines."""

    def run(command, *arguments, lines=False):
        more = [] if lines else ["--json"]
        assert main([command, folder, *arguments, *more]) == 0
        out = capsys.readouterr().out
        return out if lines else json.loads(out)

    return run


def test_several_texts_are_drawn_side_by_side_and_differ(run):
    found = run("generate", "--prompt", "abc", "--n", "5", "--tokens", "20")
    texts = [row["text"] for row in found["texts"]]
    assert len(set(texts)) == 5 and found["prompt"] == "abc"
    for row in found["texts"]:
        assert len(LETTERS.encode(row["text"], special="all")) == row["tokens"] <= 20
    assert found == run("generate", "--prompt", "abc", "--n", "5", "--tokens", "20")
    lines = run("generate", "--prompt", "abc", "--n", "5", "--tokens", "20", lines=True)
    assert lines == "".join(f"--- {i}\nabc{text}\n" for i, text in enumerate(texts, 1))


@pytest.mark.parametrize("prompt", ["", "the cat"])
def test_with_fastais_rules_a_text_is_continued_behind_its_mark(prompt, tmp_path, capsys):
    words = Words(["the", "cat", "sat", "down"], rules=True)
    model = GPT(GPTConfig(words.vocab_size, 13, n_embd=12, n_head=3, initializer_range=0.5))
    hub.save(tmp_path / "gpt", model, words)
    command = ["generate", str(tmp_path / "gpt"), "--prompt", prompt, "--tokens", "6", "--json"]
    begin = [words.begin_id, *words.encode(prompt)]
    how = {"end_id": words.end_id, "vocab_size": words.vocab_size, "without": unwritten(words)}
    best = beam_search(model, begin, 6, 3, **how)[0]
    assert main([*command, "--beam", "3"]) == 0
    [row] = json.loads(capsys.readouterr().out)["texts"]
    assert row["score"] == pytest.approx(best.score, abs=1e-6)
    greedy = generate(model, begin, 6, temperature=0, **how)
    kept = [i for i in greedy if i != words.end_id]
    assert main([*command, "--temperature", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["text"].split() == words.decode(kept).split()


@pytest.mark.parametrize("n", ["1", "3"])
def test_a_text_ends_before_what_it_is_told_to_stop_at(run, n):
    arguments = ["--prompt", "abc", "--tokens", "60", "--n", n]
    stops = ["--stop", ".", "--stop", "ab"]
    whole = run("generate", *arguments)
    cut = run("generate", *arguments, *stops)
    pairs = [(whole, cut)] if n == "1" else zip(whole["texts"], cut["texts"], strict=True)
    shorter = 0
    for before, after in pairs:
        assert before["text"].startswith(after["text"])
        assert "." not in after["text"] and "ab" not in after["text"]
        rest = before["text"][len(after["text"]) :]
        assert not rest or rest.startswith((".", "ab"))
        shorter += bool(rest)
    assert shorter


def test_what_is_streamed_is_what_json_says(run):
    for seed in range(5):
        arguments = ["--prompt", "abc", "--tokens", "60", "--stop", "ab", "--seed", str(seed)]
        found = run("generate", *arguments)
        assert run("generate", *arguments, lines=True) == f"abc{found['text']}\n"


def test_a_beam_gives_the_best_texts(run, folder):
    model, _ = hub.load(folder)
    prompt = LETTERS.encode("abc")
    found = run("generate", "--prompt", "abc", "--tokens", "7", "--beam", "4", "--n", "2")
    how = {"end_id": LETTERS.end_id, "vocab_size": LETTERS.vocab_size}
    expected = beam_search(model, prompt, 7, 4, count=2, without=unwritten(LETTERS), **how)
    assert [row["score"] for row in found["texts"]] == [best.score for best in expected]
    short = run("generate", "--tokens", "7", "--beam", "4", "--length-penalty", "-3")
    assert len(short["texts"]) == 1


def test_the_options_of_sampling_arrive(run):
    greedy = ["--prompt", "abc", "--tokens", "30", "--temperature", "0"]
    plain = run("generate", *greedy)["text"]
    assert run("generate", *greedy, "--repetition-penalty", "5")["text"] != plain
    once = "abc" + run("generate", *greedy, "--no-repeat-ngram-size", "2")["text"]
    ids = LETTERS.encode(once, special="all")
    pairs = list(zip(ids, ids[1:], strict=False))
    assert len(set(pairs)) == len(pairs)
    nucleus = ["--prompt", "abc", "--tokens", "30", "--top-p", "0.01"]
    for rule in ("within", "reaching"):
        assert run("generate", *nucleus, "--top-p-rule", rule)["text"] == plain


def test_scores_are_the_models(run, folder):
    model, tokenizer = hub.load(folder)
    texts = ["de", " f gh", "a"]
    found = run("score", "--prompt", "abc", *texts)["texts"]
    for row, expected in zip(found, score(model, tokenizer, "abc", texts), strict=True):
        assert row["nats"] == pytest.approx(expected.total)
        assert row["tokens"] == len(row["text"])
        assert row["nats_per_token"] == pytest.approx(row["nats"] / row["tokens"])
    lines = run("score", "--prompt", "abc", *texts, lines=True).splitlines()
    assert len(lines) == 4 and lines[2].endswith("\t f gh")
    assert np.isfinite(run("score", "abc")["texts"][0]["nats"])


MISTAKES = [
    (["--beam", "3", "--temperature", "0"], "--temperature has no effect"),
    (["--beam", "3", "--top-p-rule", "within"], "--top-p-rule has no effect"),
    (["--beam", "3", "--n", "4"], "a beam of 3 holds no 4 texts"),
    (["--length-penalty", "2"], "give --beam WIDTH too"),
    (["--repetition-penalty", "0"], "repetition_penalty is 0.0"),
    (["--no-repeat-ngram-size", "-1"], "no_repeat_ngram_size is -1"),
]


@pytest.mark.parametrize(("arguments", "hint"), MISTAKES)
def test_options_that_contradict_each_other_are_a_sentence(folder, capsys, arguments, hint):
    assert main(["generate", folder, "--prompt", "a", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and hint in err and len(err.splitlines()) == 1


def test_an_empty_text_to_stop_at_is_refused(folder, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["generate", folder, "--prompt", "a", "--stop", ""])
    assert "--stop: '' given, expected some text" in capsys.readouterr().err


def test_a_terminal_is_told_nothing_by_what_is_written(folder, capsys):
    """The text appears as it grows, so it is not printed as a result; see errors.visible."""
    assert main(["generate", folder, "--prompt", "\x1b[31mab", "--tokens", "1"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.startswith("\\x1b[31mab")

"""The command show: a page for every kind of model, one sentence for every mistake."""

import json

import numpy as np
import pytest

from tinylm import hub
from tinylm.app.cli import main
from tinylm.objectives import find
from tinylm.report.html import escape
from tinylm.text import Words

WORDS = "ash birch cedar elm fir hazel larch maple oak pine rowan yew".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A function that saves a small chapter that has learned nothing, and returns its folder."""

    def saved(name):
        chapter = find(name)
        tokenizer = Words(WORDS)
        tokenizer.add_specials(chapter.needs_tokens)
        if chapter.template is not None:
            tokenizer.arrange(chapter.template)
        config = chapter.Config.tiny(tokenizer.vocab_size)
        path = tmp_path_factory.mktemp("models") / name
        hub.save(path, chapter(config, np.random.default_rng(3)), tokenizer)
        return str(path)

    return saved


@pytest.mark.parametrize("name", ["gpt", "bert", "electra", "ulmfit", "word2vec"])
def test_every_kind_of_model_gets_its_page(folder, tmp_path, capsys, name):
    out = tmp_path / "new" / "page.html"
    assert main(["show", folder(name), "ash <b>oak</b>", "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    text = out.read_text(encoding="utf-8")
    assert result["page"] == str(out) and escape(result["summary"]) in text
    assert "oak" in result["tokens"] and len(result["nats"]) == len(result["tokens"])
    assert (result["layers"] == 2) == ('id="attention"' in text)
    assert (result["replaced"] is not None) == (name == "electra") == ("Real or replaced" in text)


def test_without_out_the_page_has_a_name_and_it_is_said(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("ash oak", "elm fir yew"):  # a second page takes the place of the first
        assert main(["show", folder("bert"), text]) == 0
        out = capsys.readouterr().out
        assert out.endswith("Page: show.html\n") and out.startswith("bert reads")
    assert "yew" in (tmp_path / "show.html").read_text(encoding="utf-8")


def test_a_file_that_is_no_page_of_ours_is_replaced_only_when_asked(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    out.write_text("<!doctype html><title>mine</title>")
    arguments = ["show", folder("bert"), "ash", "--out", str(out)]
    assert main(arguments) == 2 and "exists already" in capsys.readouterr().err
    assert "mine" in out.read_text()
    assert main([*arguments, "--overwrite"]) == 0 and "mine" not in out.read_text()
    assert main(arguments) == 0


def test_limits_are_kept(folder, tmp_path, capsys):
    out = str(tmp_path / "page.html")
    arguments = ["show", folder("gpt"), " ".join(WORDS), "--out", out, "--tokens", "5"]
    assert main([*arguments, "--count", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["tokens"]) == 5 and result["left_out"] == 8


def test_mistakes_are_one_sentence_and_leave_no_page(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    for where, text, hint in (
        (str(tmp_path / "none"), "ash", "does not exist"),
        (folder("bert"), " ", "holds no token"),
    ):
        assert main(["show", where, text, "--out", str(out)]) == 2
        said = capsys.readouterr()
        assert said.out == "" and hint in said.err and len(said.err.splitlines()) == 1
        assert not out.exists()

"""What is watched passes unchanged; long work says how far it is, short work and quiet work say nothing."""

import pytest

from tinylm import progress
from tinylm.text import Unigram


def test_short_work_is_silent(capfd):
    assert list(progress.watched(iter("abc"), "letters")) == ["a", "b", "c"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("items", "total", "last"),
    [("abc", None, "3/3"), (iter("abc"), 4, "3/4"), (iter("abc"), None, "3")],
)
def test_long_work_says_how_much_is_done(items, total, last, capfd, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    assert list(progress.watched(items, "letters", total)) == ["a", "b", "c"]
    assert capfd.readouterr().err.splitlines()[-1] == f"letters: {last}"


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_work_shows_nothing(terminal, capfd, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with progress.hidden():
        assert list(progress.watched("abc", "letters")) == ["a", "b", "c"]
    assert capfd.readouterr().err == ""


def test_a_terminal_gets_a_bar(capfd, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress.watched("abc", "letters")) == ["a", "b", "c"]
    assert "letters:   0%|" in capfd.readouterr().err


def test_training_an_encoding_shows_its_texts_and_prunings(capfd, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    Unigram.train(["the cat sat on the mat", "the dog sat on the cat"], 30, exact=False)
    said = capfd.readouterr().err
    assert "texts read: 2/2" in said and "prunings: 1/" in said

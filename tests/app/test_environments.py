"""Odd surroundings of the command line: a full or closed output, no terminal at all, names that lead nowhere."""

import os
import subprocess
import sys

import pytest

from tinylm import progress
from tinylm.app.cli import main
from tinylm.app.results import document
from tinylm.app.results import print_result as shown
from tinylm.files import read_standard

LIST = [sys.executable, "-m", "tinylm", "data", "list"]


def told(done):
    """The lines on stderr; none may be a traceback."""
    text = done.stderr.decode() if done.stderr else ""
    assert "Traceback" not in text and "Exception ignored" not in text, text
    return text.splitlines()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full device")
def test_a_full_output_is_one_sentence():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(LIST, stdout=full, stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == 2 and told(done) == [
        "tinylm: No space left on device; nothing more could be done"
    ]


@pytest.mark.skipif(os.name == "nt", reason="the shell of Windows cannot close a stream")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_no_traceback(closed):
    command = " ".join([*LIST, closed])
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=300)
    told(done)
    assert done.returncode in (0, 2)


@pytest.mark.skipif(os.name == "nt", reason="the shell of Windows cannot close a stream")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_a_mistake_without_a_place_to_say_it_has_its_status(closed):
    command = f"{sys.executable} -m tinylm score nowhere {closed}"
    assert subprocess.run(["sh", "-c", command], capture_output=True, timeout=300).returncode == 2


def test_a_mistake_without_a_place_to_say_it_is_not_said_on_standard_output(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    with pytest.raises(SystemExit) as caught:
        main(["score", "nowhere"])
    assert caught.value.code == 2 and capsys.readouterr().out == ""


def test_without_streams_nothing_is_said_and_nothing_fails(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    progress.note("a line")
    assert list(progress.watched(range(3), "numbers")) == [0, 1, 2]
    with progress.Progress(0, 2) as bar:
        bar.update(1, 3.5, 10)
    monkeypatch.setattr("sys.stdout", None)
    assert document({"a": 1})
    assert main(["data", "list", "--json"]) == 0


def test_a_missing_input_is_one_sentence(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="no standard input"):
        read_standard()


def test_a_label_cannot_command_the_terminal(capsys):
    class Options:
        json = False

    shown(Options, [], ["\x1b]0;title\x07label\x9b31m\tfine"])
    assert capsys.readouterr().out == "\\x1b]0;title\\x07label\\x9b31m\tfine\n"


@pytest.mark.parametrize("name", ["n" * 5000, "a/" * 3000, "loop", "a\0b"])
@pytest.mark.parametrize(
    "command", ["score", "predict", "show", "neighbors", "convert", "finetune", "pretrain"]
)
def test_names_that_lead_nowhere_are_one_sentence(command, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    lines = {
        "score": ["score", name, "text"],
        "predict": ["predict", name, name],
        "show": ["show", name, "text", "--out", "x.html"],
        "neighbors": ["neighbors", name, "word"],
        "convert": ["convert", name, "out.vec"],
        "finetune": ["finetune", name, "--train", name, "--out", "out"],
        "pretrain": ["pretrain", "gpt", "--data", name, "--out", "out"],
    }
    try:
        status = main(lines[command])
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr().err
    assert status == 2 and "Traceback" not in said and len(said.splitlines()[-1]) < 1200


@pytest.mark.skipif(
    not os.path.exists("/dev/fd"), reason="only where the shell has process substitution"
)
def test_a_file_may_be_the_output_of_a_process(tmp_path):
    code = "import sys; from tinylm.data import load_labelled; print(len(load_labelled(sys.argv[1], 'all')))"
    rows = "printf 'sea\\tb\\ncat\\ta\\n'"
    command = f'{sys.executable} -c "{code}" <({rows})'
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=300)
    assert done.stdout.split() == [b"2"], done.stderr

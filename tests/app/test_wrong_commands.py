"""Any wrong invocation: status 2, one sentence on stderr, nothing on stdout, no traceback."""

import io
import os
import random
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from tinylm import files
from tinylm.app.cli import main, parser
from tinylm.app.commands import COMMANDS
from tinylm.progress import visible

COUNT = 500
# Values that no option takes, and values that some options take.
VALUES = ["", " ", "-1", "0", "nan", "1e999", "9" * 30, "x" * 5000, "\x1b[31m", "\ud800", "a\nb", "a=b=c",
          "1,,2", "2020", "gpt", "toy", "true", "../..", "/dev/null/x", "=", "--", "é", "\u202e"]  # fmt: skip
MISSING = ["no/such/folder", "no_such_file.txt", "n" * 5000, "a/" * 3000, "/proc/nowhere"]


def options_of(command):
    """(flags, takes a value) of every option of a command, and how many places it has."""
    sub = next(action for action in parser()._actions if action.dest == "command")
    found = [action for action in sub.choices[command]._actions if action.dest != "help"]
    flags = [(a.option_strings[-1], a.nargs != 0) for a in found if a.option_strings]
    return flags, [a for a in found if not a.option_strings]


def invocation(number):
    """A command line that no command accepts: its folder, file or set does not exist, or worse."""
    rng = random.Random(number)
    command = rng.choice([*COMMANDS] * 9 + ["", "nothing", "--nothing"])
    line = [command]
    if command not in COMMANDS:
        return line
    flags, places = options_of(command)
    for place in places:
        if place.choices:
            line.append(rng.choice([*place.choices, *VALUES]))
        elif rng.random() < 0.85:
            line.append(rng.choice(MISSING + VALUES[:13]))
    for _ in range(rng.randrange(4)):
        flag, takes = rng.choice(flags)
        line.append(flag)
        if takes and rng.random() < 0.9:
            line.append(rng.choice(VALUES + MISSING))
    if rng.random() < 0.1:
        line.append(rng.choice(["--no-such-option", "extra"]))
    return line


def tried(line):
    """Status, standard output and standard error of a command line in this process."""
    out, said = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(said):
        try:
            status = main(line)
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), said.getvalue()


# What succeeds, or would begin to work, is no mistake: lists, help, checks and toy runs.
FINE = ("data", "check", "compare", "pretrain", "find-rate", "distil", "evaluate-words")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder; named sets are not fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYLM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tinylm.data.fetch.download", refuse)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    return tmp_path


def refuse(row):
    raise files.DataError(f"{row.name} is not fetched in tests.")


def test_five_hundred_wrong_invocations_are_one_sentence_each(elsewhere):
    wrong = 0
    for number in range(COUNT):
        line = invocation(number)
        status, out, said = tried(line)
        if status == 0 and line[0] in FINE:
            continue
        wrong += 1
        assert status == 2, (number, line, status, said)
        assert "Traceback" not in said and "tinylm" in said, (number, line, said)
        sentence = said.splitlines()[-1]
        assert sentence.startswith(("tinylm: ", "tinylm ")) and len(sentence) < 1200, (
            number,
            line,
            said,
        )
        assert visible(said) == said, (number, line)
        assert out == "", (number, line, out)
    assert wrong > 0.9 * COUNT
    assert os.listdir(elsewhere) in ([], ["home"]), "something was written"


@pytest.mark.parametrize("number", range(0, COUNT, 125))
def test_some_of_them_as_programs_too(elsewhere, number):
    line = [part.replace("\ud800", "?") for part in invocation(number)]
    command = [sys.executable, "-m", "tinylm", *line]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr

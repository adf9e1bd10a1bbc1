"""The files, names and commands that CONTRIBUTING.md mentions exist."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MENTIONED = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
PATHS = [m for m in MENTIONED if re.fullmatch(r"(tinylm|tests|demos)/[\w./]+", m)]
FILES = [path for path in PATHS if not path.endswith("/") and "NAME" not in path]
TABLES = [m for m in MENTIONED if re.fullmatch(r"_?[A-Z]{4,}[A-Z_]*", m) and m != "NAME"]


def test_it_mentions_files_and_tables():
    assert len(FILES) >= 12 and len(TABLES) >= 8


@pytest.mark.parametrize("path", PATHS)
def test_the_places_it_names_exist(path):
    folder = path.rpartition("/")[0] if "NAME" in path else path
    assert (ROOT / folder).exists()


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_it_names_stand_in_a_file_that_it_names(table):
    defined = re.compile(rf"^{table}\b.* = ", re.M)
    sources = [(ROOT / path).read_text(encoding="utf-8") for path in FILES]
    assert any(defined.search(source) for source in sources)


def commands():
    """The words of every line in its shell blocks, comments left out."""
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.S):
        for line in block.splitlines():
            yield shlex.split(line, comments=True)


def test_the_files_in_its_commands_exist():
    named = [word for words in commands() for word in words if re.search(r"^\w+/.*\.py$", word)]
    assert len(named) >= 6
    assert [word for word in named if not (ROOT / word).exists()] == []


@pytest.mark.parametrize("words", [w for w in commands() if w[0] == "tinylm"], ids=" ".join)
def test_its_commands_go_through_the_real_parser(words):
    from tinylm.app import cli

    arguments = [word.replace("nibbles", "bytes") for word in words[1:]]  # the encoding to be added
    assert cli.parser().parse_args(arguments).command == arguments[0]

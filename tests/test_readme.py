"""README's Python blocks run and print what stands below them; the commands, files and links of all pages exist."""

import ast
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import ops_table
import pytest
import reading_table

ROOT = Path(__file__).parents[1]
PLACES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {place: place.read_text(encoding="utf-8") for place in PLACES}
README = PAGES[ROOT / "README.md"]
OPS = PAGES[ROOT / "docs" / "ops.md"]
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, flags=re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_prints_what_the_readme_says(number):
    code, expected = EXAMPLES[number]
    alone = [sys.executable, "-c", code]  # a test before it could have imported what it lacks
    done = subprocess.run(alone, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == expected, done.stderr


def test_every_python_block_has_its_output():
    assert len(EXAMPLES) == README.count("```python") >= 2


def test_the_objective_it_shows_is_the_file_that_is_tested():
    (shown,) = re.findall(r"```py\n(.*?)```", README, flags=re.S)
    path = ROOT / "demos" / "log_bilinear.py"
    assert path.read_text(encoding="utf-8").endswith(shown)


def test_the_files_it_names_exist():
    named = set().union(
        *(re.findall(r"`((?:tinylm|demos)/[\w/]+\.py)`", text) for text in PAGES.values())
    )
    missing = [name for name in named if not (ROOT / name).exists() and "/NAME" not in name]
    assert len(named) > 50 and not missing


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_links_and_pictures_lead_somewhere(place):
    for target in re.findall(r"\]\(([^)#\s]+)\)", PAGES[place]):
        assert "://" in target or (place.parent / target).exists(), target


def reading_order():
    """Every file of the reading table, those of "skim first" before the file of their row."""
    for row in re.findall(r"^\| (`tinylm/[\w/]+\.py` \| \d+ \|.*)$", README, flags=re.M):
        file, *_, skimmed, _, _ = row.split("|")
        yield from (name + ".py" for name in re.findall(r"`([\w/]+)\.py`", skimmed))
        yield file.strip(" `").removeprefix("tinylm/")


def imported_files(name):
    """The files that a file imports directly, not through the `__init__` of a folder."""
    package = ROOT / "tinylm"
    for node in ast.parse((package / name).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            base = "tinylm"
            if node.level:
                base = "/".join(["tinylm", *Path(name).parts][: -node.level])
            module = "/".join(filter(None, [base if node.level else "", node.module])).replace(
                ".", "/"
            )
            if module.startswith("tinylm"):
                places = [module, *(f"{module}/{alias.name}" for alias in node.names)]
                files = [f"{place}.py".removeprefix("tinylm/") for place in places]
                yield from (file for file in files if (package / file).exists())


def test_the_reading_order_is_complete_for_its_imports():
    helpers = README.split("beside the kernels:")[1].split("```")[0]
    read = {f"{name}.py" for name in re.findall(r"\w+", helpers)}
    late = []
    for name in reading_order():
        late += [f"{name} needs {file}" for file in imported_files(name) if file not in read]
        read.add(name)
    assert "transfer/compare.py" in read and not late


def test_the_line_counts_of_the_reading_order_are_current():
    assert reading_table.counted(README) == README, "run: python tests/reading_table.py"


def commands():
    """The arguments of every `tinylm ...` in the shell blocks of README and docs."""
    found = []
    shown = "\n".join(text for place, text in PAGES.items() if place.name != "CONTRIBUTING.md")
    for block in re.findall(r"```sh\n(.*?)```", shown, flags=re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for _, part in itertools.groupby(words, key=lambda word: word in ("&&", "|", ";")):
                first, *rest = part
                if first == "tinylm":
                    found.append(rest)
    return found


def test_there_are_commands_to_parse():
    assert len(commands()) >= 40


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_the_commands_it_shows_go_through_the_real_parser(arguments):
    from tinylm.app import cli

    assert cli.parser().parse_args(arguments).command == arguments[0]


def test_the_table_of_all_ops_is_current():
    _, table, _ = ops_table.section(OPS)
    assert table.strip() == ops_table.markdown().strip(), "run: python tests/ops/ops_table.py"


def test_the_table_names_every_op_of_the_registry_with_its_kernels():
    from tinylm.ops import OPS, linear, log_softmax, lstm, relu

    assert set(OPS) <= set(ops_table.all_ops())
    assert (
        ops_table.kernels_of(linear) == ["linear", "linear_backward"]
        and ops_table.kernels_of(relu) == []
    )
    assert ops_table.kernels_of(log_softmax) == [
        "softmax",
        "softmax_backward",
    ] and "lstm" in ops_table.kernels_of(lstm)


@pytest.mark.peer
@pytest.mark.parametrize("name", ops_table.all_ops())
def test_pytorch_has_what_the_table_says(name):
    import torch

    place = torch
    for part in filter(None, ops_table.torch_name(name).split(".")):
        place = getattr(place, part)

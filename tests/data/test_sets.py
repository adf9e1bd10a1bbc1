"""The registry of named sets reaches whoever installs tinylm."""

import tomllib
from pathlib import Path

import tinylm

PACKAGE = Path(tinylm.__file__).parent


def test_the_wheel_lists_every_file_that_is_not_python():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set()
    for package, names in project["tool"]["setuptools"]["package-data"].items():
        folder = PACKAGE.parent.joinpath(*package.split("."))
        listed |= {folder / name for name in names}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert {path for path in files if path.parent.name != "__pycache__"} == listed

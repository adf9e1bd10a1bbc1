"""Find an objective by name: a chapter, a reader's own file, or what an installed package offers.

A chapter is imported when somebody asks for it. A run folder names a kind of model, never code;
code comes from the package, from a file that the user names, or from a package that the user
installed.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from pathlib import Path

from tinylm.errors import TinylmError

CHAPTERS = (
    "word2vec",
    "fasttext",
    "glove",
    "elmo",
    "ulmfit",
    "gpt1",
    "gpt",
    "bert",
    "xlnet",
    "electra",
)  # as history has them
STUDENTS = (
    "distil",
    "tinybert",
)  # they learn from a model of another chapter, so none stands alone
ENTRY_POINTS = "tinylm.objectives"  # the group under which other packages offer theirs
_CLASSES: dict[str, type] = {}  # the objectives that this process has imported, by name
_ALL: set[type] = set()  # these, and those that later ones of the same name have replaced


def add(cls: type) -> None:
    """Register a class under its name; defining a subclass of Objective calls this.

    Defining it a second time, as a notebook does, replaces the first.
    raises TinylmError  if the name belongs to a chapter of the package
    """
    if cls.name in (*CHAPTERS, *STUDENTS) and not cls.__module__.startswith("tinylm.objectives."):
        raise TinylmError(f"{cls.name!r} is a chapter of tinylm; give your objective another name.")
    _CLASSES[cls.name] = cls
    _ALL.add(cls)


def names() -> list[str]:
    """Names of the package's chapters and students, then of the objectives defined in this process.

    >>> names()[:5]
    ['word2vec', 'fasttext', 'glove', 'elmo', 'ulmfit']
    """
    return list(dict.fromkeys([*CHAPTERS, *STUDENTS, *_CLASSES]))


def find(what: "str | type") -> type:
    """The class of an objective.

    what : a chapter's name; the name of one defined in this process or offered by an installed
        package; a file `mine.py` that defines one, `mine.py:NAME` if it defines several; or the
        class itself
    raises TinylmError  for an unknown name (listing the known ones), or a file that is missing,
        broken or defines none

    >>> find("gpt").model_type
    'gpt2'
    """
    if isinstance(what, type):
        return what
    path, colon, name = what.rpartition(":")
    if what.endswith(".py"):
        return _from_file(what, None)
    if colon and path.endswith(".py"):
        return _from_file(path, name)
    if what in (*CHAPTERS, *STUDENTS) and what not in _CLASSES:
        importlib.import_module(f"tinylm.objectives.{what}")
    if what not in _CLASSES and (offered := _offers().get(what)):
        _load(offered)
    if what not in _CLASSES:
        known = ", ".join(dict.fromkeys([*names(), *_offers()]))
        raise TinylmError(
            f"There is no objective {what!r}; expected one of {known}, or a file of yours, mine.py."
        )
    return _CLASSES[what]


def is_student(what: "str | type") -> bool:
    """Whether an objective learns from a trained model.   what : as for `find`

    >>> is_student("bert"), is_student("distil")
    (False, True)
    """
    return find(what).learn_from is not None


def by_model_type(model_type: str) -> type:
    """The objective whose config.json says `model_type`.

    raises TinylmError  for an unknown one, with the way out

    >>> by_model_type("gpt2").name
    'gpt'
    """
    for name in (*CHAPTERS, *STUDENTS):
        find(name)
    short = str(model_type).removeprefix("tinylm-")
    if short in _offers() and short not in _CLASSES:
        find(short)
    for cls in _CLASSES.values():
        if cls.model_type == model_type:
            return cls
    known = ", ".join(cls.model_type for cls in _CLASSES.values())
    raise TinylmError(
        f"No objective reads models of type {model_type!r}; expected one of {known}. "
        "If a file of yours defines it, pass --objective FILE.py (in Python: import it first)."
    )


def _offers() -> dict[str, importlib.metadata.EntryPoint]:
    """The objectives that installed packages offer, by name; this imports none of them."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _load(offered: importlib.metadata.EntryPoint) -> None:
    """Import the objective that an installed package offers."""
    try:
        cls = offered.load()
    except Exception as error:
        raise TinylmError(
            f"The objective {offered.name!r} of an installed package ({offered.value}) "
            f"cannot be imported: {error!r}"
        ) from error
    if cls not in _CLASSES.values():
        raise TinylmError(
            f"{offered.value} is no tinylm.Objective with a name; "
            'expected class X(tinylm.Objective, name="x").'
        )
    _CLASSES[offered.name] = cls


def _from_file(path: str, name: str | None) -> type:
    """The objective that a user's Python file defines: the one called `name`, or its only one."""
    file = Path(path)
    if not os.path.isfile(file):
        raise TinylmError(f"There is no file {path!r}; give the Python file of an objective.")
    module = _import(file)
    found = {cls.name: cls for cls in _defined_in(module)}
    if not found:
        raise TinylmError(
            f'{path} defines no objective; it needs a class X(tinylm.Objective, name="x").'
        )
    if name is None and len(found) > 1:
        raise TinylmError(
            f"{path} defines {', '.join(found)}; say which one, for example {path}:{min(found)}."
        )
    if name is None:
        name = next(iter(found))
    if name not in found:
        raise TinylmError(f"{path} defines no objective {name!r}; it defines {', '.join(found)}.")
    chosen = found[name]
    add(chosen)  # another file may have defined one of the same name in between
    return chosen


def _defined_in(module) -> list[type]:
    """The named objectives that a module defines itself, in the order of their definition."""
    found = []
    for value in vars(module).values():
        if isinstance(value, type) and value in _ALL and value.__module__ == module.__name__:
            found.append(value)
    return found


def _import(path: Path):
    """Run a file of the user's as a module; the same file with the same content runs only once."""
    content = path.read_bytes() + str(path.resolve()).encode()
    name = f"tinylm_objective_{hashlib.sha256(content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, TinylmError) or not isinstance(error, Exception):
            raise
        place = f"{path}{_line_in(spec.origin, error)}"
        raise TinylmError(f"{place} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _line_in(file: str, error: Exception) -> str:
    """The line of a file that cannot be parsed, or ran last: ", line 3,"; "" if none is known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    return f", line {lines[-1]}," if lines else ""

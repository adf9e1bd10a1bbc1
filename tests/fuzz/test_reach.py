"""Every function of the package that reads a file stands behind a door, or is listed with its reason."""

import ast
import sys
from pathlib import Path

from seeds import DOORS

import tinylm
from tinylm.progress import hidden

PACKAGE = Path(tinylm.__file__).parent
READS = {
    *("read_text", "read_bytes", "read_json", "read_log", "decode_text", "read_standard"),
    *("parse_json", "json_value", "load_tensors", "load_npz", "open_memmap", "data_bytes"),
    *("ZipFile", "GzipFile", "memmap", "fromfile", "iterparse", "urlopen", "literal_eval"),
}
# Functions that no door reaches, and why.
ELSEWHERE = {
    "app/tasks.py:_from_standard_input": "writes standard input into a file for the door of its task",
    "data/cooccurrence.py:_through_files": "its own temporary files",
    "data/fetch.py:_from_installed": "files whose hash is known",
    "data/fetch.py:_over_http": "a network; what comes is an index page and a wheel, two doors",
    "data/fetch.py:_with_pip": "a network; what comes is a wheel, a door",
    "files.py:read_standard": "standard input, see tests/app",
    "files.py:standard_lines": "standard input, see tests/app",
    "kernels/runtime/cache.py:_digest": "the package's own files, see tests/kernels",
    "kernels/runtime/cache.py:holds": "the cache of kernels, see tests/kernels",
    "kernels/runtime/cache.py:source_key": "the package's own files, see tests/kernels",
    "memory.py:peak": "Linux's own files",
    "memory.py:physical": "Linux's own files",
    "memory.py:used": "Linux's own files",
    "objectives/registry.py:_import": "the user's own program",
    "transfer/compare.py:_is_noted": "the folder of a comparison, see tests/transfer",
    "transfer/mapped.py:keep": "the same file as `kept`, a door, before it writes it anew",
    "transfer/compare.py:pretrained_run": "the folder of a comparison, see tests/transfer",
}


def called(function):
    """The names of what a function calls itself, those in functions inside it left out."""
    names = set()
    inner = list(ast.iter_child_nodes(function))
    while inner:
        node = inner.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            target = node.func
            names.add(target.attr if isinstance(target, ast.Attribute) else ast.unparse(target))
            is_open = names & {"open"} and not {"wb", "a", "w"} & {
                ast.unparse(a) for a in node.args
            }
            if is_open:
                names.add("open for reading")
        inner += ast.iter_child_nodes(node)
    return names


def readers():
    """{(file, line): name} of the functions that read files."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and called(node) & READS:
                found[str(path), node.lineno] = f"{path.relative_to(PACKAGE)}:{node.name}"
    return found


def forget():
    """Empty the caches of functions: what an earlier test has read is read again."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tinylm"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def reached(tmp_path):
    """The (file, line) of every function that the doors call when they read their valid files."""
    lines = set()

    def watch(frame, event, _):
        if event == "call":
            code = frame.f_code
            lines.add((code.co_filename, code.co_firstlineno))

    forget()
    with hidden():
        for i, door in enumerate(DOORS):
            place = tmp_path / f"{i}"
            place.mkdir()
            door.write(place)
            sys.setprofile(watch)
            try:
                door.read(place)
            finally:
                sys.setprofile(None)
    return lines


def test_every_function_that_reads_a_file_stands_behind_a_door(tmp_path):
    lines = reached(tmp_path)
    found = readers()
    assert len(found) > 30
    missing = set()
    for (path, line), name in found.items():
        decorated = {(path, line - back) for back in range(3)}  # a decorator is the first line
        if not decorated & lines:
            missing.add(name)
    unlisted = sorted(missing - ELSEWHERE.keys())
    assert not unlisted, "neither behind a door nor listed"
    assert not ELSEWHERE.keys() - set(found.values()), "listed, but it reads no file"

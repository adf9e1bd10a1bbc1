"""The house: imports point downward, rooms stay small, names are explained, nothing is loaded by executing it."""

import ast
import importlib
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

import tinylm
from tinylm.kernels import KERNELS

PACKAGE = Path(tinylm.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    (
        "errors",
        "arguments",
        "doors",
        "files",
        "folders",
        "finite",
        "tensors",
        "memory",
        "progress",
        "interrupt",
        "settings",
        "kernels",
    ),
    ("tensor", "gradients"),
    ("ops", "gradcheck", "encodercheck", "sampling"),
    ("nn", "optim"),
    ("text", "data", "vectors"),
    ("objectives",),
    ("training", "hub"),
    ("transfer",),
    ("app", "report", "__main__"),
)
ALARMS = {
    "file": 450,
    "function": 60,
    "kernel": 80,
}  # raw lines of a file, code lines of a function
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
KERNEL_FILES = sorted((PACKAGE / "kernels").glob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def tree(path):
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path):
    """tinylm/ops/shape.py -> ("ops", "shape"); a package's __init__ -> ("ops",)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def floor(name):
    """Number of the floor on which a top-level name lives."""
    found = [number for number, names in enumerate(FLOORS) if name in names]
    assert found, f"tinylm.{name} stands on no floor; write it into FLOORS"
    return found[0]


def imported(path):
    """(line, module path inside tinylm as a tuple) of every import in the file, those inside functions included."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path)[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (
                (node.lineno, tuple(name[1:]))
                for name in names
                if name[0] == "tinylm" and len(name) > 1
            )
        elif isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").split(".")[0] == "tinylm"
        ):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = tuple((node.module or "").split(".")) if node.module else ()
            module = (*base, *module) if node.level else module[1:]
            for alias in node.names:
                whole = (*module, alias.name)
                yield node.lineno, whole if is_module(whole) else module


def is_module(parts):
    """True when tinylm has a module of that dotted path."""
    place = PACKAGE.joinpath(*parts)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


@every_file
def test_imports_point_downward(path):
    own = module_name(path)
    for line, target in imported(path):
        if own and target:
            assert floor(target[0]) <= floor(own[0]), (
                f"{path.name}:{line}: floor {floor(own[0])} imports tinylm.{'.'.join(target)} from floor {floor(target[0])}"
            )


def test_imports_never_go_in_a_circle():
    graph = {}
    for path in FILES:
        name = module_name(path)
        if name:  # a package that gathers the names of its own modules is not a circle: they import each other directly
            graph[name] = {target for _, target in imported(path) if target and target != name}
    done, path = set(), []

    def visit(name):
        assert name not in path, "a circle of imports: " + " -> ".join(
            ".".join(n) for n in [*path[path.index(name) :], name]
        )
        if name not in done:
            path.append(name)
            for target in sorted(graph.get(name, ())):
                visit(target)
            done.add(path.pop())

    for name in sorted(graph):
        visit(name)


# --- sizes


@cache
def code_lines(path):
    """Numbers of the lines that hold code: no blank lines, comments or docstrings."""
    silent = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return frozenset(lines)


def functions(path):
    """(qualified name, node) of every function and method."""

    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                if isinstance(child, ast.FunctionDef):
                    yield f"{prefix}{child.name}", child
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    yield from walk(tree(path), "")


KERNEL_CODE = {
    (kernel.function.__module__, function.__name__)
    for kernel in KERNELS.values()
    for function in (kernel.function, kernel.reference)
}


def in_kernel(path, name):
    """True for a kernel and for its reference."""
    return (".".join(("tinylm", *module_name(path))), name) in KERNEL_CODE


def test_no_file_and_no_function_is_alarmingly_long():
    """Sizes are alarms, not targets: the ten longest are printed, and only far beyond a page it fails."""
    files, lengths, alarming = [], [], []
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        files.append((lines, str(path.relative_to(ROOT))))
        for name, node in functions(path):
            count = sum(node.lineno <= n <= node.end_lineno for n in code_lines(path))
            limit = ALARMS["kernel" if in_kernel(path, name) else "function"]
            lengths.append((count, f"{path.relative_to(ROOT)} {name}"))
            if count > limit:
                alarming.append(lengths[-1])
    alarming += [entry for entry in files if entry[0] > ALARMS["file"]]
    for count, name in sorted(files)[-10:] + sorted(lengths)[-10:]:
        print(f"{count:5}  {name}")
    assert not alarming


# --- air

AIR = {
    "mean": 8.5,
    "tenth": 15,
    "packed": 5.0,
    "columns": 100,
}  # STYLE: "a line is read more often than it is counted"
SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Raise, ast.Assert, ast.Delete)


def simple_statements(path):
    """The statements of a file that hold no others, docstrings left out."""
    for node in ast.walk(tree(path)):
        is_call = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        if isinstance(node, SIMPLE) or is_call:
            yield node


def nodes(statement):
    """How many expressions and statements of the grammar a statement is made of."""
    return sum(isinstance(part, ast.expr | ast.stmt) for part in ast.walk(statement))


def is_packed(statement):
    """Whether it assigns unrelated values side by side: `a, b = x, y`, but neither `a, b = f(x)` nor `a, b = b, a`."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Tuple):
        return False
    targets = [target for target in statement.targets if isinstance(target, ast.Tuple)]
    if not targets:
        return False
    names = {ast.unparse(element) for element in targets[0].elts}
    return not names & {ast.unparse(element) for element in statement.value.elts}


def test_the_code_has_air():
    sizes = sorted(nodes(statement) for path in FILES for statement in simple_statements(path))
    packed = sum(is_packed(statement) for path in FILES for statement in simple_statements(path))
    lines = sum(len(code_lines(path)) for path in FILES)
    assert sum(sizes) / len(sizes) <= AIR["mean"]
    assert sizes[int(0.9 * len(sizes))] <= AIR["tenth"]
    assert 1000 * packed / lines <= AIR["packed"]


@every_file
def test_no_line_is_longer_than_a_page_is_wide(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [n for n, line in enumerate(lines, 1) if len(line) > AIR["columns"]]


@every_file
def test_the_formatter_decides_everywhere(path):
    text = path.read_text(encoding="utf-8")
    assert "fmt: skip" not in text and "fmt: off" not in text


@pytest.mark.parametrize("name", tinylm._MOVED)
def test_a_module_that_moved_is_still_found_by_its_old_name(name):
    old = importlib.import_module(f"tinylm.{name}")
    new = importlib.import_module(f"tinylm.{tinylm._MOVED[name]}")
    assert old is new and new.__spec__.name == new.__name__ == f"tinylm.{tinylm._MOVED[name]}"
    assert getattr(tinylm, name) is new


# --- names and what they promise


def public(path):
    """(qualified name, node) of the module, and of every public class, function and method."""
    yield "the module", tree(path)

    def walk(node, prefix):
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                yield f"{prefix}{child.name}", child
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, f"{prefix}{child.name}.")

    yield from walk(tree(path), "")


@every_file
def test_every_public_name_has_a_docstring(path):
    missing = [name for name, node in public(path) if not (ast.get_docstring(node) or "").strip()]
    assert not missing


# A shape as the field writes it, `(B, T, C)` or `(...)`, an arrow between two, or the words that stand for any.
SHAPE = re.compile(
    r"\((\.\.\.|[A-Z]\w{0,6}'?|n_in|n_out|rows|\*ids\.shape)[,)]"
    r"|-> |any shape|shape of|single number|`axis`|\baxes\b|broadcast"
)


@pytest.mark.parametrize(
    "name", [name for name in tinylm.ops.__all__ if callable(getattr(tinylm.ops, name))]
)
def test_the_docstring_of_an_op_says_shapes(name):
    assert SHAPE.search(getattr(tinylm.ops, name).__doc__)


def test_every_layer_says_its_shapes():
    for layer in vars(tinylm.nn).values():
        if isinstance(layer, type) and "forward" in vars(layer):
            assert SHAPE.search((layer.__doc__ or "") + (layer.forward.__doc__ or "")), layer


def test_every_kernel_has_a_reference_and_a_docstring_with_shapes():
    for kernel in KERNELS.values():
        assert kernel.reference is not kernel.function and callable(kernel.reference)
        assert SHAPE.search(kernel.__doc__), kernel.name
        assert kernel.reference.__module__ == kernel.function.__module__, (
            "the reference stands beside its kernel"
        )


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda path: path.name)
def test_no_parallel_loop_counts_with_an_if(path):
    """Numba runs `prange(a if c else b)` on one thread, without a word; a name in its place is shared."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "prange":
            found = [inner for inner in ast.walk(node) if isinstance(inner, ast.IfExp | ast.BoolOp)]
            assert not found, f"line {node.lineno}: give the number of passes a name first"


def test_every_name_that_the_package_offers_is_there():
    assert set(tinylm.__all__) <= set(dir(tinylm))
    for name in tinylm.__all__:
        assert getattr(tinylm, name) is not None, name
    for path in PACKAGE.rglob("__init__.py"):
        module = importlib.import_module(".".join(("tinylm", *module_name(path))))
        for name in vars(module).get("__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"


# --- what is not used


@every_file
def test_nothing_is_loaded_by_executing_it(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.split(".")[0] for name in names} & UNSAFE_MODULES
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id in UNSAFE_CALLS), (
                node.lineno
            )
            assert not any(
                k.arg == "allow_pickle" and getattr(k.value, "value", True) for k in node.keywords
            ), node.lineno


SPEAK = {
    "folders.py",  # a warning, which --quiet silences, where a disk has no locks
    "progress.py",
    "cli.py",
}  # the only files that write to stderr, so that --quiet holds for all


@every_file
def test_what_is_said_in_passing_goes_through_one_place_that_can_be_quiet(path):
    if path.name in SPEAK:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            said = ast.unparse(node.func).startswith(("sys.stderr.write", "warnings.warn"))
            values = [ast.unparse(keyword.value) for keyword in node.keywords]
            printed = ast.unparse(node.func) == "print" and "sys.stderr" in values
            assert not said and not printed, f"{path.name}:{node.lineno}: use progress.note"


@every_file
def test_no_global_random_state(path):
    allowed = {"Generator", "default_rng", "PCG64", "SeedSequence", "Philox"}
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "random"
        ):
            if isinstance(node.value.value, ast.Name) and node.value.value.id == "np":
                assert node.attr in allowed, (
                    f"{path.name}:{node.lineno}: np.random.{node.attr} is global"
                )
        if isinstance(node, ast.Import):
            assert "random" not in [alias.name for alias in node.names], (
                f"{path.name}:{node.lineno}"
            )


# What the operating system or the interpreter may lack, and nothing else, is asked for by name.
PROBES = {"kernels/runtime/pool.py", "kernels/runtime/cache.py", "kernels/runtime/build.py"}


@every_file
def test_an_ability_is_an_attribute_never_a_probe(path):
    probes = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2):
                probes.append(node.lineno)
    assert not probes or path.relative_to(PACKAGE).as_posix() in PROBES


@every_file
def test_no_unfinished_places(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("TODO", "FIXME", "XXX", "NotImplementedError") if word in text]

"""The cache of compiled kernels is never a reason to fail, and no damaged kernel is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.kernels import KERNELS
from tinylm.kernels.runtime import cache

ROOT = Path(tinylm.__file__).parents[1]
KERNEL = "embedding_gather"  # one of those that compile fastest
GATHER = """
import numpy as np
from tinylm import kernels
out = np.empty((5, 3), np.float32)
kernels.embedding_gather(np.arange(21, dtype=np.float32).reshape(7, 3), np.arange(1, 6), out)
print(out.tolist())
"""
PARALLEL = """
import numpy as np
import tinylm.ops as F
print(F.softmax(np.ones((3, 4), np.float32)).data.sum())
"""
COMMAND = "import sys; from tinylm.app.cli import main; sys.exit(main(['score', 'nowhere', 'text', '--threads', '1']))"


def python(code, **environment):
    """Run code in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in ("TINYLM_BACKEND",)}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **kept,
            "PYTHONPATH": str(ROOT),
            **{name: str(value) for name, value in environment.items()},
        },
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose cache holds one kernel, and what the kernel gave."""
    place = tmp_path_factory.mktemp("home")
    first = python(GATHER, TINYLM_HOME=place)
    assert first.returncode == 0, first.stderr
    return place, first.stdout


def kept(home):
    """The files that hold the kernel."""
    place = home / "kernels" / cache.source_key() / f"{KERNEL}.float32"
    found = sorted(path for path in place.rglob("*") if path.is_file())
    assert {path.suffix for path in found} == {".nbi", ".nbc"}
    return found


def cut(path):
    path.write_bytes(path.read_bytes()[:50])


def flip(path):
    """Change one byte in the middle: for .nbc that is machine code."""
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 255
    path.write_bytes(bytes(found))


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    path.write_bytes(b"cos\nsystem\n(S'exit 7'\ntR.")  # a pickle that would end the process


def beside(path):
    (path.parent / "other.nbc").write_bytes(b"x")


DAMAGES = [(way, suffix) for suffix in (".nbi", ".nbc") for way in (cut, flip, empty, foreign)]
DAMAGES.append((beside, ".nbi"))


def name_of(part):
    """What a damage is called."""
    return getattr(part, "__name__", part)


def damage_kept(home, damage, suffix):
    """Damage the files with that suffix that hold the kernel."""
    for path in kept(home):
        if path.suffix == suffix:
            damage(path)


@pytest.mark.parametrize("damage, suffix", DAMAGES, ids=name_of)
def test_a_damaged_kernel_is_not_what_the_cache_holds(home, tmp_path, monkeypatch, damage, suffix):
    shutil.copytree(home[0], tmp_path / "home")
    folder = tmp_path / "home" / "kernels" / cache.source_key()
    monkeypatch.setitem(cache._state, "folder", folder)
    asked = KERNELS[KERNEL], np.dtype("float32")
    assert cache.holds(*asked) and cache.place_for(*asked) == folder / f"{KERNEL}.float32"
    damage_kept(tmp_path / "home", damage, suffix)
    assert not cache.holds(*asked) and not cache.place_for(*asked).exists()


@pytest.mark.parametrize("damage, suffix", [(flip, ".nbc"), (foreign, ".nbi")], ids=name_of)
def test_a_damaged_kernel_is_compiled_again_and_not_run(home, damage, suffix):
    place, expected = home
    damage_kept(place, damage, suffix)
    done = python(GATHER, TINYLM_HOME=place)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    again = python(GATHER, TINYLM_HOME=place)
    assert (again.stdout, again.stderr) == (expected, ""), "it was not kept again"


def test_without_a_marker_a_kernel_is_not_trusted(home):
    place, expected = home
    marker = place / "kernels" / cache.source_key() / f"{KERNEL}.float32.sha256"
    assert re.fullmatch("[0-9a-f]{64}", marker.read_text(encoding="ascii"))
    marker.write_text("something else", encoding="ascii")
    done = python(GATHER, TINYLM_HOME=place)
    assert done.stdout == expected and "compiling" in done.stderr


def test_a_forbidden_compiler_leaves_the_references(tmp_path):
    done = python(PARALLEL, NUMBA_DISABLE_JIT=1, TINYLM_HOME=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "3.0"), done.stderr


@pytest.mark.parametrize(
    "environment, sentence",
    [
        ({"TINYLM_BACKEND": "cuda"}, "TINYLM_BACKEND is 'cuda'; expected 'numba'"),
        ({"NUMBA_THREADING_LAYER": "wrong"}, "no threading layer 'wrong'"),
    ],
)
def test_what_the_environment_cannot_have_is_one_sentence(tmp_path, environment, sentence):
    done = python(COMMAND, **environment, TINYLM_HOME=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert sentence in done.stderr.splitlines()[-1]

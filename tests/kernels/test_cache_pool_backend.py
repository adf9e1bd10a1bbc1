"""Where compiled kernels are kept, the one thread pool, and the backend that compiles nothing."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import ThreadpoolController

import tinylm
from tinylm import kernels
from tinylm.errors import TinylmError
from tinylm.kernels.runtime import cache, pool

PACKAGE = Path(tinylm.__file__).parent

DROPOUT = """
import numpy as np
from tinylm import kernels
out = np.empty(4096, np.float32)
kernels.dropout(np.ones(4096, np.float32), np.uint64(7), 0.25, out)
print(int((out > 0).sum()))
"""
GATHER = """
import numpy as np
from tinylm import kernels
out = np.empty((5, 3), np.float32)
kernels.embedding_gather(np.ones((7, 3), np.float32), np.arange(5), out)
print(int(out.sum()))
"""  # a kernel that compiles faster


def python(code, folder=PACKAGE.parent, **environment):
    """Run code in a fresh process that imports tinylm from `folder`; returns the completed process."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TINYLM_BACKEND", "NUMBA_CACHE_DIR")
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**inherited, "PYTHONPATH": str(folder), **{k: str(v) for k, v in environment.items()}},
    )


@pytest.fixture
def copied(tmp_path):
    """A copy of the package's core in a folder of its own."""
    target = tmp_path / "tinylm"
    shutil.copytree(
        PACKAGE / "kernels", target / "kernels", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("__init__.py", "doors.py", "errors.py", "files.py", "progress.py"):
        shutil.copy(PACKAGE / name, target / name)
    return target


def test_an_edited_helper_is_seen_although_the_kernel_was_cached(copied, tmp_path):
    first = python(DROPOUT, tmp_path, TINYLM_HOME=tmp_path / "home")
    again = python(DROPOUT, tmp_path, TINYLM_HOME=tmp_path / "home")
    helper = copied / "kernels" / "elementary.py"
    text = helper.read_text(encoding="utf-8")
    assert text.count(" >= threshold\n") == 1
    helper.write_text(text.replace(" >= threshold\n", " < threshold\n"), encoding="utf-8")
    edited = python(DROPOUT, tmp_path, TINYLM_HOME=tmp_path / "home")
    assert "compiling kernels" in first.stderr and "compiling kernels" in edited.stderr
    assert again.stderr == "", "the second process compiled or warned"
    assert int(first.stdout) == int(again.stdout) > 2048 and int(edited.stdout) == 4096 - int(
        first.stdout
    )


def test_the_key_of_the_cache_changes_with_every_kernel_source(copied):
    folder = copied / "kernels"
    keys = {cache.source_key(folder)}
    for path in sorted(folder.rglob("*.py")):
        path.write_text(path.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
        keys.add(cache.source_key(folder))
    assert len(keys) == 1 + len(list(folder.rglob("*.py")))
    assert cache.source_key() == cache.source_key(PACKAGE / "kernels")


def test_the_cache_folder_belongs_to_the_user_alone(copied, tmp_path):
    home = tmp_path / "home"
    assert python(GATHER, tmp_path, TINYLM_HOME=home).returncode == 0
    kept = home / "kernels" / cache.source_key(copied / "kernels")
    assert any(kept.rglob("*.nbi")) and kept.stat().st_mode & 0o077 == 0


def test_threads_that_ask_at_once_are_told_the_same_folder(tmp_path):
    code = (
        "import threading; from tinylm.kernels.runtime import cache; found = []\n"
        "threads = [threading.Thread(target=lambda: found.append(cache.folder())) for _ in range(16)]\n"
        "for t in threads: t.start()\nfor t in threads: t.join()\nprint(len({str(f) for f in found}), all(found))"
    )
    for _ in range(3):
        assert python(code, TINYLM_HOME=tmp_path).stdout.split() == ["1", "True"]


def test_a_folder_that_others_may_write_to_is_not_trusted(copied, tmp_path):
    kept = tmp_path / "home" / "kernels" / cache.source_key(copied / "kernels")
    kept.mkdir(parents=True)
    kept.chmod(0o777)
    done = python(GATHER, tmp_path, TINYLM_HOME=tmp_path / "home")
    assert done.returncode == 0 and "no cache folder" in done.stderr and not any(kept.iterdir())


def test_without_a_writable_folder_kernels_compile_and_nothing_fails(tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder", encoding="utf-8")
    done = python(GATHER, TINYLM_HOME=blocked / "home")
    assert done.returncode == 0 and int(done.stdout) == 15
    assert done.stderr.count("\n") == 1 and "no cache folder can be written" in done.stderr


NOTHING_COMPILES = """
import numba.core.compiler, numpy as np

def refuse(*args, **kwargs):
    raise AssertionError("something was compiled")

numba.core.compiler.compile_extra = numba.core.compiler.compile_internal = refuse
numba.core.dispatcher.Dispatcher.compile = refuse
import sys
sys.path.insert(0, FOLDER)
from arguments import build, dimension_names
from tinylm.kernels import KERNELS
import tinylm.objectives.word2vec
for kernel in KERNELS.values():
    dims = {name: 3 for name in dimension_names(kernel)}
    with np.errstate(all="ignore"):
        kernel(*build(kernel, dims, np.float32, np.random.default_rng(0)).values())
    assert not kernel.dispatchers, kernel
print(len(KERNELS))
"""


def test_the_numpy_backend_compiles_nothing(tmp_path):
    code = NOTHING_COMPILES.replace("FOLDER", repr(str(Path(__file__).parent)))
    done = python(code, TINYLM_BACKEND="numpy", TINYLM_HOME=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert (
        int(done.stdout) >= len(kernels.KERNELS)
        and done.stderr == ""
        and not (tmp_path / "home").exists()
    )


def test_an_unknown_backend_is_refused_at_import():
    done = python("import tinylm.kernels", TINYLM_BACKEND="cuda")
    assert done.returncode == 1 and "TINYLM_BACKEND is 'cuda'; expected 'numba'" in done.stderr


def test_a_second_copy_of_the_package_compiles_its_own(copied, tmp_path):
    shutil.copytree(copied, tmp_path / "other" / "tinylm")
    first, second = (
        python(GATHER, folder, TINYLM_HOME=tmp_path / "home")
        for folder in (tmp_path, tmp_path / "other")
    )
    assert (
        "compiling kernels" in first.stderr
        and "compiling kernels" in second.stderr
        and first.stdout == second.stdout
    )


def numpys_threads():
    """Thread counts of the BLAS that NumPy brought along."""
    found = [x for x in ThreadpoolController().lib_controllers if x.user_api == "blas"]
    return [
        x.num_threads for x in found if {"numpy", "numpy.libs"} & set(Path(x.filepath).parts[-3:-1])
    ]


def test_one_pool_limits_numpys_products_and_restores_their_threads():
    before = numpys_threads()
    with kernels.one_pool():
        assert set(numpys_threads()) <= {1}
        with kernels.one_pool():
            assert set(numpys_threads()) <= {1}
        assert set(numpys_threads()) <= {1}
    assert numpys_threads() == before
    with pytest.raises(KeyError), kernels.one_pool():
        raise KeyError
    assert numpys_threads() == before
    first, second = kernels.one_pool(), kernels.one_pool()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(numpys_threads()) <= {1}
    second.__exit__(None, None, None)
    assert numpys_threads() == before


def test_a_kernel_leaves_numpys_threads_alone():
    code = (
        DROPOUT
        + """
from pathlib import Path
from threadpoolctl import ThreadpoolController
blas = [x for x in ThreadpoolController().lib_controllers if x.user_api == "blas"]
numpys = [x for x in blas if {"numpy", "numpy.libs"} & set(Path(x.filepath).parts)]
print([x.num_threads for x in numpys] == [2] * len(numpys) and all(x.num_threads == 1 for x in blas if x not in numpys))
"""
    )
    done = python(code, OPENBLAS_NUM_THREADS=2)
    assert done.stdout.split()[-1] == "True", done.stderr


MEMORY = """
import os
from pathlib import Path

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

def kept_by_malloc():
    array = np.ones(2**24, np.float64)
    full = resident()
    del array
    return full - resident() < 2**26

print(kept_by_malloc())
with kernels.one_pool():
    print(kept_by_malloc())
print(kept_by_malloc())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_from_the_first_one_pool_on_and_not_by_a_kernel():
    done = python(DROPOUT + MEMORY)
    assert done.stdout.split()[-3:] == ["False", "True", "True"], done.stderr


def test_more_threads_than_there_are_is_one_sentence():
    with pytest.raises(TinylmError, match="99999 threads were asked for; expected 1 to"):
        kernels.set_threads(99999)
    with pytest.raises(TinylmError, match="0 threads"):
        kernels.set_threads(0)


FORK = """
import os, warnings
warnings.simplefilter("ignore")
BEFORE
child = os.fork()
if child == 0:
    try:
        kernels.dropout(np.ones(4096, np.float32), np.uint64(7), 0.25, out)
        print("ran", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


NO_KERNEL = DROPOUT.replace("kernels.dropout", "# kernels.dropout").replace("print", "# print")


@pytest.mark.parametrize("before", (DROPOUT, NO_KERNEL + "kernels.set_threads(1)"))
def test_a_child_forked_after_the_pool_started_gets_one_sentence(before):
    done = python(FORK.replace("BEFORE", before))
    assert "TinylmError This process was forked" in done.stdout and "'spawn'" in done.stdout, (
        done.stdout + done.stderr
    )


def test_a_child_forked_before_any_kernel_may_run_them():
    done = python(FORK.replace("BEFORE", NO_KERNEL))
    assert "ran" in done.stdout, done.stdout + done.stderr


THREADS = """
import sys, threading
import numpy as np
from tinylm import kernels

def work():
    for _ in range(50):
        out = np.empty(40000, np.float32)
        kernels.dropout(np.ones(40000, np.float32), np.uint64(7), 0.25, out)
        results.append(out.tobytes())

results = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(results), len(set(results)))
"""


@pytest.mark.parametrize("layer", ("workqueue", "default"))
def test_kernels_may_be_called_from_several_python_threads(layer):
    done = python(THREADS, NUMBA_THREADING_LAYER=layer)
    assert done.stdout.split() == ["200", "1"], done.stderr


# --- how long a waiting thread spins

linux = pytest.mark.skipif(sys.platform != "linux", reason="libgomp is Linux' OpenMP library")
SPINS = r"GOMP_SPINCOUNT = '(\d+)'"  # what OMP_DISPLAY_ENV lets libgomp say when it is loaded
OMPPOOL = "import numba.np.ufunc.omppool\n"  # Numba's own module, which loads libgomp
ENVIRONMENT = """
import os, subprocess, sys
child = [sys.executable, "-c", "import os; print(os.environ.get('GOMP_SPINCOUNT'))"]
print(os.environ.get("GOMP_SPINCOUNT"), subprocess.check_output(child, text=True).strip())
"""


def waiting(code, **environment):
    """Run code with libgomp telling its settings, and none of the user's but those given."""
    told = {"OMP_DISPLAY_ENV": "verbose", **environment}
    unset = "".join(f"os.environ.pop({n!r}, None)\n" for n in pool.WAITING if n not in told)
    return python(f"import os\n{unset}{code}", **told)


@linux
def test_libgomp_is_told_to_wait_shortly_and_nobody_else_is():
    done = waiting(DROPOUT + ENVIRONMENT)
    assert re.findall(SPINS, done.stderr) == [pool.SPINS], done.stderr
    assert done.stdout.split()[-2:] == ["None", "None"]


@linux
@pytest.mark.parametrize(
    ("name", "value", "spins"),
    (
        ("GOMP_SPINCOUNT", "1234", "1234"),
        ("OMP_WAIT_POLICY", "passive", "0"),
        ("OMP_WAIT_POLICY", "active", "30000000000"),
    ),
)
def test_a_users_own_way_of_waiting_wins(name, value, spins):
    done = waiting("import tinylm.kernels\n" + OMPPOOL + ENVIRONMENT, **{name: value})
    assert re.findall(SPINS, done.stderr) == [spins], done.stderr
    own = value if name == "GOMP_SPINCOUNT" else "None"
    assert done.stdout.split() == [own, own]


@linux
def test_a_libgomp_that_was_loaded_before_keeps_its_own_way():
    done = waiting(OMPPOOL + DROPOUT + ENVIRONMENT)
    assert re.findall(SPINS, done.stderr) == ["300000"], done.stderr
    assert done.stdout.split()[-2:] == ["None", "None"]


WITHOUT = "import sys\nsys.modules['numba.np.ufunc.omppool'] = None\n"


@pytest.mark.parametrize("layer", ("workqueue", "default"))
def test_without_libgomp_nothing_fails(layer):
    done = waiting(WITHOUT + DROPOUT + ENVIRONMENT, NUMBA_THREADING_LAYER=layer)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 2048
    assert done.stdout.split()[-2:] == ["None", "None"]


BITS = """
import hashlib
import numpy as np
import tinylm
from tinylm.objectives.gpt import GPTBatch
from tinylm.optim import AdamW
config = tinylm.GPTConfig(61, 37, 32, 2, 2, resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1)
model = tinylm.GPT(config)
optimizer = AdamW(model)
ids = np.random.default_rng(0).integers(0, 61, (5, 38))
for step in range(3):
    optimizer.zero_grad()
    loss, _ = model.loss(GPTBatch(ids[:, :-1], ids[:, 1:]))
    loss.backward()
    optimizer.step(max_norm=1.0)
weights = b"".join(array.tobytes() for _, array in sorted(model.state_dict().items()))
print(hashlib.sha256(weights).hexdigest())
"""
WAYS = (
    {},
    {"GOMP_SPINCOUNT": "300000"},
    {"OMP_WAIT_POLICY": "passive"},
    {"NUMBA_THREADING_LAYER": "workqueue"},
)


def test_how_threads_wait_never_changes_a_bit():
    found = [waiting(BITS, **way) for way in WAYS]
    assert len({done.stdout for done in found}) == 1, [done.stderr for done in found]
    assert len(found[0].stdout.strip()) == 64, found[0].stderr

"""How long a user waits: for the import, and for the first training step.

The first step is measured with an empty kernel cache, and with a filled one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

FIRST_STEP = """
import numpy as np, tinylm
from tinylm.objectives.gpt import GPTBatch
from tinylm.optim import AdamW
model = tinylm.GPT(tinylm.GPTConfig.tiny(256, resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1))
ids = np.random.default_rng(0).integers(0, 256, (4, 65))
optimizer = AdamW(model)
loss, _ = model.loss(GPTBatch(ids[:, :-1], ids[:, 1:]))
loss.backward()
optimizer.step(max_norm=1.0)
parallel = [k for k in tinylm.kernels.KERNELS.values() if k.parallel and k.dispatchers]
import json
print(json.dumps({"parallel": len(parallel)}))
"""


def _seconds(code, **environment):
    """Run `code` in a fresh interpreter; returns seconds, the lines it printed, and its stderr."""
    start = time.perf_counter()
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, done.stdout.strip().splitlines(), done.stderr


def import_time(runs=5):
    """Median seconds of importing tinylm and its GPT, without those of an empty interpreter."""
    times = sorted(
        _seconds("import tinylm; tinylm.GPT")[0] - _seconds("pass")[0] for _ in range(runs)
    )
    return times[len(times) // 2]


def cold_start():
    """Seconds to the end of the first training step, with an empty and a filled cache.

    returns {"cold": seconds, "warm": seconds, "parallel": kernels compiled, "told": on stderr}
    """
    with tempfile.TemporaryDirectory() as home:
        cold, printed, message = _seconds(FIRST_STEP, TINYLM_HOME=home)
        warm = min(_seconds(FIRST_STEP, TINYLM_HOME=home)[0] for _ in range(3))
    return {"cold": cold, "warm": warm, **json.loads(printed[-1]), "told": message.strip()}

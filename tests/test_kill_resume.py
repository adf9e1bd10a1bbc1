"""kill -9 at random moments of a pretraining run, each followed by --resume: the final weights are the same bits.

The test makes a few kills; `python tests/test_kill_resume.py 20` makes more, with the log's proof that most of the
resumed runs were past step 0 and that some of the kills fell inside a write.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tinylm import checkpoint, hub

STEPS = 400
SETTINGS = {
    "save_every": 10,
    "eval_every": STEPS,
    "vocab_size": 1500,
    "n_embd": 192,
    "n_positions": 16,
    "resid_pdrop": 0.1,
}
SETTINGS |= {
    "n_layer": 1,
    "batch_size": 1,
}  # quick updates of a large table: writing takes a good share of the time
COMMAND = [
    sys.executable,
    "-m",
    "tinylm",
    "pretrain",
    "gpt",
    "--data",
    "toy",
    "--quiet",
    "--threads",
    "1",
]
COMMAND += ["--steps", str(STEPS)]
COMMAND += [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


def start(out):
    """A pretraining process that resumes whatever the folder holds."""
    return subprocess.Popen(
        [*COMMAND, "--out", str(out), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(out):
    """Run to the end; returns the bytes of the weights, and the seconds since training began."""
    process = start(out)
    begin = wait_for_log(out, process)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return (out / hub.WEIGHTS).read_bytes(), time.perf_counter() - begin


def events(out):
    """(event, step) of the log, in order."""
    return [
        (record["event"], record["step"]) for record in checkpoint.read_log(out / checkpoint.LOG)
    ]


def wait_for_log(out, process):
    """Wait until training begins; returns the moment."""
    while not events(out) and process.poll() is None:
        time.sleep(0.002)
    return time.perf_counter()


def kill(out, delay):
    """Start a run, kill -9 it `delay` seconds after its first record; returns whether it was still running."""
    process = start(out)
    wait_for_log(out, process)
    time.sleep(delay)
    alive = process.poll() is None
    process.kill()
    process.wait()
    process.stderr.close()
    return alive


def inside_a_write(out):
    """Whether the log of a killed run ends between the records "saving" and "saved"."""
    saves = [event for event, _ in events(out) if event in ("saving", "saved")]
    return bool(saves) and saves[-1] == "saving"


def trial(folder, name, seconds, draw):
    """One kill that hit a running process, and the resumed run. returns weights, step resumed at, killed in a write?"""
    for attempt in range(100):
        out = Path(folder) / f"{name}-{attempt}"
        if kill(out, draw.uniform(0, seconds)):
            writing = inside_a_write(out)
            weights, _ = finish(out)
            resumed = [step for event, step in events(out) if event == "resumed"]
            return weights, max(resumed, default=0), writing
    raise AssertionError("the run always ended before it was killed")


def trials(folder, kills, seed):
    """The uninterrupted run and `kills` killed ones; yields (same bits?, step resumed at, killed in a write?)."""
    draw = random.Random(seed)
    whole, _ = finish(Path(folder) / "whole")  # may spend its time on compiling kernels
    again, seconds = finish(Path(folder) / "again")
    assert again == whole
    for i in range(kills):
        weights, step, writing = trial(folder, i, seconds, draw)
        yield weights == whole, step, writing


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    steps = []
    for same, step, _ in trials(tmp_path, kills=3, seed=1):
        assert same and step < STEPS
        steps.append(step)
    assert any(step > 0 for step in steps), steps


def test_a_terminated_run_saves_says_so_and_resumes_to_the_same_bits(tmp_path):
    process = start(tmp_path / "stopped")
    wait_for_log(tmp_path / "stopped", process)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 143
    assert (
        "continue with --resume" in errors.decode().splitlines()[-1]
        and "Traceback" not in errors.decode()
    )
    assert events(tmp_path / "stopped")[-1][0] == "saved"
    assert finish(tmp_path / "stopped")[0] == finish(tmp_path / "whole")[0]


def main(kills):
    """Make `kills` kills and print what the logs prove; fails unless it holds."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for same, step, writing in trials(folder, kills, seed=0):
            results.append((same, step > 0, writing))
            print(
                f"kill {len(results)}: resumed at step {step}, inside a write: {writing}, same bits: {same}",
                flush=True,
            )
    same, past, inside = (sum(column) for column in zip(*results, strict=True))
    print(
        f"{same} of {kills} bit-identical; {past} resumed past step 0; {inside} killed inside a write"
    )
    assert same == kills and past >= 0.75 * kills and inside >= 0.25 * kills


if __name__ == "__main__":
    main(int(sys.argv[1]))

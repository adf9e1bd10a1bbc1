"""kill -9 at random moments of pretraining, of finetune's save and of compare; what follows ends with the same bits.

The tests make a few kills; `python tests/training/test_kill_resume.py 100` makes as many of each, with the logs' proof
that most of the resumed runs were past step 0 and that some of the kills fell inside a write. After a kill the same
command runs again, and the folder then holds the same files as that of a run that nobody killed, and no other.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinylm import files, hub
from tinylm.training import checkpoint

STEPS = 100
SETTINGS = {
    "save_every": 5,
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
KILLS = 2 if os.environ.get("CI") else 1  # of each kind, in a run of the suite
SEED = 5  # its first kills come in the second half
TINYLM = [sys.executable, "-m", "tinylm"]
QUIET = ["--quiet", "--threads", "1"]
COMMAND = [*TINYLM, "pretrain", "gpt", "--data", "toy", *QUIET]
COMMAND += [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
WHOLE, KILLED = "whole", "killed"


def names(folder):
    """Paths of all files and folders in a folder, hidden ones too, sorted."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def contents(folder):
    """Name -> bytes of the files of a folder that are not hidden."""
    paths = [path for path in Path(folder).iterdir() if not path.name.startswith(".")]
    return {path.name: path.read_bytes() for path in paths}


def labelled(path, labels, count=60):
    """A table of texts, each with one of two labels."""
    rng, lines = np.random.default_rng(0), []
    for i in range(count):
        filler = " ".join(rng.choice(["the", "a", "of", "and", "to"], 4))
        lines.append(f"{['ocean waves', 'mountain rocks'][i % 2]} {filler} {i}\t{labels[i % 2]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Pretraining:
    """`tinylm pretrain --resume`; the result is the weights."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def prepare(self, out):
        """Nothing: the folder is made by the run."""

    def command(self, out):
        """What is run, killed and run again."""
        return [*COMMAND, "--steps", str(STEPS), "--out", str(out), "--resume"]

    def has_begun(self, out):
        """Whether the moments begin in which it may be killed."""
        return bool(events(out))

    def has_ended(self, out):
        """Whether those moments are over, although the run goes on."""
        return False

    def result(self, out):
        """What must be the same bits."""
        return (out / hub.WEIGHTS).read_bytes()

    def check_killed(self, out):
        """A killed run needs no check: the resumed one tells."""

    def note(self, out):
        """What is told of a kill: whether it fell between the records "saving" and "saved"."""
        saves = [event for event, _ in events(out) if event in ("saving", "saved")]
        return bool(saves) and saves[-1] == "saving"


def small_model(folder):
    """The folder of a model that has made one update; afterwards the kernels of pretraining are compiled."""
    settle([*COMMAND, "--steps", "1", "--out", str(folder / "model")])
    return folder / "model"


class Saving(Pretraining):
    """`tinylm finetune --overwrite` over another classifier, killed while it saves; the result is all its files."""

    def __init__(self, folder, model=None):
        super().__init__(folder)
        self.model = model or small_model(self.folder)
        self.old = self.folder / "old"
        settle(self.finetune(self.old, ("wet", "dry")))

    def finetune(self, out, labels):
        """The command that learns two labels."""
        table = labelled(self.folder / f"{labels[0]}.tsv", labels)
        options = ["--method", "features", "--overwrite", *QUIET]
        return [*TINYLM, "finetune", self.model, "--train", table, "--out", out, *options]

    def prepare(self, out):
        """The classifier of before."""
        shutil.copytree(self.old, out)

    def command(self, out):
        """The labels are not those of before."""
        return self.finetune(out, ("sea", "land"))

    def has_begun(self, out):
        """Whether something is being written."""
        stages = list(Path(out).glob(files.STAGES))
        with contextlib.suppress(OSError):  # it may be gone again
            return any(os.listdir(stage) for stage in stages)
        return True

    def has_ended(self, out):
        """Whether nothing is being written any more."""
        return not self.has_begun(out)

    def result(self, out):
        """Every file."""
        return contents(out)

    def check_killed(self, out):
        """All files are of before, all are new, or it is neither a classifier nor a model."""
        found = contents(out)
        if found not in (contents(self.old), contents(self.folder / WHOLE)):
            assert not {hub.CONFIG, checkpoint.LABELS} <= found.keys(), sorted(found)
            assert checkpoint.LABELS not in found

    def note(self, out):
        """Whether it fell inside the save."""
        return contents(out) != contents(self.folder / WHOLE)


class Comparing(Pretraining):
    """`compare.run` with a number of steps instead of minutes; the result is the weights and all scores."""

    def __init__(self, folder):
        super().__init__(folder)
        self.table = labelled(self.folder / "data.tsv", ("sea", "land"), 200)

    def command(self, out):
        """This file as a program: see `compare`."""
        return [sys.executable, __file__, "compare", str(out), str(self.table)]

    def has_begun(self, out):
        """Whether the comparison has its folder."""
        return (out / "settings.json").exists()

    def result(self, out):
        """The weights of the run, and the scores without their seconds."""
        lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [{**json.loads(line), "seconds": 0} for line in lines]
        return rows, (out / "gpt" / hub.WEIGHTS).read_bytes()

    def note(self, out):
        """Whether it fell into the pretraining."""
        return not (out / "gpt" / checkpoint.PRETRAINED).exists()


def compare(out, table):
    """A small comparison whose pretraining has so many steps, so that it can be compared bit by bit."""
    from tinylm.kernels.runtime import pool
    from tinylm.transfer import compare
    from tinylm.transfer.adapt import AdaptConfig

    by_minutes = compare.pretrain

    def by_steps(config, *arguments, **named):
        options = {"steps": 40, "save_every": 4, "vocab_size": 300, "n_positions": 32}
        return by_minutes(replace(config, options=options), *arguments, **named)

    compare.pretrain = by_steps
    pool.set_threads(1)
    config = compare.CompareConfig(
        data=table,
        objectives=("gpt",),
        labels=(2,),
        seeds=1,
        out=out,
        size="tiny",
        test_size=30,
        adapt=AdaptConfig(max_length=16, updates=3),
        quiet=True,
    )
    compare.run(config)


# ---- kills


def settle(command):
    """Run a command to its end."""
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def start(subject, out):
    """The process of a command, from the moment when it may be killed; and that moment."""
    process = subprocess.Popen(
        list(map(str, subject.command(out))), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while not subject.has_begun(out) and process.poll() is None:
        time.sleep(0.001)
    return process, time.perf_counter()


def finish(subject, out):
    """Run to the end; returns the result, and the seconds in which it might have been killed."""
    process, begin = start(subject, out)
    while process.poll() is None and not subject.has_ended(out):
        time.sleep(0.001)
    seconds = time.perf_counter() - begin
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return subject.result(out), seconds


def kill(subject, out, delay):
    """Start a command, kill -9 it `delay` seconds after it may be killed; returns whether it was still running."""
    process, _ = start(subject, out)
    time.sleep(delay)
    alive = process.poll() is None
    process.kill()
    process.wait()
    process.stderr.close()
    return alive


def events(out):
    """(event, step) of the log, in order."""
    return [
        (record["event"], record["step"]) for record in checkpoint.read_log(out / checkpoint.LOG)
    ]


def trial(subject, name, seconds, draw):
    """One kill that hit a running process, and the run after it. returns result, step resumed at, note of the kill."""
    for attempt in range(100):
        out = subject.folder / f"{name}-{attempt}"
        subject.prepare(out)
        if kill(subject, out, draw.uniform(0, seconds)):
            note = subject.note(out)
            subject.check_killed(out)
            result, _ = finish(subject, out)
            assert names(out) == names(subject.folder / WHOLE), "something was left behind"
            resumed = [step for event, step in events(out) if event == "resumed"]
            return result, max(resumed, default=0), note
        shutil.rmtree(out)
    raise AssertionError("the run always ended before it was killed")


def trials(subject, kills, seed):
    """The uninterrupted run and `kills` killed ones; yields (same bits?, step resumed at, note of the kill)."""
    draw = random.Random(seed)
    subject.prepare(subject.folder / WHOLE)
    whole, seconds = finish(subject, subject.folder / WHOLE)
    for i in range(kills):
        result, step, note = trial(subject, f"{KILLED}-{i}", seconds, draw)
        yield result == whole, step, note


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model to fine-tune; once it is there, no run that is killed spends its time on compiling."""
    return small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory, model):
    """Pretraining and its trials; its folder holds the uninterrupted run."""
    subject = Pretraining(tmp_path_factory.mktemp("pretraining"))
    return subject, list(trials(subject, KILLS, seed=SEED))


def test_a_killed_run_resumes_to_the_same_bits(killed):
    steps = []
    for same, step, _ in killed[1]:
        assert same and step < STEPS
        steps.append(step)
    assert any(step > 0 for step in steps), steps


def test_a_save_of_a_classifier_that_is_killed_leaves_no_mixture_and_is_repeated(tmp_path, model):
    assert all(same for same, _, _ in trials(Saving(tmp_path, model), KILLS, SEED))


def test_a_comparison_that_is_killed_goes_on_to_the_same_bits(tmp_path, model):
    assert all(same for same, _, _ in trials(Comparing(tmp_path), KILLS, SEED))


def test_a_terminated_run_saves_says_so_and_resumes_to_the_same_bits(killed):
    subject, _ = killed
    out = subject.folder / "stopped"
    process, _ = start(subject, out)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 143
    assert (
        "continue with --resume" in errors.decode().splitlines()[-1]
        and "Traceback" not in errors.decode()
    )
    assert events(out)[-1][0] == "saved"
    assert finish(subject, out)[0] == subject.result(subject.folder / WHOLE)


def main(kills):
    """Make `kills` kills of each subject and print what they prove; fails unless it holds."""
    for kind in (Pretraining, Saving, Comparing):
        results = []
        with tempfile.TemporaryDirectory() as folder:
            settle([*COMMAND, "--steps", "1", "--out", f"{folder}/compiled"])
            for same, step, note in trials(kind(folder), kills, seed=0):
                results.append((same, step > 0, note))
                print(
                    f"{kind.__name__}, kill {len(results)}: resumed at step {step}, inside a write "
                    f"(Comparing: inside pretraining): {note}, same bits, nothing left behind: {same}",
                    flush=True,
                )
        same, past, inside = (sum(column) for column in zip(*results, strict=True))
        print(
            f"{kind.__name__}: {same} of {kills} bit-identical, nothing left behind; "
            f"{past} resumed past step 0; {inside} killed inside a write (or pretraining)"
        )
        assert same == kills
        if kills >= 20:  # of fewer, chance decides where they fall
            assert inside >= 0.25 * kills
            assert kind is not Pretraining or past >= 0.75 * kills


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        compare(*sys.argv[2:])
    else:
        main(int(sys.argv[1]))

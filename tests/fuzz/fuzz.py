"""Open damaged files by every door, and report what no reader may do.

    python tests/fuzz/fuzz.py --count 100000 --jobs 2       # a new seed gives new files
    python tests/fuzz/fuzz.py --only "unigram .model" --count 5000

A finding is an exception that is none of tinylm's own, a call of more than 10 seconds, or a growth
of memory beyond 20 times the files and 200 MB. The input can be made again from the door's name, the
seed and the number that the finding says.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from mutate import mutated
from seeds import DOORS

from tinylm.errors import TinylmError
from tinylm.progress import hidden

SECONDS = 10  # of work in one call
TIMES = 20  # the files' bytes that a call may take
BESIDES = 200 * 2**20  # bytes that it may take in any case
SPARE = 6 * 2**30  # bytes of address space that a worker may take beyond what it has
RESET = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class TooSlowError(BaseException):
    """Raised by the alarm inside a call that takes too long."""


def _alarm(signum, frame):
    raise TooSlowError


def _bytes(field):
    """A size of this process, as Linux tells it; 0 elsewhere."""
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def _reset_peak():
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


class Fuzzer:
    """Reads inputs by number; input n of a seed is always the same.

    folder : where the files are written     only : names of doors, None for all
    .tally : door -> how many inputs were read, and how many refused
    .slowest : door -> (seconds, number) of its longest call
    .largest : door -> (bytes, number) of the call in which this process grew most
    """

    def __init__(self, folder, seed, only=None):
        self.seed = seed
        self.doors = [door for door in DOORS if only is None or door.name in only]
        self.tally = Counter()
        self.slowest = {}
        self.largest = {}
        self.whole = {}  # door -> {name: bytes} of the valid files
        self.folders = {}
        with hidden():
            for i, door in enumerate(self.doors):
                place = Path(folder) / f"{i}"
                place.mkdir(parents=True)
                door.write(place)
                self.folders[door.name] = place
                self.whole[door.name] = self._files(place)
                door.read(place)  # a valid file is read

    @staticmethod
    def _files(place):
        paths = sorted(path for path in place.rglob("*") if path.is_file())
        return {str(path.relative_to(place)): path.read_bytes() for path in paths}

    def _put(self, door, content):
        place = self.folders[door.name]
        for name, data in content.items():
            (place / name).write_bytes(data)

    def input(self, number):
        """The door and the changed files of an input, {name: bytes}."""
        rng = random.Random(f"{self.seed}.{number}")
        door = rng.choices(self.doors, [door.weight for door in self.doors])[0]
        whole = self.whole[door.name]
        name = rng.choice(list(whole))
        return door, {name: mutated(name, whole[name], rng)}

    def read(self, number):
        """Read one input; returns what is wrong, as a dict, or None."""
        door, changed = self.input(number)
        self._put(door, changed)
        size = sum(map(len, {**self.whole[door.name], **changed}.values()))
        counts = _reset_peak()
        before = _bytes("VmRSS")
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        wrong = None
        try:
            with hidden(), warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", RuntimeWarning)  # of huge weights, in NumPy only
                door.read(self.folders[door.name])
            self.tally[door.name, "read"] += 1
        except TinylmError as error:
            self.tally[door.name, "refused"] += 1
            said = str(error)
            if len(said) > 2000 or "\n" in said or not said.isprintable():
                wrong = f"message: {said[:200]!a}"
        except TooSlowError:
            wrong = "no end"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            ours = [
                f for f in traceback.extract_tb(error.__traceback__) if "/tinylm/" in f.filename
            ]
            last = ours[-1] if ours else place
            where = f"{Path(last.filename).name}:{last.lineno}"
            wrong = f"{type(error).__name__} at {where}: {str(error)[:160]!a}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.process_time() - begin
        grown = _bytes("VmHWM") - before if counts else 0
        if took > self.slowest.get(door.name, (0, 0))[0]:
            self.slowest[door.name] = (took, number)
        if grown > self.largest.get(door.name, (0, 0))[0]:
            self.largest[door.name] = (grown, number)
        if wrong is None and grown > TIMES * size + BESIDES:
            wrong = f"memory: {grown / 1e6:.0f} MB for {size:,} bytes"
        self._put(door, {name: self.whole[door.name][name] for name in changed})
        self._remove_others(door)
        if wrong is None:
            return None
        return {"door": door.name, "seed": self.seed, "number": number, "wrong": wrong}

    def _remove_others(self, door):
        """Remove what a call left behind."""
        place = self.folders[door.name]
        if len(list(place.iterdir())) > len({name.split("/")[0] for name in self.whole[door.name]}):
            for path in place.rglob("*"):
                if path.is_file() and str(path.relative_to(place)) not in self.whole[door.name]:
                    path.unlink()


def run(count, seed=0, first=0, only=None, folder=None, watch=None):
    """Read inputs first … first + count − 1; returns the fuzzer and its findings."""
    before = signal.signal(signal.SIGPROF, _alarm)
    home = tempfile.mkdtemp(prefix="fuzz-", dir=folder or _fast_folder())
    try:
        fuzzer = Fuzzer(home, seed, only)
        found = []
        for number in range(first, first + count):
            wrong = fuzzer.read(number)
            if wrong is not None:
                found.append(wrong)
                if watch is not None:
                    watch(wrong)
        return fuzzer, found
    finally:
        signal.signal(signal.SIGPROF, before)
        shutil.rmtree(home, ignore_errors=True)


def _fast_folder():
    """A folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _work(task):
    """One worker's share, in a process of its own."""
    count, seed, first, only = task
    limit = _bytes("VmSize") + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    fuzzer, found = run(count, seed, first, only, watch=_show)
    return fuzzer.tally, found, fuzzer.slowest, fuzzer.largest


def _show(wrong):
    print(json.dumps(wrong), flush=True)


def main(arguments=None):
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--count", type=int, default=2000)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--only", action="append")
    options = p.parse_args(arguments)
    begin = time.perf_counter()
    share = -(-options.count // options.jobs)
    tasks = []
    for job in range(options.jobs):
        tasks.append((share, options.seed, options.first + job * share, options.only))
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        results = pool.map(_work, tasks, chunksize=1)
    tally = sum((tally for tally, *_ in results), Counter())
    found = [wrong for _, some, *_ in results for wrong in some]
    for name in sorted({name for name, _ in tally}):
        slowest = max(slow.get(name, (0, 0)) for _, _, slow, _ in results)
        counts = f"{tally[name, 'read']:7,} read {tally[name, 'refused']:7,} refused"
        print(f"{name:24} {counts}  slowest {slowest[0]:.2f} s (number {slowest[1]})")
    kinds = Counter((wrong["door"], wrong["wrong"][:60]) for wrong in found)
    for (door, kind), times in kinds.most_common():
        print(f"{times:6,} × {door}: {kind}")
    longest = [(slow[name][0], name) for *_, slow, _ in results for name in slow]
    print("longest call: {:.2f} s of the processor ({})".format(*max(longest)))
    growths = [(large[name][0] / 1e6, name) for *_, large in results for name in large]
    print("largest growth in a call: {:.0f} MB ({})".format(*max(growths, default=(0, "unknown"))))
    seconds = time.perf_counter() - begin
    print(f"{options.jobs * share:,} inputs, {len(found):,} findings, {seconds:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

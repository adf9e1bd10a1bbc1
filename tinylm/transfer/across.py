"""The same comparison on several tasks: is there one on which context pays?

Topics are in the words, so a set of topics cannot show what a model of sentences is good for. Here
every objective is pretrained and adapted on each set by itself, in a folder of its own:

    OUT/newsgroups/    a whole comparison, which `compare` alone continues too
    OUT/entities/      another one

and one table stands at the end, of all systems and all tasks.
"""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tinylm import folders
from tinylm.errors import TinylmError
from tinylm.progress import duration, hidden, note

from . import compare, pace
from .experiment import FEATURES, FINETUNED, CompareConfig, Comparison
from .metrics import beats, summarise
from .results import seconds_of
from .verdict import Table, listed

Comparisons = Mapping[str, Comparison]  # by the task, as the user called it


def configs(config: CompareConfig, sources: Sequence[str]) -> dict[str, CompareConfig]:
    """A config for each source, with a folder of its own inside `config.out`.

    raises TinylmError      if two sources would share a folder

    >>> found = configs(CompareConfig(out="runs"), ["movies", "tag:mine/tweets.conll"])
    >>> [each.out.as_posix() for each in found.values()]
    ['runs/movies', 'runs/tag-tweets']
    """
    found = {}
    taken = {}
    for source in sources:
        head, colon, tail = source.rpartition(":")
        name = Path(tail).stem if "." in tail else tail
        folder = re.sub(r"[^\w-]+", "-", f"{head}{'-' if colon else ''}{name}")
        if folder in taken:
            raise TinylmError(
                f"{source} and {taken[folder]} would share the folder {folder}; give each task "
                "once, and files different names."
            )
        taken[folder] = source
        found[source] = replace(config, data=source, out=Path(config.out) / folder)
    return found


@contextlib.contextmanager
def claim(config: CompareConfig, sources: Sequence[str]) -> Iterator[None]:
    """Claim `config.out`, where the common page stands, and in it the folder of every source.

    raises as `folders.claim`; overwrites nothing else
    """
    each = configs(config, sources).values()
    with contextlib.ExitStack() as claims:
        own = [one.out.name for one in each]
        claims.enter_context(folders.claim(config.out, own=own, overwrite=None))
        for one in each:
            claims.enter_context(compare.claim(one))
        yield


def run(config: CompareConfig, sources: Sequence[str]) -> dict[str, Comparison]:
    """Run, or continue, a comparison for each source; what is finished is not computed again.

    returns source -> Comparison, in the order of the sources
    raises as `compare.run`; whatever a set lacks is found before any training
    """
    each = configs(config, sources)
    with claim(config, sources), hidden(config.quiet):
        for one in each.values():
            compare.checked(one)
        found: dict[str, Comparison] = {}
        begun = time.perf_counter()
        for number, (source, one) in enumerate(each.items(), 1):
            spent = duration(time.perf_counter() - begun)
            note(f"[{spent}] task {number} of {len(each)}, {source}: {how_far(each)}")
            found[source] = compare.run(one)
    return found


def how_far(each: Mapping[str, CompareConfig]) -> str:
    """How much of all tasks is done, and about how long the rest takes, by what the folders hold.

    each : as `configs` gives it. A task not begun is expected to be like the others
    """
    wanted = []
    done = {}
    for source, config in each.items():
        for part in pace.parts(config):
            wanted.append(replace(part, name=f"{source}: {part.name}"))
        for part, seconds in seconds_of(config.out).items():
            done[replace(part, name=f"{source}: {part.name}")] = seconds
    return pace.in_words(wanted, done, next(iter(each.values())).minutes)


def table(comparisons: Comparisons) -> Table:
    """One row per system, one column per task: its main score at the largest budget, in percent.

    A dash where a task has no such system: TF-IDF reads texts, "word counts" tags words.
    """
    head = ["system"]
    methods: dict[str, None] = {}
    for source, comparison in comparisons.items():
        budget = max(comparison.config.labels)
        head.append(f"{source}: {comparison.task.metric}, {budget} per class")
        methods |= dict.fromkeys(comparison.methods())
    rows = []
    for method in methods:
        row = [method]
        for comparison in comparisons.values():
            scores = comparison.scores(method, max(comparison.config.labels))
            row.append(str(summarise(scores)) if scores else "–")
        rows.append(row)
    return head, rows


def contextual(comparison: Comparison) -> list[str]:
    """The objectives whose encoder has more than one layer: a word's vector depends on the others.

    Layers are known once an encoder has been read; see `Comparison.costs`.
    """
    found = []
    for name in comparison.config.objectives:
        if comparison.costs.get(name, {}).get("layers", 1) > 1:
            found.append(name)
    return found


def rivals(comparison: Comparison) -> list[str]:
    """The systems without context: counting, and the objectives whose encoder has one layer."""
    found = [comparison.config.counting]
    with_context = contextual(comparison)
    for name in comparison.config.objectives:
        if name not in with_context:
            found += [f"{name} {FEATURES}", f"{name} {FINETUNED}"]
    return found


def winners(comparison: Comparison) -> dict[str, list[int]]:
    """Contextual systems that beat every rival: system -> budgets, see `metrics.beats`.

    A single seed beats nothing, because nothing says how far the draws lie apart.
    """
    found: dict[str, list[int]] = {}
    for name in contextual(comparison):
        for method in (f"{name} {FEATURES}", f"{name} {FINETUNED}"):
            for budget in sorted(comparison.config.labels):
                if _wins(comparison, method, budget):
                    found.setdefault(method, []).append(budget)
    return found


def _wins(comparison: Comparison, method: str, budget: int) -> bool:
    """Whether a system beats every rival that was measured, in every seed and beyond the spread."""
    own = comparison.scores(method, budget)
    others = [comparison.scores(rival, budget) for rival in rivals(comparison)]
    measured = [scores for scores in others if scores]
    return bool(own and measured) and all(beats(own, scores) for scores in measured)


def sentence(comparisons: Comparisons) -> str:
    """Where a contextual model beats counting and word vectors in every seed, or that none does."""
    won = []
    lost = []
    for source, comparison in comparisons.items():
        found = winners(comparison)
        parts = [f"{method} at {listed(budgets)}" for method, budgets in found.items()]
        if parts:
            won.append(f"on {source} ({', '.join(parts)} labels per class)")
        else:
            lost.append(source)
    without = "counting words and every model without context"
    if not won:
        tasks = listed(lost)
        return f"On {tasks}, no contextual model beats {without} in every seed at any budget."
    said = f"A contextual model beats {without} in every seed {listed(won)}"
    return f"{said}; on {listed(lost)} none does." if lost else f"{said}."

"""The experiment of the whole library: learn from text first, then adapt with few labels.

    for each objective:      pretrain on the training posts, as many minutes or tokens each
    for each label budget, for each seed (the same draws for every system):
        majority · TF-IDF · features of the frozen encoder · fine-tuned · the same from scratch

The rules of honesty: pretraining sees training posts and no label. No system looks at a label
beyond its budget. The from-scratch twin gets the same updates, the same grid of rates and the same
order of texts. Each result is written to the folder at once: an interrupted comparison continues,
and a repeated one takes seconds.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

from tinylm import folders, hub, memory, objectives
from tinylm.errors import DataError, TinylmError
from tinylm.files import write_json
from tinylm.kernels.runtime.pool import one_pool
from tinylm.progress import hidden, note
from tinylm.training.checkpoint import LOG, PRETRAINED, STATE, read_json
from tinylm.training.pretrain import PretrainConfig, prepared, pretrain

from .experiment import FEATURES, FINETUNED, SCRATCH, TEACHER, CompareConfig, Comparison
from .measures import Texts, Words
from .pace import PRETRAINING, Part
from .results import RESULTS, SETTINGS, Results, checked_settings
from .tagging import TagConfig
from .task import ALL, Budget, TaggedTask, Task, kind_of, load_task

__all__ = [
    "FEATURES",
    "FINETUNED",
    "RESULTS",
    "SCRATCH",
    "CompareConfig",
    "Comparison",
    "Results",
    "claim",
    "pretrained_run",
    "run",
]

NOTED = {"steps", "seconds", "tokens", "vocabulary"}  # keys of PRETRAINED in a finished run
MEASURED = ("loss", "token_loss", "unigram", "nats_per_word", "read", "peak_bytes")  # and others
ENOUGH = 200_000  # characters of training posts from which every objective can learn


def run(config: CompareConfig) -> Comparison:
    """Compute every result that the folder does not hold yet, and return all of them.

    raises TinylmError if an objective is unknown, if the folder holds a comparison with other
    settings or anything else, or if another process writes there; and whatever the data, the
    trainer and the hub raise
    """
    with claim(config), one_pool(), hidden(config.quiet):
        config, task = checked(config)
        return _run(replace(config, scratch_labels=_available(task, config)), task)


def claim(config: CompareConfig) -> AbstractContextManager:
    """Claim the folder of a comparison, to start one or to continue it; overwrites nothing else."""
    return folders.claim(config.out, own=(SETTINGS,), overwrite=None)


def checked(config: CompareConfig) -> tuple[CompareConfig, Task]:
    """The config with its objectives by name, and its task, before anything is trained.

    raises TinylmError if an objective is unknown, if a class has too few labels, if the text is too
    small for one of the objectives, or if the folder holds a comparison with other settings
    """
    names = tuple(objectives.find(one).name for one in config.objectives)
    config = replace(config, objectives=names)
    task = load_task(config.data, config.test_size)
    task.draw(max(config.labels), config.seed)
    if isinstance(task, TaggedTask):
        TagConfig(**asdict(config.adapt))  # it refuses what a tagger has no place for
    checked_settings(config, task)
    _check_text(task, config)
    return config, task


def _run(config: CompareConfig, task: Task) -> Comparison:
    """`run`, once the folder is claimed and everything is checked."""
    results = Results(config, task)
    n_test = f"{len(task.test_texts):,} of {task.n_test:,}"
    results.say(f"{task.name}: {len(task.texts):,} training posts, {n_test} test posts")
    results.say(results.how_far())
    pretrained = {}
    for name in config.objectives:
        pretrained[name] = _timed_run(name, task, results)
    measures = Words(task, results) if isinstance(task, TaggedTask) else Texts(task, results)
    measures.baselines()
    for name in config.objectives:
        encoder, tokenizer = hub.load(Path(config.out) / name)
        tokenizer = measures.reader(tokenizer)
        measures.frozen(name, encoder, tokenizer)
        measures.tuned(name, encoder, tokenizer)
    wanted = results.wanted()
    return Comparison(config, task, wanted, pretrained, results.costs, results.predicted())


def _timed_run(name: str, task: Task, results: Results) -> dict:
    """`pretrained_run`, whose time counts in the estimates of what is left."""
    start = time.perf_counter()
    facts = pretrained_run(name, task, results.config, results.say)
    if Part(PRETRAINING, name) not in results.done:
        # A run that was finished or begun before took at least the time of its updates.
        seconds = max(time.perf_counter() - start, facts["seconds"])
        results.finish(PRETRAINING, name, seconds)
        results.say(f"{name}: pretrained; {results.how_far()}")
    return facts


def pretrained_run(
    name: str, task: Task, config: CompareConfig, say: Callable[[str], None]
) -> dict:
    """Train one objective on the training posts in OUT/<name>, unless that run is finished.

    A student learns from the run of its teacher, in the teacher's words and sizes. One document in
    twenty is held out for the reported loss. No label is touched.
    returns the content of the run's PRETRAINED: steps, seconds, loss, peak_bytes of memory, ...
    """
    out = Path(config.out) / name
    with folders.claim(out, own=(STATE, LOG, PRETRAINED), overwrite=None):
        if not _is_noted(out):
            say(f"{name}: pretraining for {config.length_in_words()}")
            asked = _pretraining(name, task, config)
            begins = not os.path.exists(out / STATE)  # of one that goes on, the peak may be past
            is_counted = begins and memory.forget_peak()
            _, tokenizer, result = pretrain(asked, task.texts, resume=True, quiet=config.quiet)
            # The evaluation has "tokens" too, those it predicted; the run's number replaces it.
            facts = dict(result["held_out"] or {})
            for key in ("steps", "seconds", "tokens", "read"):
                facts[key] = result.get(key)  # a run that an older version finished may lack one
            facts["vocabulary"] = tokenizer.vocab_size
            facts["peak_bytes"] = memory.peak() if is_counted else None
            write_json(out / PRETRAINED, facts)
        return read_json(out / PRETRAINED)


def _pretraining(name: str, task: Task, config: CompareConfig) -> PretrainConfig:
    """How one objective is pretrained; a student has its teacher's sizes and words.

    Of a model that soon knows a small text by heart, the weights of the lowest held-out loss are
    kept. A chapter may want its last ones, as GloVe does.
    """
    keep = objectives.find(name).training_defaults.get("keep", "best")
    asked = PretrainConfig(
        objective=name,
        data=kind_of(config.data)[1],
        out=Path(config.out) / name,
        size=config.size,
        options={**config.length, "keep": keep},
        seed=config.seed,
        encoding=config.encoding,
    )
    if objectives.is_student(name):
        teacher = Path(config.out) / TEACHER
        return replace(asked, size=None, encoding=None, teacher=teacher)
    return asked


def _check_text(task: Task, config: CompareConfig) -> None:
    """Fail on a text that is too small for one of the objectives before the first one is trained.

    raises TinylmError      naming the objective
    """
    if sum(map(len, task.texts)) > ENOUGH:
        return
    for name in config.objectives:
        if objectives.is_student(name) or _is_noted(Path(config.out) / name):
            continue  # a student learns from what its teacher can learn from
        try:
            trainer = prepared(_pretraining(name, task, config), task.texts, quiet=True)
            if trainer.held_out is not None:
                trainer.try_evaluation()
        except TinylmError as error:
            raise TinylmError(f"{name} cannot learn from {task.name}: {error}") from error


def _is_noted(out: Path) -> bool:
    """Whether the note of a finished run can be read.

    A damaged note counts as missing if the run's state can replace it; otherwise `read_json` will
    report the damage.
    """
    try:
        return NOTED <= read_json(out / PRETRAINED).keys()
    except DataError:
        return os.path.exists(out / PRETRAINED) and not os.path.exists(out / STATE)


def _available(task: Task, config: CompareConfig) -> tuple[Budget, ...]:
    """Those of config.scratch_labels that every class has."""
    largest = task.largest_budget
    found = []
    for budget in config.scratch_labels:
        if budget == ALL or budget <= largest:
            found.append(budget)
        else:
            note(f"{task.name}: there are {largest} labels per class; {budget} are left out")
    return tuple(found)

"""`tinylm multitask`: adapt one model to several labelled tasks at once."""

import argparse
import contextlib
from argparse import Namespace

from tinylm.errors import TinylmError
from tinylm.progress import note

from .. import options as values
from ..results import load, origin_of, print_result
from .finetune import notes


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("multitask", help="adapt one model to several labelled tasks at once")
    p.add_argument("dir", metavar="DIR", help="pretrained run")
    p.add_argument(
        "--train",
        required=True,
        action="settings",
        default=[],
        type=values.named,
        metavar="TASK=FILE|NAME",
        help="a task and its labelled texts, as for finetune; repeat it for each task",
    )
    p.add_argument(
        "--test",
        action="settings",
        default=[],
        type=values.named,
        metavar="TASK=FILE|NAME",
        help="labelled texts to measure a task on; may be repeated",
    )
    p.add_argument(
        "--power",
        type=values.power,
        default=1.0,
        metavar="A",
        help="draw a task with n^A, n its labelled texts (default 1: in proportion; 0: equally)",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="a folder per task goes in here")
    values.add_code(p)
    values.add_overwrite(p)
    values.add_licence(p)
    return p


def run(options: Namespace) -> int:
    """Adapt, save a folder for each task, and measure on --test."""
    from tinylm import folders

    train = dict(options.train)
    test = dict(options.test)
    unknown = sorted(set(test) - set(train))
    if unknown:
        raise TinylmError(f"--test names the task {unknown[0]}, which --train lacks; name it there")
    reading = [options.dir, *train.values(), *test.values()]
    out = folders.named(options.out)
    with contextlib.ExitStack() as claims:
        for name in train:
            folder = out / name
            claims.enter_context(
                folders.claim(folder, overwrite=options.overwrite, reading=reading)
            )
        return _adapt(options, train, test)


def _adapt(options: Namespace, train: dict[str, str], test: dict[str, str]) -> int:
    """`run`, once its folders are claimed."""
    from tinylm.data import load_parts
    from tinylm.transfer import AdaptConfig, MultiTask

    model, tokenizer = load(options.dir)
    parts = {name: load_parts(source, test.get(name)) for name, source in train.items()}
    tasks = {name: (part.texts, part.labels) for name, (part, _) in parts.items()}
    config = AdaptConfig(seed=options.seed)
    note(f"adapting to {len(tasks)} tasks")
    several = MultiTask(model, tokenizer, config, options.power, notes()).fit(tasks)
    several.save(options.out, options.overwrite, origin_of(options, *train.values()))
    lines = []
    result = {"out": options.out, "tasks": {}}
    for name, (part, held) in parts.items():
        score = None
        line = f"{options.out}/{name}: {several.drawn_[name]} batches of {len(part.texts)} texts"
        if held:
            score = several.score(name, held.texts, held.labels)
            line += f", accuracy {score:.3f} on {len(held.texts)}"
        lines.append(line)
        result["tasks"][name] = {
            "train": len(part.texts),
            "batches": several.drawn_[name],
            "test": len(held.texts) if held else 0,
            "accuracy": score,
        }
    return print_result(options, result, lines)

"""The commands, one file each: `add` says what options it has, `run` does it and prints one result.

`tinylm --help` imports all of these files. So each imports what its work needs inside `run`, and
none waits for the others' imports.
"""

import warnings
from argparse import Namespace

from tinylm.progress import hidden

from . import (
    chat,
    check,
    classify,
    compare,
    convert,
    data,
    distil,
    entities,
    evaluate_words,
    fill,
    find_rate,
    finetune,
    generate,
    multitask,
    neighbors,
    predict,
    pretrain,
    score,
    search,
    show,
)

COMMANDS = {  # in the order of `tinylm --help`
    "compare": compare,
    "pretrain": pretrain,
    "find-rate": find_rate,
    "distil": distil,
    "check": check,
    "finetune": finetune,
    "multitask": multitask,
    "predict": predict,
    "classify": classify,
    "entities": entities,
    "generate": generate,
    "chat": chat,
    "score": score,
    "fill": fill,
    "show": show,
    "neighbors": neighbors,
    "search": search,
    "evaluate-words": evaluate_words,
    "convert": convert,
    "data": data,
}


def run(options: Namespace) -> int:
    """Run the command that argparse found; returns the exit status."""
    from tinylm.kernels.runtime import pool

    if options.threads:
        pool.set_threads(options.threads)
    if vars(options).get("code"):
        from tinylm import objectives

        objectives.find(options.code)  # defines the objective that the run's config.json names
    with pool.one_pool(), hidden(options.quiet), warnings.catch_warnings():
        if options.quiet:
            warnings.simplefilter("ignore")
        return COMMANDS[options.command].run(options)

"""`tinylm finetune`: adapt a model to labelled texts, or to tagged sentences."""

import argparse
import time
from argparse import Namespace
from collections.abc import Callable

from tinylm.progress import PLAIN_EVERY, note

from .. import chatting, tagging
from .. import options as values
from ..results import load, print_result

ULMFIT_RATES = (0.01,)  # the head's, with --method gradual; lower layers learn more slowly


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("finetune", help="adapt a pretrained run to labelled or tagged texts")
    p.add_argument("dir", metavar="DIR", help="pretrained run")
    tagging.add_options(p)
    p.add_argument(
        "--train",
        required=True,
        metavar="FILE|NAME",
        help="labelled texts: .tsv, .jsonl, or a named set; to tag, a CoNLL file, entities or toy; "
        "to chat, a Persona-Chat .json, dialogs or toy",
    )
    p.add_argument("--test", metavar="FILE|NAME", help="labelled texts to measure on")
    p.add_argument(
        "--method",
        default="finetune",
        choices=("finetune", "features", "gradual"),
        help="all weights at once (default), features of the frozen encoder, or all weights from "
        "the top layer down at rates of their own, as ULMFiT",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="folder for the classifier")
    values.add_code(p)
    values.add_overwrite(p)
    return p


def run(options: Namespace) -> int:
    """Adapt, save, and measure on --test."""
    from tinylm import folders

    reading = [path for path in (options.dir, options.train, options.test) if path]
    with folders.claim(options.out, overwrite=options.overwrite, reading=reading):
        return _adapt(options)


def _adapt(options: Namespace) -> int:
    """`run`, once its folder is claimed."""
    tagging.check(options)
    if options.task == "tag":
        return tagging.adapt(options, notes())
    if options.task == "chat":
        return chatting.adapt(options, notes())
    from tinylm.data import load_parts
    from tinylm.transfer import AdaptConfig, Classifier

    model, tokenizer = load(options.dir)
    train, test = load_parts(options.train, options.test)
    rates = ULMFIT_RATES if options.method == "gradual" else AdaptConfig.rates
    config = AdaptConfig(seed=options.seed, rates=rates)
    note(f"adapting to {len(train.texts):,} texts ({options.method})")
    classifier = Classifier(model, tokenizer, options.method, config, notes())
    classifier.fit(train.texts, train.labels).save(options.out)
    classes = [str(label) for label in classifier.classes_]
    learned = f"{len(classes)} classes learned from {len(train.texts)} texts"
    lines = [f"{options.out}: {learned}"]
    n_test = 0
    score = None
    if test:
        n_test = len(test.texts)
        score = classifier.score(test.texts, test.labels)
        lines.append(f"accuracy {score:.3f} on {n_test} texts")
    result = {
        "out": options.out,
        "classes": classes,
        "train": len(train.texts),
        "test": n_test,
        "accuracy": score,
    }
    return print_result(options, result, lines)


def notes() -> Callable[[int, int], None]:
    """A progress(done, updates) that notes the count every few seconds, and at the end."""
    last = time.perf_counter()

    def show(done, updates):
        nonlocal last
        if time.perf_counter() - last >= PLAIN_EVERY or done == updates:
            last = time.perf_counter()
            note(f"update {done}/{updates}")

    return show

"""`tinylm finetune`: adapt a model to labelled texts, tagged sentences, pairs, questions, ..."""

import argparse
import dataclasses
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from tinylm import settings
from tinylm.errors import TinylmError
from tinylm.progress import PLAIN_EVERY, note

from .. import chatting, tagging, tasks
from .. import options as values
from ..results import load, origin_of, print_result

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
        "for pairs, numbers (movies) and choices .tsv, .jsonl or toy; for spans SQuAD's .json or "
        "toy; to chat, a Persona-Chat .json, dialogs or toy",
    )
    p.add_argument("--test", metavar="FILE|NAME", help="labelled texts to measure on")
    p.add_argument(
        "--method",
        default="finetune",
        choices=("finetune", "features", "gradual"),
        help="all weights at once (default), features of the frozen encoder, or all weights from "
        "the top layer down at rates of their own, as ULMFiT",
    )
    p.add_argument(
        "--adapt-minutes",
        type=values.minutes,
        metavar="M",
        help="before that, go on learning from the training texts without their labels, by what "
        "the model was pretrained with (default: not)",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="folder for the classifier")
    values.add_settings(p, "updates=1000", "the adaptation's")
    values.add_code(p)
    values.add_overwrite(p)
    values.add_licence(p)
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
    if options.adapt_minutes and options.task != "classify":
        raise TinylmError(
            f"--adapt-minutes belongs to --task classify; for {options.task}, go on with `tinylm "
            "pretrain --init` first"
        )
    fields = _fields(options)
    if options.task == "tag":
        return tagging.adapt(options, fields, notes())
    if options.task == "chat":
        return chatting.adapt(options, fields, notes())
    if options.task in tasks.TASKS:
        return tasks.adapt(options, fields, notes())
    from tinylm.data import load_parts
    from tinylm.training.pretrain import adapt_lm
    from tinylm.transfer import AdaptConfig, Classifier

    train, test = load_parts(options.train, options.test)
    config = settings.build(AdaptConfig, {"seed": options.seed, **fields})
    if options.adapt_minutes:
        how = {"seed": options.seed, "quiet": options.quiet, "minutes": options.adapt_minutes}
        model, tokenizer = adapt_lm(options.dir, train.texts, **how)
    else:
        model, tokenizer = load(options.dir)
    note(f"adapting to {len(train.texts):,} texts ({options.method})")
    classifier = Classifier(model, tokenizer, options.method, config, notes())
    classifier.fit(train.texts, train.labels)
    classifier.save(options.out, origin=origin_of(options, options.train))
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


def _fields(options: Namespace) -> dict[str, Any]:
    """The fields of the adaptation's config that --set and --method ask for.

    A single value stands for a list of one: --set rates=0.001
    raises TinylmError  for a field that the method sets itself or passes over, or that another
        option gives
    """
    from tinylm.transfer import AdaptConfig
    from tinylm.transfer.finetune import FROZEN, GRADUAL

    fields = values.nested(options.set)
    values.refuse_twice(vars(options).get("given", ()), fields)
    for name in ("rates", "C", "layers"):
        if name in fields and not isinstance(fields[name], tuple):
            fields[name] = (fields[name],)
    if options.method == "features" and options.task in ("classify", "pair", "regress", "choice"):
        of_tuning = {field.name for field in dataclasses.fields(AdaptConfig)} - {*FROZEN}
        idle = sorted(of_tuning & fields.keys())
        if idle:
            raise TinylmError(
                f"--set {idle[0]} does not go with --method features, which tunes no weights of "
                "the encoder; leave one of the two out"
            )
    if options.method == "gradual":
        fixed = [name for name in fields if name in GRADUAL]
        if fixed:
            raise TinylmError(
                f"--set {fixed[0]} does not go with --method gradual, whose recipe sets it; leave "
                "one of the two out"
            )
        fields.setdefault("rates", ULMFIT_RATES)
    return fields


def notes() -> Callable[[int, int], None]:
    """A progress(done, updates) that notes the count every few seconds, and at the end."""
    last = time.perf_counter()

    def show(done, updates):
        nonlocal last
        if time.perf_counter() - last >= PLAIN_EVERY or done == updates:
            last = time.perf_counter()
            note(f"update {done}/{updates}")

    return show

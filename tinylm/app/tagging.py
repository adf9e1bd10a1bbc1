"""Commands of a tagger: `finetune --task tag`, and `predict`: CoNLL files in, CoNLL columns out."""

import argparse
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from tinylm import settings
from tinylm.errors import DataError, TinylmError
from tinylm.progress import note

from . import options as values
from .results import load, origin_of, print_result
from .tasks import TASKS

HEADS = ("linear", "bilstm", "crf", "bilstm-crf")
HEAD = "bilstm-crf"  # unless told otherwise


def add_options(p: argparse.ArgumentParser) -> None:
    """Add --task, and the options that only taggers have."""
    p.add_argument(
        "--task",
        default="classify",
        choices=("classify", "tag", "chat", *TASKS),
        help="label whole texts (default), tag their words, reply in dialogues, label pairs of "
        "texts that are read together or apart (tower), learn numbers, choose among answers, or "
        "answer questions with words of a text",
    )
    p.add_argument("--head", choices=HEADS, help=f"of a tagger (default {HEAD})")
    p.add_argument(
        "--embeddings",
        type=values.count,
        metavar="N",
        help="width of a tagger's own word embeddings beside the encoder's (default: none)",
    )


def check(options: Namespace) -> None:
    """raises TinylmError for a tagger's option without --task tag"""
    for name in ("head", "embeddings"):
        if options.task != "tag" and vars(options)[name] is not None:
            raise TinylmError(f"--{name} belongs to a tagger; add --task tag, or leave it out")


def adapt(options: Namespace, fields: dict[str, Any], progress: Callable[[int, int], None]) -> int:
    """Fit a tagger to tagged sentences, save it, and measure it on others.

    fields : of its config, given as --set
    """
    from tinylm.data import load_tagged_parts
    from tinylm.transfer import TagConfig, Tagger

    model, tokenizer = load(options.dir)
    train, test = load_tagged_parts(options.train, options.test)
    given = {"seed": options.seed, "embeddings": options.embeddings or 0, **fields}
    config = settings.build(TagConfig, given)
    note(f"adapting to {len(train):,} sentences ({options.method})")
    head = options.head or HEAD
    tagger = Tagger(model, tokenizer, head, options.method, config, progress)
    tagger.fit(*_parted(train)).save(options.out, origin=origin_of(options, options.train))
    learned = f"{len(tagger.tags_)} tags learned from {len(train)} sentences"
    lines = [f"{options.out}: {learned}"]
    result = {
        "out": options.out,
        "tags": tagger.tags_,
        "train": len(train),
        "test": len(test or ()),
        "f1": None,
        "accuracy": None,
        "types": {},
    }
    if test:
        lines.append(_measure(tagger, test, result))
    return print_result(options, result, lines)


def _parted(sentences: list) -> tuple[list, list]:
    """The words and the tags of tagged sentences."""
    return [words for words, _ in sentences], [tags for _, tags in sentences]


def _measure(tagger: Any, test: list, result: dict) -> str:
    """Fill in a result's scores on tagged sentences; returns them as a text for people."""
    words, tags = _parted(test)
    if not tagger.entities_:
        result["accuracy"] = tagger.score(words, tags)
        return f"accuracy {result['accuracy']:.3f} on {len(test)} sentences"
    scores = tagger.evaluate(words, tags)
    result["f1"] = scores.f1
    result["accuracy"] = scores.accuracy
    for kind, score in scores.types.items():
        result["types"][kind] = {
            "precision": score.precision,
            "recall": score.recall,
            "f1": score.f1,
            "true": score.true,
        }
    return f"F1 {scores.f1:.3f} on {len(test)} sentences\n{scores}"


def predict(options: Namespace) -> int:
    """Print the columns of a CoNLL file, and the predicted tag behind each token's."""
    from tinylm.data import tagged
    from tinylm.files import read_standard, read_text
    from tinylm.transfer import Tagger

    if options.also is not None:
        raise TinylmError(f"--with averages classifiers of texts; {options.dir} is for tags")
    tagger = Tagger.load(options.dir)
    name = options.file or "standard input"
    if options.file is None:
        text = read_standard(name)
    else:
        text = read_text(options.file)
    rows = tagged.rows(text, name)
    sentences = tagged.sentences(rows)
    if not sentences:
        raise DataError(
            f"{name} holds no token; give one token per line, and a blank line between sentences"
        )
    words = [[fields[0] for fields in sentence] for sentence in sentences]
    tags = tagger.predict(words)
    result = [{"tokens": w, "tags": t} for w, t in zip(words, tags, strict=True)]
    behind = iter(tag for row in tags for tag in row)
    gap = "\t" if "\t" in text else " "
    lines = []
    for fields in rows:
        if fields and fields[0] == tagged.DOCUMENT:
            fields = [*fields, "O"]
        elif fields:
            fields = [*fields, next(behind)]
        lines.append(gap.join(fields))
    return print_result(options, result, lines)

"""`tinylm classify`: label texts with a language model that nobody trained for it."""

import argparse
from argparse import Namespace
from pathlib import Path

from tinylm.errors import DataError

from .. import options as values
from ..results import load, print_result
from .predict import as_line, lines_of

TASKS = ("topic", "sentiment")  # with patterns of their own, see transfer/patterns.py


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("classify", help="label texts by a prompt, without any training")
    p.add_argument(
        "dir", metavar="DIR", help="run of a causal or a masked model, ours or published"
    )
    p.add_argument(
        "file",
        metavar="FILE|NAME",
        nargs="?",
        help="one text per line; or labelled texts to measure on: .tsv, .jsonl, or a named set "
        "(default: standard input)",
    )
    how = p.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--pattern",
        action="several",
        metavar="TEXT",
        help="with {text} and {label} in it, for example '{text} It was {label}.'; given several "
        "times, the probabilities are the mean",
    )
    how.add_argument(
        "--task", choices=TASKS, help="the patterns that tinylm has for what the labels are"
    )
    p.add_argument(
        "--labels",
        required=True,
        type=values.label_words,
        metavar="LABELS",
        help="labels that are their own words: sea,land; or labels with words: sea=boat|wave,land",
    )
    p.add_argument(
        "--neutral",
        metavar="TEXT",
        help="a text that says nothing, such as 'N/A': words that are frequent after it count less",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print a label and its probability for each line, or the accuracy on labelled texts."""
    from tinylm.transfer.patterns import PatternClassifier

    texts, truth = _read(options.file)
    model, tokenizer = load(options.dir)
    classifier = PatternClassifier(
        model, tokenizer, options.task or options.pattern, options.labels, options.neutral
    )
    classes = classifier.classes_.tolist()
    strange = sorted(set(truth or []) - set(classes))
    if strange:
        raise DataError(
            f"{options.file} has the label {strange[0]!r}, which --labels lacks; name them all"
        )
    probabilities = classifier.predict_proba([text for text in texts if text.strip()])
    rows = _rows(texts, classes, probabilities)
    result = {"patterns": classifier.patterns, "labels": options.labels, "texts": rows}
    if truth is None:
        return print_result(options, result, [as_line(row) for row in rows])
    hits = sum(row["label"] == label for row, label in zip(rows, truth, strict=True))
    result |= {"accuracy": hits / len(rows), "chance": 1 / len(classes)}
    line = f"accuracy {result['accuracy']:.3f} on {len(rows)} texts (chance {1 / len(classes):.3f})"
    return print_result(options, result, [line])


def _read(source: str | None) -> tuple[list[str], list[str] | None]:
    """Lines of text without labels, blank ones included; or texts with their labels."""
    from tinylm.data import labelled, load_labelled
    from tinylm.files import is_file

    path = None if source is None else Path(source)
    is_plain = path is not None and is_file(path) and labelled.kind(path) == "text"
    if path is None or is_plain:
        lines = lines_of(source)
        if not any(line.strip() for line in lines):
            raise DataError(f"{source or 'standard input'} holds no text; give one text per line")
        return lines, None
    # A file is measured on whole, a named set on its test part.
    split = "all" if is_file(path) else "test"
    found = load_labelled(source, split)
    return found.texts, found.labels


def _rows(texts, classes, probabilities):
    """A row for each text: {"text", "label", "probability"}; a blank one has no label."""
    found = iter(probabilities)
    rows = []
    for text in texts:
        row = {"text": text, "label": None, "probability": None}
        if text.strip():
            chances = next(found)
            best = int(chances.argmax())
            row["label"] = classes[best]
            row["probability"] = float(chances[best])
        rows.append(row)
    return rows

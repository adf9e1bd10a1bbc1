"""`tinylm predict`: label lines of text, tag words, or do what another task has learned."""

import argparse
from argparse import Namespace

from tinylm.errors import DataError

from .. import options as values
from .. import tagging, tasks
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("predict", help="label lines, or tag words: a file, or standard input")
    p.add_argument("dir", metavar="DIR", help="folder that finetune wrote")
    p.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="one text per line; for a tagger CoNLL columns; for pairs, choices and numbers .tsv "
        "or .jsonl, for spans SQuAD's .json (default: standard input)",
    )
    p.add_argument(
        "--with",
        dest="also",
        metavar="DIR",
        help="another classifier of the same labels: average its probabilities with DIR's, for "
        "example those of a model that reads backwards",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print a label and its probability for each line; tags for each token where DIR tags."""
    from tinylm.transfer import Averaged, Classifier, Tagger, task_of

    task = task_of(options.dir)
    if task == Tagger.task:
        return tagging.predict(options)
    if task in tasks.TASKS:
        return tasks.predict(options, task)
    classifier = Classifier.load(options.dir)
    if options.also is not None:
        classifier = Averaged([classifier, Classifier.load(options.also)])
    lines = lines_of(options.file)
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        source = options.file or "standard input"
        raise DataError(f"{source} holds no text; give one text per line")
    probabilities = classifier.predict_proba(texts)  # (N,K)
    labels = classifier.classes_[probabilities.argmax(axis=1)]
    best = zip(labels, probabilities.max(axis=1), strict=True)
    rows = []
    for line in lines:
        # A blank line gets a row without a label, so that row and line numbers agree.
        row = {"text": line, "label": None, "probability": None}
        if line.strip():
            label, p = next(best)
            row["label"] = str(label)
            row["probability"] = float(p)
        rows.append(row)
    return print_result(options, rows, [as_line(row) for row in rows])


def as_line(row: dict) -> str:
    """A row of `predict` for people: label, probability, text; empty for a blank line.

    >>> as_line({"text": "puck", "label": "ice", "probability": 0.75})
    'ice\\t0.750\\tpuck'
    """
    if row["label"] is None:
        return ""
    return f"{row['label']}\t{row['probability']:.3f}\t{row['text']}"


def lines_of(path: str | None) -> list[str]:
    """The lines of a text file or of standard input, blank ones included.

    raises DataError    if the file is a labelled one, whose labels would be read as text
    """
    from tinylm.data import labelled
    from tinylm.files import read_standard, read_text

    if path is None:
        text = read_standard("standard input")
    else:
        text = read_text(path)
        kind = labelled.kind(path)
        if kind == "json lines" or (kind == "table" and "\t" in text):
            problem = f"{path} is a labelled file, but predict reads one text per line"
            raise DataError(f"{problem}; write its texts alone into a .txt file")
    return text.removesuffix("\n").split("\n")

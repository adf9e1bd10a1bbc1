"""`tinylm entities`: tag the entities of sentences without a tagged sentence to learn from."""

import argparse
from argparse import Namespace

from .. import options as values
from ..results import load, print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("entities", help="tag entities by a masked model that saw no tags")
    p.add_argument("dir", metavar="DIR", help="run of a masked model, ours or a published BERT")
    p.add_argument(
        "file",
        metavar="FILE|NAME",
        help="a CoNLL file, whose tags are only compared with; or entities or toy, the test part",
    )
    p.add_argument(
        "--types",
        required=True,
        type=values.label_words,
        metavar="TYPES",
        help="some words of each type: person=Anna|Otto,place=Paris|Oslo; words near them count",
    )
    p.add_argument(
        "--threshold",
        type=values.share,
        default=0.5,
        metavar="T",
        help="how near: the least cosine of the words' vectors (default 0.5; 1: only those words)",
    )
    p.add_argument(
        "--template",
        metavar="TEXT",
        help="a second vote where the context is in doubt, for example '{span} is a [MASK] entity'",
    )
    values.add_code(p)
    return p


def run(options: Namespace) -> int:
    """Print each token with its tag; the scores too, if the file's own tags mark entities."""
    from tinylm.data import load_tagged
    from tinylm.data.tags import mark_entities
    from tinylm.files import is_file
    from tinylm.transfer import UnsupervisedTagger, entity_scores

    split = "all" if is_file(options.file) else "test"
    sentences = load_tagged(options.file, split)
    model, tokenizer = load(options.dir)
    how = {"threshold": options.threshold, "template": options.template}
    tagger = UnsupervisedTagger(model, tokenizer, options.types, **how)
    words = [tokens for tokens, _ in sentences]
    truth = [tags for _, tags in sentences]
    tags = tagger.predict(words)
    rows = [{"tokens": w, "tags": t} for w, t in zip(words, tags, strict=True)]
    result = {"types": options.types, "sentences": rows, "f1": None, "accuracy": None}
    lines = []
    for row in rows:
        lines += [f"{word}\t{tag}" for word, tag in zip(row["tokens"], row["tags"], strict=True)]
        lines.append("")
    if mark_entities(tag for row in truth for tag in row):
        scores = entity_scores(truth, tags)
        result |= {"f1": scores.f1, "accuracy": scores.accuracy}
        head = f"F1 {scores.f1:.3f} on {len(rows)} sentences, none of which was learned from"
        lines = [head, str(scores), "", *lines]
    return print_result(options, result, lines)

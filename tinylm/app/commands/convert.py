"""`tinylm convert`: word vectors from one format to another."""

import argparse
from argparse import Namespace

from .. import options as values
from ..results import print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("convert", help="word vectors from any known format to another")
    p.add_argument(
        "source",
        metavar="IN",
        help="a pretrained run, or a file or folder of word vectors",
    )
    p.add_argument(
        "target",
        metavar="OUT",
        help=".bin word2vec, .vec text with header, .txt GloVe, no suffix: a folder",
    )
    p.add_argument(
        "--format",
        choices=("word2vec", "gensim", "text", "glove", "folder"),
        help="instead of OUT's suffix",
    )
    p.add_argument(
        "--errors",
        default="surrogateescape",
        choices=("surrogateescape", "strict", "replace", "ignore"),
        help="what to do with words that are not UTF-8 (default: keep their bytes)",
    )
    values.add_code(p)
    values.add_overwrite(p)
    return p


def run(options: Namespace) -> int:
    """Write word vectors in another format."""
    from tinylm import folders
    from tinylm.vectors.formats import TABLE, format_of

    form = options.format or format_of(folders.named(options.target))
    allowed = {"overwrite": options.overwrite, "reading": (options.source,)}
    if form == "folder":
        with folders.claim(options.target, replaces=(TABLE,), **allowed):
            return _converted(options, form)
    folders.claim_file(options.target, **allowed)
    return _converted(options, form)


def _converted(options: Namespace, form: str) -> int:
    """`run`, once its file or folder is claimed."""
    from tinylm.hub.vectors import load_vectors

    vectors = load_vectors(options.source, options.errors)
    changed = vectors.save(options.target, form)
    result = {
        "out": options.target,
        "words": len(vectors),
        "dimensions": int(vectors.table.shape[1]),
        "changed": len(changed),
        "repeated": len(vectors) - len(vectors.index),
    }
    lines = [f"{options.target}: {len(vectors):,} words of {result['dimensions']} dimensions"]
    if changed:
        examples = list(changed.items())[:3]
        shown = ", ".join(f"{word!a} is {name!a}" for word, name in examples)
        more = ", ..." if len(changed) > 3 else ""
        why = "because this format cannot hold them as they are"
        lines.append(f"{len(changed):,} words changed, {why}: {shown}{more}")
    if result["repeated"]:
        repeated = f"{result['repeated']:,} words stand there more than once"
        lines.append(f"{repeated}; readers keep one of each")
    return print_result(options, result, lines)

"""The commands about word vectors: neighbors, evaluate-words, convert."""

from argparse import Namespace

from .results import load, print_result


def neighbors(options: Namespace) -> int:
    """Print the tokens nearest to a word; returns the exit status."""
    from tinylm.report.looking import nearest

    model, tokenizer = load(options.dir)
    found = nearest(model, tokenizer, options.word, options.count, options.centred)
    rows = [{"word": word, "cosine": cosine} for word, cosine in found]
    lines = [f"{cosine:.3f}  {word}" for word, cosine in found]
    return print_result(options, {"word": options.word, "neighbors": rows}, lines)


def evaluate_words(options: Namespace) -> int:
    """Print how well word vectors agree with people's judgements; returns the exit status."""
    from tinylm import data
    from tinylm.hub.vectors import load_vectors

    vectors = load_vectors(options.dir)
    result = {}
    lines = []
    for name in ("wordsim353", "simlex999"):
        row = vectors.evaluate_word_pairs(data.load_similarity(name), options.restrict)
        result[name] = row
        agreement = f"Spearman {row['spearman']:.4f} over {row['pairs']} pairs"
        lines.append(f"{name}: {agreement} ({_percent(row['covered'])} covered)")
    found = vectors.evaluate_word_analogies(data.load_analogies(), options.restrict)
    result["analogies"] = found
    for section, row in found["sections"].items():
        lines.append(f"  {section}: {row['correct']} of {row['questions']}")
    right = f"{100 * found['accuracy']:.1f} % of {found['questions']:,} questions"
    lines.append(f"analogies: {right} ({_percent(found['covered'])} covered)")
    return print_result(options, result, lines)


def _percent(share: float) -> str:
    """A share as whole percent.

    >>> _percent(0.876)
    '88 %'
    """
    return f"{100 * share:.0f} %"


def convert(options: Namespace) -> int:
    """Write word vectors in another format; returns the exit status."""
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
    """`convert`, once its file or folder is claimed."""
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

"""`tinylm compare`: pretrain, adapt with few labels, compare with honest baselines, report."""

import argparse
from argparse import Namespace
from dataclasses import asdict, replace
from typing import Any

from .. import options as values
from ..results import given_of, print_result


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser(
        "compare",
        help="pretrain, adapt with few labels, compare with honest baselines, report",
    )
    p.add_argument(
        "--data",
        default="newsgroups",
        metavar="NAME|FILE",
        help="labelled corpus (default newsgroups); or several with commas between them, each with "
        "a folder of its own in DIR; tag:NAME takes the tags of words in place of labels",
    )
    p.add_argument(
        "--objectives",
        type=values.words,
        metavar="a,b,c",
        help="chapters to compare, or files of yours; all for the whole history "
        "(default: word2vec,gpt,bert)",
    )
    values.add_encoding(p)
    _add_length(p)
    p.add_argument(
        "--labels",
        type=values.counts,
        metavar="2,10,50",
        help="labels per class (default 2,10,50)",
    )
    p.add_argument(
        "--scratch-labels",
        type=values.budgets,
        metavar="100,200,all",
        help="further budgets for TF-IDF and the models from scratch: how many labels do they "
        "need to catch up? (default: none)",
    )
    p.add_argument(
        "--seeds",
        type=values.count,
        metavar="N",
        help="paired repetitions (default 3)",
    )
    _add_adaptation(p)
    p.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the report and the runs; finished parts are reused",
    )
    return p


def _add_length(p: argparse.ArgumentParser) -> None:
    """--minutes or --tokens, one of them."""
    length = p.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes",
        type=values.minutes,
        metavar="M",
        help="pretraining time of each objective (default 2.5)",
    )
    length.add_argument(
        "--tokens",
        type=values.count,
        metavar="N",
        help="or the tokens that each objective reads",
    )


def _add_adaptation(p: argparse.ArgumentParser) -> None:
    """How systems are adapted and tested."""
    p.add_argument(
        "--rates",
        type=values.rates,
        metavar="1e-3",
        help="peak learning rates of fine-tuning; cross-validation inside the labels chooses among "
        "several (default 1e-3)",
    )
    p.add_argument(
        "--max-length",
        type=values.count,
        metavar="N",
        help="tokens that an encoder reads of each post; fewer are faster (default 512)",
    )
    p.add_argument(
        "--test-size",
        type=values.whole,
        metavar="N",
        help="test posts read, always the same ones; 0 for all (default 1000)",
    )


def run(options: Namespace) -> int:
    """Run or continue the comparison, and print its tables and what it has found."""
    from tinylm.files import is_file

    if "," in options.data and not is_file(options.data):
        return _several(options)
    return _one(options)


def _config(options: Namespace, data: str) -> Any:
    """The settings that were asked for, on some data."""
    from tinylm.objectives.registry import CHAPTERS, STUDENTS
    from tinylm.transfer import compare

    names = "objectives encoding minutes tokens labels scratch_labels seeds test_size out"
    given = given_of(options, names)
    if given.get("objectives") == ("all",):
        given["objectives"] = (*CHAPTERS, *STUDENTS)
    if options.tokens is not None:
        given["minutes"] = None
    config = compare.CompareConfig(**given, data=data, seed=options.seed, quiet=options.quiet)
    adapt = replace(config.adapt, **given_of(options, "rates max_length"))
    return replace(config, adapt=adapt)


def _one(options: Namespace) -> int:
    """A comparison on one task."""
    from tinylm import report
    from tinylm.transfer import compare

    config = _config(options, options.data)
    with compare.claim(config):
        comparison = compare.run(config)
        page = report.write(comparison)
    lines = [*_paragraphs(comparison), f"Report: {page}"]
    result = _found(comparison) | {"report": str(page)}
    return print_result(options, result, ["\n\n".join(lines)])


def _several(options: Namespace) -> int:
    """Comparisons on several tasks, and what they show together."""
    from tinylm import report
    from tinylm.transfer import across, verdict

    sources = values.words(options.data)
    config = _config(options, sources[0])
    with across.claim(config, sources):
        comparisons = across.run(config, sources)
        page = report.write_all(comparisons, config.out)
    lines = []
    for source, comparison in comparisons.items():
        lines += [f"== {source} ==", *_paragraphs(comparison)]
    sentence = across.sentence(comparisons)
    head, rows = across.table(comparisons)
    lines += ["== all tasks ==", verdict.text_table(head, rows), sentence]
    lines.append(f"Report: {page}")
    result = {
        "sentence": sentence,
        "report": str(page),
        "table": [dict(zip(head, row, strict=True)) for row in rows],
        "winners": {source: across.winners(each) for source, each in comparisons.items()},
        "tasks": {source: _found(each) for source, each in comparisons.items()},
    }
    return print_result(options, result, ["\n\n".join(lines)])


def _paragraphs(comparison: Any) -> list[str]:
    """The tables of a comparison that hold anything, and what it has found, a sentence a line."""
    from tinylm.transfer import findings, verdict

    found = []
    for table in verdict.TABLES:
        head, rows = table(comparison)
        if rows:
            found.append(verdict.text_table(head, rows))
    return [*found, "\n".join(findings.sentences(comparison))]


def _found(comparison: Any) -> dict[str, Any]:
    """A comparison as JSON."""
    from tinylm.transfer import findings, savings

    saved = savings.labels_saved(comparison)
    return {
        "sentence": "\n".join(findings.sentences(comparison)),
        "metric": comparison.task.metric,
        "rows": comparison.rows,
        "pretrained": comparison.pretrained,
        "on_unigram_plateau": comparison.plateau(),
        "costs": comparison.costs,
        "labels_saved": [{**asdict(one), "factor": one.factor} for one in saved],
    }

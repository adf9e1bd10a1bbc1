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
        help="labelled corpus (default newsgroups)",
    )
    p.add_argument(
        "--objectives",
        type=values.words,
        metavar="a,b,c",
        help="chapters to compare, or files of yours; all for the whole history "
        "(default: word2vec,gpt,bert)",
    )
    values.add_encoding(p)
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
    p.add_argument(
        "--rates",
        type=values.rates,
        metavar="1e-3",
        help="peak learning rates of fine-tuning; cross-validation inside the labels chooses among "
        "several (default 1e-3)",
    )
    p.add_argument(
        "--test-size",
        type=values.whole,
        metavar="N",
        help="test posts read, always the same ones; 0 for all (default 1000)",
    )
    p.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the report and the runs; finished parts are reused",
    )
    return p


def run(options: Namespace) -> int:
    """Run or continue the comparison, and print its tables and its verdict."""
    from tinylm import report
    from tinylm.objectives.registry import CHAPTERS, STUDENTS
    from tinylm.transfer import compare, savings, verdict

    names = "data objectives encoding minutes tokens labels scratch_labels seeds test_size out"
    given = given_of(options, names)
    if given.get("objectives") == ("all",):
        given["objectives"] = (*CHAPTERS, *STUDENTS)
    if options.tokens is not None:
        given["minutes"] = None
    config = compare.CompareConfig(**given, seed=options.seed, quiet=options.quiet)
    if options.rates is not None:
        config = replace(config, adapt=replace(config.adapt, rates=options.rates))
    config.check()
    with compare.claim(config):
        comparison = compare.run(config)
        page = report.write(comparison)
    sentence = verdict.sentence(comparison)
    paragraphs = []
    for table in verdict.TABLES:
        head, rows = table(comparison)
        if rows:
            paragraphs.append(verdict.text_table(head, rows))
    paragraphs += [sentence, f"Report: {page}"]
    result = {
        "sentence": sentence,
        "report": str(page),
        "rows": comparison.rows,
        "pretrained": comparison.pretrained,
        "on_unigram_plateau": comparison.plateau(),
        "costs": comparison.costs,
        "labels_saved": [_as_json(one) for one in savings.labels_saved(comparison)],
    }
    return print_result(options, result, ["\n\n".join(paragraphs)])


def _as_json(saving: Any) -> dict[str, Any]:
    """A `Saving` as a dict, with its factor."""
    return {**asdict(saving), "factor": saving.factor}

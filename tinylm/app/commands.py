"""What each command does: options in, one result out, printed for people or as JSON.

Each command imports what it needs inside its function, so that none waits for the others' imports.
"""

import dataclasses
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from tinylm.errors import DataError, TinylmError
from tinylm.progress import PLAIN_EVERY, duration, hidden, note

from . import filling, rates, search, showing, tagging, words, writing
from .options import nested
from .results import given_of, load, print_result

ULMFIT_RATES = (0.01,)  # the head's, with --method gradual; lower layers learn more slowly


def run(options: Namespace) -> int:
    """Run the command that argparse found; returns the exit status."""
    from tinylm.kernels.runtime import pool

    if options.threads:
        pool.set_threads(options.threads)
    if vars(options).get("code"):
        from tinylm import objectives

        objectives.find(options.code)  # defines the objective that the run's config.json names
    with pool.one_pool(), hidden(options.quiet), warnings.catch_warnings():
        if options.quiet:
            warnings.simplefilter("ignore")
        return COMMANDS[options.command](options)


# ---- compare


def _compare(options: Namespace) -> int:
    from tinylm import objectives, report
    from tinylm.transfer import compare, verdict

    given = given_of(options, "data objectives encoding minutes labels seeds out")
    if given.get("objectives") == ("all",):
        given["objectives"] = tuple(objectives.CHAPTERS)
    config = compare.CompareConfig(**given, seed=options.seed, quiet=options.quiet)
    config.check()
    with compare.claim(config):
        comparison = compare.run(config)
        page = report.write(comparison)
    sentence = verdict.sentence(comparison)
    paragraphs = []
    for table in (verdict.cells, verdict.pairs, verdict.pretraining):
        head, rows = table(comparison)
        paragraphs.append(verdict.text_table(head, rows))
    paragraphs += [sentence, f"Report: {page}"]
    result = {
        "sentence": sentence,
        "report": str(page),
        "rows": comparison.rows,
        "pretrained": comparison.pretrained,
    }
    return print_result(options, result, ["\n\n".join(paragraphs)])


# ---- pretrain


def _pretrain(options: Namespace) -> int:
    from tinylm.training.evaluation import in_words
    from tinylm.training.pretrain import PretrainConfig, pretrain

    config = PretrainConfig(
        objective=options.objective,
        data=options.data,
        out=options.out,
        size=options.config,
        options=_settings(options),
        seed=options.seed,
        encoding=options.encoding,
        init=options.init,
        init_embeddings=options.init_embeddings,
        teacher=options.teacher,
    )
    objective, _, result = pretrain(
        config, resume=options.resume, quiet=options.quiet, overwrite=options.overwrite
    )
    used = f"{result['steps']} steps in {duration(result['seconds'])}"
    loss = f"training loss {result['loss']:.3f} {objective.unit}"
    lines = [f"{options.out}: {used}, {loss}"]
    if result["held_out"]:
        lines.append(f"held-out text: {in_words(result['held_out'])}")
    return print_result(options, {"out": options.out, **result}, lines)


def _distil(options: Namespace) -> int:
    """A run of `pretrain` whose objective and options say who teaches."""
    if options.layers:
        options.set.append(("num_hidden_layers", options.layers))
    if options.twin:
        options.set.append(("twin", True))
    return _pretrain(options)


def _settings(options: Namespace) -> dict:
    """The fields of --set and the length of the run, if one is given.

    raises TinylmError if an option and --set give the same field
    """
    from tinylm.training import budget

    length = given_of(options, "steps minutes")
    if options.replay:
        length["plan"] = budget.recorded(options.replay)
    fields = nested(options.set)
    for name in length.keys() & fields.keys():
        twice = f"--{name} and --set {name} say the same thing twice"
        raise TinylmError(f"{twice}; give one of them")
    return fields | length


# ---- check


def _check(options: Namespace) -> int:
    from tinylm.training import check

    settings = nested(options.set)
    lines = check.lines(options.objective, options.config, settings, options.seed, options.encoding)
    found = []
    for line in lines:
        found.append(line)
        if not options.json:
            print(line, flush=True)
    passed = all(line.status != "FAIL" for line in found)
    if options.json:
        rows = [dataclasses.asdict(line) for line in found]
        print_result(options, {"objective": options.objective, "passed": passed, "lines": rows}, [])
    return 0 if passed else 1


# ---- finetune and predict


def _finetune(options: Namespace) -> int:
    from tinylm import folders

    reading = [path for path in (options.dir, options.train, options.test) if path]
    with folders.claim(options.out, overwrite=options.overwrite, reading=reading):
        return _adapt(options)


def _adapt(options: Namespace) -> int:
    """`_finetune`, once its folder is claimed."""
    tagging.check(options)
    if options.task == "tag":
        return tagging.adapt(options, _notes())
    from tinylm.data import load_parts
    from tinylm.transfer import AdaptConfig, Classifier

    model, tokenizer = load(options.dir)
    train, test = load_parts(options.train, options.test)
    rates = ULMFIT_RATES if options.method == "gradual" else AdaptConfig.rates
    config = AdaptConfig(seed=options.seed, rates=rates)
    note(f"adapting to {len(train.texts):,} texts ({options.method})")
    classifier = Classifier(model, tokenizer, options.method, config, _notes())
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


def _notes() -> Callable[[int, int], None]:
    """A progress(done, updates) that notes the count every few seconds, and at the end."""
    last = time.perf_counter()

    def show(done, updates):
        nonlocal last
        if time.perf_counter() - last >= PLAIN_EVERY or done == updates:
            last = time.perf_counter()
            note(f"update {done}/{updates}")

    return show


def _predict(options: Namespace) -> int:
    from tinylm.transfer import Averaged, Classifier, Tagger, task_of

    if task_of(options.dir) == Tagger.task:
        return tagging.predict(options)
    classifier = Classifier.load(options.dir)
    if options.also is not None:
        classifier = Averaged([classifier, Classifier.load(options.also)])
    lines = _lines(options.file)
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
    return print_result(options, rows, [_as_line(row) for row in rows])


def _as_line(row: dict) -> str:
    """A row of `predict` for people: label, probability, text; empty for a blank line.

    >>> _as_line({"text": "puck", "label": "ice", "probability": 0.75})
    'ice\\t0.750\\tpuck'
    """
    if row["label"] is None:
        return ""
    return f"{row['label']}\t{row['probability']:.3f}\t{row['text']}"


def _lines(path: str | None) -> list[str]:
    """The lines of a text file or of standard input, blank ones included.

    raises DataError    if the file is a labelled one, whose labels would be read as text
    """
    from tinylm.data import labelled
    from tinylm.files import decode_text, read_text

    if path is None:
        text = decode_text(sys.stdin.buffer.read(), "standard input")
    else:
        text = read_text(path)
        kind = labelled.kind(path)
        if kind == "json lines" or (kind == "table" and "\t" in text):
            problem = f"{path} is a labelled file, but predict reads one text per line"
            raise DataError(f"{problem}; write its texts alone into a .txt file")
    return text.removesuffix("\n").split("\n")


# ---- data


def _data(options: Namespace) -> int:
    from tinylm import data

    if options.action == "list":
        return _list_sets(options)
    if not options.name:
        raise TinylmError("data get needs the name of a set; `tinylm data list` shows them")
    members = {name: str(Path(path)) for name, path in data.get(options.name).items()}
    return print_result(options, members, [f"{name}: {path}" for name, path in members.items()])


def _list_sets(options: Namespace) -> int:
    """One row per named set: name, package, licence, content."""
    from tinylm import data

    rows = []
    for known in data.sets():
        row = {
            "name": known.name,
            "package": f"{known.package}=={known.version}",
            "licence": known.licence,
            "what": known.what,
        }
        rows.append(row)
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        source = f"{row['package']}, {row['licence']}"
        lines.append(f"{row['name']:{width}}  {row['what']} ({source})")
    return print_result(options, rows, lines)


COMMANDS = {
    "compare": _compare,
    "pretrain": _pretrain,
    "find-rate": rates.find_rate,
    "distil": _distil,
    "check": _check,
    "finetune": _finetune,
    "predict": _predict,
    "generate": writing.generate,
    "score": writing.score,
    "fill": filling.fill,
    "show": showing.show,
    "neighbors": words.neighbors,
    "search": search.search,
    "evaluate-words": words.evaluate_words,
    "convert": words.convert,
    "data": _data,
}

"""What each command does: options in, one result out, printed for people or as JSON."""

import dataclasses
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from tinylm.errors import DataError, TinylmError
from tinylm.files import without_nan
from tinylm.progress import PLAIN_EVERY, duration, hidden, note

HALF = "\N{REPLACEMENT CHARACTER}"  # what decoding shows for the first bytes of a character


def run(options):
    """Run the command that argparse found; returns the exit status."""
    from tinylm.kernels.runtime import pool

    if options.threads:
        pool.set_threads(options.threads)
    if vars(options).get("code"):
        from tinylm import objectives

        objectives.find(options.code)  # defines what the run's config.json names
    with pool.one_pool(), hidden(options.quiet), warnings.catch_warnings():
        if options.quiet:
            warnings.simplefilter("ignore")
        return COMMANDS[options.command](options)


def _print(options, result, lines):
    """The result as one JSON document, or as lines for people."""
    print(_document(result) if options.json else "\n".join(lines))
    return 0


def _document(result):
    """A result as JSON: readable characters where standard output takes them all, else escapes."""
    readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(without_nan(result), indent=2, ensure_ascii=not readable)


def _load(folder):
    """Model and tokenizer of a folder; a sentence where there is no tokenizer."""
    from tinylm import hub

    model, tokenizer = hub.load(folder)
    if tokenizer is None:
        raise TinylmError(
            f"{folder} holds no tokenizer, so text cannot be read; copy its files into the folder"
        )
    return model, tokenizer


def _compare(options):
    from tinylm import report
    from tinylm.transfer import compare, verdict

    given = {
        name: getattr(options, name)
        for name in ("data", "objectives", "encoding", "minutes", "labels", "seeds", "out")
    }
    given = {name: value for name, value in given.items() if value is not None}
    config = compare.CompareConfig(**given, seed=options.seed, quiet=options.quiet)
    config.check()
    with compare.claim(config):
        comparison = compare.run(config)
        page = report.write(comparison)
    sentence = verdict.sentence(comparison)
    tables = [
        verdict.text_table(*table(comparison))
        for table in (verdict.cells, verdict.pairs, verdict.pretraining)
    ]
    result = {
        "sentence": sentence,
        "report": str(page),
        "rows": comparison.rows,
        "pretrained": comparison.pretrained,
    }
    return _print(options, result, ["\n\n".join([*tables, sentence, f"Report: {page}"])])


def _pretrain(options):
    from tinylm.training import budget
    from tinylm.training.evaluation import in_words
    from tinylm.training.pretrain import PretrainConfig, pretrain

    lengths = {
        name: getattr(options, name)
        for name in ("steps", "minutes")
        if getattr(options, name) is not None
    }
    if options.replay:
        lengths["plan"] = budget.recorded(options.replay)
    given = dict(options.set)
    for name in lengths.keys() & given.keys():
        raise TinylmError(f"--{name} and --set {name} say the same thing twice; give one of them")
    given |= lengths
    if not {"steps", "minutes", "plan"} & given.keys():
        given["steps"] = 1000
    config = PretrainConfig(
        objective=options.objective,
        data=options.data,
        out=options.out,
        size=options.config,
        options=given,
        seed=options.seed,
        encoding=options.encoding,
    )
    objective, _, result = pretrain(
        config, resume=options.resume, quiet=options.quiet, overwrite=options.overwrite
    )
    used = f"{result['steps']} steps in {duration(result['seconds'])}"
    lines = [f"{options.out}: {used}, training loss {result['loss']:.3f} {objective.unit}"]
    if result["held_out"]:
        lines.append(f"held-out text: {in_words(result['held_out'])}")
    return _print(options, {"out": options.out, **result}, lines)


def _check(options):
    from tinylm.training import check

    found = []
    for line in check.lines(
        options.objective, options.config, dict(options.set), options.seed, options.encoding
    ):
        found.append(line)
        if not options.json:
            print(line, flush=True)
    passed = all(line.status != "FAIL" for line in found)
    if options.json:
        rows = [dataclasses.asdict(line) for line in found]
        _print(options, {"objective": options.objective, "passed": passed, "lines": rows}, [])
    return 0 if passed else 1


def _finetune(options):
    from tinylm import folders

    reading = [path for path in (options.dir, options.train, options.test) if path]
    with folders.claim(options.out, overwrite=options.overwrite, reading=reading):
        return _adapt(options)


def _adapt(options):
    """`_finetune` in a folder that is claimed."""
    from tinylm.data import load_parts
    from tinylm.transfer import AdaptConfig, Classifier

    model, tokenizer = _load(options.dir)
    train, test = load_parts(options.train, options.test)
    config = AdaptConfig(seed=options.seed)
    note(f"adapting to {len(train.texts):,} texts ({options.method})")
    classifier = Classifier(model, tokenizer, options.method, config, _dots())
    classifier.fit(train.texts, train.labels).save(options.out)
    result = {
        "out": options.out,
        "classes": [str(label) for label in classifier.classes_],
        "train": len(train.texts),
        "test": len(test.texts) if test else 0,
        "accuracy": classifier.score(test.texts, test.labels) if test else None,
    }
    lines = [
        f"{options.out}: {len(result['classes'])} classes learned from {result['train']} texts"
    ]
    if test:
        lines.append(f"accuracy {result['accuracy']:.3f} on {result['test']} texts")
    return _print(options, result, lines)


def _dots():
    """A progress(done, updates) that prints a line every few seconds."""
    last = time.perf_counter()

    def show(done, updates):
        nonlocal last
        if time.perf_counter() - last >= PLAIN_EVERY or done == updates:
            last = time.perf_counter()
            note(f"update {done}/{updates}")

    return show


def _predict(options):
    from tinylm.transfer import Classifier

    classifier = Classifier.load(options.dir)
    lines = _lines(options.file)
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise DataError(f"{options.file or 'standard input'} holds no text; give one text per line")
    probabilities = classifier.predict_proba(texts)  # (N,K)
    best = zip(probabilities.argmax(axis=1), probabilities.max(axis=1), strict=True)
    rows = []
    for (
        line
    ) in lines:  # a blank line has no label, but keeps its row: rows and lines are numbered alike
        if line.strip():
            code, p = next(best)
            rows.append(
                {"text": line, "label": str(classifier.classes_[code]), "probability": float(p)}
            )
        else:
            rows.append({"text": line, "label": None, "probability": None})
    return _print(options, rows, [_as_line(row) for row in rows])


def _as_line(row):
    """A row of `predict` for people: label, probability, text; nothing for a blank line."""
    if row["label"] is None:
        return ""
    return f"{row['label']}\t{row['probability']:.3f}\t{row['text']}"


def _lines(path):
    """The lines of a text file, or of standard input: one text each, blank ones included.

    raises DataError    if the file is a labelled one, whose labels would be read as text
    """
    from tinylm.data import labelled
    from tinylm.files import decode_text, read_text

    if path is None:
        text = decode_text(sys.stdin.buffer.read(), "standard input")
    else:
        kind = labelled.kind(path)
        text = read_text(path)
        if kind == "json lines" or (kind == "table" and "\t" in text):
            raise DataError(
                f"{path} is a labelled file, but predict reads one text per line; "
                "write its texts alone into a .txt file"
            )
    return text.removesuffix("\n").split("\n")


def _generate(options):
    from tinylm.training.generate import generate

    model, tokenizer = _load(options.dir)
    prompt, end = tokenizer.encode(options.prompt), tokenizer.end_id
    if not prompt and end is None:
        raise DataError("the prompt holds no token that the model knows; give a longer --prompt")
    begin = prompt or [end]  # a text begins where another one ends
    stream = generate(
        model,
        begin,
        options.tokens,
        np.random.default_rng(options.seed),
        end,
        tokenizer.vocab_size,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    show = (lambda text: None) if options.json else _typewriter(options.prompt)
    ids, text = list(prompt), ""
    for new_id in stream:
        if new_id == end:
            break
        ids.append(new_id)
        text = tokenizer.decode(ids)[len(tokenizer.decode(prompt)) :]
        show(text.rstrip(HALF))  # the next token may complete the character
    show(text)
    return _print(
        options, {"prompt": options.prompt, "text": text, "tokens": len(ids) - len(prompt)}, [""]
    )


def _typewriter(prompt):
    """A function that, given a text that grows, prints what is new in it at once."""
    print(prompt, end="", flush=True)
    shown = 0

    def show(text):
        nonlocal shown
        print(text[shown:], end="", flush=True)
        shown = max(shown, len(text))

    return show


def _neighbors(options):
    from tinylm.report.looking import nearest

    found = nearest(*_load(options.dir), options.word, options.count, options.centred)
    rows = [{"word": word, "cosine": cosine} for word, cosine in found]
    return _print(
        options,
        {"word": options.word, "neighbors": rows},
        [f"{row['cosine']:.3f}  {row['word']}" for row in rows],
    )


def _vectors(path, errors="surrogateescape"):
    """The word vectors of a run folder, or of a file of them; a folder of them stays on the disk."""
    from tinylm import hub
    from tinylm.report.looking import word_vectors
    from tinylm.vectors import Vectors

    is_run = (Path(path) / hub.CONFIG).exists()
    return word_vectors(*_load(path)) if is_run else Vectors.load(path, errors, mapped=True)


def _evaluate_words(options):
    from tinylm import data

    vectors, result = _vectors(options.dir), {}
    for name in ("wordsim353", "simlex999"):
        result[name] = vectors.evaluate_word_pairs(data.load_similarity(name), options.restrict)
    result["analogies"] = found = vectors.evaluate_word_analogies(
        data.load_analogies(), options.restrict
    )
    lines = [
        f"{name}: Spearman {row['spearman']:.4f} over {row['pairs']} pairs ({100 * row['covered']:.0f} % covered)"
        for name, row in result.items()
        if "spearman" in row
    ]
    lines += [
        f"  {section}: {row['correct']} of {row['questions']}"
        for section, row in found["sections"].items()
    ]
    lines.append(
        f"analogies: {100 * found['accuracy']:.1f} % of {found['questions']:,} questions "
        f"({100 * found['covered']:.0f} % covered)"
    )
    return _print(options, result, lines)


def _convert(options):
    from tinylm import folders
    from tinylm.vectors.formats import TABLE, format_of

    form = options.format or format_of(folders.named(options.target))
    allowed = {"overwrite": options.overwrite, "reading": (options.source,)}
    if form == "folder":
        with folders.claim(options.target, replaces=(TABLE,), **allowed):
            return _converted(options, form)
    folders.claim_file(options.target, **allowed)
    return _converted(options, form)


def _converted(options, form):
    """`_convert` into a file or folder that may be written."""
    vectors = _vectors(options.source, options.errors)
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
        shown = ", ".join(f"{word!a} is {name!a}" for word, name in list(changed.items())[:3])
        lines.append(
            f"{len(changed):,} words changed, because this format cannot hold them as they are: "
            f"{shown}{', ...' if len(changed) > 3 else ''}"
        )
    if result["repeated"]:
        lines.append(
            f"{result['repeated']:,} words stand there more than once; readers keep one of each"
        )
    return _print(options, result, lines)


def _data(options):
    from tinylm import data

    if options.action == "list":
        rows = [
            {
                "name": row.name,
                "package": f"{row.package}=={row.version}",
                "licence": row.licence,
                "what": row.what,
            }
            for row in data.sets()
        ]
        width = max(len(row["name"]) for row in rows)
        return _print(
            options,
            rows,
            [
                f"{row['name']:{width}}  {row['what']} ({row['package']}, {row['licence']})"
                for row in rows
            ],
        )
    if not options.name:
        raise TinylmError("data get needs the name of a set; `tinylm data list` shows them")
    members = {name: str(Path(path)) for name, path in data.get(options.name).items()}
    return _print(options, members, [f"{name}: {path}" for name, path in members.items()])


COMMANDS = {
    "compare": _compare,
    "pretrain": _pretrain,
    "check": _check,
    "finetune": _finetune,
    "predict": _predict,
    "generate": _generate,
    "neighbors": _neighbors,
    "evaluate-words": _evaluate_words,
    "convert": _convert,
    "data": _data,
}

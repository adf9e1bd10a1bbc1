"""What each command does: options in, one result out, printed for people or as JSON."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

from tinylm.errors import DataError, TinylmError
from tinylm.progress import PLAIN_EVERY

HALF = "\N{REPLACEMENT CHARACTER}"  # what decoding shows for the first bytes of a character


def run(options):
    """Run the command that argparse found; returns the exit status."""
    from tinylm.kernels import pool

    if options.threads:
        pool.set_threads(options.threads)
    with pool.one_pool():
        return COMMANDS[options.command](options)


def _print(options, result, lines):
    """The result as one JSON document, or as lines for people."""
    print(json.dumps(result, indent=2, ensure_ascii=False) if options.json else "\n".join(lines))
    return 0


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
        for name in ("data", "objectives", "minutes", "labels", "seeds", "out")
    }
    given = {name: value for name, value in given.items() if value is not None}
    comparison = compare.run(compare.CompareConfig(**given, seed=options.seed, quiet=options.quiet))
    page, sentence = report.write(comparison), verdict.sentence(comparison)
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
    from tinylm.evaluation import in_words
    from tinylm.pretrain import PretrainConfig, pretrain

    lengths = {
        name: getattr(options, name)
        for name in ("steps", "minutes")
        if getattr(options, name) is not None
    }
    given = dict(options.set) | lengths
    if not {"steps", "minutes"} & given.keys():
        given["steps"] = 1000
    config = PretrainConfig(
        options.objective, options.data, options.out, options.config, given, options.seed
    )
    objective, _, result = pretrain(config, resume=options.resume, quiet=options.quiet)
    unit = objective.unit
    lines = [f"{options.out}: {result['steps']} steps, training loss {result['loss']:.3f} {unit}"]
    if result["held_out"]:
        lines.append(f"held-out text: {in_words(result['held_out'])}")
    return _print(options, {"out": options.out, **result}, lines)


def _check(options):
    from tinylm import check

    found = []
    for line in check.lines(options.objective, options.config, dict(options.set), options.seed):
        found.append(line)
        if not options.json:
            print(line, flush=True)
    passed = all(line.status != "FAIL" for line in found)
    if options.json:
        rows = [dataclasses.asdict(line) for line in found]
        _print(options, {"objective": options.objective, "passed": passed, "lines": rows}, [])
    return 0 if passed else 1


def _finetune(options):
    from tinylm.data import load_parts
    from tinylm.transfer import AdaptConfig, Classifier
    from tinylm.transfer.adapt import claim

    claim(options.out)
    model, tokenizer = _load(options.dir)
    train, test = load_parts(options.train, options.test)
    config = AdaptConfig(seed=options.seed)
    if not options.quiet:
        print(
            f"adapting to {len(train.texts):,} texts ({options.method})",
            file=sys.stderr,
            flush=True,
        )
    classifier = Classifier(
        model, tokenizer, options.method, config, None if options.quiet else _dots()
    )
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
            print(f"update {done}/{updates}", file=sys.stderr, flush=True)

    return show


def _predict(options):
    from tinylm.transfer import Classifier

    classifier = Classifier.load(options.dir)
    texts = [line for line in _text(options.file).split("\n") if line.strip()]
    if not texts:
        raise DataError(f"{options.file or 'standard input'} holds no text; give one text per line")
    probabilities = classifier.predict_proba(texts)  # (N,K)
    labels = classifier.classes_[probabilities.argmax(axis=1)]
    rows = [
        {"text": text, "label": str(label), "probability": float(p)}
        for text, label, p in zip(texts, labels, probabilities.max(axis=1), strict=True)
    ]
    return _print(
        options, rows, [f"{row['label']}\t{row['probability']:.3f}\t{row['text']}" for row in rows]
    )


def _text(path):
    """A file's text, or standard input's."""
    if path is not None:
        from tinylm.files import read_text

        return read_text(path)
    try:
        return sys.stdin.buffer.read().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from None


def _generate(options):
    from tinylm.generate import generate

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

    found = nearest(*_load(options.dir), options.word, options.count)
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
    return _print(options, _finite(result), lines)


def _finite(value):
    """JSON knows no NaN: None stands for it, at any depth of dicts."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if value != value else value


def _convert(options):
    vectors = _vectors(options.source, options.errors)
    vectors.save(options.target, options.format)
    result = {
        "out": options.target,
        "words": len(vectors),
        "dimensions": int(vectors.table.shape[1]),
    }
    return _print(
        options,
        result,
        [f"{options.target}: {len(vectors):,} words of {result['dimensions']} dimensions"],
    )


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

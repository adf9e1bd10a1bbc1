"""The commands `finetune --task pair|tower|regress|choice|span` and `predict`, for transfer/tasks.

Each task says here how its class is fitted, what is measured, and how its answers are shown; what
is the same for all stands in `adapt` and `predict`.
"""

import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinylm import settings
from tinylm.errors import DataError, TinylmError
from tinylm.progress import note

from .results import load, origin_of, print_result

Progress = Callable[[int, int], None]


class Task:
    """How one task is run from the command line.

    noun : its examples, for people
    reads : the kind of examples, if they are another task's
    """

    noun = "texts"
    reads = ""

    def kind(self) -> type:
        """The class in `tinylm.transfer`."""
        raise TinylmError("a task without a class")

    def config(self, options: Namespace, fields: dict[str, Any]) -> Any:
        """The class's config."""
        from tinylm.transfer import AdaptConfig

        return settings.build(AdaptConfig, {"seed": options.seed, **fields})

    def fit(self, model: Any, examples: list) -> None:
        """Adapt to examples."""
        inputs, targets = parted(examples)
        model.fit(inputs, targets)

    def measure(self, model: Any, examples: list) -> dict[str, float]:
        """Scores by name, the main one first."""
        inputs, targets = parted(examples)
        return {"accuracy": model.score(inputs, targets)}

    def rows(self, model: Any, examples: list) -> list[dict[str, Any]]:
        """What is predicted of each example, with probabilities."""
        raise TinylmError("a task without answers")

    def line(self, row: dict[str, Any]) -> str:
        """A row of `rows` for people."""
        probability = f"{row['probability']:.3f}"
        return "\t".join([str(row["label"]), probability, row["first"], row["second"]])


def parted(examples: Sequence[tuple[Any, Any]]) -> tuple[list, list]:
    """The inputs and the targets of examples.

    >>> parted([("sea", 1), ("ice", 2)])
    (['sea', 'ice'], [1, 2])
    """
    return [given for given, _ in examples], [target for _, target in examples]


class Pairs(Task):
    """A label for two texts."""

    noun = "pairs"

    def kind(self) -> type:
        """PairClassifier."""
        from tinylm.transfer import PairClassifier

        return PairClassifier

    def measure(self, model: Any, examples: list) -> dict[str, float]:
        """Accuracy and the mean F1 of the classes."""
        from tinylm.transfer import accuracy, macro_f1

        inputs, targets = parted(examples)
        found = model.predict(inputs)
        return {"accuracy": accuracy(targets, found), "macro_f1": macro_f1(targets, found)}

    def rows(self, model: Any, examples: list) -> list[dict[str, Any]]:
        """The label of each pair, and the probability of every label."""
        pairs, _ = parted(examples)
        names = [str(label) for label in model.classes_]
        rows = []
        for (first, second), p in zip(pairs, model.predict_proba(pairs), strict=True):
            best = int(p.argmax())
            row = {"first": first, "second": second, "label": names[best]}
            row["probability"] = float(p[best])
            row["probabilities"] = dict(zip(names, p.tolist(), strict=True))
            rows.append(row)
        return rows


class Towers(Pairs):
    """A label for two texts that are read apart."""

    reads = "pair"

    def kind(self) -> type:
        """TowerClassifier."""
        from tinylm.transfer import TowerClassifier

        return TowerClassifier


class Numbers(Task):
    """A number for a text, or for two."""

    def kind(self) -> type:
        """Regressor."""
        from tinylm.transfer import Regressor

        return Regressor

    def measure(self, model: Any, examples: list) -> dict[str, float]:
        """Correlations, and the mean squared error."""
        return model.evaluate(*parted(examples))

    def rows(self, model: Any, examples: list) -> list[dict[str, Any]]:
        """The number of each text or pair."""
        texts, _ = parted(examples)
        rows = []
        for text, value in zip(texts, model.predict(texts).tolist(), strict=True):
            names = ("text",) if isinstance(text, str) else ("first", "second")
            given = (text,) if isinstance(text, str) else text
            rows.append({**dict(zip(names, given, strict=True)), "score": value})
        return rows

    def line(self, row: dict[str, Any]) -> str:
        """score<TAB>text, or both texts.

        >>> Numbers().line({"text": "calm sea", "score": 1.25})
        '1.250\\tcalm sea'
        """
        texts = [value for name, value in row.items() if name != "score"]
        return "\t".join([f"{row['score']:.3f}", *texts])


class Choices(Task):
    """The best of several answers."""

    noun = "choices"

    def kind(self) -> type:
        """Chooser."""
        from tinylm.transfer import Chooser

        return Chooser

    def fit(self, model: Any, examples: list) -> None:
        """Adapt to texts with answers."""
        model.fit(examples)

    def measure(self, model: Any, examples: list) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": model.score(examples)}

    def rows(self, model: Any, examples: list) -> list[dict[str, Any]]:
        """The number and the words of the chosen answer, and the probability of every answer."""
        rows = []
        for choice, p in zip(examples, model.predict_proba(examples), strict=True):
            best = int(p.argmax())
            row = {"context": choice.context, "label": best, "answer": choice.answers[best]}
            row["probability"] = float(p[best])
            row["probabilities"] = p.tolist()
            rows.append(row)
        return rows

    def line(self, row: dict[str, Any]) -> str:
        """number<TAB>probability<TAB>text<TAB>answer."""
        probability = f"{row['probability']:.3f}"
        return "\t".join([str(row["label"]), probability, row["context"], row["answer"]])


class Spans(Task):
    """Words of a text that answer a question."""

    noun = "questions"

    def kind(self) -> type:
        """SpanReader."""
        from tinylm.transfer import SpanReader

        return SpanReader

    def config(self, options: Namespace, fields: dict[str, Any]) -> Any:
        """A SpanConfig."""
        from tinylm.transfer import SpanConfig

        return settings.build(SpanConfig, {"seed": options.seed, **fields})

    def fit(self, model: Any, examples: list) -> None:
        """Adapt to questions."""
        model.fit(examples)

    def measure(self, model: Any, examples: list) -> dict[str, float]:
        """Exact match and F1, of all questions and of those with and without an answer."""
        return model.evaluate(examples)

    def rows(self, model: Any, examples: list) -> list[dict[str, Any]]:
        """The answer to each question, its probability, and the next best ones."""
        rows = []
        for question, spans in zip(examples, model.answers(examples), strict=True):
            best = spans[0]
            row = {"id": question.id, "question": question.question, "answer": best.text}
            row["probability"] = best.probability
            row["start"] = best.start if best.text else None
            row["others"] = [
                {"answer": span.text, "probability": span.probability} for span in spans[1:5]
            ]
            rows.append(row)
        return rows

    def line(self, row: dict[str, Any]) -> str:
        """id<TAB>probability<TAB>answer, - for none.

        >>> Spans().line({"id": "a1", "probability": 0.5, "answer": ""})
        'a1\\t0.500\\t-'
        """
        answer = row["answer"].replace("\t", " ").replace("\n", " ")
        return "\t".join([row["id"], f"{row['probability']:.3f}", answer or "-"])


TASKS = {
    "pair": Pairs(),
    "tower": Towers(),
    "regress": Numbers(),
    "choice": Choices(),
    "span": Spans(),
}
READ_AS_PAIRS = ("pair", "choice", "span")


def adapt(options: Namespace, fields: dict[str, Any], progress: Progress) -> int:
    """Fit a task's class to examples, save it, and measure it on others.

    fields : of its config, given as --set
    """
    from tinylm.data import load_example_parts
    from tinylm.transfer import paired

    task = TASKS[options.task]
    examples = task.reads or options.task
    train, test = load_example_parts(examples, options.train, options.test)
    model, tokenizer = load(options.dir)
    two_texts = options.task == "regress" and not isinstance(train[0][0], str)
    if options.task in READ_AS_PAIRS or two_texts:
        model, tokenizer = paired(model, tokenizer)
    note(f"adapting to {len(train):,} {task.noun} ({options.method})")
    adapted = task.kind()(model, tokenizer, options.method, task.config(options, fields), progress)
    task.fit(adapted, train)
    adapted.save(options.out, origin=origin_of(options, options.train))
    lines = [f"{options.out}: learned from {len(train)} {task.noun}"]
    scores: dict[str, float] = {}
    if test:
        scores = task.measure(adapted, test)
        shown = [f"{name} {value:.3f}" for name, value in scores.items() if "total" not in name]
        lines.append(f"{', '.join(shown)} on {len(test)} {task.noun}")
    result = {"out": options.out, "train": len(train), "test": len(test or ()), **scores}
    return print_result(options, result, lines)


def predict(options: Namespace, name: str) -> int:
    """Print what a fitted model of a task says of the examples in a file."""
    from tinylm.data import read_examples

    task = TASKS[name]
    kind = task.reads or name
    if options.also is not None:
        raise TinylmError(f"--with averages classifiers of texts; {options.dir} is for {name!r}")
    if options.file is not None:
        examples = read_examples(kind, options.file)
    else:
        examples = _from_standard_input(kind)
    rows = task.rows(task.kind().load(options.dir), examples)
    return print_result(options, rows, [task.line(row) for row in rows])


def _from_standard_input(name: str) -> list:
    """Examples read as from a file: JSON if it begins with a brace, else a table."""
    from tinylm.data import read_examples
    from tinylm.files import read_standard

    text = read_standard()
    is_json = text.lstrip().startswith("{")
    suffix = ".json" if name == "span" else ".jsonl" if is_json else ".tsv"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"standard-input{suffix}"
        path.write_text(text, encoding="utf-8")
        try:
            return read_examples(name, path)
        except DataError as error:
            raise DataError(str(error).replace(repr(str(path)), "standard input")) from None

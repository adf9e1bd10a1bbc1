"""From a named corpus to a trained run folder: text -> vocabulary -> ids -> objective -> Trainer.

`tinylm pretrain` and `tinylm compare` both take this path, so that their runs are the same runs.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import hub, objectives, settings, text
from tinylm.data import encode_corpus, load_texts, split_documents
from tinylm.errors import DataError, TinylmError
from tinylm.hub.vectors import load_vectors
from tinylm.progress import hidden

from . import checkpoint, runs
from .config import TrainConfig, preferred
from .start import FromScratch, from_model, from_teacher, learn_encoding, sized
from .train import Trainer

__all__ = [
    "PretrainConfig",
    "adapt_lm",
    "complete",
    "divide",
    "learn_encoding",
    "prepared",
    "pretrain",
    "sized",
    "untrained",
]

SIZE = "tiny"  # these hold where nobody asks for others
HELD_OUT = 0.05
STEPS = 1000
LENGTHS = ("steps", "minutes", "tokens", "plan")  # options; one of them says how long a run is


@dataclass(frozen=True)
class PretrainConfig(settings.Config):
    """An objective, the text to train it on, and how.

    objective : a chapter's name, a file that defines one (mine.py, mine.py:NAME), or a class
    data : a file, a folder, a named set, or "toy"
    out : run folder, or None
    size : a class method of the objective's Config by name: "tiny" (None means this), "small", ...
    options : fields of that Config or of TrainConfig to replace: {"n_layer": 2, "lr": 3e-4}; or
        options of the encoding, see text.OPTIONS: {"min_count": 5, "phrases": 2}
    seed : of weights, batches and dropout
    held_out : share of the documents kept for evaluation, None for one in twenty
    encoding : kind of encoding, see text.KINDS; None for the one that the objective prefers
    init : folder of a trained model to go on from, with its sizes and its encoding, see start.py
    init_embeddings : run folder, file or folder of vectors as wide as the model's; tokens of the
        same name begin with theirs
    teacher : folder of a trained model to learn from, in its words, for an objective that does
    command, licence : for the card of the model; what trained it, and how others may use it

    >>> PretrainConfig("gpt", "toy", options={"lr": 3e-4}).options
    {'lr': 0.0003}
    """

    ranges = {
        "seed": settings.at_least(0),
        "held_out": settings.Range(0, 1, closed=False, ends=False),
        "encoding": settings.one_of(*text.KINDS),
    }
    objective: str | type
    data: str | Path
    out: str | Path | None = None
    size: str | None = None
    options: dict = field(default_factory=dict)
    seed: int = 0
    held_out: float | None = None
    encoding: str | None = None
    init: str | Path | None = None
    init_embeddings: str | Path | None = None
    teacher: str | Path | None = None
    command: str | None = None
    licence: str | None = None


def pretrain(
    config: PretrainConfig,
    texts: Sequence[str] | None = None,
    resume: bool = False,
    quiet: bool = False,
    overwrite: bool = False,
) -> tuple[Any, Any, dict]:
    """Train an objective from scratch or go on from a trained one; or resume such a run.

    texts : documents to use instead of loading config.data
    resume, overwrite : continue or replace a run that the folder holds, see `Trainer.run`
    returns the trained objective, its tokenizer, and the result of `Trainer.run`
    raises TinylmError, one sentence, on any mistake in the config or the data
    """
    sources = (config.data, config.init, config.init_embeddings, config.teacher)
    reading = [path for path in sources if path is not None]
    with runs.claim_run(config.out, resume, overwrite, reading):
        trainer, asked, initial = _trainer(config, texts, resume, quiet)
        result = trainer.run(resume, asked, initial=initial)
        return trainer.objective, trainer.tokenizer, result


def adapt_lm(
    folder: str | Path,
    texts: Sequence[str],
    seed: int = 0,
    quiet: bool = False,
    **options: Any,
) -> tuple[Any, Any]:
    """Let a trained model go on learning, from the texts of a task, before it learns the task.

    What people write there is often not what the model has read; the texts need no labels. This is
    `pretrain` from `init=folder`, whose own files stay as they are.

    folder : of a run of ours, or published     options : as in PretrainConfig; minutes=2, lr=1e-4
    returns the model in evaluation mode, and its tokenizer, which may have learned new words
    Source: Howard & Ruder 2018, section 3.2; Gururangan et al. 2020 (task-adaptive pretraining).
    raises TinylmError  as `pretrain`, for one that learns from a teacher alone for example
    """
    loaded = hub.load(folder)
    chapter = type(loaded[0])
    config = PretrainConfig(chapter, "the texts", options=options, seed=seed, init=folder)
    trainer, asked, initial = _trainer(config, texts, False, quiet, loaded)
    trainer.run(False, asked, initial=initial)
    return trainer.objective.eval(), trainer.tokenizer


def prepared(
    config: PretrainConfig, texts: Sequence[str] | None = None, quiet: bool = False
) -> Trainer:
    """The trainer of a run that has not begun, and that keeps nothing: to look at its objective.

    The arguments are those of `pretrain`.   raises TinylmError as `pretrain`
    """
    trainer, _, _ = _trainer(dataclasses.replace(config, out=None), texts, False, quiet)
    return trainer


def _trainer(config, texts, resume, quiet, loaded=None):
    """The Trainer of a run, the options asked of its encoding, its first weights' fingerprint.

    loaded : the model and the tokenizer of config.init; None reads the folder
    """
    chapter = objectives.find(config.objective)
    config = complete(chapter, config)
    start = _start(chapter, config, loaded)
    model_options, train_options, text_options = divide(chapter, start.kind, config)
    train_config = TrainConfig.of(chapter, seed=config.seed, **train_options)
    vocab_size = model_options.pop("vocab_size", None)

    train, held_out = _load(chapter, config, texts, quiet)
    # Fail on a mistake in the options before an encoding is learned.
    start.config(model_options, vocab_size or 1)
    with hidden(quiet):
        # The state is written after the tokenizer, so if there is a state the tokenizer is whole.
        if resume and _has_state(config.out):
            tokenizer = text.load(config.out)
        else:
            tokenizer = start.encoding(train, vocab_size, text_options)

    model_config = start.config(model_options, tokenizer.vocab_size)
    progress = not quiet and sys.stderr.isatty()
    how = {"begin_id": tokenizer.begin_id, "end_id": tokenizer.end_id}
    how["structure"] = chapter.structured
    corpus = encode_corpus(train, tokenizer, progress=progress, **how)
    rng = np.random.default_rng(config.seed)
    objective = untrained(chapter, model_config, tokenizer, corpus, rng)
    with hidden(quiet):
        start.initialise(objective, tokenizer)
    evaluation = None
    if held_out:
        evaluation = encode_corpus(held_out, tokenizer, **how)
    trainer = Trainer(objective, tokenizer, config.out, train_config, evaluation, quiet)
    trainer.folder.origin = origin(config)
    asked = {"kind": start.kind, "vocab_size": vocab_size, **text_options}
    return trainer, asked, start.fingerprint()


def origin(config: PretrainConfig) -> hub.Origin:
    """What a config says of the origin of its model.

    >>> origin(PretrainConfig("gpt", "kjv", licence="MIT"))
    Origin(data='kjv', command=None, licence='MIT', base=None)
    """
    base = config.init or config.teacher
    return hub.Origin(
        data=str(config.data),
        command=config.command,
        licence=config.licence,
        base=None if base is None else str(base),
    )


def _start(chapter, config, loaded):
    """The beginning that a config asks for, see start.py."""
    if config.teacher is not None:
        if config.init is not None or config.init_embeddings is not None:
            raise TinylmError(
                "a student begins as its teacher says; leave out --init and --init-embeddings"
            )
        return from_teacher(config.teacher, chapter, config.size, config.encoding)
    if chapter.learn_from is not None:
        raise TinylmError(
            f"{chapter.name} learns from a trained model; use `tinylm distil TEACHER`, or say "
            "teacher=FOLDER"
        )
    if config.init is None:
        vectors = None
        if config.init_embeddings is not None:
            vectors = load_vectors(config.init_embeddings)
        size = config.size or SIZE
        return FromScratch(chapter, size, config.encoding or chapter.encoding, vectors)
    if config.init_embeddings is not None:
        raise TinylmError(
            f"the model in {config.init} brings its own vectors; leave out --init-embeddings "
            "or --init"
        )
    return from_model(config.init, chapter, config.size, config.encoding, loaded)


def _has_state(out):
    """Whether a run folder holds a state to resume from."""
    return out is not None and os.path.exists(Path(out) / checkpoint.STATE)


def _load(chapter, config, texts, quiet):
    """The documents to train on and those to evaluate on.

    raises DataError    on unusable text, before training starts
    """
    if texts is None:
        with hidden(quiet):
            texts = load_texts(config.data, config.out)
    # The split is the same for every config.seed.
    parts = split_documents(texts, share=config.held_out or HELD_OUT, seed=0)
    train, held_out = (_documents(chapter, part) for part in parts)
    if not any(document.strip() for document in train):
        raise DataError(
            f"{config.data} holds no text to train on; give a file with at least a few paragraphs"
        )
    return train, held_out


def _documents(chapter, texts):
    """The texts, or their lines that are not blank for a chapter that reads line by line."""
    if not chapter.by_line:
        return texts
    lines = []
    for document in texts:
        lines += [line for line in document.split("\n") if line.strip()]
    return lines


def untrained(
    chapter: type, config: Any, tokenizer: Any, corpus: Any, rng: np.random.Generator
) -> Any:
    """A new model that knows how its tokens are spelled and is prepared for a corpus.

    chapter : the objective's class
    config : of its Config
    rng : draws the first weights
    """
    objective = chapter(config, rng)
    objective.spell(tokenizer.vocab, tokenizer.special_ids)
    objective.prepare(corpus)
    return objective


def complete(chapter: type, config: PretrainConfig) -> PretrainConfig:
    """The config with the options of its size's recipe, where it has none of its own, and a length.

    >>> config = PretrainConfig("gpt", "mine.txt", size="nanogpt", options={"lr": 3e-4})
    >>> whole = complete(objectives.find("gpt"), config)
    >>> whole.encoding, whole.options["lr"], whole.options["steps"]
    ('chars', 0.0003, 2000)
    """
    size = config.size
    if size is None and config.init is None and config.teacher is None:
        size = SIZE
    given = config.options
    recipe = preferred(chapter.Config.recipes.get(size, {}), given)
    encoding = recipe.pop("encoding", None)
    held_out = recipe.pop("held_out", None)
    if given.keys() & LENGTHS:
        recipe.pop("steps", None)
    elif "steps" not in recipe:
        recipe["steps"] = STEPS
    return dataclasses.replace(
        config,
        options={**recipe, **given},
        encoding=config.encoding or encoding,
        held_out=config.held_out or held_out,
    )


def divide(chapter: type, kind: str | None, config: PretrainConfig) -> tuple[dict, dict, dict]:
    """Sort the options of a PretrainConfig by name: those of the model, training and the encoding.

    kind : of encoding, None for one without options
    raises TinylmError  for an unknown option, or a name that both the model and training have
    """
    training = {field.name for field in dataclasses.fields(TrainConfig)}
    training.remove("seed")  # PretrainConfig has it
    model = {field.name for field in dataclasses.fields(chapter.Config)}
    encoding = set(text.OPTIONS.get(kind, {}))
    if clash := sorted(model & training):
        raise TinylmError(
            f"{chapter.name} has a config field {clash[0]!r}, which is an option of training; "
            "rename it"
        )
    known = training | model | encoding
    if unknown := sorted(set(config.options) - known):
        names = ", ".join(sorted(known))
        raise TinylmError(f"{chapter.name} has no option {unknown[0]!r}; it knows {names}")

    def chosen(names):
        return {name: value for name, value in config.options.items() if name in names}

    text_options = chosen(encoding)
    text.check_options(kind or "the encoding", config.options.get("vocab_size"), text_options)
    return chosen(model), chosen(training), text_options

"""From a named corpus to a trained run folder: text -> vocabulary -> ids -> objective -> Trainer.

The one path that both `tinylm pretrain` and `tinylm compare` take, so that their runs are the same runs.
"""

import dataclasses
import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinylm import objectives, settings, text
from tinylm.data import encode_corpus, load_texts, split_documents
from tinylm.errors import DataError, TinylmError
from tinylm.progress import hidden, note
from tinylm.training import checkpoint, runs
from tinylm.training.train import TrainConfig, Trainer


@dataclass(frozen=True)
class PretrainConfig(settings.Config):
    """What to train on what.

    objective : a chapter's name, a file that defines one (mine.py, mine.py:NAME), or a class
    data : a file, a folder, a named set, or "toy"
    out : run folder, or None
    size : class method of the objective's Config: tiny, small, ...
    options : fields of that Config or of TrainConfig to replace, for example {"n_layer": 2, "lr": 3e-4}, or
        options of the encoding, see text.OPTIONS: {"min_count": 5, "phrases": 2}
    seed : of weights, batches and dropout
    held_out : share of the documents kept for evaluation
    encoding : kind of encoding, see text.KINDS; None for the one that the objective prefers
    """

    ranges = {
        "seed": settings.at_least(0),
        "held_out": settings.Range(0, 1, closed=False, ends=False),
        "encoding": settings.one_of(*text.KINDS),
    }
    objective: str | type
    data: str | Path
    out: str | Path | None = None
    size: str = "tiny"
    options: dict = field(default_factory=dict)
    seed: int = 0
    held_out: float = 0.05
    encoding: str | None = None


def pretrain(config, texts=None, resume=False, quiet=False, overwrite=False):
    """Train an objective from scratch, or resume it.

    texts : documents to use instead of loading config.data
    resume, overwrite : what may happen to a folder that holds a run, see `Trainer.run`
    returns the trained objective, its tokenizer, and the result of `Trainer.run`
    raises TinylmError, one sentence, on any mistake in the config or the data
    """
    with runs.claim_run(config.out, resume, overwrite, reading=(config.data,)):
        return _pretrain(config, texts, resume, quiet)


def _pretrain(config, texts, resume, quiet):
    """`pretrain` in a folder that is claimed: nobody else writes there, and what it holds may go."""
    chapter = objectives.find(config.objective)
    kind = config.encoding or chapter.encoding
    model_options, train_options, text_options = divide(chapter, kind, config)
    train_config = TrainConfig.of(chapter, seed=config.seed, **train_options)
    with hidden(quiet):
        texts = load_texts(config.data, config.out) if texts is None else texts
    train, held_out = (
        _documents(chapter, part) for part in split_documents(texts, share=config.held_out, seed=0)
    )
    if not any(document.strip() for document in train):
        raise DataError(
            f"{config.data} holds no text to train on; give a file with at least a few paragraphs"
        )
    vocab_size = model_options.pop("vocab_size", None)
    # Fail on a mistake in the options before an encoding is learned.
    sized(chapter, config.size, {**model_options, "vocab_size": vocab_size or 1})
    resumed = resume and config.out is not None and (Path(config.out) / checkpoint.STATE).exists()
    # The state is written after the tokenizer, so where there is one the tokenizer is whole.
    with hidden(quiet):
        if not resumed:
            note(f"learning an encoding ({kind}) from {len(train):,} documents")
        tokenizer = (
            text.load(config.out)
            if resumed
            else text.learn(kind, train, vocab_size, **text_options)
        )
    model_config = sized(
        chapter, config.size, {**model_options, "vocab_size": tokenizer.vocab_size}
    )
    progress = not quiet and sys.stderr.isatty()
    corpus = encode_corpus(train, tokenizer, end_id=tokenizer.end_id, progress=progress)
    rng = np.random.default_rng(config.seed)
    objective = untrained(chapter, model_config, tokenizer, corpus, rng)
    evaluation = encode_corpus(held_out, tokenizer, end_id=tokenizer.end_id) if held_out else None
    trainer = Trainer(objective, tokenizer, config.out, train_config, evaluation, quiet)
    asked = {"kind": kind, "vocab_size": vocab_size, **text_options}
    return objective, tokenizer, trainer.run(resume, asked)


def untrained(chapter, config, tokenizer, corpus, rng):
    """A new model that knows how its tokens are spelled and is prepared for a corpus.

    chapter : the objective's class     config : of its Config     rng : numpy Generator of the weights
    """
    objective = chapter(config, rng)
    objective.spell(tokenizer.vocab, tokenizer.special_ids)
    objective.prepare(corpus)
    return objective


def _documents(chapter, texts):
    """The texts, or their lines for a chapter whose windows never leave a line."""
    if not chapter.by_line:
        return texts
    return [line for text in texts for line in text.split("\n") if line.strip()]


def divide(chapter, kind, config):
    """The options of a PretrainConfig, told apart by name: a dict each for the model, the training, the encoding.

    raises TinylmError  for an option that nobody knows, or one that two would take
    """
    training = {f.name for f in dataclasses.fields(TrainConfig)} - {"seed"}  # that is config.seed
    model = {f.name for f in dataclasses.fields(chapter.Config)}
    if clash := sorted(model & training):
        raise TinylmError(
            f"{chapter.name} has a config field {clash[0]!r}, which is an option of training; rename it"
        )
    encoding = text.OPTIONS.get(kind, {})
    if unknown := sorted(set(config.options) - training - model - set(encoding)):
        known = ", ".join(sorted(training | model | set(encoding)))
        raise TinylmError(f"{chapter.name} has no option {unknown[0]!r}; it knows {known}")
    model_options, train_options, text_options = (
        {name: value for name, value in config.options.items() if name in names}
        for names in (model, training, encoding)
    )
    text.check_options(kind, config.options.get("vocab_size"), text_options)
    return model_options, train_options, text_options


def sized(chapter, size, options):
    """The objective's config of a named size with some fields replaced.

    raises TinylmError  for a size that there is not, or a field that cannot be
    """
    sizes = dict(inspect.getmembers(chapter.Config, inspect.ismethod))  # its class methods
    sizes = {name: make for name, make in sizes.items() if not name.startswith("_")}
    if size not in sizes:
        raise TinylmError(
            f"{chapter.name} has no config {size!r}; it knows {', '.join(sorted(sizes))}"
        )
    return settings.build(chapter.Config, options, make=sizes[size])

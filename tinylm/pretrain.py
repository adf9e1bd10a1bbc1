"""From a named corpus to a trained run folder: text -> vocabulary -> ids -> objective -> Trainer.

The one path that both `tinylm pretrain` and `tinylm compare` take, so that their runs are the same runs.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinylm import checkpoint, settings, text
from tinylm.data import encode_corpus, load_texts, split_documents
from tinylm.errors import DataError, TinylmError
from tinylm.files import make_folder
from tinylm.objectives import protocol
from tinylm.progress import hidden, note
from tinylm.train import TrainConfig, Trainer


@dataclass(frozen=True)
class PretrainConfig:
    """What to train on what.

    objective : a chapter's name      data : a file, a folder, a named set, or "toy"
    out : run folder, or None         size : class method of the chapter's config: tiny, small, ...
    options : fields of the chapter's config or of TrainConfig to replace, for example {"n_layer": 2, "lr": 3e-4}, or
        options of its encoding, see text.OPTIONS: {"min_count": 5, "phrases": 2}
    seed : of weights, batches and dropout      held_out : share of the documents kept for evaluation
    """

    objective: str
    data: str
    out: str | Path | None = None
    size: str = "tiny"
    options: dict = field(default_factory=dict)
    seed: int = 0
    held_out: float = 0.05


def pretrain(config, texts=None, resume=False, quiet=False):
    """Train an objective from scratch, or resume it.

    texts : documents to use instead of loading config.data
    returns the trained objective, its tokenizer, and the result of `Trainer.run`
    raises TinylmError, one sentence, on any mistake in the config or the data
    """
    chapter = protocol.objective(config.objective)
    model_options, train_options, text_options = _divide(chapter, config)
    train_config = TrainConfig.of(chapter, seed=config.seed, **train_options)
    with hidden(quiet):
        texts = load_texts(config.data) if texts is None else texts
    train, held_out = (
        _documents(chapter, part) for part in split_documents(texts, share=config.held_out, seed=0)
    )
    if not any(document.strip() for document in train):
        raise DataError(
            f"{config.data} holds no text to train on; give a file with at least a few paragraphs"
        )
    vocab_size = model_options.pop("vocab_size", None)
    _size(
        chapter, config.size, {**model_options, "vocab_size": vocab_size or 1}
    )  # mistakes are said before the work
    if config.out is not None:
        make_folder(config.out)
    resumed = resume and config.out is not None and (Path(config.out) / checkpoint.STATE).exists()
    # The state is written after the tokenizer, so where there is one the tokenizer is whole.
    with hidden(quiet):
        if not resumed:
            note(f"learning an encoding ({chapter.text}) from {len(train):,} documents")
        tokenizer = (
            text.load(config.out)
            if resumed
            else text.learn(chapter.text, train, vocab_size, **text_options)
        )
    model_config = _size(
        chapter, config.size, {**model_options, "vocab_size": tokenizer.vocab_size}
    )
    objective = chapter(model_config, np.random.default_rng(config.seed))
    if hasattr(objective, "spell"):
        objective.spell(tokenizer.vocab)
    objective.prepare(
        encode_corpus(
            train, tokenizer, end_id=tokenizer.end_id, progress=not quiet and sys.stderr.isatty()
        )
    )
    evaluation = encode_corpus(held_out, tokenizer, end_id=tokenizer.end_id) if held_out else None
    trainer = Trainer(objective, tokenizer, config.out, train_config, evaluation, quiet)
    return objective, tokenizer, trainer.run(resume, {"vocab_size": vocab_size, **text_options})


def _documents(chapter, texts):
    """The texts, or their lines for a chapter whose windows never leave a line."""
    if not getattr(chapter, "by_line", False):
        return texts
    return [line for text in texts for line in text.split("\n") if line.strip()]


def _divide(chapter, config):
    """Options of the model, of the training and of the encoding, told apart by name."""
    training = {f.name for f in dataclasses.fields(TrainConfig)} - {"seed"}  # that is config.seed
    model = {f.name for f in dataclasses.fields(chapter.config_class)}
    encoding = text.OPTIONS.get(chapter.text, {})
    if unknown := sorted(set(config.options) - training - model - set(encoding)):
        known = ", ".join(sorted(training | model | set(encoding)))
        raise TinylmError(f"{config.objective} has no option {unknown[0]!r}; it knows {known}")
    for name, kind in encoding.items():
        if type(config.options.get(name, kind())) is not kind:
            raise TinylmError(
                f"{name} is {config.options[name]!r}, expected {settings.spoken(kind)}"
            )
    return (
        {k: v for k, v in config.options.items() if k in model and k not in training},
        {k: v for k, v in config.options.items() if k in training},
        {k: v for k, v in config.options.items() if k in encoding},
    )


def _size(chapter, size, options):
    """The chapter's config of a named size with some fields replaced."""
    sizes = [
        name
        for name, value in vars(chapter.config_class).items()
        if isinstance(value, classmethod) and not name.startswith("_")
    ]
    if size not in sizes:
        raise TinylmError(
            f"{chapter.name} has no config {size!r}; it knows {', '.join(sorted(sizes))}"
        )
    return settings.build(chapter.config_class, options, make=getattr(chapter.config_class, size))

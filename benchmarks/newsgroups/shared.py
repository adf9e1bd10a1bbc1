"""What all tables share: the posts, training by processor time, adaptation to the 20 topics."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tinylm
from tinylm.data import Corpus, encode_corpus, load_texts, split_documents
from tinylm.training.pretrain import learn_encoding, sized, untrained
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import AdaptConfig, Classifier
from tinylm.transfer.budgets import label_budget
from tinylm.transfer.task import Task

VOCABULARY = 4096
TEST = 1000  # posts
ADAPT = AdaptConfig(max_length=128)


@dataclass(frozen=True)
class Posts:
    """Texts in an encoding: to learn from, and held out."""

    tokenizer: Any
    train: Corpus
    held_out: Corpus


def split_posts() -> tuple[list[str], list[str]]:
    """The posts to learn from, and those that are held out."""
    return split_documents(load_texts("newsgroups"), share=0.05, seed=0)


def posts(
    name: str, kind: str, size: int = VOCABULARY, most: int | None = None, **options
) -> Posts:
    """The training posts in an encoding of a kind, learned from them, for an objective.

    name : of the objective     size, options : of the encoding
    most : words to learn from; None for all posts. A tenth as many are held out
    """
    texts, held_out = split_posts()
    if most is not None:
        texts = up_to(texts, most)
        held_out = up_to(held_out, most // 10)
    chapter = tinylm.objectives.find(name)
    tokenizer = learn_encoding(chapter, kind, texts, size, options)
    how = {"end_id": tokenizer.end_id, "structure": True}
    train, other = (encode_corpus(part, tokenizer, **how) for part in (texts, held_out))
    return Posts(tokenizer, train, other)


def up_to(texts: Sequence[str], most: int) -> list[str]:
    """The first texts that have so many words together; the last one is cut.

    >>> up_to(["a b", "c d", "e"], 3)
    ['a b', 'c']
    """
    found = []
    left = most
    for text in texts:
        words = text.split()[:left]
        left -= len(words)
        if words:
            found.append(" ".join(words))
    return found


def new(chapter: str | type, options: dict, given: Posts, seed: int, size: str = "small"):
    """A model on the training posts, and how it is trained.

    chapter : an objective or its name     size : by default the one that `compare` trains
    """
    chapter = tinylm.objectives.find(chapter)
    config = sized(chapter, size, {**options, "vocab_size": given.tokenizer.vocab_size})
    model = untrained(chapter, config, given.tokenizer, given.train, np.random.default_rng(seed))
    recipe = chapter.Config.recipes.get(size, {})
    fields = {field: value for field, value in recipe.items() if field in vars(TrainConfig)}
    return model, TrainConfig.of(chapter, seed=seed, steps=1, **fields)


def learn(model, how: TrainConfig, seconds: float) -> int:
    """Train for so many seconds of processor time.   returns the number of updates"""
    trainer = Trainer(model, config=replace(how, steps=None, minutes=seconds / 60), quiet=True)
    trainer.clock = time.process_time
    return trainer.run()["steps"]


def word2vec(given: Posts, seconds: float, size: int = 96) -> tinylm.Vectors:
    """A skip-gram's vectors, as wide as the models."""
    model, how = new("word2vec", {"size": size}, given, 0)
    learn(model, how, seconds)
    return tinylm.Vectors(given.tokenizer.vocab, model.embedding_table())


def few(task: Task, labels: int, seed: int) -> tuple[list[str], np.ndarray]:
    """So many labelled posts of each class, drawn by the seed: texts and labels."""
    chosen = label_budget(task.labels, labels, seed)
    return [task.texts[i] for i in chosen], task.labels[chosen]


def accuracy(
    encoder, tokenizer, method: str, task: Task, labels: int, seed: int, how: AdaptConfig = ADAPT
) -> float:
    """Accuracy in % on the test posts after adaptation to so many labels per class."""
    fitted = Classifier(encoder, tokenizer, method, replace(how, seed=seed))
    fitted.fit(*few(task, labels, seed))
    return 100 * fitted.score(task.test_texts, task.test_labels)


def said(numbers: Sequence[float], digits: int = 1) -> str:
    """Mean and spread.

    >>> said([1.0, 3.0])
    '2.0 ± 1.0'
    """
    return f"{np.mean(numbers):.{digits}f} ± {np.std(numbers):.{digits}f}"

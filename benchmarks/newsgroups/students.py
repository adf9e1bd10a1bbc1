"""A BERT, a DistilBERT of half its layers, and the student's twin that has no teacher.

The twin begins with the same layers and makes the same updates. KL to the teacher is that of all tokens of held-out
posts, in nats at temperature 1.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np

import tinylm
from tinylm.training.evaluation import evaluate
from tinylm.training.start import take_vectors
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer.task import load_task

from .shared import TEST, accuracy, learn, new, posts, said, word2vec

LABELS = 50
RATE = 1e-3  # the published one is for batches of 4,000 texts


def taught(teacher, given, seed: int, twin: bool):
    """A new student of a teacher, and how it learns."""
    config = tinylm.Distil.student_config(teacher, None, {"twin": twin})
    model = tinylm.Distil(config, np.random.default_rng(seed))
    model.spell(given.tokenizer.vocab, given.tokenizer.special_ids)
    model.learn_from(teacher)
    model.prepare(given.train)
    return model, TrainConfig.of(model, steps=1, seed=seed, lr=RATE)


def table(minutes: float = 1.5, seeds: int = 3) -> None:
    """Print teacher, student and twin; the student learns for half of the minutes."""
    given = posts("bert", "wordpiece")
    task = load_task("newsgroups", TEST)
    vectors = word2vec(given, 60 * minutes / 5)
    found = defaultdict(list)
    for seed in range(seeds):
        teacher, how = new("bert", {}, given, seed)
        take_vectors(teacher, given.tokenizer, vectors)
        steps = learn(teacher, how, 60 * minutes * 4 / 5)
        student, how = taught(teacher, given, seed, twin=False)
        updates = learn(student, how, 30 * minutes)
        twin, how = taught(teacher, given, seed, twin=True)
        Trainer(twin, config=replace(how, steps=updates), quiet=True).run()
        print(f"seed {seed}: {steps:,} updates of the teacher, {updates:,} of its students")
        for name, model in {"teacher": teacher, "student": student, "twin": twin}.items():
            parts = evaluate(model, given.held_out)["components"]
            score = accuracy(model, given.tokenizer, "finetune", task, LABELS, seed)
            found[name].append((parts.get("kl", 0.0), parts["masked"], score))
            print(
                f"  {name}: KL {parts.get('kl', 0):.4f}, masked {parts['masked']:.3f}, {score:.1f} %"
            )
    for name, rows in found.items():
        kl, masked, scores = zip(*rows, strict=True)
        print(f"{name}: KL {said(kl, 4)}, masked {said(masked, 3)} nats, {said(scores)} %")

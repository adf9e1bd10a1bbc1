"""Toy posts of two topics, for tests in which a model learns to tell them apart."""

import numpy as np

WORDS = {"sea": "ocean wave tide sail anchor".split(), "land": "rock hill field road barn".split()}


def posts(count, seed):
    """(text, label) pairs; all words of a text but a few tell its label, and so does what follows each."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        label = ("sea", "land")[i % 2]
        words = rng.choice([*WORDS[label], "the", "a"], 9)
        found.append((" ".join(words), label))
    return found

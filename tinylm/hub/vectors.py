"""The word vectors of a model folder, or of a file in any program's format, as one thing."""

import os
from pathlib import Path

from tinylm.errors import CheckpointError
from tinylm.objectives import Objective
from tinylm.text import Encoding
from tinylm.text.names import names
from tinylm.vectors import Vectors

from . import CONFIG, load


def word_vectors(model: Objective, tokenizer: Encoding) -> Vectors:
    """The embeddings of a model's tokens, without those of the special ones.

    Words are the tokens' `names`, so the vectors of two encodings can be compared by them.
    """
    named = names(tokenizer)
    rows = list(named.values())
    return Vectors(list(named), model.embedding_table()[rows], model.subwords())


def load_vectors(path: str | Path, errors: str = "surrogateescape") -> Vectors:
    """The word vectors of a run folder, or of a file or folder of vectors.

    errors : as in `read_vectors`
    A folder of vectors is mapped, not read into memory.
    raises CheckpointError  as `hub.load` and `Vectors.load`, and for a model without its tokenizer
    """
    if not os.path.exists(Path(path) / CONFIG):
        return Vectors.load(path, errors, mapped=True)
    model, tokenizer = load(path)
    if tokenizer is None:
        raise CheckpointError(f"{path} holds no tokenizer; put its files beside the weights")
    return word_vectors(model, tokenizer)

"""Floor 4: word vectors without the model that made them.

`Vectors` (search.py) answers questions about them; formats.py reads and writes everybody's files.
Read in this order: names.py, ngrams.py, formats.py, search.py.

>>> import tempfile
>>> import numpy as np
>>> vectors = Vectors(["sea", "lake"], np.array([[3.0, 4.0], [4.0, 3.0]]))
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = write_vectors(f"{folder}/two.vec", vectors.words, vectors.table, form="text")
...     print(round(Vectors.load(f"{folder}/two.vec").similarity("sea", "lake"), 4))
0.96
"""

from .formats import FORMATS, VECTORS, read_vectors, write_vectors
from .ngrams import AnyWord, NGrams, Subwords
from .search import Vectors

__all__ = [
    "AnyWord",
    "FORMATS",
    "NGrams",
    "Subwords",
    "VECTORS",
    "Vectors",
    "read_vectors",
    "write_vectors",
]

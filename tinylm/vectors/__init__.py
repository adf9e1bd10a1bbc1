"""Word vectors without the model that made them.

`Vectors` (search.py) answers questions; formats.py reads and writes everybody's files.
"""

from .formats import FORMATS, VECTORS, read_vectors, write_vectors
from .ngrams import NGrams, Subwords
from .search import Vectors

__all__ = ["FORMATS", "NGrams", "Subwords", "VECTORS", "Vectors", "read_vectors", "write_vectors"]

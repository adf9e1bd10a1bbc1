"""Word vectors without the model that made them: `Vectors` answers questions; formats.py knows everybody's files."""

from tinylm.vectors.formats import FORMATS, VECTORS, read_vectors, write_vectors
from tinylm.vectors.ngrams import NGrams, Subwords
from tinylm.vectors.search import Vectors

__all__ = ["FORMATS", "NGrams", "Subwords", "VECTORS", "Vectors", "read_vectors", "write_vectors"]

"""Word vectors without the model that made them: `Vectors` answers questions; formats.py knows everybody's files."""

from tinylm.vectors.formats import FORMATS, read_vectors, write_vectors
from tinylm.vectors.ngrams import NGrams, Subwords
from tinylm.vectors.search import Vectors

__all__ = ["FORMATS", "NGrams", "Subwords", "Vectors", "read_vectors", "write_vectors"]

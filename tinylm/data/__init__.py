"""Floor 4: corpora, labelled sets, batches, and the toy language.

Read in this order: batching.py, cuts.py, documents.py; then what the chapters make of a corpus:
sentences.py, cooccurrence.py, twoway.py, masking.py, pairs.py, gaps.py, pieces.py, permutation.py;
then, from a name to its texts: sets.py, fetch.py, readers.py, labelled.py, tags.py, tagged.py,
markov.py, toy.py, sources.py, dialogues.py; and to the examples of further tasks: columns.py,
squad.py, toytasks.py, examples.py.

>>> training, held_out = split_documents(load_texts("toy"))
>>> len(training), len(held_out)
(2850, 150)
"""

from .batching import jittered, length_buckets, pad, stream, windows
from .columns import Choice
from .documents import Corpus, encode_corpus, split_documents
from .examples import load_example_parts, load_examples, read_examples
from .fetch import get
from .sets import NamedSet, named_set, sets
from .sources import (
    Labelled,
    load_analogies,
    load_labelled,
    load_parts,
    load_similarity,
    load_tagged,
    load_tagged_parts,
    load_texts,
)
from .squad import Answer, Question
from .twoway import Lanes, TwoWay, both_ways

__all__ = [
    "Answer",
    "Choice",
    "Corpus",
    "Labelled",
    "Lanes",
    "NamedSet",
    "Question",
    "TwoWay",
    "both_ways",
    "encode_corpus",
    "get",
    "jittered",
    "length_buckets",
    "load_analogies",
    "load_example_parts",
    "load_examples",
    "load_labelled",
    "load_parts",
    "load_similarity",
    "load_tagged",
    "load_tagged_parts",
    "load_texts",
    "named_set",
    "pad",
    "read_examples",
    "sets",
    "split_documents",
    "stream",
    "windows",
]

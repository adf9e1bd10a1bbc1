"""Corpora, labelled sets, batches, and the toy language."""

from .batching import length_buckets, pad, stream, windows
from .documents import Corpus, encode_corpus, split_documents
from .fetch import get
from .sets import NamedSet, named_set, sets
from .sources import (
    Labelled,
    load_analogies,
    load_labelled,
    load_parts,
    load_similarity,
    load_tagged,
    load_texts,
)

__all__ = [
    "Corpus",
    "Labelled",
    "NamedSet",
    "encode_corpus",
    "get",
    "length_buckets",
    "load_analogies",
    "load_labelled",
    "load_parts",
    "load_similarity",
    "load_tagged",
    "load_texts",
    "named_set",
    "pad",
    "sets",
    "split_documents",
    "stream",
    "windows",
]

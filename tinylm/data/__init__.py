"""Corpora, labelled sets, batches, and the toy language."""

from tinylm.data.batching import length_buckets, pad, stream, windows
from tinylm.data.documents import Corpus, encode_corpus, split_documents
from tinylm.data.fetch import get
from tinylm.data.sets import NamedSet, named_set, sets
from tinylm.data.sources import (
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

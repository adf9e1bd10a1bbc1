"""word2vec: our own folder (no published one exists) plus `vectors.bin`, which every word-vector program reads."""

from tinylm import hub, text
from tinylm.vectors import write_vectors

VECTORS = hub.VECTORS
LAYOUT = ()  # every matrix is stored as we hold it


def to_config(config, end_id):
    """Nothing to add: the folder is ours."""
    return {}


def from_config(fields, config_class):
    """Our config from a config.json that we wrote."""
    return hub.fields_of(fields, config_class)


def shapes(config):
    """Iterator of (our name, stored name, shape): the two tables."""
    yield "vectors", "vectors", (config.vocab_size + config.bucket * (config.maxn > 0), config.size)
    yield (
        "context",
        "context",
        (config.vocab_size + config.hs * (config.vocab_size - 1), config.size),
    )


def also(name):
    """The tables have one name only."""
    return ()


def export(path, model):
    """Write `vectors.bin` beside the weights, if the folder holds the words."""
    if text.find(path):
        words = text.load(path).vocab
        write_vectors(
            path / VECTORS, words, model.embedding_table()[: len(words)]
        )  # the model may have more rows

"""GloVe: our own folder (no published one exists) plus `vectors.bin`, which every word-vector program reads."""

from tinylm import hub, text
from tinylm.vectors import write_vectors

VECTORS = hub.VECTORS
LAYOUT = ()  # every matrix is stored as we hold it
RAREST = 100  # words whose mean stands for all unknown ones, as in the program


def to_config(config, end_id):
    """Nothing to add: the folder is ours."""
    return {}


def from_config(fields, config_class):
    """Our config from a config.json that we wrote."""
    return hub.fields_of(fields, config_class)


def shapes(config):
    """Iterator of (our name, stored name, shape): the two tables and the biases of both."""
    for table in ("vectors", "context"):
        yield table, table, (config.vocab_size, config.vector_size)
    yield "biases", "biases", (2, config.vocab_size)


def also(name):
    """The tables have one name only."""
    return ()


def export(path, model):
    """Write `vectors.bin` beside the weights, if the folder holds the words."""
    if text.find(path):
        words = text.load(path).vocab
        table = model.embedding_table()[: len(words)]  # the model may have more rows
        if model.config.specials:
            table[:1] = table[model.config.specials :][-RAREST:].mean(axis=0)  # <unk>
        write_vectors(path / VECTORS, words, table)

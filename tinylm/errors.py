"""Mistakes a user can make, each reported as one sentence: what was wrong, what was expected, what to do."""


class TinylmError(Exception):
    """Base of every error that tells the user what to change; the command line prints it and exits with status 2."""


class ShapeError(TinylmError, ValueError):
    """Shapes or dtypes that do not fit together; the message names the op, the shapes and the expected pattern."""


class ArgumentError(TinylmError, ValueError):
    """A rate, a name or a number outside what a function takes; the message says what it takes."""


class DataError(TinylmError, ValueError):
    """A file or data set that is missing, empty, damaged or not in the expected format."""


class CheckpointError(DataError):
    """A run folder or weight file that is missing, damaged or does not fit the model."""


class VocabularyError(TinylmError, ValueError):
    """A word, id or vocabulary size that the encoding cannot serve."""

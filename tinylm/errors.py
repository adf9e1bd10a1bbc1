"""Mistakes a user can make, each one sentence: what was wrong, what was expected, what to do.

>>> import tinylm.ops as F
>>> F.add([1.0, 2.0], [1.0, 2.0, 3.0])
Traceback (most recent call last):
    ...
tinylm.errors.ShapeError: add: shapes (2,) and (3,) do not broadcast; expected axes, aligned at \
the right, that are equal or 1.
"""


class TinylmError(Exception):
    """Base of every error that tells the user what to change.

    The command line prints it and exits with status 2. Each error is also the kind of exception
    that Python programs expect:

    >>> issubclass(ShapeError, TinylmError) and issubclass(ShapeError, ValueError)
    True
    """


class ShapeError(TinylmError, ValueError):
    """Shapes or dtypes that do not fit together; it names the op, the shapes and the pattern."""


class ArgumentError(TinylmError, ValueError):
    """A rate, a name or a number that a function does not take; it says which ones it takes."""


class DataError(TinylmError, ValueError):
    """A file or data set that is missing, empty, damaged or not in the expected format."""


class CheckpointError(DataError):
    """A run folder or weight file that is missing, damaged or does not fit the model."""


class VocabularyError(TinylmError, ValueError):
    """A word, id or vocabulary size that the encoding cannot serve."""

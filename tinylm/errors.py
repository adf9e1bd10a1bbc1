"""Mistakes a user can make, each one sentence: what was wrong, what was expected, what to do.

>>> import tinylm.ops as F
>>> F.add([1.0, 2.0], [1.0, 2.0, 3.0])
Traceback (most recent call last):
    ...
tinylm.errors.ShapeError: add: shapes (2,) and (3,) do not broadcast; expected axes, aligned at \
the right, that are equal or 1.
"""

import re
from typing import ClassVar

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but newlines and tabs
LONGEST = 900  # characters of a message; of a longer one the middle is left out
KEPT = 400  # characters that stay at its end, where the advice stands


def one_line(text: str, longest: int = LONGEST) -> str:
    """A text from outside as part of a message: on one line, visible, and never endless.

    >>> one_line("red \\x1b[31m\\nlabel")
    'red \\\\x1b[31m\\\\nlabel'
    >>> len(one_line("a" * 10**6))
    900
    """
    if len(text) > longest:
        end = min(KEPT, longest // 2)
        text = f"{text[: longest - end - 3]} … {text[-end:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def visible(text: str) -> str:
    """A text as a terminal may show it: control characters but newlines and tabs are spelled out.

    A label or a generated text can hold the sequences by which a terminal is told to do things.

    >>> visible("red \\x1b[31m label")
    'red \\\\x1b[31m label'
    """
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class TinylmError(Exception):
    """Base of every error that tells the user what to change.

    The command line prints it and exits with status 2. Each error is also the kind of exception
    that Python programs expect:

    >>> issubclass(ShapeError, TinylmError) and issubclass(ShapeError, ValueError)
    True

    Whatever a message repeats of a file or an argument, it is one printable line of some hundred
    characters.

    one_sentence : False for the errors that show evidence on many lines
    """

    one_sentence: ClassVar[bool] = True

    def __init__(self, message: str = ""):
        super().__init__(one_line(str(message)) if self.one_sentence else message)


class ShapeError(TinylmError, ValueError):
    """Shapes or dtypes that do not fit together; it names the op, the shapes and the pattern."""


class ArgumentError(TinylmError, ValueError):
    """A rate, a name or a number that a function does not take; it says which ones it takes."""


class DivergenceError(TinylmError):
    """Training went wrong: a number is not finite, or the loss is far above what it was."""


class BackendError(TinylmError, ImportError):
    """The kernels cannot run as the environment asks: a backend or threading layer is not there."""


class DataError(TinylmError, ValueError):
    """A file or data set that is missing, empty, damaged or not in the expected format."""


class CheckpointError(DataError):
    """A run folder or weight file that is missing, damaged or does not fit the model."""


class VocabularyError(TinylmError, ValueError):
    """A word, id or vocabulary size that the encoding cannot serve."""

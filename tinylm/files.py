"""Files: written whole or not at all, and read with one sentence when something is wrong.

A file is written in a hidden folder beside its place (a stage), flushed to the disk, then given its
name by one rename. So a reader, or a kill at any moment, sees the old file or the new one, never a
half. Files that belong together wait in one stage until the last of them is whole. A kill leaves
nothing but a stage behind, and `sweep` removes stages.
"""

import contextlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .doors import parse_json
from .errors import DataError

LARGEST_JSON = 64 * 2**20  # bytes; a config has a few kilobytes, a vocabulary a few megabytes
STAGES = ".tinylm-*.part"  # names of folders with files that are still being written
HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # two code points that JSON reads as one
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED = re.compile("[\ud800-\udfff\x85\u2028\u2029]")  # no UTF-8, or the end of a line to some


def home() -> Path:
    """The folder that tinylm keeps between runs: TINYLM_HOME, else `tinylm` in the user's cache."""
    if os.environ.get("TINYLM_HOME"):
        return Path(os.environ["TINYLM_HOME"]).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tinylm"


@contextlib.contextmanager
def refusing(path: str | Path) -> Iterator[None]:
    """Context for writing `path`: a refusal of the disk (full, read-only) becomes a DataError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{path} cannot be written: {reason}; free space or choose another folder"
        ) from error


def check_name(path: str | Path) -> None:
    """Refuse a name that no disk can have.   raises DataError

    >>> check_name("runs/a\\0b")
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: the name 'runs/a\\x00b' holds a character that no name can have; \
choose another one
    """
    try:
        can_be = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        can_be = False
    if not can_be:
        raise DataError(
            f"the name {str(path)!r} holds a character that no name can have; choose another one"
        )


@contextlib.contextmanager
def stage(folder: str | Path) -> Iterator[Path]:
    """Yield a new hidden folder inside `folder`, and remove it afterwards, empty or not.

    folder : made if it is missing
    raises DataError        if the disk refuses (full, read-only, no permission)
    """
    check_name(folder)
    hidden = Path(folder) / STAGES.replace("*", os.urandom(8).hex())  # two writers, two names
    with refusing(folder):
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.mkdir()
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; on a clean exit its file takes the name `path` in one rename.

    After an exception the temporary file is removed. So are other files that the writer puts beside
    it; safetensors writes under a name of its own.

    path : the place of the file; missing folders are made
    raises DataError        if the disk refuses (full, read-only, no permission)
    """
    path = Path(path)
    check_name(path)
    with refusing(path), stage(path.parent) as hidden:
        part = hidden / path.name
        part.touch(exist_ok=False)
        mode = part.stat().st_mode  # that of a usual new file; the writer may make it private
        yield part
        os.chmod(part, mode)
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)


@contextlib.contextmanager
def together(folder: str | Path, heads: Sequence[str], gone: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty stage; its files take their names in `folder` when all of them are whole.

    A reader opens `heads` first. So they are removed before anything changes, and get their names
    last. A kill or a full disk at any moment leaves the old files, the new ones, or a folder
    without a head, which no reader accepts:

        words.txt  vectors.npy   old          heads = ("vectors.npy",)
        words.txt                old          vectors.npy removed
        words.txt                new          words.txt renamed
        words.txt  vectors.npy   new          vectors.npy renamed

    folder : made if it is missing
    heads : names, in the order in which readers open them
    gone : names of old files that are removed, unless the stage holds new ones
    raises DataError        if the disk refuses (full, read-only, no permission)
    """
    folder = Path(folder)
    with refusing(folder), stage(folder) as hidden:
        yield hidden
        written = sorted(path.name for path in hidden.iterdir())
        heads_written = [name for name in reversed(heads) if name in written]
        others_written = [name for name in written if name not in heads]
        outdated = [name for name in gone if name not in written]
        remove(folder, [*heads, *outdated])
        for name in [*others_written, *heads_written]:
            os.replace(hidden / name, folder / name)
            _flush(folder)


def remove(folder: str | Path, names: Iterable[str]) -> None:
    """Remove the files of these names that exist, in this order.

    raises DataError        if the disk refuses
    """
    with refusing(folder):
        for name in names:
            (Path(folder) / name).unlink(missing_ok=True)
        _flush(folder)


def make_folder(path: str | Path) -> None:
    """Make a folder if it is missing.

    raises DataError        if the disk refuses, or a file stands in its place
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be made a folder: {reason}; choose another one") from error


def sweep(folder: str | Path) -> None:
    """Remove the stages of killed writers from a folder that nobody else writes to."""
    for hidden in Path(folder).glob(STAGES):
        shutil.rmtree(hidden, ignore_errors=True)


def _flush(path):
    """Wait until the disk keeps the content of a file, or the names in a folder."""
    is_folder = os.path.isdir(path)
    if is_folder and os.name == "nt":
        return  # Windows cannot open a folder; its rename is journaled
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically.   raises DataError as `replacing`"""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically; line ends stay as they are.

    raises DataError as `replacing`, and for a lone surrogate, which UTF-8 cannot hold
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path} cannot be written: character {error.start} is the lone surrogate "
            f"{text[error.start]!a}, which no UTF-8 file can hold; remove it"
        ) from None
    write_bytes(path, content)


def as_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON that is valid UTF-8 and reads back as the same value.

    Characters stay readable. Only lone surrogates are escaped, which UTF-8 cannot hold, and U+0085,
    U+2028 and U+2029, which some programs take for the end of a line. NaN and infinity, which JSON
    does not know, become null.

    raises DataError        for a string that holds one character as two surrogates, because JSON
        would read them back as that one character

    >>> as_json({"name": "café", "loss": math.nan})
    '{"name": "café", "loss": null}'
    """
    finite = without_nan(value)
    text = json.dumps(finite, indent=indent, ensure_ascii=False, allow_nan=False)
    if halves := HALVES.search(text):
        raise DataError(
            f"A text holds a character in two halves, {halves.group()!a}, which JSON cannot tell "
            "from the whole character; join them or remove them."
        )
    return ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def without_nan(value: Any) -> Any:
    """`value` with None in place of every NaN and infinity, at any depth.

    >>> without_nan({"loss": math.inf, "recent": [2.5, math.nan]})
    {'loss': None, 'recent': [2.5, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically.

    raises DataError as `as_json` and `replacing`, and for more bytes than `read_json` accepts
    """
    text = as_json(value, indent=2) + "\n"
    if len(text) > LARGEST_JSON or len(text.encode()) > LARGEST_JSON:
        raise DataError(
            f"{path} cannot be written: it would be larger than {LARGEST_JSON:,} bytes, the most "
            "that is read again; leave out what is longest"
        )
    write_text(path, text)


def read_text(path: str | Path) -> str:
    """The whole text of a UTF-8 file, decoded by the rule of `decode_text`.

    raises DataError if the file is missing, is a folder, cannot be read, or is not UTF-8
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"There is no file {str(path)!r}; give the path of an existing text file."
        ) from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    except ValueError:  # a NUL in the name
        raise DataError(f"There is no file {str(path)!r}; no name holds a NUL.") from None
    return decode_text(raw, repr(str(path)))


def read_standard(name: str = "standard input") -> str:
    """The whole text of standard input.   raises DataError if there is none, or it is not UTF-8"""
    if sys.stdin is None or sys.stdin.closed:
        raise DataError("There is no standard input to read; give a file.")
    try:
        return decode_text(sys.stdin.buffer.read(), name)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None


def standard_lines(name: str = "standard input") -> Iterator[str]:
    """The lines of standard input, each as soon as it is there.   raises as `read_standard`"""
    if sys.stdin is None or sys.stdin.closed:
        raise DataError("There is no standard input to read; give a file.")
    for raw in sys.stdin.buffer:
        yield decode_text(raw, name)


def is_file(path: str | Path) -> bool:
    """Whether something can be read there: a file, or the output of a process, but no folder.

    A name that no disk can have is False, where Path.is_file raises.

    >>> is_file("a\\0b"), is_file(".")
    (False, False)
    """
    return os.path.exists(path) and not os.path.isdir(path)


def decode_text(raw: bytes, name: str) -> str:
    """UTF-8 bytes as text, by one rule for files and for standard input.

    The rule drops a byte order mark, and makes every line end (CR LF, and CR alone) a newline.

    name : where the bytes come from, for the error
    raises DataError if the bytes are not UTF-8

    >>> decode_text(b"sea\\r\\nwave\\r", "input")
    'sea\\nwave\\n'
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text (byte {error.start} is {raw[error.start]:#04x}); "
            "convert it to UTF-8 first."
        ) from None
    return _plain(text)


def _plain(text):
    """The text without a byte order mark, and with a newline for every line end."""
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines_read(text: str) -> list[str]:
    """The lines that `read_text` will find in a file into which `text` is written.

    >>> lines_read("sea\\r\\nwave")
    ['sea', 'wave']
    """
    return _plain(text).split("\n")


def read_json(path: str | Path) -> Any:
    """The value stored in a JSON file, any kind of value.

    raises DataError if the file is missing, not JSON, or larger than 64 MB, which is checked before
        anything is read
    """
    path = Path(path)
    if os.path.isfile(path) and (size := path.stat().st_size) > LARGEST_JSON:
        raise DataError(
            f"{str(path)!r} has {size:,} bytes, a file of this kind has at most {LARGEST_JSON:,}; "
            "it is not what its name says: copy it again."
        )
    return parse_json(read_text(path), str(path))

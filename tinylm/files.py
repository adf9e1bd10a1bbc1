"""Files: written whole or not at all, read with one sentence when something is wrong; and where tinylm keeps its own.

A file is written under a temporary name in its own folder, flushed to the disk, then given its name by one rename: a
reader, or a kill at any moment, sees the old file or the new one, never a half.
"""

import contextlib
import json
import math
import os
import re
import sys
from pathlib import Path

from .errors import DataError

LARGEST_JSON = (
    64 * 2**20
)  # bytes; a config or a summary is a few kilobytes, a vocabulary a few megabytes
PART = ".part"  # how the name of a file ends that is still being written
HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # two code points that JSON reads as one
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED = re.compile("[\ud800-\udfff\x85\u2028\u2029]")  # no UTF-8, or the end of a line to some


def home():
    """The folder for what tinylm keeps between runs: TINYLM_HOME, else the platform's cache folder + `tinylm` (a Path)."""
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
def refusing(path):
    """What a disk answers while `path` is written (full, read-only, no permission), as a DataError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{path} cannot be written: {reason}; free space or choose another folder"
        ) from error


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; on a clean exit it takes the name `path` in one rename, else it is removed.

    path : str or Path      where the file shall stand; missing folders are made
    raises DataError        if the disk refuses (full, read-only, no permission)
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}{PART}")  # two writers, two names
    with refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        mode = (
            part.stat().st_mode
        )  # an ordinary new file's, which the writer may replace by a private one
        try:
            yield part
            os.chmod(part, mode)
            _flush(part)
            os.replace(part, path)
            _flush(path.parent)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)


def make_folder(path):
    """The folder, made if it is missing.   raises DataError if the disk refuses, or a file stands in its place"""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} cannot be made a folder: {error.strerror or error}; choose another one"
        ) from error


def sweep(folder):
    """Remove what killed writers left half written in a folder that nobody else writes to."""
    for part in Path(folder).glob(f".*{PART}"):
        with contextlib.suppress(OSError):
            part.unlink()


def _flush(path):
    """Ask the disk to keep what was written to a file, or the names in a folder, before anything that builds on it."""
    is_folder = os.path.isdir(path)
    if is_folder and os.name == "nt":
        return  # Windows cannot open a folder; its rename is journaled
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path, content):
    """Write a file atomically. raises DataError as `replacing`."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path, text):
    """Write a UTF-8 text file atomically, with its own line ends.

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


def as_json(value, indent=None):
    """`value` as JSON that is valid UTF-8 and reads back as itself, whatever strings it holds.

        "\u00e9 \\ud83d" -> readable characters stay, a lone surrogate becomes its escape

    U+0085, U+2028 and U+2029 are escaped too, so that a JSON line is one line to everybody; null stands for NaN and
    infinity, which JSON does not know.
    raises DataError        for a string with a character in two halves: "\\ud83d\\ude00" is read as U+1F600
    """
    text = json.dumps(without_nan(value), indent=indent, ensure_ascii=False, allow_nan=False)
    if halves := HALVES.search(text):
        raise DataError(
            f"A text holds a character in two halves, {halves.group()!a}, which JSON cannot tell "
            "from the whole character; join them or remove them."
        )
    return ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def without_nan(value):
    """`value` with None, which JSON writes as null, for every NaN and infinity at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path, value):
    """Write `value` as indented JSON, atomically.

    raises what `as_json` and `replacing` raise, and DataError for more than `read_json` takes
    """
    text = as_json(value, indent=2) + "\n"
    if len(text) > LARGEST_JSON or len(text.encode()) > LARGEST_JSON:
        raise DataError(
            f"{path} cannot be written: it would be larger than {LARGEST_JSON:,} bytes, the most "
            "that is read again; leave out what is longest"
        )
    write_text(path, text)


def read_text(path):
    """The whole text of a UTF-8 file (a byte order mark is dropped; line ends become newlines).

    raises DataError if the file is missing, is a folder, cannot be read, or is not UTF-8
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"There is no file {str(path)!r}; give the path of an existing text file."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(path)!r} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            "convert it to UTF-8 first."
        ) from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None


def lines_read(text):
    """The lines that `read_text` and a split at newlines give of a file in which `text` was written."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return plain.split("\n")


def read_json(path):
    """The value stored in a JSON file, any kind of value.

    raises DataError if the file is missing, larger than 64 MB (which is refused before it is read), or not JSON
    """
    path = Path(path)
    if path.is_file() and (size := path.stat().st_size) > LARGEST_JSON:
        raise DataError(
            f"{str(path)!r} has {size:,} bytes, a file of this kind has at most {LARGEST_JSON:,}; "
            "it is not what its name says: copy it again."
        )
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is not valid JSON ({error}); the file is damaged or of another kind."
        ) from None

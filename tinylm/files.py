"""Files: written whole or not at all, read with one sentence when something is wrong; and where tinylm keeps its own.

A file is written in a hidden folder beside its place (a stage), flushed to the disk, then given its name by one
rename: a reader, or a kill at any moment, sees the old file or the new one, never a half. Files that belong together
wait in one stage until the last of them is whole. What a kill leaves behind is a stage, and `sweep` removes stages.
"""

import contextlib
import json
import math
import os
import re
import shutil
import sys
from pathlib import Path

from .errors import DataError

LARGEST_JSON = (
    64 * 2**20
)  # bytes; a config or a summary is a few kilobytes, a vocabulary a few megabytes
STAGES = ".tinylm-*.part"  # names of folders with files that are still being written
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
def stage(folder):
    """Yield a new hidden folder inside `folder` (made if it is missing), and remove it with what is left in it.

    raises DataError        if the disk refuses (full, read-only, no permission)
    """
    hidden = Path(folder) / STAGES.replace("*", os.urandom(8).hex())  # two writers, two names
    with refusing(folder):
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.mkdir()
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path on the same disk; on a clean exit it takes the name `path` in one rename, else it is removed.

    Whatever else the writer puts beside the temporary path (safetensors writes under a name of its own) goes with it.

    path : str or Path      where the file shall stand; missing folders are made
    raises DataError        if the disk refuses (full, read-only, no permission)
    """
    path = Path(path)
    with refusing(path), stage(path.parent) as hidden:
        part = hidden / path.name
        part.touch(exist_ok=False)
        mode = part.stat().st_mode  # an ordinary new file's, which the writer may make private
        yield part
        os.chmod(part, mode)
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)


@contextlib.contextmanager
def together(folder, heads, gone=()):
    """Yield an empty stage; the files written into it take their names in `folder` when all of them are whole.

    A reader opens `heads` first, so they are removed before anything changes and get their names last. A kill or a
    full disk at any moment leaves the old files, the new ones, or a folder without a head, which no reader accepts:

        words.txt  vectors.npy   old          heads = ("vectors.npy",)
        words.txt                old          vectors.npy removed
        words.txt                new          words.txt renamed
        words.txt  vectors.npy   new          vectors.npy renamed

    folder : str or Path        made if it is missing
    heads : names, first the one that readers open first
    gone : names of files that are removed where the stage holds no new ones
    raises DataError            if the disk refuses (full, read-only, no permission)
    """
    folder = Path(folder)
    with refusing(folder), stage(folder) as hidden:
        yield hidden
        written = sorted(path.name for path in hidden.iterdir())
        heads_written = [name for name in reversed(heads) if name in written]
        others_written = [name for name in written if name not in heads]
        remove(folder, [*heads, *(name for name in gone if name not in written)])
        for name in [*others_written, *heads_written]:
            os.replace(hidden / name, folder / name)
            _flush(folder)


def remove(folder, names):
    """Remove the files of these names, in this order, where they exist.   raises DataError if the disk refuses"""
    with refusing(folder):
        for name in names:
            (Path(folder) / name).unlink(missing_ok=True)
        _flush(folder)


def make_folder(path):
    """The folder, made if it is missing.   raises DataError if the disk refuses, or a file stands in its place"""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} cannot be made a folder: {error.strerror or error}; choose another one"
        ) from error


def sweep(folder):
    """Remove the stages of killed writers from a folder that nobody else writes to."""
    for hidden in Path(folder).glob(STAGES):
        shutil.rmtree(hidden, ignore_errors=True)


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
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"There is no file {str(path)!r}; give the path of an existing text file."
        ) from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    return decode_text(raw, repr(str(path)))


def decode_text(raw, name):
    """UTF-8 bytes as text, by one rule for files and for standard input.

    The rule drops a byte order mark, and makes every line end (CR LF, and CR alone) a newline.

    name : where the bytes come from, for the error
    raises DataError if the bytes are not UTF-8
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text (byte {error.start} is {raw[error.start]:#04x}); "
            "convert it to UTF-8 first."
        ) from None
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


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

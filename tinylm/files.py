"""Files: written whole or not at all, read with one sentence when something is wrong; and where tinylm keeps its own.

A file is written under a temporary name in its own folder, flushed to the disk, then given its name by one rename: a
reader, or a kill at any moment, sees the old file or the new one, never a half.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from .errors import DataError

LARGEST_JSON = (
    64 * 2**20
)  # bytes; a config or a summary is a few kilobytes, a vocabulary a few megabytes
PART = ".part"  # how the name of a file ends that is still being written


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
    """Write a UTF-8 text file atomically, with its own line ends. raises DataError as `replacing`."""
    write_bytes(path, text.encode("utf-8", "surrogatepass"))


def write_json(path, value):
    """Write `value` as indented JSON, atomically; NaN and infinity, which JSON does not know, raise ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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

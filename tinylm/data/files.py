"""Reading and writing small files: whole or not at all, and one sentence when something is wrong with one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from tinylm.errors import DataError


def write_atomic(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that a reader, or a kill at any moment, sees the old content or the new one and nothing between.

    path : where; missing parent folders are made
    content : str is written as UTF-8 with its own line ends
    returns the path
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # the same disk: replace is atomic
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)  # mkstemp makes files private; give them the permissions of an ordinary new file
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read_text(path: str | Path) -> str:
    """The whole text of a UTF-8 file (a byte order mark is dropped; line ends become newlines).

    raises DataError if the file is missing, is a folder, cannot be read, or is not UTF-8
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"There is no file {str(path)!r}; give the path of an existing text file.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(path)!r} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            "convert it to UTF-8 first."
        ) from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None


def read_json(path: str | Path) -> Any:
    """The value stored in a JSON file; raises DataError if the file is missing or is not JSON."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is not valid JSON ({error}); the file is damaged or of another kind.") from None

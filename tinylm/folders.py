"""Folders that tinylm writes into: it replaces nothing unasked, and one process writes at a time.

    with folders.claim("runs/gpt") as out:      # fails at once if the folder holds something
        ...                                     # a second process that claims it gets an error

The lock is the system's lock on the folder itself (flock), which needs no lock file and which a
crash releases. Where folders cannot be locked (Windows, some network disks), the hidden file
`.lock` in the folder is locked instead. On network disks that file stays. If it were removed, one
process could lock the removed file and another a new one of the same name.
"""

import contextlib
import errno
import os
import threading
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

from . import files
from .errors import CheckpointError, DataError

try:
    import fcntl
except ImportError:
    import msvcrt

    fcntl = None  # Windows

MARKS = {  # file -> the kind of folder that holds it
    "trainer.safetensors": "a run",
    "classifier.json": "a classifier",
    "config.json": "a model",
    "model.safetensors": "a model",
    "vectors.npy": "word vectors",
    "settings.json": "a comparison",
}
MODELS = ("trainer.safetensors", "classifier.json", "config.json", "model.safetensors")
LOCK = ".lock"
# What became of an attempt to lock: we hold the lock, somebody else does, or the disk has no locks.
LOCKED = "locked"
TAKEN = "taken"
NO_LOCKS = "no locks here"
BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # somebody holds the lock
UNSEEN = (LOCK, ".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep")  # a folder with these is empty
SHOWN = 3  # foreign files that an error names

_claimed = {}  # folder -> the thread that has claimed it


def named(folder: str | os.PathLike) -> Path:
    """The folder as a Path.

    raises DataError        for an empty name, which would be the current folder

    >>> named("")
    Traceback (most recent call last):
        ...
    tinylm.errors.DataError: the name of the output folder is empty; give a folder, for example \
runs/gpt
    """
    if not os.fspath(folder):
        raise DataError(
            "the name of the output folder is empty; give a folder, for example runs/gpt"
        )
    files.check_name(folder)
    return Path(folder)


@contextlib.contextmanager
def claim(
    folder: str | Path,
    own: Collection[str] = (),
    replaces: Collection[str] = MODELS,
    overwrite: bool | None = False,
    reading: Collection[str | Path] = (),
    resumable: bool = False,
) -> Iterator[Path]:
    """Context in which this thread alone writes into a folder; yields it as a Path.

    The folder is made if it is missing, locked, checked, and swept of the stages of killed writers.
    It is removed again if it was made here and nothing was written. A claim inside a claim of the
    same thread only yields.

    own : names of files; a folder with one of them is our own and may be continued
    replaces : marks (keys of MARKS) of the folders that `overwrite` may replace
    overwrite : allow a folder that holds other things; None if the caller offers no such option
    reading : paths that the work reads; a folder that is or holds one of them is never overwritten
    resumable : the caller has an option that continues a run, which a refusal then names
    raises CheckpointError  if the folder holds things that must not be overwritten, or somebody
        else has claimed it
    raises DataError        if the name is empty, a file stands there, or the disk refuses
    """
    folder = named(folder)
    place = os.path.realpath(folder)
    if _claimed.get(place) == threading.get_ident():
        yield folder
        return
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    files.make_folder(folder)
    with _emptied(missing), _locked(folder):
        _check(folder, own, replaces, overwrite, reading, resumable)
        files.sweep(folder)
        with files.stage(folder):  # fail now if the disk refuses
            pass
        _claimed[place] = threading.get_ident()
        try:
            yield folder
        finally:
            del _claimed[place]


def claim_file(
    path: str | Path, overwrite: bool = False, reading: Collection[str | Path] = ()
) -> None:
    """Refuse to write a file over another one.

    reading : files that the work reads, which are never overwritten
    raises DataError        if the name is empty, the file is one of `reading`, or it exists and
        overwrite is False
    """
    path = named(path)
    if any(_same(path, source) for source in reading):
        raise DataError(f"{path} is read here; give another name for what is written")
    if os.path.exists(path) and not overwrite:
        raise DataError(
            f"{path} exists already; give another name, or replace it with --overwrite "
            "(overwrite=True)"
        )


def contents(folder: str | Path) -> list[str]:
    """The names in a folder, sorted, without stages, the lock and files like .DS_Store."""
    names = [path.name for path in Path(folder).iterdir()]
    return sorted(name for name in names if name not in UNSEEN and not _is_stage(name))


def _is_stage(name):
    """Whether a folder of this name is a stage, see files.py."""
    return Path(name).match(files.STAGES)


def _check(folder, own, replaces, overwrite, reading, resumable):
    """Refuse a folder unless it is empty, our own to continue, or may be overwritten."""
    found = contents(folder)
    is_own = any(name in own for name in found)
    if not found or is_own:
        return
    for source in reading:
        inside = os.path.isfile(source) and _same(folder, Path(source).parent)
        if inside or _same(folder, source):
            raise CheckpointError(
                f"{folder} holds what is read here ({source}); give another folder to write into"
            )
    marks = [name for name in MARKS if name in found]
    replaceable = all(name in replaces for name in marks)
    if overwrite and replaceable:
        return
    if marks:
        held = MARKS[marks[0]]
    else:
        shown = ", ".join(found[:SHOWN])
        more = ", ..." if len(found) > SHOWN else ""
        held = f"other files ({shown}{more})"
    advice = "give another folder"
    if overwrite is False and replaceable:
        advice += ", or replace what tinylm writes there with --overwrite (overwrite=True)"
    if marks[:1] == ["trainer.safetensors"] and resumable:
        advice = f"add --resume (resume=True) to continue it, or {advice}"
    raise CheckpointError(f"{folder} already holds {held}; {advice}")


def _same(one, other):
    """Whether two paths lead to the same existing file or folder."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextlib.contextmanager
def _emptied(made):
    """Context at whose end the folders that were made are removed, innermost first, if empty."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


# ---- the lock


@contextlib.contextmanager
def _locked(folder):
    """Context that holds the lock of a folder; warns where there are no locks.

    raises CheckpointError  if somebody else holds it
    """
    with files.refusing(folder):
        handle, answer = _lock(folder)
    if answer == TAKEN:
        raise CheckpointError(
            f"{folder} is being written by another process; wait until it ends, or give another "
            "folder"
        )
    if answer == NO_LOCKS:
        warnings.warn(
            f"{folder} cannot be locked on this disk; "
            "see to it that no second process writes there",
            RuntimeWarning,
            stacklevel=4,
        )
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)  # which releases the lock, as the end of the process does
        if fcntl is None or answer == NO_LOCKS:  # Windows removes no file that somebody has open
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()


def _lock(folder):
    """Lock the folder itself, or the file in it.

    returns the open handle that holds the lock, or None; and the system's answer
    """
    places = []
    if fcntl is not None:
        places.append((folder, os.O_RDONLY))
    places.append((folder / LOCK, os.O_RDWR | os.O_CREAT))
    for path, flags in places:
        handle = os.open(path, flags, 0o666)
        answer = _try_lock(handle)
        if answer == LOCKED:
            return handle, answer
        os.close(handle)
        if answer == TAKEN:
            break
    return None, answer


def _try_lock(handle):
    """Lock an open file or folder without waiting; returns LOCKED, TAKEN or NO_LOCKS."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return TAKEN if error.errno in BUSY else NO_LOCKS
    return LOCKED

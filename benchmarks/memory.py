"""Memory of processes, in MB."""

import re
import resource
import sys
from pathlib import Path


def peak():
    """The most memory that this process had, programs mapped from files included."""
    # Not getrusage where it can be helped: its maximum of a child begins with that of the parent.
    own = _status("self", "VmHWM")
    if own:
        return own
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def allocated(process):
    """The memory that a running process has allocated now, mapped files left out; 0 if unknown."""
    return _status(process, "RssAnon")


def _status(process, row):
    """A row of what Linux tells about a process, in MB; 0 where there is none."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # another system, or it has just ended
        return 0.0
    found = re.search(rf"{row}:\s+(\d+)", status)
    return int(found[1]) / 2**10 if found else 0.0

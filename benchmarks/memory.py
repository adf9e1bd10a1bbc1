"""Memory of processes, in MB."""

import re
import resource
import sys
from pathlib import Path


def peak():
    """The most memory that this process had, programs mapped from files included."""
    own = _status(
        "self", "VmHWM"
    )  # what getrusage calls the maximum of a child begins with that of its parent
    return own or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def allocated(process):
    """What a running process has allocated now, without the programs mapped from files; 0 where no one tells."""
    return _status(process, "RssAnon")


def _status(process, row):
    """A row of what Linux tells about a process, 0 where there is none."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # another system, or it has just ended
        return 0.0
    found = re.search(rf"{row}:\s+(\d+)", status)
    return int(found[1]) / 2**10 if found else 0.0

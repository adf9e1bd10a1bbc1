"""A child process that compiles kernels into the cache folder; build.py starts it.

python -m tinylm.kernels.runtime.compiler DTYPE CLAIMS MODULE...
"""

import importlib
import sys
from pathlib import Path

import numpy as np

from .registry import KERNELS


def main(dtype: str, claims: str, modules: list[str]) -> None:
    """Compile the kernels that serve `dtype`, of the modules that no other child has claimed.

    claims : a folder; the child that makes the file `MODULE` in it compiles that module
    """
    for module in modules:
        try:
            (Path(claims) / module).touch(exist_ok=False)
        except OSError:  # another child has it, or the parent has gone and took the folder along
            continue
        importlib.import_module(module)
        for kernel in KERNELS.values():
            if kernel.__module__ == module and kernel.serves(np.dtype(dtype)):
                kernel.compile(np.dtype(dtype))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

"""All threads: that kernels give the same bits on any number of them is the business of these tests."""

import pytest
from numba.core import config

from tinylm import kernels


@pytest.fixture(autouse=True, scope="package")
def all_threads():
    """Run the package's tests on all threads and restore the count."""
    before = kernels.threads()
    kernels.set_threads(config.NUMBA_NUM_THREADS)
    yield
    kernels.set_threads(before)

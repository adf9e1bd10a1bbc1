"""One thread for the tiny arrays of these tests; that more threads give the same bits is tests/kernels' business."""

import pytest

from tinylm import kernels


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Run the package's tests on one thread and restore the count."""
    before = kernels.threads()
    kernels.set_threads(1)
    yield
    kernels.set_threads(before)

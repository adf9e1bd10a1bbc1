"""Every example in a docstring prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import tinylm

MODULES = [
    m.name for m in pkgutil.walk_packages(tinylm.__path__, "tinylm.") if "__main__" not in m.name
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert not failed

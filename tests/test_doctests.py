"""Every example in a docstring prints what it says, and every public name has an example."""

import doctest
import importlib
import pkgutil

import pytest

import tinylm

MODULES = [
    m.name for m in pkgutil.walk_packages(tinylm.__path__, "tinylm.") if "__main__" not in m.name
]
WITHOUT_EXAMPLE = {  # name in tinylm.__all__ -> why it has none
    "hub": "its functions read and write whole model folders; the README shows both",
    "sampling": "each of its functions has one",
}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert not failed


def has_example(value):
    """Whether the docstring of a module, class or function holds an example."""
    return bool(doctest.DocTestParser().get_examples(value.__doc__ or ""))


@pytest.mark.parametrize("name", sorted(set(tinylm.__all__) - WITHOUT_EXAMPLE.keys()))
def test_every_public_name_has_an_example(name):
    assert has_example(getattr(tinylm, name))


@pytest.mark.parametrize("name", WITHOUT_EXAMPLE)
def test_only_public_names_without_an_example_are_excused(name):
    assert name in tinylm.__all__ and not has_example(getattr(tinylm, name))

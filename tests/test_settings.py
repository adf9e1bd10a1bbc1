"""Configs refuse what cannot be meant, whoever makes them: any kind of value, any number out of range."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import settings
from tinylm.errors import TinylmError
from tinylm.settings import above, at_least, between, one_of


@dataclass(frozen=True)
class Sizes(settings.Config):
    """A config with every kind of field."""

    ranges = {
        "width": at_least(1, 65_536),
        "rate": between(0, 1),
        "scale": above(0),
        "shape": one_of("flat", "round"),
        "betas": between(0, 0.999),
    }
    width: int = 64
    rate: float = 0.1
    inner: int | None = None
    shape: str = "flat"
    scale: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)
    free: bool = False

    def check(self):
        if self.inner and self.inner < self.width:
            raise TinylmError("inner is below width")


NUMBERS = ("width", "rate", "inner", "scale")


@given(st.sampled_from(NUMBERS), st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_no_number_may_be_infinite_or_nan(name, value):
    with pytest.raises(TinylmError, match=name):
        Sizes(**{name: value})


@given(st.floats() | st.integers(-(10**12), 10**12))
def test_a_number_is_taken_only_inside_its_range(value):
    inside = {
        "width": isinstance(value, int) and 1 <= value <= 65_536,
        "rate": 0 <= value <= 1,
        "scale": 0 < value < float("inf"),
    }
    for name, fits in inside.items():
        if fits:
            assert vars(Sizes(**{name: value}))[name] == value
        else:
            with pytest.raises(TinylmError, match=f"Sizes: {name} is "):
                Sizes(**{name: value})


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 2.5},
        {"width": True},
        {"width": "8"},
        {"shape": "square"},
        {"betas": (0.9, 2)},
        {"betas": (0.9,)},
        {"inner": 2**31},
        {"inner": 10**20},
        {"free": 1},
        {"inner": 3},
    ],
    ids=str,
)
def test_a_wrong_value_is_one_sentence_that_names_the_field(wrong):
    with pytest.raises(TinylmError, match=next(iter(wrong))):
        Sizes(**wrong)
    with pytest.raises(TinylmError, match=next(iter(wrong))):
        settings.build(Sizes, wrong)


def test_numpy_numbers_become_plain_ones():
    sizes = Sizes(width=np.int64(7), rate=np.float32(0.5))
    assert type(sizes.width) is int and type(sizes.rate) is float


def test_the_members_of_a_dict_become_plain_too():
    given = {"betas": [0.9, 0.98], "ratio": np.float64(32), "inner": {"n": np.int64(3)}}
    found = settings.argument("Here", "options", given, dict)
    assert found == {"betas": (0.9, 0.98), "ratio": 32.0, "inner": {"n": 3}}
    assert type(found["ratio"]) is float and type(found["inner"]["n"]) is int
    with pytest.raises(TinylmError, match=r"options\['ratio'\] is inf"):
        settings.argument("Here", "options", {"ratio": np.inf}, dict)


def test_how_large_a_member_of_a_dict_may_be_is_said_elsewhere():
    assert settings.argument("Here", "options", {"tokens": 3 * 10**9}, dict)["tokens"] == 3 * 10**9
    with pytest.raises(TinylmError, match=r"options\['tokens'\]"):
        settings.argument("Here", "options", {"tokens": 10**400}, dict)


def test_a_whole_number_beyond_every_float_is_held_to_its_range():
    assert settings.argument("Here", "steps", 10**400, int, settings.at_least(0)) == 10**400
    for limit in (settings.between(0, 9), settings.at_least(0, 2**31)):
        with pytest.raises(TinylmError, match="Here: steps is 1000"):
            settings.argument("Here", "steps", 10**400, int, limit)


def test_lists_become_tuples_and_unknown_names_are_refused():
    assert settings.build(Sizes, {"betas": [0.5, 0.6]}).betas == (0.5, 0.6)
    with pytest.raises(TinylmError, match="it knows width, rate"):
        settings.build(Sizes, {"hight": 3})

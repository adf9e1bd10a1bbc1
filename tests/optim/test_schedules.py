"""Published schedules have their published values, computed by hand; all are shares of the peak and can be resumed."""

import pytest

from tinylm import optim
from tinylm.errors import TinylmError
from tinylm.optim import schedules
from tinylm.training.train import TrainConfig

HAND = {  # name -> factor at step, for 100 steps of which 10 are warm-up
    "bert": {0: 0.0, 5: 0.5, 9: 0.9, 10: 0.9, 11: 0.89, 50: 0.5, 99: 0.01, 100: 0.0, 120: 0.0},
    "electra": {0: 0.0, 5: 0.475, 9: 0.819, 10: 0.9, 50: 0.5, 100: 0.0, 120: 0.0},
    "xlnet": {0: 0.0, 5: 0.5, 9: 0.9, 10: 1.0, 55: 0.5005, 100: 0.001, 120: 0.001},
    "warmup_linear": {0: 0.0, 5: 0.475, 10: 0.9, 11: 0.89, 50: 0.5, 100: 0.0},
    "warmup_cosine": {
        0: 0.0,
        5: 0.5,
        10: 1.0,
        25: 0.8535533905932737,
        50: 0.5,
        75: 0.14644660940672627,
        100: 0.0,
    },
    "warmup_constant": {0: 0.0, 5: 0.5, 10: 1.0, 11: 1.0, 100: 1.0},
    "slanted_triangular": {0: 1 / 32, 5: 33 / 64, 10: 1.0, 55: 33 / 64, 100: 1 / 32},
    "linear": {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 55: 0.5, 100: 0.0},
    "cosine": {0: 0.1, 9: 1.0, 10: 1.0, 55: 0.5, 100: 0.0},
    "constant": {0: 0.1, 9: 1.0, 99: 1.0},
}
every_schedule = pytest.mark.parametrize("name", schedules.SCHEDULES)


@every_schedule
def test_boundary_values_are_those_computed_by_hand(name):
    for step, wanted in HAND[name].items():
        assert schedules.SCHEDULES[name](step, 100, 10) == pytest.approx(wanted, abs=1e-12), step


@every_schedule
@pytest.mark.parametrize("steps, warmup", [(1, 0), (1, 1), (7, 0), (7, 7), (101, 13)])
def test_every_factor_is_a_share_of_the_peak_with_and_without_a_warm_up(name, steps, warmup):
    factors = [schedules.SCHEDULES[name](step, steps, warmup) for step in range(steps + 1)]
    assert all(0 <= factor <= 1 for factor in factors)
    if warmup == 0:
        assert factors[0] == pytest.approx(1)


def test_only_berts_and_gpts_cosine_jump_where_the_warm_up_ends():
    def jump(name):
        values = [schedules.SCHEDULES[name](step, 10_000, 1000) for step in range(10_001)]
        return max(abs(b - a) for a, b in zip(values, values[1:], strict=False))

    assert {name for name in schedules.SCHEDULES if jump(name) > 0.01} == {"bert", "warmup_cosine"}
    assert jump("bert") == pytest.approx(0.999 - 0.9)


@every_schedule
def test_a_schedule_and_an_optimizer_are_chosen_by_name(name):
    assert TrainConfig(steps=10, schedule=name, optimizer="adagrad").schedule == name
    with pytest.raises(TinylmError, match="schedule is 'magic'; expected one of constant"):
        TrainConfig(steps=10, schedule="magic")
    with pytest.raises(TinylmError, match="optimizer is 'magic'; expected one of adamw"):
        TrainConfig(steps=10, optimizer="magic")


def test_a_schedule_gets_its_further_options_and_refuses_those_of_others():
    ends = TrainConfig(steps=10, schedule="cosine", schedule_options={"floor": 0.25})
    assert ends.multiplier(1000, 1000) == pytest.approx(0.25)
    slanted = TrainConfig(steps=10, schedule="slanted_triangular", schedule_options={"ratio": 8})
    assert slanted.multiplier(1000, 1000) == pytest.approx(1 / 8)
    for schedule, options in (("constant", {"floor": 0.1}), ("cosine", {"steps": 3})):
        with pytest.raises(TinylmError, match=f"The schedule {schedule} has no option"):
            TrainConfig(steps=10, schedule=schedule, schedule_options=options)
    with pytest.raises(TinylmError, match="optimizer_options holds lr"):
        TrainConfig(steps=10, optimizer_options={"lr": 5.0})
    with pytest.raises(TinylmError, match="adamw has no option 'params'; it knows lr, "):
        optim.build("adamw", [], {}, {"params": 1})
    with pytest.raises(TinylmError, match="floor is 1.5; expected"):
        TrainConfig(steps=10, schedule="linear", schedule_options={"floor": 1.5})

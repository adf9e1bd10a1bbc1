"""Check the facts of a saved state, so that no damaged file is taken for a run.

The facts are what a run knows beside its arrays: {"step": 40, "steps": 900, "seconds": 12.5, ...}.
"""

import sys
from collections.abc import Callable
from typing import Any

# Facts that older runs lack, with the value that then holds.
OPTIONAL = {
    "identity": {},
    "read": 0,
    "epoch": [0.0, 0],
    "first": None,
    "best": None,
    "result": None,
}


def wrong_fact(facts: Any) -> str | None:
    """Name the first fact that no run can have, as part of a sentence; None if all are possible.

    >>> wrong_fact({"steps": 0})
    'steps cannot be 0'
    >>> wrong_fact({"steps": 9})
    'step is missing'
    """
    if not isinstance(facts, dict):
        return "its facts are no object with named fields"
    for name, holds in CHECKS.items():
        if name not in facts and name not in OPTIONAL:
            return f"{name} is missing"
        value = facts.get(name, OPTIONAL.get(name))
        if not holds(value, facts):
            return f"{name} cannot be {value!r}"
    return None


def _is_identity(identity, _):
    """A dict of settings for each part: training, model, data, encoding."""
    return isinstance(identity, dict) and all(isinstance(part, dict) for part in identity.values())


def _is_length(steps, facts):
    """The number of updates of the whole run; if --steps asked for a number, that one."""
    asked = facts.get("identity", {}).get("option", {}).get("steps")
    return is_whole(steps) and steps >= 1 and asked in (None, steps)


def _is_step(step, facts):
    """The number of updates made: all of them in a finished run, fewer in any other."""
    if not is_whole(step):
        return False
    if facts.get("result") is None:
        return 0 <= step < facts["steps"]
    return step == facts["steps"]


def _is_duration(seconds, _):
    return is_number(seconds) and seconds >= 0


def _is_count(tokens, _):
    return is_whole(tokens) and tokens >= 0


def _is_recent(losses, facts):
    """The losses of the last updates."""
    if not isinstance(losses, list) or not all(is_number(loss) for loss in losses):
        return False
    some_expected = facts["step"] > 0
    return len(losses) <= facts["step"] and (len(losses) > 0) == some_expected


def _is_epoch(epoch, _):
    """[sum of loss · tokens, sum of tokens] since the epoch began."""
    if not isinstance(epoch, list) or len(epoch) != 2:
        return False
    return is_number(epoch[0]) and is_number(epoch[1]) and epoch[1] >= 0


def _is_budget(budget, _):
    """A dict; `Budget.restore` looks closer."""
    return isinstance(budget, dict)


def _is_first(loss, _):
    """The first loss of the run, None before it."""
    return loss is None or is_number(loss)


def _is_best(best, facts):
    """{"step": updates, "loss": number, "latest": number}, None before the first evaluation."""
    if best is None:
        return True
    if not isinstance(best, dict):
        return False
    if not is_number(best.get("loss")) or not is_number(best.get("latest")):
        return False
    return is_whole(best.get("step")) and 0 <= best["step"] <= facts["step"]


def _is_result(result, facts):
    """The result that a finished run returned; it repeats facts of the state."""
    if result is None:
        return True
    if not isinstance(result, dict) or not is_number(result.get("loss")):
        return False
    if not isinstance(result.get("held_out"), dict | None):
        return False
    return all(result.get(name) == facts[name] for name in ("steps", "seconds", "tokens"))


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number.

    >>> is_whole(3), is_whole(True), is_whole(3.0)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number: Python also reads NaN, and integers of any size.

    >>> is_number(0.5), is_number(10**400), is_number(None)
    (True, False, False)
    """
    numeric = isinstance(value, float | int) and not isinstance(value, bool)
    return numeric and abs(value) <= sys.float_info.max


# In this order: each check may rely on the facts that are checked before its own.
CHECKS: dict[str, Callable[[Any, dict], bool]] = {
    "identity": _is_identity,
    "steps": _is_length,
    "step": _is_step,
    "seconds": _is_duration,
    "tokens": _is_count,
    "read": _is_count,
    "recent": _is_recent,
    "epoch": _is_epoch,
    "budget": _is_budget,
    "first": _is_first,
    "best": _is_best,
    "result": _is_result,
}

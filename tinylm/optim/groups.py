"""Which parameters an optimiser trains together: groups by name, by layer, and by weight decay."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tinylm.arguments import strings
from tinylm.errors import ArgumentError, TinylmError
from tinylm.nn.module import Module
from tinylm.tensor import Tensor

Params = Module | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]
NoDecay = str | Sequence[str] | Callable[[str, Tensor], bool]

SETTINGS = {"params", "scale", "weight_decay", "grad_scale"}  # keys of a group


def is_decayed(no_decay: NoDecay, name: str, p: Tensor) -> bool:
    """Whether a parameter is decayed: the last pattern that matches its name decides.

    A pattern says no, and one that begins with "!" says yes.

    >>> is_decayed(["bias$", "!head"], "ffn.bias", None)
    False
    >>> is_decayed(["bias$", "!head"], "head.bias", None)
    True
    """
    if callable(no_decay):
        return not no_decay(name, p)
    decayed = True
    for pattern in strings(no_decay, "no_decay"):
        if re.search(pattern.removeprefix("!"), name):
            decayed = pattern.startswith("!")
    return decayed


def check_patterns(where: str, patterns: Iterable[str], what: str = "no_decay") -> None:
    """Refuse what is no regular expression.   what : the argument's name.   raises ArgumentError

    >>> check_patterns("AdamW", ["bias$", "("])
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: AdamW: no_decay holds '(', which is no regular expression \
(missing ), unterminated subpattern at position 0).
    """
    for pattern in strings(patterns, what):
        try:
            re.compile(pattern.removeprefix("!") if what == "no_decay" else pattern)
        except re.error as error:
            raise ArgumentError(
                f"{where}: {what} holds {pattern!r}, which is no regular expression ({error})."
            ) from None


def flatten(params: Params) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """(group, name, Parameter) of a Module, of pairs, or of groups; a shared Parameter once.

    raises TinylmError  for Parameters without their names
    raises ArgumentError  for a group without Parameters, or with a setting that no optimiser knows
    """
    given = params.named_parameters() if isinstance(params, Module) else list(params)
    are_groups = bool(given) and isinstance(given[0], dict)
    groups = given if are_groups else [{"params": given}]
    seen = set()
    for group in groups:
        if "params" not in group or group.keys() - SETTINGS:
            raise ArgumentError(
                f"A group of an optimiser holds {', '.join(map(repr, group))}; expected 'params', "
                "and of 'scale' (of the rate), 'weight_decay' and 'grad_scale' what it changes."
            )
        pairs = list(group["params"])
        if any(isinstance(pair, Tensor) for pair in pairs):
            raise TinylmError(
                "An optimiser wants names, for no_decay: pass the Module or its named_parameters()."
            )
        for name, p in pairs:
            if id(p) not in seen:
                seen.add(id(p))
                yield group, name, p


def groups_by_name(module: Module, settings: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups for an optimiser: each parameter joins the first pattern that its name matches.

    settings : regular expression -> settings of the group, for example
        {r"^head": {"scale": 10.0, "weight_decay": 0.0}}
    returns one group for each pattern, then one for the parameters that match none
    raises ArgumentError  for what is no regular expression

    >>> from tinylm.nn import LayerNorm
    >>> decayed_less = groups_by_name(LayerNorm(3), {"bias$": {"weight_decay": 0.0}})
    >>> [[name for name, _ in group["params"]] for group in decayed_less]
    [['bias'], ['weight']]
    """
    check_patterns("groups_by_name", settings, "settings")
    groups = [{"params": [], **given} for given in settings.values()]
    others = {"params": []}
    for name, p in module.named_parameters():
        group = others
        for candidate, pattern in zip(groups, settings, strict=True):
            if re.search(pattern, name):
                group = candidate
                break
        group["params"].append((name, p))
    return [*groups, others]


def layerwise(
    module: Module,
    layers: Sequence[Sequence[Tensor]],
    factor: float,
    top: float = 1.0,
    key: str = "scale",
) -> list[dict[str, Any]]:
    """Groups whose learning rate shrinks by `factor` from each layer to the one below.

    layers : lists of Parameters from the bottom up, as an objective's layer_groups() returns them.
        The last has the rate `top`; a parameter of the module in none of them (a head) has 1.
    key : the setting of a group that is shrunk
    ULMFiT: factor 1/2.6. ELECTRA: factor d, top d². XLNet: without the embeddings among the layers,
    and as released with key "grad_scale", a factor on the gradient, which Adam hardly sees.

    >>> from tinylm.nn import LayerNorm, ModuleList
    >>> blocks = ModuleList([LayerNorm(3), LayerNorm(3)])
    >>> groups = layerwise(blocks, [block.parameters() for block in blocks], factor=0.5)
    >>> [(group["scale"], len(group["params"])) for group in groups]
    [(0.5, 2), (1.0, 2)]
    """
    factors = {}
    for i, layer in enumerate(layers):
        below_top = len(layers) - 1 - i
        for p in layer:
            factors[id(p)] = top * factor**below_top
    groups = {}
    for name, p in module.named_parameters():
        value = factors.get(id(p), 1.0)
        group = groups.setdefault(value, {"params": [], key: value})
        group["params"].append((name, p))
    return list(groups.values())

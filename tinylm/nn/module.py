"""Modules: parameters with names, put together by assignment."""

import numpy as np

from ..errors import CheckpointError
from ..finite import is_finite
from ..memory import must_fit
from ..settings import argument, between
from ..tensor import Tensor


class Parameter(Tensor):
    """A Tensor that is learned: a leaf whose gradient backward() fills. data : array-like of any shape."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A Tensor that is saved with the parameters but not learned: running statistics. data : array-like of any shape."""

    __slots__ = ()


SAVED = (Parameter, Buffer)  # what a state_dict holds


_MASK = (1 << 64) - 1


def _mix(x):
    """One round of splitmix64: an integer to a well mixed integer below 2^64."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class Noise:
    """Numbers the dropout masks of a model: each call of key() gives the next site's key for this (seed, step).

    A training step starts with at(seed, step), so that its masks do not depend on what ran before, and a resumed run
    draws the same ones.
    """

    def __init__(self, seed=0):
        self.at(seed, 0)

    def at(self, seed, step, place=0):
        """Start the masks of one step; `place` tells several sources of one model apart. returns self"""
        base = _mix(_mix(seed & _MASK) ^ step)
        self._base = _mix(base ^ place) if place else base
        self._site = 0
        return self

    def key(self):
        """The key (uint64) of the next site."""
        self._site += 1
        return np.uint64(_mix(self._base ^ self._site))


class Module:
    """Anything with parameters. Subclasses assign Parameters, Buffers and Modules in __init__ and define forward()."""

    training = True

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def children(self):
        """(name, Module) of the direct parts, in the order of their assignment."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def modules(self):
        """This module and everything inside it, outermost first."""
        return [self] + [inner for _, child in self.children() for inner in child.modules()]

    def named_parameters(self):
        """(name, Parameter) in the order of assignment, names dotted; a shared Parameter appears once, where it is first."""
        return self._named(Parameter)

    def _named(self, kinds, prefix=""):
        """(name, Tensor) of those of the given class or classes, as in `named_parameters`."""
        found = [
            (prefix + name, value) for name, value in vars(self).items() if isinstance(value, kinds)
        ]
        for name, child in self.children():
            found += child._named(kinds, f"{prefix}{name}.")
        seen = set()
        return [(name, p) for name, p in found if not (id(p) in seen or seen.add(id(p)))]

    def noises(self):
        """Every source of dropout noise in this module and its parts, each once, outermost first."""
        found = [v for m in self.modules() for v in vars(m).values() if isinstance(v, Noise)]
        return list({id(noise): noise for noise in found}.values())

    def rewind(self, seed, step):
        """Start the noise of one step: the same seed and step give the same dropout masks again."""
        for place, noise in enumerate(self.noises()):
            noise.at(seed, step, place)

    def parameters(self):
        """The Parameters, each once."""
        return [p for _, p in self.named_parameters()]

    def state_dict(self):
        """name -> array of every parameter and buffer (the arrays themselves, not copies)."""
        return {name: p.data for name, p in self._named(SAVED)}

    def load_state_dict(self, arrays):
        """Copy arrays (name -> array of the parameter's shape) into parameters and buffers, converted to their dtype.

        raises CheckpointError  if a name is missing or unknown, a shape differs, or a number is too large for the dtype
        """
        own = dict(self._named(SAVED))
        if missing := sorted(own.keys() - arrays.keys()):
            raise CheckpointError(
                f"The weights lack {len(missing)} of the model's parameters, for example {missing[0]!r}; "
                "expected weights of a model with the same config."
            )
        if unknown := sorted(arrays.keys() - own.keys()):
            raise CheckpointError(
                f"The weights hold {len(unknown)} arrays that the model has no parameter for, for example "
                f"{unknown[0]!r}; expected weights of a model with the same config."
            )
        for name, p in own.items():
            if arrays[name].shape != p.shape:
                raise CheckpointError(
                    f"Parameter {name!r} has shape {p.shape}, but the weights have {arrays[name].shape}."
                )
        for name, p in own.items():
            if not _survives(arrays[name], p.dtype):
                raise CheckpointError(
                    f"Parameter {name!r} is {p.dtype}, but the weights hold a number too large for that."
                )
        for name, p in own.items():
            p.data[...] = arrays[name]

    def train(self, mode=True):
        """Training mode (dropout acts) for this module and its parts; returns self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Evaluation mode (no dropout); returns self."""
        return self.train(False)

    def apply(self, f):
        """Call f(module) for every part and at last for this module; returns self."""
        for _, child in self.children():
            child.apply(f)
        f(self)
        return self

    def summary(self):
        """A table as a string: name, shape and number of elements of every parameter, then the totals."""
        rows = [
            (name, str(p.shape), f"{p.size:,}" + ("" if p.requires_grad else " frozen"))
            for name, p in self.named_parameters()
        ]
        total, trained = (
            sum(p.size for p in self.parameters() if p.requires_grad or not only)
            for only in (False, True)
        )
        rows += [("total", "", f"{total:,}")] + (
            [("trained", "", f"{trained:,}")] if trained < total else []
        )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def __repr__(self):
        own = ", ".join(
            f"{name} {p.shape}" for name, p in vars(self).items() if isinstance(p, Parameter)
        )
        lines, start, parts = [], 0, [(name, repr(child)) for name, child in self.children()]
        for i, (name, text) in enumerate(parts):
            if (
                i + 1 < len(parts) and parts[i + 1][1] == text and name.isdigit()
            ):  # equal entries of a list are said once
                continue
            first = parts[start][0]
            lines.append(f"{first} to {name}" if first != name else name)
            lines[-1] += ": " + text.replace("\n", "\n  ")
            start = i + 1
        return f"{type(self).__name__}({own})" + "".join(f"\n  {line}" for line in lines)

    def astype(self, dtype):
        """Convert every parameter and buffer to float32 or float64 in place; returns self."""
        for _, p in self._named(SAVED):
            p.data, p.grad, p.grad_home = p.data.astype(dtype), None, None
        return self


class ModuleList(Module):
    """Modules in a list; parameter names hold their index ("h.0.attn.…")."""

    def __init__(self, modules):
        self._list = list(modules)

    def children(self):
        """(index as a string, Module) of every entry."""
        return [(str(i), module) for i, module in enumerate(self._list)]

    def __iter__(self):
        return iter(self._list)

    def __len__(self):
        return len(self._list)

    def __getitem__(self, i):
        return self._list[i]


def _survives(array, dtype):
    """Whether all numbers of an array are finite in a dtype of fewer bytes than its own."""
    if array.dtype.itemsize <= dtype.itemsize:
        return True
    with np.errstate(over="ignore"):
        return is_finite(array.astype(dtype))


def freeze_to(groups, n):
    """Train groups[n:] only: parameters of the groups before, and their gradients, are left alone by every optimiser.

    groups : lists of Parameters from the bottom up, an objective's layer_groups()     n : 0 trains all, −1 only the last
    group, len(groups) none; a parameter in several groups (a tied table) is trained if one of them is
    Source: Howard & Ruder 2018, section 3.3 (gradual unfreezing: −1, then −2, … at last 0).
    """
    split = n if n >= 0 else max(len(groups) + n, 0)
    for i, group in enumerate(groups):
        for p in group:
            p.requires_grad, p.grad = i >= split, None


STANDARD = between(0, 1e30)  # deviations and bounds that are finite as float32


def normal(rng, shape, std):
    """A float32 array of `shape` drawn from N(0, std²).

    raises ArgumentError  if the machine has no memory for it, or std is negative or not finite
    """
    argument("normal", "std", std, float, STANDARD)
    must_fit(shape, 4, f"An array of the shape {shape}")
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)


def uniform(rng, shape, bound):
    """A float32 array of `shape` drawn from U(−bound, bound).   raises ArgumentError  as normal"""
    argument("uniform", "bound", bound, float, STANDARD)
    must_fit(shape, 8, f"An array of the shape {shape}")  # drawn as float64
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def full(shape, value):
    """A float32 array of `shape` that holds one value everywhere.   raises ArgumentError  if there is no memory for it"""
    must_fit(shape, 4, f"An array of the shape {shape}")
    return np.full(shape, value, np.float32)


def initial_vectors(rng, shape, width):
    """A float32 array of `shape` drawn from U(−½, ½)/width: how word vectors of that width begin.

    raises ArgumentError  if there is no memory for it
    """
    must_fit(shape, 4, f"An array of the shape {shape}")
    return (rng.random(shape, dtype=np.float32) - 0.5) / np.float32(width)

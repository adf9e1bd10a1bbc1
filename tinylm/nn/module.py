"""Modules: parameters with names, put together by assignment."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from tinylm.errors import ArgumentError, CheckpointError
from tinylm.finite import is_finite
from tinylm.memory import must_fit
from tinylm.settings import argument, between
from tinylm.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that is learned: a leaf whose gradient backward() fills.

    data : array-like of any shape
    """

    __slots__ = ()

    def __init__(self, data: Any):
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A Tensor that is saved with the parameters but not learned, such as running statistics.

    data : array-like of any shape
    """

    __slots__ = ()


SAVED = (Parameter, Buffer)  # the kinds of Tensor that a state_dict holds


_MASK = (1 << 64) - 1


def _mix(x):
    """One round of splitmix64: maps an integer to a well mixed one below 2^64."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x ^= x >> 30
    x = (x * 0xBF58476D1CE4E5B9) & _MASK
    x ^= x >> 27
    x = (x * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class Noise:
    """Numbers the dropout masks of a model: each call of key() gives the key of the next mask.

    A training step starts with at(seed, step). So its masks do not depend on earlier steps, and a
    resumed run draws the same ones.

    >>> noise = Noise(seed=7)
    >>> first = noise.key()
    >>> bool(noise.key() == first)
    False
    >>> bool(noise.at(seed=7, step=0).key() == first)
    True
    """

    def __init__(self, seed: int = 0):
        self.at(seed, 0)

    def at(self, seed: int, step: int, place: int = 0) -> Self:
        """Start the masks of one step; `place` tells several sources of one model apart.

        returns self
        """
        base = _mix(_mix(int(seed) & _MASK) ^ int(step))
        self._base = _mix(base ^ int(place)) if place else base
        self._count = 0  # of the keys given since then
        return self

    def key(self) -> np.uint64:
        """The key (uint64) of the next mask."""
        self._count += 1
        return np.uint64(_mix(self._base ^ self._count))


class Module:
    """Anything with parameters.

    Subclasses assign Parameters, Buffers and Modules in __init__ and define forward().

    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope = Parameter(2.0)
    ...     def forward(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> line(3.0).item()
    6.0
    >>> [name for name, _ in line.named_parameters()]
    ['slope']
    """

    training = True

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def children(self) -> list[tuple[str, "Module"]]:
        """(name, Module) of the direct parts, in the order of their assignment."""
        found = []
        for name, value in vars(self).items():
            if isinstance(value, Module):
                found.append((name, value))
        return found

    def modules(self) -> list["Module"]:
        """This module and everything inside it, outermost first."""
        found = [self]
        for _, child in self.children():
            found += child.modules()
        return found

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(name, Parameter) in the order of assignment, with dotted names ("h.0.attn.weight").

        A shared Parameter appears once, under its first name.
        """
        return self._named(Parameter)

    def _named(self, kinds):
        """(name, Tensor) of all Tensors of the given class or classes, as in `named_parameters`."""
        found = {}
        for name, tensor in self._all_named(kinds, ""):
            found.setdefault(id(tensor), (name, tensor))
        return list(found.values())

    def _all_named(self, kinds, prefix):
        """As `_named`, but a shared Tensor appears under each of its names."""
        for name, value in vars(self).items():
            if isinstance(value, kinds):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._all_named(kinds, f"{prefix}{name}.")

    def noises(self) -> list[Noise]:
        """The sources of dropout noise in this module and its parts, each once, outermost first."""
        found = {}
        for module in self.modules():
            for value in vars(module).values():
                if isinstance(value, Noise):
                    found[id(value)] = value
        return list(found.values())

    def rewind(self, seed: int, step: int) -> None:
        """Start the noise of one step: the same seed and step give the same dropout masks again."""
        for place, noise in enumerate(self.noises()):
            noise.at(seed, step, place)

    def parameters(self) -> list[Parameter]:
        """The Parameters, each once."""
        return [p for _, p in self.named_parameters()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """name -> array of every parameter and buffer (the arrays themselves, not copies)."""
        return {name: p.data for name, p in self._named(SAVED)}

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy arrays into parameters and buffers, converted to their dtype.

        arrays : name -> array of the parameter's shape
        raises CheckpointError  if a name is missing or unknown, a shape differs, or a number is too
            large for the dtype
        """
        own = dict(self._named(SAVED))
        if missing := sorted(own.keys() - arrays.keys()):
            raise CheckpointError(
                f"The weights lack {len(missing)} of the model's parameters, "
                f"for example {missing[0]!r}; expected weights of a model with the same config."
            )
        if unknown := sorted(arrays.keys() - own.keys()):
            raise CheckpointError(
                f"The weights hold {len(unknown)} arrays that the model has no parameter for, "
                f"for example {unknown[0]!r}; expected weights of a model with the same config."
            )
        for name, p in own.items():
            if arrays[name].shape != p.shape:
                raise CheckpointError(
                    f"Parameter {name!r} has shape {p.shape}, "
                    f"but the weights have {arrays[name].shape}."
                )
        for name, p in own.items():
            if not _survives(arrays[name], p.dtype):
                raise CheckpointError(
                    f"Parameter {name!r} is {p.dtype}, "
                    "but the weights hold a number too large for that."
                )
        for name, p in own.items():
            p.data[...] = arrays[name]

    def train(self, mode: bool = True) -> Self:
        """Training mode (dropout acts) for this module and its parts; returns self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode (no dropout); returns self."""
        return self.train(False)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within this context the module is in evaluation mode; afterwards each part is as before.

        >>> module = ModuleList([])
        >>> with module.evaluating():
        ...     module.training
        False
        >>> module.training
        True
        """
        with evaluating(self.modules()):
            yield

    def apply(self, f: Callable[["Module"], object]) -> Self:
        """Call f(module) for every part and at last for this module; returns self."""
        for _, child in self.children():
            child.apply(f)
        f(self)
        return self

    def summary(self) -> str:
        """A table: name, shape and number of elements of every parameter, then the totals.

        >>> module = ModuleList([])
        >>> module.weight = Parameter(np.zeros((3, 5)))
        >>> print(module.summary())
        weight  (3, 5)  15
        total           15
        """
        rows = []
        total = 0
        trained = 0
        for name, p in self.named_parameters():
            size = f"{p.size:,}"
            total += p.size
            if p.requires_grad:
                trained += p.size
            else:
                size += " frozen"
            rows.append((name, str(p.shape), size))
        rows.append(("total", "", f"{total:,}"))
        if trained < total:
            rows.append(("trained", "", f"{trained:,}"))
        names, shapes, _ = zip(*rows, strict=True)
        first = max(map(len, names))
        second = max(map(len, shapes))
        lines = []
        for name, shape, size in rows:
            lines.append(f"{name:{first}}  {shape:{second}}  {size}")
        return "\n".join(lines)

    def __repr__(self):
        own = []
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                own.append(f"{name} {value.shape}")
        kind = type(self).__name__
        lines = [f"{kind}({', '.join(own)})"]
        for name, text in _merge_equals(self.children()):
            indented = text.replace("\n", "\n  ")
            lines.append(f"  {name}: {indented}")
        return "\n".join(lines)

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert every parameter and buffer to float32 or float64 in place; returns self.

        raises ArgumentError  for another dtype
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ArgumentError(f"astype: dtype is {np.dtype(dtype)}; expected float32 or float64.")
        for _, p in self._named(SAVED):
            p.data = p.data.astype(dtype)
            p.grad = None
            p.grad_home = None
        return self


class evaluating:
    """`Module.evaluating` for the list of a module's parts: a small step need not walk them anew.

    modules : from `Module.modules`
    """

    def __init__(self, modules: Sequence[Module]):
        self.modules = modules

    def __enter__(self):
        self.trained = [module for module in self.modules if module.training]
        for module in self.trained:
            module.training = False

    def __exit__(self, *error):
        for module in self.modules:
            module.training = False
        for module in self.trained:
            module.training = True


def _merge_equals(children):
    """(name, repr) of some parts; a run of equal entries of a list becomes one, "0 to 11"."""
    merged = []
    parts = [(name, repr(child)) for name, child in children]
    first = None  # of a run
    for i, (name, text) in enumerate(parts):
        first = name if first is None else first
        following = [other for _, other in parts[i + 1 : i + 2]]
        if following == [text] and name.isdigit():
            continue
        label = name if name == first else f"{first} to {name}"
        merged.append((label, text))
        first = None
    return merged


class ModuleList(Module):
    """Modules in a list; parameter names hold their index ("h.0.attn.…").

    >>> layers = ModuleList([Module(), Module()])
    >>> len(layers), layers[0] is layers[1]
    (2, False)
    """

    def __init__(self, modules: Iterable[Module]):
        self._list = list(modules)

    def children(self) -> list[tuple[str, Module]]:
        """(index as a string, Module) of every entry."""
        return [(str(i), module) for i, module in enumerate(self._list)]

    def __iter__(self) -> Iterator[Module]:
        return iter(self._list)

    def __len__(self) -> int:
        return len(self._list)

    def __getitem__(self, i: int) -> Module:
        return self._list[i]


def _survives(array, dtype):
    """Whether all numbers of an array stay finite when they are converted to a smaller dtype."""
    if array.dtype.itemsize <= dtype.itemsize:
        return True
    with np.errstate(over="ignore"):
        return is_finite(array.astype(dtype))


def freeze_to(groups: list[list[Parameter]], n: int) -> None:
    """Train groups[n:] only; every optimiser leaves the parameters of the groups before alone.

    groups : lists of Parameters from the bottom up, an objective's layer_groups()
    n : 0 trains all, −1 only the last group, len(groups) none
    A parameter in several groups (a tied table) is trained if its last group is.
    Source: Howard & Ruder 2018, section 3.3 (gradual unfreezing: −1, then −2, … at last 0).

    >>> lower, upper = Parameter(1.0), Parameter(2.0)
    >>> freeze_to([[lower], [upper]], -1)
    >>> lower.requires_grad, upper.requires_grad
    (False, True)
    """
    split = n if n >= 0 else max(len(groups) + n, 0)
    for i, group in enumerate(groups):
        for p in group:
            p.requires_grad = i >= split
            p.grad = None


STANDARD = between(0, 1e30)  # deviations and bounds that are finite as float32


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """A float32 array of `shape` drawn from N(0, std²).

    raises ArgumentError  if the machine has no memory for it, or std is negative or not finite
    """
    argument("normal", "std", std, float, STANDARD)
    must_fit(shape, 4, f"An array of the shape {shape}")
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)


def truncate(module: Module, rng: np.random.Generator, std: float) -> None:
    """Draw the entries of a module's matrices anew that lie beyond two deviations, until none does.

    BERT's and ELECTRA's initial weights follow such a truncated normal distribution.
    std : the deviation that the matrices were drawn with

    >>> module = ModuleList([])
    >>> module.weight = Parameter(normal(np.random.default_rng(0), (50, 50), 0.02))
    >>> truncate(module, np.random.default_rng(1), 0.02)
    >>> bool(np.abs(module.weight.data).max() <= 0.04)
    True
    """
    for p in module.parameters():
        if p.ndim < 2:
            continue
        far = np.abs(p.data) > 2 * std
        while far.any():
            p.data[far] = normal(rng, (int(far.sum()),), std)
            far = np.abs(p.data) > 2 * std


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> np.ndarray:
    """A float32 array of `shape` drawn from U(−bound, bound).   raises ArgumentError  as normal"""
    argument("uniform", "bound", bound, float, STANDARD)
    must_fit(shape, 8, f"An array of the shape {shape}")  # drawn as float64
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def full(shape: tuple[int, ...], value: float) -> np.ndarray:
    """A float32 array of `shape` that holds one value everywhere.

    raises ArgumentError  if there is no memory for it

    >>> full((3,), 1)
    array([1., 1., 1.], dtype=float32)
    """
    must_fit(shape, 4, f"An array of the shape {shape}")
    return np.full(shape, value, np.float32)


def initial_vectors(rng: np.random.Generator, shape: tuple[int, ...], width: int) -> np.ndarray:
    """A float32 array of `shape` drawn from U(−½, ½)/width, as word vectors of that width begin.

    raises ArgumentError  if there is no memory for it
    """
    must_fit(shape, 4, f"An array of the shape {shape}")
    return (rng.random(shape, dtype=np.float32) - 0.5) / np.float32(width)

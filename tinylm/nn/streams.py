"""Two streams of relative attention: one that knows its tokens, and one that must guess them.

    content   h_t reads tokens it may see, and its own                what later tokens need
    query     g_t reads tokens it may see, and only its own place     what predicts the token there

Both pass through the same layers. Before the tokens of a text a layer may also see its memory: what
it read before, without a gradient.

Source: Yang et al. 2019, section 2.3; Dai et al. 2019 (memory).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinylm import ops as F
from tinylm.arguments import id_rows
from tinylm.errors import CheckpointError
from tinylm.settings import Config, at_least
from tinylm.tensor import Tensor

from .layers import Dropout, Embedding
from .module import Module, ModuleList, Noise, Parameter, normal
from .relative import RelativeLayer, View, distance_table, distances
from .transformer import BlockConfig


@dataclass(frozen=True)
class StreamsConfig(Config):
    """Sizes of the streams; their layers are a BlockConfig.

    vocab_size : V     layers : L
    clamp : distances beyond it count as it, −1 for no limit
    causal : tokens see the past only     same_length : and each of them equally many tokens
    shared_biases : all layers have the same u, v and s

    >>> StreamsConfig(11, layers=2).causal
    False
    """

    ranges = {"vocab_size": at_least(1), "layers": at_least(0), "clamp": at_least(-1)}
    vocab_size: int
    layers: int
    clamp: int = -1
    causal: bool = False
    same_length: bool = False
    shared_biases: bool = False


class Streams(NamedTuple):
    """The states of both streams: L + 1 Tensors (B, T, C), and as many (B, K, C) or none."""

    content: list[Tensor]
    query: list[Tensor]


class TwoStreams(Module):
    """A table of tokens and L layers of relative attention.   ids (B, T) -> L + 1 states (B, T, C)

    config, block : StreamsConfig, BlockConfig     noise : nn.Noise
    rng : Generator of the initial weights

    >>> block = BlockConfig(width=6, heads=3, hidden=24)
    >>> sizes = StreamsConfig(11, layers=2)
    >>> network = TwoStreams(sizes, block, noise=Noise(), rng=np.random.default_rng(0))
    >>> content, query = network(np.zeros((2, 5), int), picks=np.zeros((2, 1), int))
    >>> content[-1].shape, query[-1].shape
    ((2, 5, 6), (2, 1, 6))
    """

    def __init__(
        self,
        config: StreamsConfig,
        block: BlockConfig,
        *,
        noise: Noise,
        rng: np.random.Generator,
    ):
        self.config = config
        self.width = block.width
        self.word_embedding = Embedding(config.vocab_size, block.width, rng=rng, std=block.std)
        self.mask_emb = Parameter(normal(rng, (1, 1, block.width), block.std))
        self.drop = Dropout(block.residual_dropout, noise)
        layers: list[RelativeLayer] = []
        for _ in range(config.layers):
            shared = layers[0].rel_attn.biases if layers and config.shared_biases else None
            layers.append(RelativeLayer(block, noise=noise, rng=rng, biases=shared))
        self.layer = ModuleList(layers)

    def forward(
        self,
        ids,
        mask=None,
        token_types=None,
        memory=None,
        visible=None,
        picks=None,
        half_backwards: bool = False,
        query_only: bool = False,
    ) -> Streams:
        """Both streams, layer by layer.

        ids : (B, T) integers     mask : (B, T) bool, True = a real token
        token_types : (B, T), compared with each other; None = segments play no role
        memory : (L, B, M, C), what each layer read before, see `remember`; its segment is 0
        visible : (B, T, T) bool, True = query i may see token j; None = all
        picks : (B, K) different places that the query stream asks for (the published
            target_mapping has a 1 for each); None = there is no query stream
        half_backwards : the second half of the rows counts its positions down
        query_only : leave out the content above the last layer, which only fine-tuning needs
        returns L + 1 Tensors (B, T, C), one less with query_only; L + 1 (B, K, C), or none
        raises ShapeError  for an odd number of rows in two directions, or shapes that do not fit
        """
        ids, mask = id_rows("TwoStreams", ids, mask)
        length = ids.shape[1]
        past = 0 if memory is None else memory.shape[2]
        content = self.drop(self.word_embedding(ids))  # (B,T) -> (B,T,C)
        table = self.drop(self._table(length, past + length, half_backwards, content.dtype))
        view = self._view(ids.shape, past, mask, token_types, visible)
        query = None
        query_view = None
        if picks is not None:
            picks = np.asarray(picks)
            query_view = view.at(picks)
            shape = (*picks.shape, self.width)
            query = self.drop(F.broadcast_to(self.mask_emb, shape))  # (1,1,C) -> (B,K,C)
        view = self._with_itself(view, length)
        contents = [content]
        queries = [] if query is None else [query]
        for i, layer in enumerate(self.layer):
            before = None if memory is None else memory[i]
            skip = query_only and i == len(self.layer) - 1
            content, query = layer(content, query, table, view, query_view, before, skip)
            if not skip:
                contents.append(content)
            if query is not None:
                queries.append(query)
        if not query_only:
            contents[-1] = self.drop(content)
        if query is not None:
            queries[-1] = self.drop(query)
        return Streams(contents, queries)

    def _table(self, length, source, half_backwards, dtype):
        """The sinusoids of all distances, for one direction or two.   returns (G, R, C)"""
        c = self.config
        steps = distances(length, source, c.clamp)
        ways = [steps, -steps] if half_backwards else [steps]
        tables = [distance_table(way, self.width) for way in ways]
        return Tensor(np.stack(tables).astype(dtype))

    def _view(self, shape, past, mask, token_types, visible):
        """What the T places may see, as the query stream has it, and which keys are of others."""
        c = self.config
        batch, length = shape
        allowed = None
        if mask is not None:
            allowed = mask[:, None, :]  # (B,T) -> (B,1,T)
        if visible is not None:
            visible = np.asarray(visible, bool)
            allowed = visible if allowed is None else allowed & visible
        if allowed is not None:
            allowed = np.broadcast_to(allowed, (batch, length, length))
            allowed = np.pad(allowed, ((0, 0), (0, 0), (past, 0)), constant_values=True)
        if c.causal:
            causal = np.tri(length, past + length, past, dtype=bool)
            if c.same_length:
                causal &= ~np.tri(length, past + length, -1, dtype=bool)
            allowed = causal[None] if allowed is None else allowed & causal
        other = None
        if token_types is not None:
            types = np.asarray(token_types)
            keys = np.pad(types, ((0, 0), (past, 0)))  # the memory's segment is 0
            other = types[:, :, None] != keys[:, None, :]
        return View(allowed, other)

    @staticmethod
    def _with_itself(view, length):
        """The same view, but every token sees itself, as the content stream has it."""
        if view.allowed is None:
            return view
        allowed = view.allowed.copy()
        places = np.arange(length)
        past = allowed.shape[2] - length
        allowed[:, places, past + places] = True
        return View(allowed, view.other)


def remember(
    inputs: list[Tensor],
    memory: np.ndarray | None = None,
    most: int | None = None,
    reuse: int | None = None,
) -> np.ndarray:
    """What the next text may see: each layer's input, behind what was remembered before.

    inputs : L Tensors (B, T, C), all content states but the last     memory : (L, B, M, C) or None
    most : tokens to remember, the last ones; None or 0 for all
    reuse : the first so many tokens of the text count; None or 0 for all
    returns (L, B, M', C), arrays without history

    >>> inputs = [Tensor(np.zeros((2, 5, 6)))] * 3
    >>> remember(inputs, most=7).shape, remember(inputs, np.zeros((3, 2, 4, 6)), 7, 5).shape
    ((3, 2, 5, 6), (3, 2, 7, 6))
    """
    batch, length, width = inputs[0].shape
    taken = min(reuse or length, length)
    states = np.empty((len(inputs), batch, taken, width), inputs[0].dtype)
    for i, state in enumerate(inputs):
        states[i] = state.data[:, :taken]
    if memory is not None:
        states = np.concatenate([memory.astype(states.dtype, copy=False), states], axis=2)
    return states[:, :, -(most or 0) :].copy()


class Memory:
    """What the layers read before, carried from step to step.

    .states : (L, B, M, C), or None when nothing is remembered

    >>> memory = Memory()
    >>> memory.states = np.ones((1, 1, 2, 3))
    >>> arrays = memory.arrays((1, 1, 5, 3), np.float64)
    >>> arrays["memory"].shape, arrays["remembered"].tolist()
    ((1, 1, 5, 3), [2])
    >>> Memory.of(arrays, (1, 1, 5, 3)).states.shape
    (1, 1, 2, 3)
    """

    def __init__(self):
        self.states: np.ndarray | None = None

    def fits(self, rows: int) -> bool:
        """Whether the next step may have so many rows."""
        return self.states is None or self.states.shape[1] == rows

    def arrays(self, shape: tuple[int, ...], dtype: DTypeLike) -> dict[str, np.ndarray]:
        """The memory at the end of an array of its full size, and its length.

        shape : (L, B, M, C), M the most tokens that it may hold
        """
        whole = np.zeros(shape, dtype)
        length = 0
        if self.states is not None and self.fits(shape[1]):
            length = self.states.shape[2]
        if length:
            whole[:, :, -length:] = self.states
        return {"memory": whole, "remembered": np.array([length])}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> "Memory":
        """The memory that `arrays` wrote.   raises CheckpointError if a part is missing or wrong"""
        whole = arrays.get("memory")
        length = arrays.get("remembered")
        fits = whole is not None and length is not None
        if not fits or whole.shape != shape or length.shape != (1,):
            raise CheckpointError(
                f"The state lacks a memory of the shape {shape}, or its length; it is damaged or "
                "another model's."
            )
        if not 0 <= length[0] <= shape[2]:
            raise CheckpointError(
                f"A memory of {shape[2]} tokens cannot hold {length[0]}; the state is damaged."
            )
        memory = cls()
        if length[0]:
            memory.states = np.array(whole[:, :, shape[2] - int(length[0]) :])
        return memory

"""A key/value cache: a causal model keeps what it has read, and reads only the newest token.

Texts of unequal length lie flush right: row "b" of the texts "a b c" and "b" begins with two slots
of padding. Attention passes over these slots, and positions count real tokens only.

    slots      0    1    2           slots      3
    row 0      a    b    c           row 0      x       position 3
    row 1      -    -    b           row 1      y       position 1
"""

import numpy as np
from numpy.typing import ArrayLike

from tinylm.errors import ShapeError
from tinylm.memory import must_fit


class Cache:
    """Keys and values of the tokens read so far, of all layers of a model.

    layers : L     batch_size : B     heads : H     size : slots for tokens     width : D
    length : slots used so far     lengths : (B,) int64, real tokens of each row
    store : (L, 2, size, B, H, D), the memory: keys, then values of each layer
    is_plain : whether its model reads one token by the equations of `TransformerBlock.read_one`

    `open` takes slots for some further tokens, then each layer fills them with `extend`. In memory
    one layer's slots follow each other, so attention reads them where they lie.

    >>> cache = Cache(layers=1, batch_size=2, heads=3, size=11, width=5)
    >>> cache.open(2, mask=[[True, True], [False, True]])
    >>> keys, values = cache.layer(0).extend(np.ones((2, 3, 2, 5)), np.ones((2, 3, 2, 5)))
    >>> keys.shape, cache.lengths.tolist()
    ((2, 3, 2, 5), [2, 1])
    >>> cache.positions(2).tolist()  # of the next two tokens
    [[2, 3], [1, 2]]
    """

    def __init__(
        self, layers: int, batch_size: int, heads: int, size: int, width: int, dtype=np.float32
    ):
        shape = (layers, 2, size, batch_size, heads, width)
        must_fit(shape, np.dtype(dtype).itemsize, "A key/value cache")
        self.store = np.empty(shape, dtype)
        self._real = np.ones((batch_size, size), bool)
        self.size = size
        self.is_plain = False
        self.length = 0
        self.lengths = np.zeros(batch_size, np.int64)
        self._layers = [LayerCache(self, i) for i in range(layers)]

    @property
    def real(self) -> np.ndarray:
        """(B, length) bool: False where a slot holds padding."""
        return self._real[:, : self.length]

    @property
    def padded(self) -> bool:
        """Whether any slot holds padding."""
        return bool(self.lengths.min(initial=self.length) < self.length)

    def positions(self, count: int, mask: ArrayLike | None = None) -> np.ndarray:
        """The positions of the next `count` tokens: how many real ones come before, (B, count).

        mask : (B, count) bool, False at padding, whose position is any; None = all real
        """
        if mask is None:
            return self.lengths[:, None] + np.arange(count)
        before = np.cumsum(mask, axis=1) - 1
        return np.maximum(self.lengths[:, None] + before, 0)

    def open(self, count: int, mask: ArrayLike | None = None) -> None:
        """Take slots for `count` further tokens of every row, which the layers then fill.

        mask : as in `positions`
        raises ShapeError  if the slots do not suffice
        """
        end = self.length + count
        if end > self.size:
            raise ShapeError(
                f"Cache: {end} positions do not fit its room for {self.size}; make a larger one."
            )
        if mask is None:
            self.lengths += count
        else:
            self._real[:, self.length : end] = mask
            self.lengths += np.sum(mask, axis=1)
        self.length = end

    def layer(self, i: int) -> "LayerCache":
        """The part of layer i, as MultiHeadAttention takes it."""
        return self._layers[i]

    def reorder(self, rows: ArrayLike) -> None:
        """Go on with these rows, in this order; a row may come several times, or no more.

        >>> cache = Cache(layers=1, batch_size=2, heads=3, size=11, width=5)
        >>> cache.open(2, mask=[[True, True], [False, True]])
        >>> cache.reorder([1, 1, 0])
        >>> cache.lengths.tolist()
        [1, 1, 2]
        """
        rows = np.asarray(rows, np.int64)
        if np.array_equal(rows, np.arange(len(self.lengths))):
            return
        layers, two, size, _, heads, width = self.store.shape
        shape = (layers, two, size, len(rows), heads, width)
        must_fit(shape, self.store.itemsize, "A key/value cache")
        store = np.empty(shape, self.store.dtype)
        store[:, :, : self.length] = self.store[:, :, : self.length, rows]
        self.store = store
        self._real = self._real[rows]
        self.lengths = self.lengths[rows]


class LayerCache:
    """One layer's keys and values in a Cache.

    cache : the Cache     layer : its number
    given : what the layer's kernel takes beside a token, its keys and its values: weights, then
        options. The layer gathers them at its first token; None before. A model whose weights
        change needs a new cache: these keys come from the old ones.
    """

    def __init__(self, cache: Cache, layer: int):
        self.cache = cache
        self.layer = layer
        self.given: tuple[tuple[np.ndarray, ...], tuple[float, ...]] | None = None

    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of all slots so far, as they lie in memory: (1, length, B, H, D) each."""
        cache = self.cache
        return (
            cache.store[self.layer, :1, : cache.length],  # (L,2,size,B,H,D) -> (1,length,B,H,D)
            cache.store[self.layer, 1:, : cache.length],
        )

    def extend(self, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fill the slots opened last with (B, H, T, D) keys and values.

        returns those of all slots so far, (B, H, length, D) each, not copied
        raises ShapeError  if no T slots have been opened
        """
        end = self.cache.length
        first = end - keys.shape[2]
        if first < 0:
            raise ShapeError(
                f"Cache: {keys.shape[2]} positions come in, but only {end} slots are open; "
                "call open() with their number first."
            )
        [all_keys], [all_values] = self.slots()
        all_keys[first:] = keys.transpose(2, 0, 1, 3)  # (B,H,T,D) -> (T,B,H,D)
        all_values[first:] = values.transpose(2, 0, 1, 3)
        return all_keys.transpose(1, 2, 0, 3), all_values.transpose(1, 2, 0, 3)

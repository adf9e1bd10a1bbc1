"""Our own matrix product, for many products with the same matrix: pack it once, multiply often.

    out = a b, or out += a b        a : (N, K)   b : (K, M), packed   out : (N, M)

BLAS packs both matrices in every call. For a step of an LSTM, 16 rows by large weights, that takes
longer than to multiply. The weights are the same in every step, so we pack them before the first.

A strip is STRIP columns of b. It is packed as panels, each two registers wide. A panel has its rows
one after another: to read it is one run of memory. A few rows of a times one panel are a tile:

    for every k:  read row k of the panel into two registers
                  for each row of a:  spread a[row, k] over a register, multiply, add to its sums

The sums stay in registers from the first k to the last. So each number that is read is used several
times, and the multipliers do not wait for memory. Neither NumPy nor Numba can ask for a register.
Therefore `_write_tile` writes this loop in the language of LLVM, Numba's compiler, which has
vectors. LLVM makes it fit the processor.

The ladder, GFLOP/s of one thread with AVX2 for 16 x 128 x 64: BLAS 31, a loop in Numba over a
packed strip 44, tiles 91. BLAS itself reaches 93, but for matrices of 1024 x 1024.
"""

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .registry import helper

STRIP = 64  # columns of b that are packed, and multiplied, together
ROWS = 4  # of a tile
DEPTH = 256  # of a tile: a strip of so many rows stays in the second cache for all rows of a


def _register():
    """Bytes of a vector register of this processor."""
    has = llvmlite.binding.get_host_cpu_features()
    if has.get("avx512f"):
        return 64
    return 32 if has.get("avx") else 16


REGISTER = _register()


def _tile_of(rows):
    """The compiled function that multiplies so many rows of a by one panel.

    tile(a, i, packed, start, add, out, j): the rows begin at row i, the panel at packed[start]. The
    result is written into out at row i and column j; with `add`, it is added there.
    a : (N, K)   packed : flat   out : (N, M)
    """

    @intrinsic
    def tile(typing, a, i, packed, start, add, out, j):
        whole = types.intp
        signature = types.void(a, whole, packed, whole, types.boolean, out, whole)

        def write(context, builder, signature, given):
            _write_tile(context, builder, signature, given, rows)
            return context.get_dummy_value()

        return signature, write

    return tile


def _write_tile(context, builder, signature, given, rows):
    """Write the loop that stands at the top.   given : what `tile` was called with"""
    _, i, _, start, add, _, j = given
    number = context.get_value_type(signature.args[0].dtype)
    size = context.get_abi_sizeof(number)
    lanes = REGISTER // size
    vector = ir.VectorType(number, lanes)
    zeros = ir.Constant(vector, [0] * lanes)
    nothing = ir.Constant(vector, ir.Undefined)
    lane = ir.IntType(32)
    first_lanes = ir.Constant(ir.VectorType(lane, lanes), [0] * lanes)

    def constant(value):
        return ir.Constant(i.type, value)

    def matrix(place):
        return context.make_array(signature.args[place])(context, builder, given[place])

    def addresses(array, column):
        """Where this column lies in each row of the tile."""
        stride = cgutils.unpack_tuple(builder, array.strides, 2)[0]
        for row in range(rows):
            before = builder.mul(builder.add(i, constant(row)), stride)
            start = cgutils.pointer_add(builder, array.data, before, number.as_pointer())
            yield builder.gep(start, [column])

    def register_at(address, offset):
        return builder.bitcast(builder.gep(address, [offset]), vector.as_pointer())

    def spread(value):
        single = builder.insert_element(nothing, value, ir.Constant(lane, 0))
        return builder.shuffle_vector(single, nothing, first_lanes)

    a = matrix(0)
    panel = builder.gep(matrix(2).data, [start])
    depth = cgutils.unpack_tuple(builder, a.shape, 2)[1]
    rows_of_a = list(addresses(a, constant(0)))
    sums = []
    for _ in range(rows):
        sums.append([cgutils.alloca_once_value(builder, zeros) for _ in range(2)])
    with cgutils.for_range(builder, depth) as loop:
        k = loop.index
        weights = []
        for part in range(2):
            offset = builder.add(builder.mul(k, constant(2 * lanes)), constant(part * lanes))
            weights.append(builder.load(register_at(panel, offset), align=size))
        for row, totals in zip(rows_of_a, sums, strict=True):
            factor = spread(builder.load(builder.gep(row, [k])))
            for total, weight in zip(totals, weights, strict=True):
                term = builder.fmul(factor, weight, flags=["contract"])
                after = builder.fadd(builder.load(total), term, flags=["contract"])
                builder.store(after, total)
    for address, totals in zip(addresses(matrix(5), j), sums, strict=True):
        for part, total in enumerate(totals):
            place = register_at(address, constant(part * lanes))
            before = builder.select(add, builder.load(place, align=size), zeros)
            builder.store(builder.fadd(before, builder.load(total)), place, align=size)


_tile = _tile_of(ROWS)
_one_row = _tile_of(1)


@helper
def strips_of(width):
    """How many strips so many columns make; the last one may be narrower.

    >>> strips_of.py_func(100)
    2
    """
    return (width + STRIP - 1) // STRIP


@helper
def packed_size(depth, width):
    """Numbers of a packed matrix (depth, width), whose last strip is filled up."""
    return strips_of(width) * STRIP * depth


@helper
def _panel_columns(packed):
    """The number of columns of a panel."""
    return 2 * REGISTER // packed.itemsize


@helper
def _panel(packed, depth, number):
    """Panel number `number` of a packed matrix, a view (depth, columns)."""
    size = depth * _panel_columns(packed)
    return packed[number * size : (number + 1) * size].reshape((depth, _panel_columns(packed)))


@helper
def pack_columns(matrix, strip, packed):
    """Pack strip number `strip` of b = matrix (K, M).   packed : flat, see `packed_size`"""
    depth, width = matrix.shape
    columns = _panel_columns(packed)
    for first in range(strip * STRIP, min(strip * STRIP + STRIP, width), columns):
        panel = _panel(packed, depth, first // columns)
        count = min(columns, width - first)
        for k in range(depth):
            row = panel[k]
            numbers = matrix[k]
            for c in range(count):
                row[c] = numbers[first + c]
            for c in range(count, columns):
                row[c] = 0


@helper
def pack_rows(matrix, strip, packed):
    """Pack strip number `strip` of b = matrixᵀ, whose columns are the rows of a matrix (M, K)."""
    width, depth = matrix.shape
    columns = _panel_columns(packed)
    for first in range(strip * STRIP, min(strip * STRIP + STRIP, width), columns):
        panel = _panel(packed, depth, first // columns)
        count = min(columns, width - first)
        for c in range(count):
            row = matrix[first + c]
            for k in range(depth):
                panel[k, c] = row[k]
        for k in range(depth):
            for c in range(count, columns):
                panel[k, c] = 0


@helper
def packed_columns(matrix):
    """All of b = matrix (K, M), packed."""
    depth, width = matrix.shape
    packed = np.empty(packed_size(depth, width), matrix.dtype)
    for strip in range(strips_of(width)):
        pack_columns(matrix, strip, packed)
    return packed


@helper
def packed_rows(matrix):
    """All of b = matrixᵀ, packed; its columns are the rows of matrix (M, K)."""
    width, depth = matrix.shape
    packed = np.empty(packed_size(depth, width), matrix.dtype)
    for strip in range(strips_of(width)):
        pack_rows(matrix, strip, packed)
    return packed


@helper
def columns_from(packed, first, depth):
    """The packed columns of b (depth, M) from number `first` on, where a panel begins."""
    return packed[first * depth :]


@helper
def multiply(a, packed, add, out):
    """out = a b, or with `add` out += a b.

    a : (N, K)   packed : the strips of b (K, M)   out : (N, M)
    a and out may be parts of larger matrices, as long as the numbers of a row lie side by side.
    """
    multiply_top(a, packed, a.shape[1], add, out)


@helper
def multiply_top(a, packed, depth, add, out):
    """`multiply` with the first rows of b only.   a : (N, k), k ≤ K   depth : K of the packed b"""
    n, m = out.shape
    rows = a[:, :]  # to Numba an array of another kind, so what follows is compiled once for both
    columns = _panel_columns(packed)
    whole = m // columns
    for first in range(0, whole, STRIP // columns):
        last = min(first + STRIP // columns, whole)
        part = out[:, first * columns : last * columns]
        _multiply_panels(rows, packed, depth, first, last, add, part)
    done = whole * columns
    if done < m:  # the last panel is wider than what is left of out
        edge = np.zeros((n, columns), out.dtype)
        _multiply_panels(rows, packed, depth, whole, whole + 1, add, edge[:, :])
        for i in range(n):
            for j in range(done, m):
                out[i, j] = edge[i, j - done] + (out[i, j] if add else 0)


@helper
def _multiply_panels(a, packed, depth, first, last, add, out):
    """The panels first … last − 1 of `multiply_top`.   out : (N, their columns)

    Neighbours of a tile are written right after it, because its edges share lines of the cache with
    them.
    """
    n, used = a.shape
    columns = _panel_columns(packed)
    for top in range(0, max(used, 1), DEPTH):
        part = a[:, top : top + DEPTH]
        more = add or top > 0
        for i in range(0, n, ROWS):
            for number in range(first, last):
                start = (number * depth + top) * columns
                column = (number - first) * columns
                if i + ROWS <= n:
                    _tile(part, i, packed, start, more, out, column)
                else:
                    for row in range(i, n):
                        _one_row(part, row, packed, start, more, out, column)

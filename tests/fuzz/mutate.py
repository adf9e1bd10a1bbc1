"""Damage files: a mutation knows the structure of its kind of file, and spoils one part of it.

    json            a node becomes a hostile value, vanishes, comes twice, is nested
    lines           a line vanishes, comes twice, changes its separators or its end
    numbers         a decimal number becomes a hostile one
    messages        fields of a Protocol Buffers message, one level deep
    tensors         the JSON header of a safetensors file; its length stays right
    arrays          the header of an .npy file
    archives        a member of a zip file, or what the archive says of it
    raw             bytes, whatever they mean

Each takes bytes and a `random.Random`, and returns bytes.
"""

import bz2
import gzip
import io
import json
import re
import struct
import zipfile

MOST = 40_000  # bytes that a mutation adds
INTEGERS = (0, 1, -1, 2, 7, 255, 2**31, 2**32 - 1, -(2**31), 2**63, 2**64, 10**20, 10**24)
FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e30, 1e38, 1e308, float("nan"), float("inf"))
STRINGS = (
    "",
    " ",
    "\0",
    "a",
    "▁",
    "\n",
    "\t",
    "\r",
    "é",
    "\ud800",
    "\udc80",
    "\U0001f600",
    "\x1b[31m",
    "\ufeff",
    "</s>",
    "<unk>",
    "a" * 300,
    "{{",
    "../../x",
    "1e999",
    "nan",
    "2020-01-01",
    " {2,}",
)
NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"inf",
    b"1_0",
    b"0x10",
    b"9" * 20,
    b"9" * 400,
    b"9" * 5000,
)
NUMBERS += (b"1e-400", b"2147483648", b"18446744073709551616", b"", b"1.5", b"-0", b"true", b"1e30")
SEPARATORS = (b" ", b"\t", b"  ", b"\r\n", b"\n", b"\0", b"\v", b"\x85", "\u2028".encode(), b",")
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def hostile(rng):
    """A JSON value that no reader expects."""
    kind = rng.randrange(8)
    if kind < 2:
        return rng.choice(INTEGERS)
    if kind == 2:
        return rng.choice(FLOATS)
    if kind < 5:
        return rng.choice(STRINGS)
    if kind == 5:
        return rng.choice((None, True, False))
    return rng.choice(
        ([], {}, [[]], [None], [{}], {"a": 1}, ["a", "a"], [1, 2], {"": {}}, [0] * 50)
    )


# --- json


def json_file(data, rng):
    """A JSON file with one node changed; a file that is not JSON gets other bytes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return raw(data, rng)
    changed = json.dumps(_changed(value, rng), ensure_ascii=rng.random() < 0.7)
    found = changed.encode("utf-8", "surrogatepass")
    if rng.random() < 0.08:
        found = _nested(found, rng)
    return found


def _nested(data, rng):
    """A number or string of the file becomes 10⁵ brackets, or many empty objects."""
    places = [match.span() for match in NUMBER.finditer(data)] or [(0, 0)]
    begin, end = rng.choice(places)
    times = rng.choice((50, 900, 1100, 20_000))
    inner = rng.choice(
        (b"[" * times, b"[" * times + b"]" * times, b'{"a":' * times, b"[" + b"{}," * times + b"0]")
    )
    return data[:begin] + inner + data[end:]


def _nodes(value, found, above=None, key=None):
    """(container, key) of every node below a value."""
    if above is not None:
        found.append((above, key))
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in list(items)[:200]:
            _nodes(part, found, value, name)
    return found


def _changed(value, rng):
    nodes = _nodes(value, [])
    if not nodes or rng.random() < 0.03:
        return hostile(rng)
    above, key = rng.choice(nodes)
    way = rng.randrange(8)
    if way < 3:
        above[key] = hostile(rng)
    elif way == 3:
        del above[key]
    elif way == 4:
        other, name = rng.choice(nodes)
        above[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
    elif way == 5:
        above[key] = [above[key]] if rng.random() < 0.5 else {"a": above[key]}
    elif way == 6 and isinstance(above, list):
        above += [above[key]] * rng.choice((1, 2, 50))
    elif isinstance(above, dict):
        above[rng.choice([*STRINGS, *above])] = above[key]
    return value


def _keys(container):
    return container if isinstance(container, dict) else range(len(container))


# --- text


def lines(data, rng):
    """A text file with one line changed."""
    rows = data.split(b"\n")
    at = rng.randrange(len(rows))
    way = rng.randrange(9)
    if way == 0:
        del rows[at]
    elif way == 1:
        rows[at:at] = [rows[at]] * rng.choice((1, 2, 200))
    elif way == 2:
        old = rng.choice((b" ", b"\t", b"\n"))
        return data.replace(old, rng.choice(SEPARATORS), rng.choice((1, -1)))
    elif way == 3:
        return b"\xef\xbb\xbf" + data
    elif way == 4:
        return data.replace(b"\n", b"\r\n")
    elif way == 5:
        rows[at] = rows[at] * rng.choice((2, 3, 500))
    elif way == 6:
        rows[at] = rng.choice(STRINGS).encode("utf-8", "surrogatepass") + rows[at]
    elif way == 7:
        cut = rng.randrange(len(rows[at]) + 1)
        rows[at] = rows[at][:cut]
    else:
        other = rng.randrange(len(rows))
        rows[at], rows[other] = rows[other], rows[at]
    return b"\n".join(rows)[: len(data) + MOST]


def json_lines(data, rng):
    """One line of JSON changed."""
    rows = data.split(b"\n")
    at = rng.randrange(len(rows))
    rows[at] = json_file(rows[at], rng)
    return b"\n".join(rows)


def numbers(data, rng):
    """A decimal number becomes a hostile one."""
    places = [match.span() for match in NUMBER.finditer(data)]
    if not places:
        return raw(data, rng)
    begin, end = rng.choice(places)
    return data[:begin] + rng.choice(NUMBERS) + data[end:]


# --- binary formats


def _varint(value):
    value &= 2**70 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _read_varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        shift += 7
        if byte < 128:
            return value, place


def _fields(data):
    """[number, wire, value] of each field; raises IndexError for a broken message."""
    found = []
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        wire = key & 7
        if wire == 0:
            value, place = _read_varint(data, place)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                size, place = _read_varint(data, place)
            value = data[place : place + size]
            place += size
        found.append([key >> 3, wire, value])
    return found


def _message(fields):
    out = bytearray()
    for number, wire, value in fields:
        out += _varint(number << 3 | wire)
        if isinstance(value, int):
            out += _varint(value)
        elif wire == 2:
            out += _varint(len(value)) + value
        else:
            out += value
    return bytes(out)


def messages(data, rng, inside=True):
    """A message with one field changed; half of the time a field of a field."""
    try:
        fields = _fields(data)
    except IndexError:
        return raw(data, rng)
    if not fields:
        return raw(data, rng)
    field = rng.choice(fields)
    way = rng.randrange(10)
    if inside and way < 5 and field[1] == 2:
        field[2] = messages(field[2], rng, inside=False)
    elif way == 5:
        fields.remove(field)
    elif way == 6:
        fields += [list(field)] * rng.choice((1, 2, 100))
    elif way == 7:
        field[:] = [field[0], 0, rng.choice(INTEGERS) & 2**64 - 1]
    elif way == 8:
        field[0] = rng.randrange(50)
    elif field[1] == 5:
        field[2] = struct.pack(
            "<f", rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf"), -3e38))
        )
    elif field[1] == 2:
        text = rng.choice(STRINGS) * rng.choice((1, 1, 1, 100))
        field[1:] = [2, text.encode("utf-8", "surrogatepass")]
    return _message(fields)


def tensors(data, rng):
    """A safetensors file with another header of the right length."""
    size = int.from_bytes(data[:8], "little")
    header = json_file(data[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def arrays(data, rng):
    """An .npy file with another header of the right length."""
    size = int.from_bytes(data[8:10], "little")
    change = rng.choice((numbers, lines, raw))
    header = change(data[10 : 10 + size], rng)[:60_000]
    return data[:8] + len(header).to_bytes(2, "little") + header + data[10 + size :]


def archives(data, rng):
    """A zip file with one member changed, packed otherwise, or with other sizes in its directory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    way = rng.randrange(6)
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    kind = kinds[0] if way < 3 else rng.choice(kinds)
    if way == 0:
        content = arrays(content, rng) if content[:6] == b"\x93NUMPY" else raw(content, rng)
    elif way == 1:
        name = rng.choice(STRINGS[3:]).replace("\ud800", "x").replace("\udc80", "y")
    elif way == 2:
        content = b"\0" * MOST
    members[at] = (name, content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for each, inside in members:
            archive.writestr(each, inside)
    packed = out.getvalue()
    if way < 4:
        return packed
    found = bytearray(packed)
    begin = rng.choice(
        [packed.find(b"PK\x01\x02"), packed.find(b"PK\x03\x04"), len(packed) - 22, 0]
    )
    at = min(max(begin, 0) + rng.randrange(46), len(found) - 1)
    found[at] = rng.choice((0, 1, 8, 12, 14, 99, 127, 255))
    return bytes(found)


def zipped(data, rng):
    """A gzip file of changed text, or a changed gzip file."""
    if rng.random() < 0.3:
        return raw(data, rng)
    try:
        inside = gzip.decompress(data)
    except (OSError, EOFError, ValueError):
        return raw(data, rng)
    return gzip.compress(rng.choice((lines, numbers, raw))(inside, rng), 1)


def packed(data, rng):
    """A bz2 file of changed text, or a changed bz2 file."""
    if rng.random() < 0.3:
        return raw(data, rng)
    try:
        inside = bz2.decompress(data)
    except (OSError, EOFError, ValueError):
        return raw(data, rng)
    return bz2.compress(rng.choice((lines, numbers, raw))(inside, rng), 1)


def raw(data, rng):
    """Other bytes: some flipped, cut off, removed, put in, repeated."""
    found = bytearray(data)
    way = rng.randrange(7)
    at = rng.randrange(len(found) + 1)
    to = min(len(found), at + rng.choice((1, 2, 4, 8, 50)))
    if way == 0 and at < len(found):
        found[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        del found[at:]
    elif way == 2:
        del found[at:to]
    elif way == 3:
        found[at:at] = rng.randbytes(rng.choice((1, 2, 8, 60)))
    elif way == 4:
        found[to:to] = bytes(found[at:to]) * rng.choice((1, 2, 300))
    elif way == 5:
        found[at:to] = rng.choice((b"\0", b"\xff", b"\x80", b"\x7f")) * (to - at)
    else:
        found[at:to] = rng.choice((b"", b" " * 500, b"\n" * 50, b"\xef\xbb\xbf", b"a" * 500))
    return bytes(found)


BY_SUFFIX = {
    ".json": (json_file, json_file, json_file, json_file, numbers, raw),
    ".jsonl": (json_lines, json_lines, json_lines, lines, numbers, raw),
    ".model": (messages, messages, messages, raw),
    ".safetensors": (tensors, tensors, raw),
    ".npy": (arrays, arrays, raw),
    ".npz": (archives, archives, raw),
    ".whl": (archives, archives, raw),
    ".gz": (zipped,),
    ".bin": (raw, raw, numbers, lines),
    ".bz2": (packed,),
}
TEXT = (lines, lines, numbers, raw)


def mutated(name, data, rng):
    """The bytes of a file with one to three mutations that fit its name."""
    ways = BY_SUFFIX.get(name[name.rfind(".") :], TEXT)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            data = rng.choice(ways)(data, rng)
        except Exception:  # the file before was damaged already, so there is no structure to spoil
            data = raw(data, rng)
    return data

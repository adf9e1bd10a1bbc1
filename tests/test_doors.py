"""One way to read JSON, one place for what parsers raise, messages that repeat no more than a line."""

import gc
import json
import tracemalloc

import pytest
from costs import cost_at_most
from hypothesis import given
from hypothesis import strategies as st

from tinylm import doors, files
from tinylm.doors import json_value, parse_json, parsing
from tinylm.errors import CheckpointError, DataError, TinylmError, one_line, visible


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 900 + "]" * 900, "nested too deeply"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested too deeply"),
        ("NaN", "NaN is no number"),
        ("[1, -Infinity]", "-Infinity is no number"),
        ("1e999", "the number 1e999 is too large"),
        ("-1e400", "too large"),
        ("9" * 400, "too large"),
        ("9" * 5000, "too large"),
        ("[1,]", "Expecting|Illegal"),
        ("", "Expecting"),
        ("[" + "{}," * doors.MOST_PARTS + "0]", "more than 4,000,000 lists and objects"),
    ],
    ids=lambda text: text[:20],
)
def test_json_that_no_reader_can_use_is_one_sentence(text, reason):
    with pytest.raises(DataError, match=reason) as caught:
        parse_json(text, "config.json")
    assert len(str(caught.value)) < 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)  # fmt: skip


@given(VALUES)
def test_every_other_json_value_is_read_as_python_reads_it(value):
    assert json_value(json.dumps(value)) == value


def test_a_repeated_key_is_refused_where_it_matters():
    assert json_value('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(ValueError, match="repeated"):
        json_value('{"a": 1, "a": 2}', distinct=True)


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), KeyError("a"), RecursionError(), MemoryError(), OverflowError("x"),
     StopIteration(), AssertionError(), NotImplementedError(), UnicodeDecodeError("u", b"a", 0, 1, "r"),
     Exception("a" * 10**6), SyntaxError("a\n\x1b[31mb")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_parser_raises_is_one_printable_line(error):
    with pytest.raises(
        CheckpointError, match=f"a.bin is damaged .*{type(error).__name__}"
    ) as caught:
        with parsing("a.bin", "a model", CheckpointError):
            raise error
    said = str(caught.value)
    assert said.isprintable() and len(said) < 300 and caught.value.__cause__ is error


def test_our_own_errors_pass_a_door_or_get_the_name_of_the_file():
    with pytest.raises(TinylmError, match="^wrong$"), parsing("a.bin", "a model"):
        raise TinylmError("wrong")
    with pytest.raises(DataError, match="^a.bin: wrong$"):
        with parsing("a.bin", "a model", also_ours=True):
            raise TinylmError("wrong")


@given(st.text(max_size=3000))
def test_a_message_is_one_printable_line_of_some_hundred_characters(text):
    said = str(DataError(text))
    assert said.isprintable() and len(said) <= 10 * 900
    if text.isprintable() and len(text) <= 900:
        assert said == text
    assert one_line(text, 50).isprintable()


@given(st.text())
def test_no_control_character_reaches_a_terminal(text):
    shown = visible(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown if c not in "\n\t")
    if text.isprintable():
        assert shown == text


def test_json_costs_as_much_as_it_is_long():
    def text(n):
        return json.dumps([[["a", 1.5]] * 3] * n)

    once = text(50_000)
    twice = text(100_000)
    gc.collect()
    gc.disable()  # it would also walk through whatever other tests have left
    try:
        cost_at_most(3, lambda: json_value(once), lambda: json_value(twice))
    finally:
        gc.enable()


def test_names_that_no_disk_has_are_one_sentence(tmp_path):
    for name in ("a\0b", "a" * 5000, "b/" * 3000 + "c"):
        with pytest.raises(DataError):
            files.read_text(tmp_path / name)
        with pytest.raises(DataError):
            files.write_text(tmp_path / name, "x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="cannot be read"):
        files.read_text(tmp_path / "loop")


WIDE_SHAPES = {
    "objects": "{},",
    "objects with a key": '{"a":1},',
    "objects with several": '{"a":1,"b":2,"c":3},',
    "lists": "[],",
    "lists of one": "[0],",
    "numbers": "0.5,",
    "whole numbers": "12345,",
    "strings": '"ab",',
    "wide strings": '"\\u20ac",',
}


@pytest.mark.parametrize("shape", WIDE_SHAPES)
def test_the_largest_json_takes_no_more_memory_than_its_bytes_justify(tmp_path, shape):
    """The bound of the fuzzer, 20 times the bytes and 200 MB, at MOST_PARTS; measured with fewer."""
    n = 20_000
    path = tmp_path / "a.json"
    path.write_text("[" + WIDE_SHAPES[shape] * n + "0]", encoding="utf-8")
    tracemalloc.start()
    try:
        found = files.read_json(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == n + 1
    beyond = peak / n - 20 * path.stat().st_size / n  # bytes a part that no byte justifies
    is_counted = "[" in WIDE_SHAPES[shape] or "{" in WIDE_SHAPES[shape]
    assert beyond * doors.MOST_PARTS < 200 * 2**20 if is_counted else beyond < 0


@pytest.mark.parametrize("depth", [1, 2, doors.MOST_DEPTH, doors.MOST_DEPTH + 1])
@pytest.mark.parametrize("ends", ["[]", '{"a":}'], ids=["lists", "objects"])
def test_lists_and_objects_stand_inside_one_another_up_to_a_depth(depth, ends):
    inner = ends[:-1] * depth + "0" + ends[-1] * depth
    text = "[" + "[]," * doors.MOST_DEPTH + inner + "]"
    if depth < doors.MOST_DEPTH:
        assert json_value(text) == json.loads(text)
    else:
        with pytest.raises(ValueError, match="nested too deeply"):
            json_value(text)

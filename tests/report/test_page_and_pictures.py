"""The report is self-contained, escapes what it is given, and its pictures do not depend on chance."""

import re
import unicodedata
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markup import read

from tinylm.errors import ShapeError, TinylmError
from tinylm.report import html, panels, pictures
from tinylm.transfer.metrics import summarise

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1))
def test_no_text_can_become_markup(text):
    plain = read(
        html.page(
            "t", html.paragraph("x"), html.table(["x"], [["x"]]), html.figure(SVG, "x"), foot="x"
        )
    )
    full = read(
        html.page(
            "t",
            html.paragraph(text),
            html.table([text], [[text]]),
            html.figure(SVG, text),
            foot=text,
        )
    )
    assert full.tags == plain.tags
    shown = html.harmless(text)
    assert full.text.count(shown) >= 4 and ("alt", shown) in full.attributes


@given(st.text())
def test_no_character_acts_without_being_seen(text):
    shown = html.harmless(text)
    acting = [letter for letter in shown if unicodedata.category(letter) in ("Cc", "Cs")]
    assert set(acting) <= set("\t\n\r")
    turning = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    assert not any(unicodedata.bidirectional(letter) in turning for letter in shown)
    assert html.harmless(shown) == shown
    assert not set(html.harmless("\0\x1b\x7f\x85\u202e\u200f\ufffe\ud800")) & set(
        "\0\x1b\x85\u202e"
    )


def test_nothing_is_loaded_from_outside():
    text = html.page("t", html.figure(SVG, "a"), html.section("s", html.paragraph("p")))
    page = read(text)
    assert {"script", "link", "iframe", "object", "embed"}.isdisjoint(page.tags)
    assert all(
        value.startswith("data:") for name, value in page.attributes if name in ("src", "srcset")
    )
    assert not re.search(r"@import|url\(", text)


def test_the_page_is_made_for_phones_dark_rooms_and_paper():
    text = html.page("t")
    assert (
        'name="viewport"' in text
        and "prefers-color-scheme: dark" in text
        and "@media print" in text
    )


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_principal_components_keep_the_largest_variance_and_do_not_mind_a_rotation(seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((23, 5)) * [7.0, 3.0, 1.0, 0.5, 0.1]
    points = pictures.principal_components(rows)
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1][:2]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), variances)
    rotation = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    np.testing.assert_allclose(pictures.principal_components(rows @ rotation), points, atol=1e-9)


def drawings():
    rng = np.random.default_rng(0)
    budgets = {2: summarise([0.3, 0.4]), 10: summarise([0.5, 0.6])}
    yield lambda: panels.loss_panel("a", [(0, 5), (1, 3)], "nats", 3.2, 4.0)
    first = panels.Panel("a <b>", {"fine-tuned": budgets, "TF-IDF": {2: summarise([0.2])}})
    yield lambda: panels.label_panel(first, 80)
    yield lambda: pictures.embedding_map(np.arange(35.0).reshape(7, 5) ** 2 % 11, list("aabbccd"))
    yield lambda: pictures.attention(np.eye(3), ["$x$", "\n", "<b>"])
    yield lambda: pictures.embedding_map(
        rng.standard_normal((4, 3)) * 0 + np.eye(4, 3), ["$a", "b_", "a^", "b"]
    )
    names = ["\x1b[2J", "a\0b", "\ufffe", "<b>\n"]
    yield lambda: pictures.embedding_map(np.eye(4, 3), names)
    yield lambda: pictures.attention(np.eye(4), names)
    yield lambda: panels.overview(dict.fromkeys(names, budgets), budgets, "TF-IDF \x07")
    saved = panels.Saved(0.5, 2, 9, "4.5 times")
    second = panels.Panel(names[0], {"from scratch": budgets}, saved)
    yield lambda: panels.label_panel(second, 80)
    yield lambda: panels.label_grid([first], 80)
    yield lambda: panels.label_grid([first, second] * 2, 80)
    yield lambda: panels.loss_panel(names[1], [], names[2])
    yield lambda: panels.map_panel(names[3], np.eye(4, 3), names)


@pytest.mark.parametrize("number", range(13))
def test_a_picture_is_valid_svg_and_the_same_every_time(number):
    draw = list(drawings())[number]
    if (
        not pictures.available()
    ):  # the extra 'demos' is not installed: the sentence that names it is all one can get
        with pytest.raises(TinylmError, match="matplotlib"):
            draw()
        return
    first = draw()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert draw() == first


@pytest.mark.parametrize("count", [1, 3, 4, 8])
def test_a_grid_has_a_panel_for_each_objective_and_one_key(count):
    curve = {2: summarise([0.3, 0.4])}
    names = [f"system {i}" for i in range(count)]
    found = [panels.Panel(name, {"features": curve, "TF-IDF": curve}) for name in names]
    if not pictures.available():
        with pytest.raises(TinylmError, match="matplotlib"):
            panels.label_grid(found, 80)
        return
    tree = ElementTree.fromstring(panels.label_grid(found, 80))
    words = [each.text for each in tree.iter() if each.text]
    assert [word for word in words if word.startswith("system")] == names
    assert words.count("labels per class") == count
    assert words.count("features") == words.count("TF-IDF") == 1


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not pictures.available()
    with pytest.raises(TinylmError, match="tinylm\\[demos\\]"):
        panels.loss_panel("a", [], "nats")


def test_attention_needs_a_square_of_the_tokens():
    with pytest.raises(ShapeError, match="expected \\(T, T\\)"):
        pictures.attention(np.ones((2, 3)), ["a", "b"])


def test_labels_of_a_map_do_not_cover_each_other():
    rng = np.random.default_rng(0)
    widths, height = rng.uniform(0.05, 0.25, 20), 0.026
    crowded = 0.4 + 0.2 * rng.random((20, 2))
    crowded[1] = crowded[0]
    places = pictures.apart(crowded, widths, height)
    gap = np.abs(places[:, None] - places)
    cover = (gap[..., 0] < (widths[:, None] + widths) / 2) & (gap[..., 1] < height)
    assert cover.sum() == 20 and (places[:, 0] == crowded[:, 0]).all()

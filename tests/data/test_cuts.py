"""One long text is cut where its script allows: white space, the end of a sentence, and never inside a character."""

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm.data import cuts, split_documents
from tinylm.errors import DataError

CHINESE = "今天天气很好，我们去公园散步。孩子们在湖边放风筝，老人们在树下下棋！你想不想一起来？他说：「明天再去吧。」"
THAI = "วันนี้อากาศดีมากเราไปเดินเล่นในสวนสาธารณะเด็กๆเล่นว่าวริมทะเลสาบผู้เฒ่าเล่นหมากรุกใต้ต้นไม้"
# Code points that belong together: marks, joiners, modifiers, flags, jamo, halves of surrogate pairs.
SPARKS = 'e\u0301\u0323\u200d\ufe0f👩👧🏽🇩🇪\u1100\u1161\u11a8가ำ\u0e40\u0915\u094d\u0937\ud83d\ude00\u0600a."。'


def of_today(text, share):
    """The rule before: the last white space at or before the place, wherever that is."""
    goal = int(len(text) * (1 - share))
    space = next((i for i in range(goal, 0, -1) if text[i].isspace()), None)
    if space is None or not text[:space].strip() or not text[space + 1 :].strip():
        return None
    return text[:space], text[space + 1 :]


@given(
    words=st.lists(st.text("abc.!é今", min_size=1, max_size=90), min_size=2, max_size=40),
    space=st.sampled_from(" \n\u3000"),
    share=st.floats(0.01, 0.5),
)
def test_texts_with_white_space_are_cut_where_they_always_were(words, space, share):
    text = space.join(words)
    expected = of_today(text, share)
    if expected is not None:
        assert cuts.cut(text, share) == expected


@pytest.mark.parametrize("text", [CHINESE * 7, THAI * 7, "x" * 1000], ids=["zh", "th", "none"])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_long_text_without_white_space_is_not_too_short(text, share):
    (first,), (last,) = split_documents([text], share)
    assert first + last == text
    assert share * len(text) <= len(last) + 1 <= 2 * share * len(text) + cuts.LONGEST_WORD


def test_a_text_without_white_space_is_cut_behind_a_sentence():
    for share in (0.05, 0.1, 0.2, 0.3):
        (first,), _ = split_documents([CHINESE * 7], share)
        assert first[-2:] == "。」" or first[-1] in "。！？"


@pytest.mark.parametrize(
    "text, places",
    [
        ("a.b", []),
        ("3.14。x", [5]),
        ("好。」」他", [4]),
        ("好……他", [3]),
        ("好！？他", [3]),
        ("好❗\ufe0f他", []),
        ("है।वह", [3]),
        ("نعم؟لا", [4]),
        ("完.他", [2]),
        ("it's", []),
    ],
)
def test_where_a_sentence_ends(text, places):
    assert [i for i in range(1, len(text)) if cuts.ends_sentence(text, i)] == places


@given(text=st.text(st.sampled_from(SPARKS) | st.characters(), min_size=1, max_size=60))
@example("\ud83d\ude00" * 30)
@example("🇩🇪" * 30)
@example("e\u0301" * 30)
@example("👩\u200d👧" * 20)
def test_no_character_as_a_reader_sees_it_is_ever_cut(text):
    """Unicode's rules decide; halves of a surrogate pair, which they do not know, belong together too."""
    whole = text * 9
    parts = cuts.cut(whole, 0.2)
    if parts is None or len(parts[0]) + len(parts[1]) < len(whole.strip()):  # at white space
        return
    place = whole.index(parts[0]) + len(parts[0])
    assert place in {match.end() for match in regex.finditer(r"\X", whole)}
    assert not ("\ud800" <= whole[place - 1] <= "\udbff" and "\udc00" <= whole[place] <= "\udfff")
    assert whole[place - 1] != "\u200d"


@given(text=st.text(st.sampled_from("a今。 \n\u0301"), max_size=300), share=st.floats(0.01, 0.99))
def test_a_cut_loses_nothing_but_white_space_and_leaves_two_parts(text, share):
    parts = cuts.cut(text, share)
    if parts is None:
        assert of_today(text, share) is None
        return
    first, last = parts
    assert first.strip() and last.strip()
    assert "".join(text.split()) == "".join((first + " " + last).split())


def test_a_far_white_space_does_not_hold_almost_everything_out():
    text = "标题 " + CHINESE * 20
    (first,), _ = split_documents([text])
    assert len(first) > 0.85 * len(text)


@pytest.mark.parametrize("text", ["", " ", "word", "好", "e" + "\u0301" * 500])
def test_what_has_no_two_parts_is_too_short(text):
    with pytest.raises(DataError, match="too short"):
        split_documents([text])


def test_blank_lines_at_the_end_do_not_make_a_text_too_short():
    (first,), (last,) = split_documents(["some words of a text" + "\n" * 70])
    assert (first, last) == ("some words of a", "text")


@given(st.text("ab .!?\n。」\"'", max_size=60))
def test_sentences_begin_behind_white_space_or_a_mark_and_never_with_white_space(text):
    starts = cuts.sentence_starts(text)
    assert starts == sorted(set(starts))
    for start in starts:
        assert 0 < start < len(text) and not text[start].isspace()
        before = text[:start].rstrip()
        blank_line = "\n" in text[len(before) : start]
        assert before == "" or before[-1] in cuts.ENDS | cuts.CLOSERS or blank_line


def test_abbreviated_numbers_end_no_sentence_and_blank_lines_do():
    text = "It costs 3.14. Really?\n\na list\nof words"
    parts = [0, *cuts.sentence_starts(text), len(text)]
    pieces = [text[a:b].strip() for a, b in zip(parts, parts[1:], strict=False)]
    assert pieces == ["It costs 3.14.", "Really?", "a list\nof words"]

"""Strings over all of Unicode, with everything in them on which tokenizers have been seen to disagree."""

from hypothesis import strategies as st

# No surrogates, and nothing that Python's Unicode has not assigned: of programs with different Unicode versions one takes
# such a code point for a letter and the other does not.
ANYTHING = st.characters(exclude_categories=("Cs", "Cn"))
NEAR = st.characters(max_codepoint=0x2FFF, exclude_categories=("Cs", "Cn"))
ORDINARY = st.sampled_from("aA eéEß İΣςʼ'.,-!?▁#1½³東京각")
SPACES = st.sampled_from(" \t\n\r\x0b\x0c\x1c\x85\u00a0\u2003\u2028\u3000\u200b")
CONTROLS = st.sampled_from(
    "\x00\x01\x7f\x9f\u00ad\u200e\ufeff\ufffd\ue000\U000e0041\uffff\U0010ffff"
)
MARKS = st.sampled_from("\u0301\u0327\u0345\u20e3\u20dd\u0e33\u093f\ufe0f\u200d\u1734\u302a")
WIDE = st.sampled_from("東京ｱﾞﬁ㍿〆々\uf900\U00020000\U0002f800가힣")
EMOJI = st.sampled_from(
    "👩‍👩‍👧‍👦|🏳️‍🌈|🇩🇪|1️⃣|👍🏽|🧑🏿‍🚀|☕|❤️‍🔥|🏴\U000e0067\U000e0062\U000e007f".split("|")
)
PIECES = st.sampled_from(
    "'ll|'S|'re| '|  |I'm|n't|\r\n|e\u0301|Å\u030a|ﷺ|[UNK]|<unk>|##a|the| of".split("|")
)
BITS = st.one_of(ORDINARY, ORDINARY, PIECES, ANYTHING, NEAR, SPACES, CONTROLS, MARKS, WIDE, EMOJI)
MIXED = st.lists(BITS, max_size=24).map("".join)
# one letter, one mark or one sign again and again; around the 100 characters at which WordPiece gives a word up
LONG = st.builds(
    lambda word, times, end: word * times + end,
    st.text("aé1東\u0301'▁\x00- ", min_size=1, max_size=3),
    st.integers(30, 150),
    MIXED,
)
ANY_STRING = st.one_of(MIXED, MIXED, MIXED, st.text(ANYTHING, max_size=12), LONG)
MANY = st.lists(ANY_STRING, min_size=20, max_size=20)
EXAMPLES = 1000  # of MANY: 20,000 strings
_LETTERS = "".join(chr(97 + n * n * 7 % 26) + chr(97 + n * 11 % 26) for n in range(1500))
VERY_LONG = [
    "a" * 10_000,
    "ab\u0301" * 3000,
    "東京都" * 2000,
    "\0" * 1000,
    " " * 3000 + "x",
    "'" * 2000,
    "👩‍👩‍👧‍👦" * 400,
    _LETTERS,
]

"""Demo 05: what do characters, words, BPE, WordPiece and Unigram trade for each other?

Question: how many characters does a token hold as the vocabulary grows, and what can an encoding
not write at all?
Expected: with 8,192 tokens the three kinds of sub-words write unseen posts with at most 1.25 tokens
a word and nothing unknown, while words leave out at least 5 %. With characters, a token is always
one character. A longer vocabulary of sub-words never makes a text longer. Time: 40 s.
Picture: demos/out/05_encodings.png
"""

# %% A paragraph with a name, long words, a number, accents and Cyrillic. Every encoding has learned
# from film dialogs, which hold hardly any capitals or digits; Unigram gives no piece to the rarest
# 0.05 % of the characters
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tinylm.data import load_labelled, load_texts
from tinylm.text import BPE, Chars, Unigram, WordPiece, Words

PARAGRAPH = (
    "captain kowalski, don't underestimate the unbelievable naïveté of our "
    "embassy in Москва; they misunderstood 1997's telegrams."
)
dialogs = load_texts("dialogs")
readers = {
    "characters": Chars.train(dialogs, min_count=50),
    "words": Words.train(dialogs, 8192),
    "BPE": BPE.train(dialogs, 8192),
    "WordPiece": WordPiece.train(dialogs, 8192),
    "Unigram": Unigram.train(dialogs, 8192),
}
for name, encoding in readers.items():
    tokens = encoding.tokens(PARAGRAPH)
    print(f"\n{name}: a vocabulary of {encoding.vocab_size:,}, {len(tokens)} tokens")
    if sys.stdout.isatty():
        colours = (153, 223, 150, 183, 229)
        for n, token in enumerate(tokens):
            print(f"\x1b[30;48;5;{colours[n % 5]}m{token}", end="")
        print("\x1b[0m")
    else:
        print("│".join(tokens))

# %% Learn from 4,000 posts, write 700 others. The first n tokens of a longer vocabulary of BPE or
# WordPiece are the vocabulary of n tokens
SIZES = (300, 512, 1024, 2048, 4096, 8192, 16384)
posts = load_labelled("newsgroups", "train").texts[:4000]
others = load_labelled("newsgroups", "test").texts[:700]
characters = sum(map(len, others))
words = sum(len(post.split()) for post in others)
bpe = BPE.train(posts, SIZES[-1])
wordpiece = WordPiece.train(posts, SIZES[-1])
makers = {
    "characters": lambda size: Chars.train(posts, size),
    "words": lambda size: Words.train(posts, size),
    "BPE": lambda size: BPE([*bpe.vocab[: size - 1], bpe.vocab[-1]], bpe.merges[: size - 257]),
    "WordPiece": lambda size: WordPiece(wordpiece.vocab[:size]),
    "Unigram": lambda size: Unigram.train(posts, size),
}
sizes = {name: [] for name in makers}
lengths = {name: [] for name in makers}  # tokens of the other posts
lost = {name: [] for name in makers}  # the share of unknown words
for name, maker in makers.items():
    for size in SIZES[:1] if name == "characters" else SIZES:
        encoding = maker(size)
        rows = encoding.encode_batch(others)
        sizes[name].append(encoding.vocab_size)
        lengths[name].append(sum(map(len, rows)))
        lost[name].append(sum(int((row == encoding.unk_id).sum()) for row in rows) / words)
    found = zip(sizes[name], lengths[name], strict=True)
    print(
        f"{name:10}",
        "  ".join(f"{size:,}: {characters / length:.2f}" for size, length in found),
        "characters a token",
    )
    if name != "words":
        assert [encoding.decode(row) for row in rows] == others  # with the largest vocabulary

# %% The picture, above: the paragraph cut by each; below: compression, and what words cannot write
COLOURS = ("#a6cee3", "#fdd9a0", "#b8e0a0", "#d5c3e4", "#f7f3a1")
UNKNOWN = "#e8594f"
INK = "0.15"
figure = plt.figure(figsize=(13, 10.5), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
axes = above.subplots()
axes.set(xlim=(-9.5, 71), ylim=(len(readers) * 2.7 - 0.4, -0.6))
axes.axis("off")
axes.set_title(
    "One paragraph, five encodings (red: unknown; stripes: the bytes of a character)",
    loc="left",
    fontsize=12,
)
fold = PARAGRAPH.index(" embassy")


def corner(place, row):
    """Where a character of the paragraph is drawn; from `fold` on it stands on a second line."""
    second = place >= fold
    return place - second * fold, 2.7 * row + second * 1.15


for row, (name, encoding) in enumerate(readers.items()):
    found = list(zip(encoding.offsets(PARAGRAPH), encoding.encode(PARAGRAPH), strict=True))
    number = 0
    axes.text(
        -0.6,
        2.7 * row,
        f"{name}\n{len(found)} tokens",
        ha="right",
        va="top",
        fontweight="bold",
        color=INK,
    )
    # Tokens that share a character share its width.
    for (begin, end), group in groupby(found, key=itemgetter(0)):
        ids = [i for _, i in group]
        width = (end - begin) / len(ids)
        x, y = corner(begin, row)
        for part, i in enumerate(ids):
            colour = UNKNOWN if i == encoding.unk_id else COLOURS[number % len(COLOURS)]
            left = x + part * width + 0.04
            axes.add_patch(
                plt.Rectangle((left, y - 0.5), width - 0.08, 1.0, color=colour, linewidth=0)
            )
            number += 1
    for place, character in enumerate(PARAGRAPH):
        x, y = corner(place, row)
        axes.text(
            x + 0.5,
            y,
            character,
            ha="center",
            va="center_baseline",
            family="monospace",
            fontsize=11,
            color=INK,
        )

left, right = below.subplots(1, 2, width_ratios=(1.6, 1))
for number, name in enumerate(makers):
    style = {"color": f"C{number}", "marker": "o", "markersize": 4}
    left.plot(sizes[name], [characters / length for length in lengths[name]], label=name, **style)
    if name != "characters":
        right.plot(sizes[name], [100 * share for share in lost[name]], **style)
left.axhline(characters / words, color="0.7", linewidth=0.8, zorder=0)
left.text(
    sizes["characters"][0],
    characters / words - 0.05,
    "a word and its space",
    va="top",
    color="0.45",
    fontsize=9,
)
left.set(title="Compression of posts not seen", ylabel="characters a token", xlabel="vocabulary")
right.text(SIZES[0], 1, "sub-words: 0", va="bottom", color="C4")
right.set(title="Unknown in posts not seen", ylabel="% of the words", xlabel="vocabulary")
for panel in (left, right):
    panel.set_xscale("log", base=2)
    panel.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    panel.spines[["top", "right"]].set_visible(False)
left.legend(frameon=False)
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "05_encodings.png", dpi=110)

# %% Verdict
subwords = ("BPE", "WordPiece", "Unigram")
at = SIZES.index(8192)
per_word = {name: lengths[name][at] / words for name in subwords}
assert all(lengths[name] == sorted(lengths[name], reverse=True) for name in subwords)
assert max(per_word.values()) <= 1.25
assert lost["words"][at] >= 0.05
assert lengths["characters"] == [characters]
assert not any(sum(lost[name]) for name in subwords)
found = ", ".join(f"{name} {n:.2f}" for name, n in per_word.items())
print(
    f"VERDICT: pass. At 8,192 tokens: {found} tokens a word; words write one, "
    f"but not {100 * lost['words'][at]:.1f} % of them."
)

"""Demo 10: can one read the whole corpus as a single matrix, and do ratios of probabilities tell what words mean?

Question: GloVe argues with ice and steam: P(k|ice)/P(k|steam) is large for k = solid, small for k = gas, and near 1 for
words that belong to both or to neither. Do space and car, in news group posts, behave like that, and do the fitted
vectors know the ratio, though they have only seen one cell after the other?
Expected: nasa, shuttle and station belong to space, engine, dealer and insurance to car, `the` to both, in the counts and in
the vectors; the logarithms of counted and fitted ratios correlate above 0.6 over the words that stand near both (by chance:
0). Time: 45 s. Picture: demos/out/10_glove.png
"""

# %% The corpus as one matrix: how often each word stands near each other word, near words counting more
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_texts
from tinylm.text import Words

texts = load_texts("newsgroups")
words = Words.train(texts, 10_000, min_count=5)
corpus = encode_corpus(texts, words)
model = tinylm.GloVe(tinylm.GloVeConfig.small(words.vocab_size))
model.prepare(corpus)
cells = model.cells
print(
    f"{corpus.words:,} words are {len(cells):,} cells, {100 * len(cells) / words.vocab_size**2:.1f} % of the matrix"
)

# %% Fit the logarithms: ten times through the cells
EPOCHS, costs = 10, []
with tinylm.one_pool():
    for step in range(EPOCHS * model.steps_per_epoch):
        costs.append(model.fast_step(model.batch(step, 0), 0.05))
per_epoch = np.reshape(costs, (EPOCHS, -1)).mean(axis=1)
print("mean cost of a cell:", " ".join(f"{cost:.4f}" for cost in per_epoch))
vectors = tinylm.Vectors(words.vocab[3:], model.embedding_table()[3:])
for word in ("hockey", "windows", "space", "car"):
    print(f"  {word:8}", ", ".join(near for near, _ in vectors.most_similar(word, n=6)))

# %% The argument of the paper: ratios of the probabilities of probe words near one word and near the other
FIRST, SECOND = pair = ("space", "car")
OWN = (("nasa", "shuttle", "station"), ("engine", "dealer", "insurance"))
PROBES = [*OWN[0], "the", *OWN[1]]
ids = words.encode(" ".join(PROBES))


def counts(word):
    """How often each word stands near one word, (V,)."""
    mine, row = cells[cells["row"] == words.token_id(word)], np.zeros(words.vocab_size)
    row[mine["column"]] = mine["count"]
    return row


near = np.array([counts(word) for word in pair])  # (2,V)
rows = [words.token_id(word) for word in pair]
fitted = (
    model.logits(np.array([rows])).data[0] + model.biases.data[0, rows, None]
)  # log X as the vectors know it, (2,V)
totals = np.log(near.sum(axis=1, keepdims=True))
with np.errstate(divide="ignore", invalid="ignore"):
    counted, learned = (
        np.subtract(*(logs - totals)) for logs in (np.log(near), fitted)
    )  # log P(k|space)/P(k|car), (V,)
print(
    f"{'k':10} log P(k|{FIRST})/P(k|{SECOND}): counted   of the vectors   (±inf: never near one of them)"
)
for word, i in zip(PROBES, ids, strict=True):
    print(f"{word:10}{counted[i]:31.2f}{learned[i]:17.2f}")

# %% Over all words that stand near both at least now and then
common = np.flatnonzero(near.min(axis=0) >= 5)
correlation = float(np.corrcoef(counted[common], learned[common])[0, 1])
print(f"counted and modelled over {common.size} words near both: correlation {correlation:.3f}")
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
left.plot(range(1, EPOCHS + 1), per_epoch, marker="o")
left.set(
    title="One corpus, one matrix, ten passes",
    xlabel="epoch",
    ylabel="mean cost of a cell",
    ylim=(0, None),
)
right.scatter(counted[common], learned[common], s=8, alpha=0.5)
extremes = common[np.argsort(counted[common])]
for i in [*extremes[:3], *extremes[-6:], words.token_id("the")]:
    right.annotate(words.vocab[i], (counted[i], learned[i]), color="darkred")
right.margins(x=0.1)
right.axline((0, 0), slope=1, color="grey", linewidth=0.8)
right.set(
    title=f"log P(k|{FIRST})/P(k|{SECOND}), {common.size} words: correlation {correlation:.2f}",
    xlabel="counted",
    ylabel="of the vectors",
)
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "10_glove.png", dpi=110)

# %% Verdict
signs = [
    np.log(2) < score[ids[:3]].min()
    and score[ids[4:]].max() < -np.log(2)
    and abs(score[ids[3]]) < np.log(2)
    for score in (counted, learned)
]
assert all(signs) and correlation > 0.6 and per_epoch[-1] < 0.5 * per_epoch[0]
print(
    f"VERDICT: pass. Ratios tell {FIRST} from {SECOND}; the vectors know their logarithms, correlation {correlation:.2f}."
)

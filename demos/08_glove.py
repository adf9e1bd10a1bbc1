"""Demo 08: do ratios of probabilities, counted in one matrix, tell what words mean?

GloVe argues with ice and steam: P(k|ice)/P(k|steam) is large for k = solid, small for k = gas, and
near 1 for words that belong to both or to neither.
Question: do space and car behave like that in news group posts, and do the fitted vectors know
these ratios, though they have only seen one cell after the other?
Expected: nasa, shuttle and station belong to space; engine, dealer and insurance to car; `the` to
both, in the counts and in the vectors. Over all words that stand near both, the logarithms of
counted and fitted ratios correlate above 0.6 (by chance: 0). Time: 45 s.
Picture: demos/out/08_glove.png
"""

# %% The corpus as one matrix: how often each word stands near each other one, near words more
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
filled = len(cells) / words.vocab_size**2
print(f"{corpus.words:,} words are {len(cells):,} cells, {100 * filled:.1f} % of the matrix")

# %% Fit the logarithms: ten times through the cells
EPOCHS = 10
costs = []
with tinylm.one_pool():
    for step in range(EPOCHS * model.steps_per_epoch):
        costs.append(model.fast_step(model.batch(step, 0), 0.05))
per_epoch = np.reshape(costs, (EPOCHS, -1)).mean(axis=1)
print("mean cost of a cell:", " ".join(f"{cost:.4f}" for cost in per_epoch))
vectors = tinylm.Vectors(words.vocab[3:], model.embedding_table()[3:])
for word in ("hockey", "windows", "space", "car"):
    print(f"  {word:8}", ", ".join(near for near, _ in vectors.most_similar(word, n=6)))

# %% The argument of the paper: how much more probable is a probe word near one word than the other?
FIRST = "space"
SECOND = "car"
PROBES = ["nasa", "shuttle", "station", "the", "engine", "dealer", "insurance"]
ids = words.encode(" ".join(PROBES))


def counts(word):
    """How often each word stands near one word, (V,)."""
    mine = cells[cells["row"] == words.token_id(word)]
    row = np.zeros(words.vocab_size)
    row[mine["column"]] = mine["count"]
    return row


def log_ratio(logs):
    """log P(k|space)/P(k|car) for every k, (V,), from log X of both words, (2,V)."""
    probabilities = logs - np.log(near.sum(axis=1, keepdims=True))
    return probabilities[0] - probabilities[1]


near = np.array([counts(FIRST), counts(SECOND)])  # (2,V)
rows = [words.token_id(FIRST), words.token_id(SECOND)]
fitted = model.logits(np.array([rows])).data[0]  # (2,V)
fitted = fitted + model.biases.data[0, rows, None]  # log X as the vectors know it
learned = log_ratio(fitted)
with np.errstate(divide="ignore", invalid="ignore"):
    counted = log_ratio(np.log(near))
print(f"{'k':10} log P(k|{FIRST})/P(k|{SECOND}): counted   of the vectors")
print("           (±inf: never near one of them)")
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
figure.savefig(out / "08_glove.png", dpi=110)

# %% Verdict
for ratios in (counted, learned):
    assert ratios[ids[:3]].min() > np.log(2)
    assert abs(ratios[ids[3]]) < np.log(2)
    assert ratios[ids[4:]].max() < -np.log(2)
assert correlation > 0.6 and per_epoch[-1] < 0.5 * per_epoch[0]
print(
    f"VERDICT: pass. Ratios tell {FIRST} from {SECOND}; "
    f"the vectors know their logarithms, correlation {correlation:.2f}."
)

"""Demo 09: what does skip-gram with negative sampling compute?

Levy & Goldberg (2014) show that with enough dimensions its optimum is a matrix that one can count:

    v_c · u_w = PMI(c, w) − log k        PMI = log #(c, w)·N / (#(c)·#(w))

Question: does our lock-free SGD arrive there?
Expected: over pairs seen at least 20 times, the learned products correlate with PMI − log k above
0.9, with a slope near 1 (by chance: 0). Time: 30 s. Picture: demos/out/09_pmi.png
"""

# %% The toy language, in which a few hundred words have much to do with each other
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.data.cooccurrence import Window, cooccurrences
from tinylm.text import Words

texts = toy.documents(4000)
words = Words.train(texts, min_count=50)
corpus = encode_corpus(texts, words)
WINDOW = 2
K = 3  # negatives

# %% Learn: negatives by the plain counts, and nothing thinned out, as the theorem wants it
config = tinylm.Word2VecConfig(
    words.vocab_size, size=128, window=WINDOW, negative=K, sample=0, ns_exponent=1.0
)
model = tinylm.Word2Vec(config)
model.prepare(corpus)
steps = 40 * model.steps_per_epoch
with tinylm.one_pool():
    for step in range(steps):
        model.fast_step(model.batch(step, 0), 0.1 * (1 - step / steps))
learned = model.vectors.data @ model.context.data.T  # (V,V): word seen, word predicted

# %% Count: a window reaches b words, b uniform in 1 … WINDOW, so take the mean over all b
counts = np.zeros((words.vocab_size, words.vocab_size))
for reach in range(1, WINDOW + 1):
    cells = cooccurrences(corpus, Window(reach, weighted=False))
    counts[cells["row"], cells["column"]] += cells["count"] / WINDOW
uses = np.bincount(corpus.ids, minlength=words.vocab_size)
uses[list(words.special_ids)] = 0
noise = uses / uses.sum()
with np.errstate(divide="ignore", invalid="ignore"):
    pmi = np.log(counts / counts.sum(axis=1, keepdims=True) / noise)
often = counts >= 20
x = pmi[often] - np.log(K)
y = learned[often]
correlation = float(np.corrcoef(x, y)[0, 1])
slope = float(np.polyfit(x, y, 1)[0])
print(
    f"{words.vocab_size} words, {x.size:,} pairs seen at least 20 times: "
    f"correlation {correlation:.3f}, slope {slope:.2f}, mean difference {np.mean(y - x):+.2f}"
)

# %% Pairs that never occur have PMI −∞: there the products are only low
never = learned[3:, 3:][counts[3:, 3:] == 0]
print(f"pairs that never occur: mean product {never.mean():.2f}; the others {y.mean():.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
left.scatter(x, y, s=4, alpha=0.3)
left.axline((0, 0), slope=1, color="grey", linewidth=0.8)
left.set(
    title=f"{x.size:,} pairs: correlation {correlation:.2f}",
    xlabel="counted: PMI − log k",
    ylabel="v · u",
)
right.hist([y, never], bins=60, density=True, label=["seen often", "never seen"])
right.set(title="Products of pairs", xlabel="v · u", ylabel="density")
right.legend()
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "09_pmi.png", dpi=110)

# %% Verdict
assert correlation > 0.9 and 0.8 < slope < 1.2 and never.mean() < y.mean() - 1
print(
    f"VERDICT: pass. Negative sampling factorises shifted PMI: correlation {correlation:.2f}, "
    f"slope {slope:.2f}."
)

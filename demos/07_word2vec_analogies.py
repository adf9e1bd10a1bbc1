"""Demo 07: what do word vectors know after ten seconds of reading?

Question: word2vec reads 2.9 million words of news group posts, as skip-gram and as CBOW. Do cosines
rank pairs of words as people do, and does vector arithmetic answer "a is to b as c is to …"?
Expected: for skip-gram a Spearman correlation with WordSim-353 of at least 0.3 (by chance: 0), and
at least 100 times as many right answers as by guessing. Time: 50 s.
Picture: demos/out/07_analogies.png
"""

# %% The posts, and every word that occurs five times
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_analogies, load_similarity, load_texts
from tinylm.text import Words

texts = load_texts("newsgroups")
words = Words.train(texts, min_count=5)
corpus = encode_corpus(texts, words)
print(f"{corpus.words:,} words of text, {words.vocab_size:,} different ones")


# %% Skip-gram and CBOW, five times through the text
def train(alpha, **form):
    """Vectors after five epochs at a rate that falls from alpha to nothing."""
    model = tinylm.Word2Vec(tinylm.Word2VecConfig.small(words.vocab_size, **form))
    model.prepare(corpus)
    steps = 5 * model.steps_per_epoch
    with tinylm.one_pool():
        for step in range(steps):
            model.fast_step(model.batch(step, 0), alpha * (1 - step / steps))
    # The first three tokens are the special ones.
    return tinylm.Vectors(words.vocab[3:], model.embedding_table()[3:])


systems = {"skip-gram": train(0.025), "CBOW": train(0.05, cbow=True)}
skip = systems["skip-gram"]

# %% Neighbours: other spellings, the same kind of thing, the same topic
for word in ("hockey", "gun", "windows", "church", "orbit"):
    print(f"  {word:8}", ", ".join(near for near, _ in skip.most_similar(word, n=6)))
print("  does not match:", skip.doesnt_match(["hockey", "baseball", "goalie", "church"]))

# %% Against people: similarity, and analogies, which the 10,000 most frequent words may answer
scores = {}
answers = {}
for name, vectors in systems.items():
    scores[name] = vectors.evaluate_word_pairs(load_similarity("wordsim353"))
    answers[name] = vectors.evaluate_word_analogies(load_analogies(), 10_000)
    print(
        f"{name}: WordSim-353 {scores[name]['spearman']:.3f} over {scores[name]['pairs']} pairs; "
        f"{answers[name]['correct']} of {answers[name]['questions']:,} analogies"
    )
nearest = skip.most_similar(["king", "woman"], ["man"], n=5)
print("man is to king as woman is to:", ", ".join(word for word, _ in nearest))

# %% The map: words of four topics, in the two directions in which they differ most; and analogies
topics = {
    "sport": "hockey baseball team players season league",
    "faith": "god jesus church bible christians faith",
    "machines": "disk windows memory software driver card",
    "space": "orbit nasa shuttle moon launch satellite",
}
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
names = [word for group in topics.values() for word in group.split()]
rows = np.array([skip.unit(word) for word in names])
rows -= rows.mean(0)
flat = rows @ np.linalg.svd(rows, full_matrices=False)[2][:2].T
for i, (topic, group) in enumerate(topics.items()):
    points = flat[6 * i : 6 * i + 6]
    left.scatter(*points.T, label=topic)
    for word, point in zip(group.split(), points, strict=True):
        left.annotate(word, point, fontsize=8)
left.set(
    title="Words by the company they keep", xlabel="first component", ylabel="second component"
)
left.legend()
sections = list(answers["skip-gram"]["sections"])
for offset, name in ((-0.2, "skip-gram"), (0.2, "CBOW")):
    found = answers[name]["sections"]
    share = [100 * found[s]["correct"] / found[s]["questions"] for s in sections]
    right.barh(np.arange(len(sections)) + offset, share, 0.4, label=name)
right.set(
    title="Analogies answered",
    xlabel="% of the questions of a section",
    yticks=range(len(sections)),
    yticklabels=sections,
)
right.legend()
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "07_analogies.png", dpi=110)

# %% Verdict
spearman = scores["skip-gram"]["spearman"]
times = answers["skip-gram"]["accuracy"] * 10_000
assert spearman >= 0.3 and times >= 100
print(
    f"VERDICT: pass. Correlation with people {spearman:.2f}; "
    f"analogies right {times:.0f} times as often as by chance."
)

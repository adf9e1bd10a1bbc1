"""Demo 06: do words that keep similar company get similar vectors?

Question: after skip-gram has read the toy language, is a word's nearest neighbour of its own topic?
Expected: yes for at least 80 % of the topic words; by chance for one in six. Time: 10 s.
Picture: demos/out/06_map.png
"""

# %% The toy language: every sentence has a topic, and its words come from that topic
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.text import Words
from tinylm.training.train import TrainConfig, Trainer

pairs = toy.labelled(4000, seed=0, task="topic")
texts = [text for text, _ in pairs]
words = Words.train(texts, min_count=5)
corpus = encode_corpus(texts, words)

# %% Skip-gram with negative sampling
model = tinylm.Word2Vec(tinylm.Word2VecConfig.tiny(words.vocab_size, batch_words=2000))
model.prepare(corpus)
epochs = 15
training = TrainConfig.of(tinylm.Word2Vec, steps=epochs * model.steps_per_epoch, lr=0.05)
Trainer(model, words, config=training, quiet=True).run()

# %% A word belongs to the topic where it stands most often, if that is nearly always
topics = sorted({label for _, label in pairs})
counts = np.zeros((words.vocab_size, len(topics)))
for text, label in pairs:
    for i in words.encode(text):
        counts[i, topics.index(label)] += 1
share = counts.max(1) / np.maximum(counts.sum(1), 1)
topical = np.flatnonzero((share > 0.9) & (counts.sum(1) >= 20))

vectors = model.embedding_table()[topical]
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
nearest = np.argmax(unit @ unit.T - 2 * np.eye(len(unit)), axis=1)
topic = counts[topical].argmax(1)
accuracy = float((topic[nearest] == topic).mean())
chance = float(np.mean([(topic == t).mean() for t in topic]))
print(
    f"{len(topical)} topic words; nearest neighbour of the same topic: {accuracy:.2f} "
    f"(chance {chance:.2f})"
)
found = tinylm.Vectors(words.vocab, model.embedding_table())
for i in topical[:5]:
    print(
        f"  {words.vocab[i]:12}",
        ", ".join(word for word, _ in found.most_similar(words.vocab[i], n=4)),
    )

# %% The map: the first two principal components, and the cosines of all pairs, sorted by topic
centred = unit - unit.mean(0)
flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for t, name in enumerate(topics):
    left.scatter(*flat[topic == t].T, s=18, label=name)
left.set(
    title="Words by topic: two of the directions that matter",
    xlabel="first component",
    ylabel="second component",
)
left.legend()
order = np.argsort(topic, kind="stable")
picture = right.imshow((unit @ unit.T)[np.ix_(order, order)], cmap="viridis")
middles = [np.flatnonzero(np.sort(topic) == t).mean() for t in range(len(topics))]
right.set(
    title="Cosine of all pairs: a block is a topic", xticks=[], yticks=middles, yticklabels=topics
)
figure.colorbar(picture, ax=right, shrink=0.8)
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "06_map.png", dpi=110)

# %% Verdict
assert accuracy >= 0.8 and accuracy > 2 * chance
print(
    f"VERDICT: pass. {100 * accuracy:.0f} % of the words have a neighbour of their topic "
    f"(chance {100 * chance:.0f} %)."
)

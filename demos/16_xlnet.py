"""Demo 16: what does a random order of prediction look like, and why does XLNet need two streams?

Question: XLNet predicts tokens along a random order. Which tokens may each one see? What becomes of the
order that reads from left to right? And why is one stream not enough to predict?
Expected: in natural order the content stream is a causal model, number for number. After 300 updates the
query stream predicts the toy language at least 1 nat better than single words do. Asked about another
place than the right one, it loses more than half a nat: the place is part of the question. A changed token
never changes what is predicted at its own place, and always what the content stream knows there.
Time: 30 s. Picture: demos/out/16_xlnet.png
"""

# %% Three orders of one sentence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.data import encode_corpus, toy
from tinylm.data.permutation import visibility
from tinylm.objectives.xlnet import may_see
from tinylm.tensor import no_grad
from tinylm.text import Words
from tinylm.training.evaluation import evaluate
from tinylm.training.train import TrainConfig, Trainer

sentence = "the old cat sat on the mat".split()
T = len(sentence)
everything = np.ones(T, bool)
nothing = np.zeros(T, bool)
some = np.isin(np.arange(T), [2, 6])  # predict "cat" and "mat"
drawn = np.random.default_rng(1).permutation(T)
orders = {
    "left to right": (np.arange(T), everything),
    "a random order": (drawn, everything),
    "two targets in that order": (drawn, some),
}
views = {}
for name, (order, targets) in orders.items():
    views[name] = visibility(order, targets, nothing)
    print(f"{name}: rows ask, columns are seen")
    for i, word in enumerate(sentence):
        seen = "".join(" #" if may else " ." for may in views[name][i])
        part = f"rank {order[i]}" if targets[i] else "context"
        print(f"   {word:>4} {seen}   {part}")
order, targets = orders["two targets in that order"]
for i in range(T):
    for j in range(T):
        paper = may_see(i, j, order, np.flatnonzero(targets), [])
        assert views["two targets in that order"][i, j] == paper

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6))
for axis, (name, view) in zip(axes, views.items(), strict=True):
    axis.imshow(view, cmap="Blues", vmin=-0.2, vmax=1.3)
    axis.set_title(name)
    axis.set_xticks(range(T), sentence, rotation=60)
    axis.set_yticks(range(T), sentence)
    axis.set(xlabel="may be seen", ylabel="who looks")
figure.tight_layout()
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "16_xlnet.png", dpi=110)

# %% Train on the toy language
texts = toy.documents(3000, seed=0)
words = Words.train(texts)
words.add_specials(name for name in tinylm.XLNet.needs_tokens if name not in words.specials)
words.arrange(tinylm.XLNet.template)
how = dict(end_id=words.end_id, structure=True)
corpus = encode_corpus(texts[:2850], words, **how)
held_out = encode_corpus(texts[2850:], words, **how)
model = tinylm.XLNet(tinylm.XLNetConfig.tiny(words.vocab_size))
model.spell(words.vocab, words.special_ids)
model.prepare(corpus)
training = TrainConfig.of(tinylm.XLNet, steps=300, **tinylm.objectives.xlnet.RECIPE)
result = Trainer(model, words, config=training, quiet=True).run()
loss = evaluate(model, held_out)["loss"]
single = held_out.unigram_entropy()
print(f"{loss:.2f} nats per prediction, single words {single:.2f}, after {result['seconds']:.0f} s")

# %% Left to right, the content stream is a causal model
model.eval()
batch = model.batch(0, 1)
ids = batch.ids
length = ids.shape[1]
left_to_right = np.repeat(np.tri(length, length, -1, dtype=bool)[None], len(ids), axis=0)
causal = tinylm.XLNet(tinylm.XLNetConfig.tiny(words.vocab_size, attn_type="uni")).eval()
causal.load_state_dict(model.state_dict())
with no_grad():
    ordered = model.encode(ids, visible=left_to_right)[-1].data
    difference = float(np.abs(ordered - causal.encode(ids)[-1].data).max())
print(f"left to right, the content stream and a causal model differ by {difference:.1e}")

# %% Two streams: one must not know the token, the other must; both must know the place
picks = batch.picks[:, :8]
family = dict(token_types=batch.token_types, visible=batch.visible, half_backwards=True)
there = np.take_along_axis(ids, picks, axis=1)
changed = ids.copy()
np.put_along_axis(changed, picks[:, :1], words.token_id("the"), axis=1)
with no_grad():
    content, query = model.streams(ids, picks=picks, **family)
    new_content, new_query = model.streams(changed, picks=picks, **family)
    rows = np.arange(len(ids))[:, None]
    knows = float(np.abs(new_content[-1].data - content[-1].data)[rows, picks[:, :1]].max())
    guesses = float(np.abs(new_query[-1].data - query[-1].data)[:, :1].max())

    table = model.token_table
    right = F.cross_entropy(F.linear(query[-1], table, model.bias), there).item()
    others = model.predict(ids, np.roll(picks, 1, axis=1), **family)
    wrong = F.cross_entropy(others, there).item()
print(
    f"another token at a place changes the content there by {knows:.2f}, the query by {guesses:.2f}"
)
print(f"asked about the right place: {right:.2f} nats; about another target's: {wrong:.2f}")

# %% Verdict
assert difference < 1e-4 and guesses == 0 and knows > 0.01
assert loss < single - 1 and wrong > right + 0.5
print(
    f"VERDICT: pass. {single - loss:.2f} nats better than single words; the place alone is worth "
    f"{wrong - right:.2f} nats."
)

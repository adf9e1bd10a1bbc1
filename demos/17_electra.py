"""Demo 17: what does ELECTRA gain by judging every token, and not only the gaps?

Question: three models read the same documents in the same number of updates, about the same time. One
fills the gaps, 5 in a text of 35 words. One says of the same 5 words whether they were replaced. One says
it of all 35. Any word may replace one, so there is no generator. Which has learned most about words? A tagger
with 5 tagged sentences looks for names in their frozen states.
Expected: to judge all is better than to judge the picked in each draw of the sentences (F1 near 0.5
against 0.3). Who sees only replaced tokens learns to say "replaced", whatever stands there. To fill gaps
teaches as much or more here: a right answer among 700 words says more than a yes or a no.
Time: 45 s. Picture: demos/out/17_electra.png
"""

# %% Three objectives that differ in what they are asked about the same gaps
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_tagged, toy
from tinylm.data.gaps import fill
from tinylm.tensor import no_grad
from tinylm.text import Words
from tinylm.training.evaluation import evaluate
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import TagConfig, Tagger

KINDS = {
    "fill the gaps": {"electra_objective": False},
    "judge the picked": {"uniform_generator": True, "discriminate": "picked"},
    "judge all": {"uniform_generator": True, "discriminate": "all"},
}
texts = toy.documents(4000, seed=0)
words = Words.train(texts)
words.add_specials(tinylm.Electra.needs_tokens)
words.arrange(tinylm.Electra.template)
corpus = encode_corpus(texts[:3800], words, structure=True)
held_out = encode_corpus(texts[3800:], words, structure=True)
models = {}
for kind, settings in KINDS.items():
    config = tinylm.ElectraConfig.tiny(
        words.vocab_size, sequence_length=48, batch_size=32, **settings
    )
    model = tinylm.Electra(config)
    model.spell(words.vocab, words.special_ids)
    model.prepare(corpus)
    answers = model.batch(0, 0).tokens / config.batch_size
    training = TrainConfig.of(tinylm.Electra, steps=400, lr=2e-3)
    result = Trainer(model, words, config=training, quiet=True).run()
    models[kind] = model
    print(f"{kind:17} {answers:4.1f} answers a text teach, {result['seconds']:4.1f} s")

# %% Who judges only what was picked never meets an innocent word
wrongly = {}
for kind in ("judge the picked", "judge all"):
    model = models[kind]
    model.config = replace(model.config, discriminate="all")
    found = evaluate(model, held_out)["components"]
    print(f"{kind:17} right about {100 * found['accuracy']:.0f} % of all tokens of new texts")
    wrongly[kind] = 1 - found["accuracy"]

# %% Names, from five tagged sentences
train = load_tagged("toy", "train")
test = load_tagged("toy", "test")[:100]
sentences = [tokens for tokens, _ in test]
truth = [tags for _, tags in test]
f1 = {kind: [] for kind in KINDS}
for seed in range(3):
    chosen = np.random.default_rng(seed).permutation(len(train))[:5]
    few = [train[i][0] for i in chosen]
    tags = [train[i][1] for i in chosen]
    for kind, model in models.items():
        how = TagConfig(layers=("last",), updates=60)
        tagger = Tagger(model, words, "crf", config=how).fit(few, tags)
        f1[kind].append(tagger.score(sentences, truth))
for kind, scores in f1.items():
    row = "  ".join(f"{score:.2f}" for score in scores)
    print(f"{kind:17} F1 of names {row}, mean {np.mean(scores):.2f}")

# %% A text with some wrong words, and what the judge thinks of each
judge = models["judge all"].eval()
rng = np.random.default_rng(3)
ids = held_out.ids[:40][None].astype(np.int64)  # (1,T)
picks = rng.permutation(40)[:6]
seen = fill(ids, picks, rng.integers(words.first, words.vocab_size, 6))
with no_grad():
    chances = 1 / (1 + np.exp(-judge.judge(seen).data[0]))  # (T,)
figure, axis = plt.subplots(figsize=(9, 2.6))
axis.set(xlim=(0, 8), ylim=(5, 0))
axis.axis("off")
axis.set_title("p(replaced) as colour; the replaced words are framed")
for place in range(40):
    row, column = divmod(place, 8)
    word = words.vocab[seen[0, place]]
    frame = "black" if place in picks else "none"
    box = {"facecolor": plt.cm.Reds(0.8 * chances[place]), "edgecolor": frame, "pad": 4}
    axis.text(column + 0.5, row + 0.5, word, ha="center", va="center", fontsize=9, bbox=box)
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "17_electra.png", dpi=110, bbox_inches="tight")

# %% Verdict
everything = np.array(f1["judge all"])
picked = np.array(f1["judge the picked"])
assert wrongly["judge all"] < 0.15 < 0.5 < wrongly["judge the picked"], wrongly
assert (everything > picked).all(), f1
print(
    f"VERDICT: pass. Judging all tokens finds names with F1 {everything.mean():.2f}, judging the picked "
    f"{picked.mean():.2f}, filling gaps {np.mean(f1['fill the gaps']):.2f}."
)

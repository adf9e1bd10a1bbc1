"""Demo 22: a model that nobody taught to classify tells what a text is about.

Question: a small GPT reads the documents of the toy language. No document names its topic, and no
label is ever seen. Can one read the topics off what it expects next? And from which point of its
reading on?
Expected: after 100 updates chance, one in six; after 700 more than 90 % right, from five label words
per topic, and not much less from one. Time: 60 s.
Picture: demos/out/22_prompting.png
"""

# %% What is asked: after the text somebody comes up; which topic's verbs will follow?
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import tinylm
from tinylm.data import encode_corpus, load_labelled, load_texts, toy
from tinylm.text import Words
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import PromptClassifier

STEPS = (100, 400, 700)
language = toy.Language()
name = language.first_names[0]
verbs = {topic: language.lexicon[topic, "verb"] for topic in toy.TOPICS}
pattern = f"{{text}} {name} {{label}}"
test = load_labelled("toy", "test")
texts = test.texts[:150]
labels = test.labels[:150]
print(f"pattern: {pattern}")
for topic, words in verbs.items():
    print(f"{topic:8} {', '.join(words[:5])}")

# %% Models that have read for a while; none has seen a label
corpus_texts = load_texts("toy")
tokens = Words.train(corpus_texts)
corpus = encode_corpus(corpus_texts, tokens, end_id=tokens.end_id)
losses = []
found = {1: [], 5: []}  # label words per topic -> accuracy of each model
for steps in STEPS:
    model = tinylm.GPT(tinylm.GPTConfig.tiny(tokens.vocab_size))
    model.prepare(corpus)
    training = TrainConfig.of(tinylm.GPT, steps=steps, lr=5e-3)
    losses.append(Trainer(model, tokens, config=training, quiet=True).run()["loss"])
    for count, scores in found.items():
        few = {topic: words[:count] for topic, words in verbs.items()}
        scores.append(PromptClassifier(model, tokens, pattern, few).score(texts, labels))
    rows = ", ".join(f"{scores[-1]:.2f} with {count}" for count, scores in found.items())
    print(f"{steps:4} updates, {losses[-1]:.2f} nats per word: accuracy {rows}", flush=True)

# %% Look inside one answer
classifier = PromptClassifier(model, tokens, pattern, few)
[chances] = classifier.predict_proba(texts[:1])
print(f"\n{texts[0]} {name} ...")
for topic, chance in sorted(zip(classifier.classes_, chances, strict=True), key=lambda x: -x[1]):
    print(f"{topic:8} {chance:.3f}")
print(f"the true topic: {labels[0]}")

# %% The picture
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for count, scores in found.items():
    axes.plot(STEPS, scores, marker="o", label=f"label words per topic: {count}")
axes.axhline(1 / len(verbs), color="grey", linestyle=":", label="chance")
axes.set(xlabel="updates on text without labels", ylabel="accuracy by prompt", ylim=(0, 1.02))
axes.legend()
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "22_prompting.png", dpi=110)

# %% Verdict
assert found[5][0] < 0.4 and found[5][-1] > 0.9 and found[1][-1] > 0.8
print(
    f"VERDICT: pass. Without a label, a prompt gets {100 * found[5][-1]:.0f} % of the topics right; "
    f"chance is {100 / len(verbs):.0f} %."
)

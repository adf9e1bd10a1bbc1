"""Demo 19: does learning from text first save labels?

Question: with 2 and 10 labelled texts per class of the toy language, is a GPT that read unlabelled
text first better than its twin, the same architecture adapted in the same way, that did not?
Expected: yes, for each of three draws of the labels; with 2 labels per class more than 80 % right,
where the twin is near chance, one in six. Time: 30 s.
Picture: demos/out/19_labels.png
"""

# %% Unlabelled text for pretraining; labelled texts of which few are looked at
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_labelled, load_texts
from tinylm.text import Words
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import AdaptConfig, Classifier
from tinylm.transfer.budgets import label_budget

texts = load_texts("toy")
words = Words.train(texts)
train = load_labelled("toy", "train")
test = load_labelled("toy", "test")
test_texts = test.texts[:300]
test_labels = test.labels[:300]

# %% Pretrain
config = tinylm.GPTConfig.tiny(words.vocab_size)
pretrained = tinylm.GPT(config)
pretrained.prepare(encode_corpus(texts, words, end_id=words.end_id))
result = Trainer(pretrained, words, config=TrainConfig.of(tinylm.GPT, steps=1000), quiet=True).run()
print(f"pretrained on {len(texts)} texts without labels, loss {result['loss']:.2f} nats per word")

# %% Adapt both with the same few labels, updates and rate
budgets = (2, 10)
scores = {"pretrained": {b: [] for b in budgets}, "from scratch": {b: [] for b in budgets}}
for budget in budgets:
    for seed in (0, 1, 2):
        chosen = label_budget(train.labels, budget, seed)
        few_texts = [train.texts[i] for i in chosen]
        few_labels = [train.labels[i] for i in chosen]
        untrained = tinylm.GPT(config, np.random.default_rng(seed))
        for name, encoder in (("pretrained", pretrained), ("from scratch", untrained)):
            adapt = AdaptConfig(updates=60, max_length=32, seed=seed)
            model = Classifier(encoder, words, method="finetune", config=adapt)
            model.fit(few_texts, few_labels)
            scores[name][budget].append(model.score(test_texts, test_labels))
    for name in scores:
        values = scores[name][budget]
        spread = np.std(values, ddof=1)
        print(f"{budget:3} labels per class, {name:12}: {np.mean(values):.3f} ± {spread:.3f}")

# %% The picture
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name, rows in scores.items():
    axes.errorbar(
        budgets,
        [np.mean(rows[b]) for b in budgets],
        [np.std(rows[b], ddof=1) for b in budgets],
        marker="o",
        capsize=3,
        label=name,
    )
axes.axhline(1 / len(set(test_labels)), color="grey", linestyle=":", label="chance")
axes.set(
    xscale="log",
    xticks=budgets,
    xticklabels=budgets,
    xlabel="labels per class",
    ylabel="accuracy",
    ylim=(0, 1.02),
)
axes.minorticks_off()
axes.legend()
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "19_labels.png", dpi=110)

# %% Verdict
wins = []
for budget in budgets:
    for ours, twins in zip(
        scores["pretrained"][budget], scores["from scratch"][budget], strict=True
    ):
        wins.append(ours > twins)
assert all(wins) and min(scores["pretrained"][2]) > 0.8
print(f"VERDICT: pass. Pretrained won {sum(wins)} of {len(wins)} paired draws.")

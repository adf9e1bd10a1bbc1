"""Demo 11: which of ULMFiT's three tricks saves labels?

Question: a small AWD-LSTM has read the toy language. With 2 labelled texts per topic, how right is it
when all of it learns at once, with slanted triangular rates, with slower lower layers, with layers
that thaw one after another, and with all three together?
Expected: all three together gain some 5 points over all at once (74 to 80 %, mean of ten draws of the
labels, each with a spread of 8 to 10 points), and each one alone is in between: no trick is worth
much here. To have read the language is: the twin that has read nothing is at a fifth; chance is one
in six. Time: 90 s.
"""

# %% A language model reads text without labels, in lanes whose state is carried on
from dataclasses import replace

import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_labelled, toy
from tinylm.text import Words
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import AdaptConfig, Classifier
from tinylm.transfer.budgets import label_budget

STEPS = 4500
DRAWS = 10  # of the labels
texts = toy.documents(8000, seed=0)
words = Words.train(texts)
config = tinylm.UlmfitConfig.tiny(words.vocab_size, n_layers=1, bptt=50)
pretrained = tinylm.Ulmfit(config)
pretrained.prepare(encode_corpus(texts, words, end_id=words.end_id))
training = TrainConfig.of(tinylm.Ulmfit, steps=STEPS, lr=2e-2)
result = Trainer(pretrained, words, config=training, quiet=True).run()
pretrained.eval()
print(f"{result['loss']:.2f} nats per word after {result['seconds']:.0f} s")

# %% Each trick alone, all of them, and the twin that has read nothing
plain = AdaptConfig(max_length=32, updates=40, rates=(1e-2,))
WAYS = {
    "all at once": plain,
    "slanted triangle": replace(
        plain, schedule="slanted_triangular", schedule_options={"ratio": 32}
    ),
    "slower lower layers": replace(plain, layer_decay=1 / 2.6, head_gap=1),
    "gradual unfreezing": replace(plain, unfreeze=True),
    "all three": plain.gradual(),
    "all three, from scratch": plain.gradual(),
}
train = load_labelled("toy", "train")
test = load_labelled("toy", "test")
found = {}
for name, way in WAYS.items():
    scores = []
    for seed in range(DRAWS):
        chosen = label_budget(train.labels, 2, seed)
        few = [train.texts[i] for i in chosen]
        labels = [train.labels[i] for i in chosen]
        encoder = pretrained
        if name.endswith("scratch"):
            encoder = tinylm.Ulmfit(config, np.random.default_rng(seed))
        model = Classifier(encoder, words, "finetune", replace(way, seed=seed)).fit(few, labels)
        scores.append(model.score(test.texts[:150], test.labels[:150]))
    found[name] = scores
    print(f"{name:24} {np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}", flush=True)

# %% Verdict
means = {name: float(np.mean(scores)) for name, scores in found.items()}
scratch = means.pop("all three, from scratch")
assert min(means.values()) > scratch + 0.2
assert means["all three"] > means["all at once"] - 0.02
print(
    f"VERDICT: pass. All three tricks: {100 * means['all three']:.0f} % right, all at once: "
    f"{100 * means['all at once']:.0f} %, without having read: {100 * scratch:.0f} %."
)

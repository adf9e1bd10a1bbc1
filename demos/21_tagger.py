"""Demo 21: who is a person and what is a place, learned from five tagged sentences and much plain text.

Question: a tagger that has seen five sentences knows five names. word2vec has read 3,000 documents
without a tag, and names stand where names stand. Do its frozen vectors tell the tagger about names
that no tagged sentence holds? And what does a CRF add, which knows what follows what?
Expected: F1 of entities near 0.89 with 5 sentences and 1.00 with 20; 0.81 and 0.95 without the CRF.
The same tagger on vectors that have read nothing: 0.33 and 0.52; with word embeddings of its own:
0.31 and 0.68. (Three seeds; with 5 sentences they spread by 0.1.) Time: 25 s.
"""

# %% Plain text first: 3,000 documents of the toy language, no labels
import numpy as np

from tinylm.data import load_tagged
from tinylm.training.pretrain import PretrainConfig, pretrain
from tinylm.transfer import TagConfig, Tagger
from tinylm.transfer.finetune import twin

COUNTS = (5, 20)  # tagged sentences
SEEDS = 3
asked = PretrainConfig("word2vec", "toy", options={"size": 32, "steps": 300})
encoder, tokenizer, _ = pretrain(asked, quiet=True)
untrained = twin(encoder)
train = load_tagged("toy", "train")
test = load_tagged("toy", "test")[:100]
words = [tokens for tokens, _ in test]
truth = [tags for _, tags in test]
for token, tag in zip(words[0], truth[0], strict=True):
    print(f"{token:10} {tag}")

# %% Then a few tagged sentences, the same ones for each tagger
FROZEN = TagConfig(layers=("last",), updates=100)
OWN = TagConfig(embeddings=32, updates=100)
KINDS = {
    "word2vec, CRF": lambda: Tagger(encoder, tokenizer, "crf", config=FROZEN),
    "word2vec, linear": lambda: Tagger(encoder, tokenizer, "linear", config=FROZEN),
    "untrained, CRF": lambda: Tagger(untrained, tokenizer, "crf", config=FROZEN),
    "own embeddings, CRF": lambda: Tagger(None, None, "crf", config=OWN),
}
results = {}
for count in COUNTS:
    for seed in range(SEEDS):
        chosen = np.random.default_rng(seed).permutation(len(train))[:count]
        few = [train[i][0] for i in chosen]
        tags = [train[i][1] for i in chosen]
        for name, make in KINDS.items():
            tagger = make().fit(few, tags)
            results.setdefault((name, count), []).append(tagger.score(words, truth))
            if name == "word2vec, CRF":
                table = tagger.evaluate(words, truth)

# %% F1 of whole entities: type, first and last word must be right
print(f"\n{'F1 in percent':20}" + "".join(f"{f'{count} sentences':>16}" for count in COUNTS))
for name in KINDS:
    cells = []
    for count in COUNTS:
        scores = 100 * np.array(results[name, count])
        cells.append(f"{scores.mean():10.1f} ± {scores.std(ddof=1):3.1f}")
    print(f"{name:20}" + "".join(cells))
print(f"\nword2vec, CRF, {count} sentences, in the table of the CoNLL tasks:\n{table}")

# %% Verdict
few = COUNTS[0]
read = np.array(results["word2vec, CRF", few])
for other in ("untrained, CRF", "own embeddings, CRF"):
    assert (read > np.array(results[other, few]) + 0.3).all(), other
assert (read > results["word2vec, linear", few]).all()
print(
    f"VERDICT: pass. With {few} tagged sentences plain text lifts F1 from "
    f"{np.mean(results['own embeddings, CRF', few]):.2f} to {read.mean():.2f}."
)

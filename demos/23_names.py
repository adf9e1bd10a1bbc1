"""Demo 23: who is a person and what is a place, from no tagged sentence at all.

Question: demo 21 needed five tagged sentences. A small BERT has read the toy language without any.
It fills a gap where a name stood; does what it puts there say of which kind the name was?
Expected: more than 90 % of the tokens of entities get the right tag from a dozen words that somebody
names by hand, four first names, four last names, four places; two names that the model never read
are told apart by what stands around them.
Time: 30 s.
Picture: demos/out/23_names.png
"""

# %% A masked model of the toy language
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_tagged, load_texts, toy
from tinylm.training.filling import fill
from tinylm.training.pretrain import learn_encoding
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import UnsupervisedTagger, entity_scores

texts = []
for document in load_texts("toy"):
    texts += [f"{text} ." for text in document.removesuffix(" .").split(" . ")]
words = learn_encoding(tinylm.Bert, "words", texts, 1000, {})
sizes = dict(hidden_size=48, next_sentence=False, mask_rate=0.3, sequence_length=14)
model = tinylm.Bert(tinylm.BertConfig.tiny(words.vocab_size, batch_size=32, **sizes))
model.spell(words.vocab, words.special_ids)
model.prepare(encode_corpus(texts, words, end_id=words.end_id))
recipe = tinylm.BertConfig.recipes["tiny"]
training = TrainConfig.of(tinylm.Bert, **recipe, steps=600)
result = Trainer(model, words, config=training, quiet=True).run()
print(f"{result['loss']:.2f} nats per gap after {result['seconds']:.0f} s")

# %% What it puts in the place of a name
language = toy.Language()
sentences = load_tagged("toy", "test")[:100]
tokens, tags = sentences[0]
print(" ".join(tokens))
for place, tag in enumerate(tags):
    if tag.startswith("B"):
        asked = " ".join([*tokens[:place], "[MASK]", *tokens[place + 1 :]])
        [choices] = fill(model, words, asked, 4)
        best = ", ".join(f"{choice.text} {choice.probability:.2f}" for choice in choices)
        print(f"  {tokens[place]:8} {tag:9} {best}")

# %% Somebody names a few words of each type; the clusters around them do the rest
people = [*language.first_names[:4], *language.last_names[:4]]
types = {"person": people, "place": language.places[:4]}
tagger = UnsupervisedTagger(model, words, types)
for kind in types:
    members = [word for word, of in tagger.types_.items() if of == kind]
    print(f"{kind}: {len(members)} words, such as {', '.join(members[:6])}")
truth = [row for _, row in sentences]
predicted = tagger.predict([row for row, _ in sentences])
right = []
for true_row, row in zip(truth, predicted, strict=True):
    right += [a == b for a, b in zip(true_row, row, strict=True) if a != "O"]
share = float(np.mean(right))
print(entity_scores(truth, predicted))

# %% Names that it never read
strange = ["Qwx", "in", "Xqw", *tokens[-5:]]
guessed = tagger.predict([strange])[0]
print(" ".join(f"{token}/{tag}" for token, tag in zip(strange, guessed, strict=True)))

# %% The picture: the vectors of all names, by their two main directions
table = model.embedding_table()
kinds = {
    "first names": language.first_names,
    "last names": language.last_names,
    "places": language.places,
    "feelings": language.feeling["positive"],
}
vectors = {}
for kind, members in kinds.items():
    ids = [words.token_id(word) for word in members if word in words.vocab]
    rows = table[ids]
    vectors[kind] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
every = np.concatenate(list(vectors.values()))
_, _, directions = np.linalg.svd(every - every.mean(axis=0), full_matrices=False)
figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
for kind, marker in zip(kinds, "o^sx", strict=True):
    at = (vectors[kind] - every.mean(axis=0)) @ directions[:2].T
    axes.scatter(at[:, 0], at[:, 1], marker=marker, label=kind)
axes.set(xlabel="first direction", ylabel="second direction")
axes.legend(loc="lower center")
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "23_names.png", dpi=110)

# %% Verdict
assert share >= 0.9 and guessed[:3] == ["B-person", "O", "B-place"]
print(
    f"VERDICT: pass. {100 * share:.0f} % of the tokens of entities have the right tag; nobody tagged "
    "a sentence."
)

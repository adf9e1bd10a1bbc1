"""Demo 15: what does BERT put into a gap, and what does it learn from "does this follow that"?

Question: BERT reads documents of the toy language, each about one topic. Are its guesses for a gap of
the right kind: a noun, a verb, a feeling, a name? Are they of the right topic? And does it tell the
true second half of a document from another document's?
Expected: the five best guesses are of the right kind in 95 % of the cases or more. The topic it has
not found after so little reading (17 % are right by chance): grammar stands beside the gap, topics stand
sentences away. So the second task is right in some 60 % of the pairs only (50 % by chance).
Time: 20 s.
"""

# %% Train on pairs of short pieces
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.text import Words
from tinylm.training.evaluation import evaluate
from tinylm.training.filling import fill
from tinylm.training.train import TrainConfig, Trainer

language = toy.Language()
texts = toy.documents(4000, seed=0)
words = Words.train(texts)
words.add_specials(tinylm.Bert.needs_tokens)
words.arrange(tinylm.Bert.template)
corpus = encode_corpus(texts[:3800], words, structure=True)
held_out = encode_corpus(texts[3800:], words, structure=True)
config = tinylm.BertConfig.tiny(words.vocab_size, sequence_length=48, batch_size=32)
model = tinylm.Bert(config)
model.spell(words.vocab, words.special_ids)
model.prepare(corpus)
training = TrainConfig.of(tinylm.Bert, steps=1000, **tinylm.objectives.bert.RECIPE)
result = Trainer(model, words, config=training, held_out=held_out, quiet=True).run()
found = evaluate(model, held_out)["components"]
print(
    f"{found['masked']:.2f} nats per gap (single words: {held_out.unigram_entropy():.2f}), pairs right "
    f"{100 * found['next_accuracy']:.0f} %, after {result['seconds']:.0f} s"
)

# %% Gaps: what stands in the place of a noun, a feeling, a place?
topic_of = {}
kind_of = {}
for (topic, part), members in language.lexicon.items():
    for word in members:
        topic_of[word] = topic
        kind_of[word] = part
for members in language.feeling.values():
    kind_of |= dict.fromkeys(members, "feeling")
kind_of |= dict.fromkeys(language.places, "place")
GAPS = {"noun": -2, "feeling": -3, "place": 2}  # where the kind stands in a sentence "A in B ..."
rng = np.random.default_rng(1)
right_kind = []
right_topic = []
for number in range(60):
    topic = toy.TOPICS[number % len(toy.TOPICS)]
    kind = list(GAPS)[number % len(GAPS)]
    sentences = [language.sentence(rng, topic).text for _ in range(3)]
    while sentences[-1].split()[1] != "in":  # a sentence that begins with one name and a place
        sentences[-1] = language.sentence(rng, topic).text
    shown = sentences[-1].split()
    shown[GAPS[kind]] = "[MASK]"
    (choices,) = fill(model, words, " ".join([*sentences[:-1], *shown]), count=5)
    right_kind.append(np.mean([kind_of.get(choice.token) == kind for choice in choices]))
    if kind == "noun":
        right_topic.append(np.mean([topic_of.get(choice.token) == topic for choice in choices]))
    if number < 3:
        best = ", ".join(f"{choice.token} {choice.probability:.2f}" for choice in choices)
        print(f"{' '.join(shown)}\n   {kind}: {best}")
kinds = 100 * np.mean(right_kind)
topics = 100 * np.mean(right_topic)
print(f"of the five best guesses {kinds:.0f} % are of the right kind")
print(f"of the nouns {topics:.0f} % are of the right topic (17 % by chance)")

# %% Verdict
assert kinds > 90 and found["next_accuracy"] > 0.55
print(
    f"VERDICT: pass. {kinds:.0f} % of the guesses are of the right kind; pairs are told apart in "
    f"{100 * found['next_accuracy']:.0f} %."
)

"""Demo 14: what does BERT put into a gap, and what does it learn from "does this follow that"?

Question: BERT reads documents of the toy language, each about one topic. Does it find the topic's words
for a gap, and does it tell the true second half of a document from another document's?
Expected: in a gap, 4 of 5 best guesses are of the sentence's own topic or small words (1 of 6 by
chance); the second task is right in 80 % of the pairs or more (50 % by chance). It learns little at
first: the loss rests at the entropy of the single words until context begins to help. Short pieces
end that wait. Time: 60 s.
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
training = TrainConfig.of(tinylm.Bert, steps=1500, **tinylm.objectives.bert.RECIPE)
result = Trainer(model, words, config=training, held_out=held_out, quiet=True).run()
found = evaluate(model, held_out)["components"]
print(
    f"{found['masked']:.2f} nats per gap (single words: {held_out.unigram_entropy():.2f}), pairs right "
    f"{100 * found['next_accuracy']:.0f} %, after {result['seconds']:.0f} s"
)

# %% Gaps: what stands in the place of the noun?
topic_of = {}
for (topic, _), members in language.lexicon.items():
    for word in members:
        topic_of[word] = topic
rng = np.random.default_rng(1)
hits = 0
TRIES = 60
for number in range(TRIES):
    topic = toy.TOPICS[number % len(toy.TOPICS)]
    sentences = [language.sentence(rng, topic).text for _ in range(3)]
    shown = sentences[-1].split()
    shown[-2] = "[MASK]"  # the thing
    text = " ".join([*sentences[:-1], *shown])
    (choices,) = fill(model, words, text, count=5)
    own = sum(topic_of.get(choice.token) == topic for choice in choices)
    hits += own / 5
    if number < 3:
        best = ", ".join(f"{choice.token} {choice.probability:.2f}" for choice in choices)
        print(f"{' '.join(shown)}\n   {topic}: {best}")
share = hits / TRIES
print(f"{100 * share:.0f} % of the five best guesses are words of the topic (17 % by chance)")

# %% Verdict
assert share > 0.5 and found["next_accuracy"] > 0.75
print(
    f"VERDICT: pass. Guesses keep to the topic in {100 * share:.0f} % of the cases; pairs are told "
    f"apart in {100 * found['next_accuracy']:.0f} %."
)

"""Demo x: one word in two senses. Which layer of ELMo tells them apart?

Question: in a copy of the toy language two words are spelled alike. "bank" is a noun of sailing and
a noun of music; "plant" is a noun of gardens and a verb of racing. Of the contexts nearest to such a
word in ELMo's states, how many show the same sense?
Expected: in layer 0, which sees the spelling alone, half (chance): every "bank" has the same vector.
Above it, noun and verb are told apart at once, in 95 % of the contexts or more, because a neighbour
gives it away. The two nouns stand at the same place of the same sentences. Only the topic tells
them apart, which other words of the document show, so they stay harder: 65 % or more.
Time: 45 s.
"""

# %% A language with two homonyms; the true senses are kept for the test
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.tensor import no_grad
from tinylm.text import ElmoWords
from tinylm.training.train import TrainConfig, Trainer

language = toy.Language()
SENSES = {
    language.lexicon["sailing", "noun"][0]: "bank",
    language.lexicon["music", "noun"][0]: "bank",
    language.lexicon["gardens", "noun"][0]: "plant",
    language.lexicon["racing", "verb"][0]: "plant",
}
NAMES = dict(zip(SENSES, ("sailing", "music", "noun", "verb"), strict=True))


def spelled(text):
    """The text as it is written: homonyms look alike."""
    return " ".join(SENSES.get(word, word) for word in text.split())


texts = [spelled(text) for text in toy.documents(6000, seed=0, language=language)]
held_out = toy.documents(1200, seed=9, language=language)

# %% Train: both directions learn to predict the next word
words = ElmoWords.train(texts)
corpus = encode_corpus(texts, words, words.end_id, structure=True)
model = tinylm.Elmo(tinylm.ElmoConfig.tiny(words.vocab_size))
model.spell(words.vocab, words.special_ids)
model.prepare(corpus)
result = Trainer(model, words, config=TrainConfig.of(tinylm.Elmo, steps=1300), quiet=True).run()
test = encode_corpus([spelled(t) for t in held_out[:200]], words, words.end_id, structure=True)
perplexity = model.eval().perplexities(test)
print(
    f"perplexity forward {perplexity['forward']:.1f}, backward {perplexity['backward']:.1f} "
    f"(single words {np.exp(test.unigram_entropy()):.0f}), after {result['seconds']:.0f} s"
)

# %% Read documents sentence by sentence; the state goes on from one to the next
documents = [text.split(" . ")[:3] for text in held_out]
found = {"bank": [], "plant": []}  # (true sense, sentence, the state of every layer)
with no_grad():
    for place in range(3):
        originals = [f"{sentences[place].rstrip(' .')} .".split() for sentences in documents]
        read = [[SENSES.get(word, word) for word in sentence] for sentence in originals]
        layers, _ = model.word_states(read, carry=True)
        for row, sentence in enumerate(originals):
            for t, word in enumerate(sentence):
                if word in SENSES:
                    states = [layer.data[row, t] for layer in layers]
                    found[SENSES[word]].append((NAMES[word], " ".join(read[row]), states))

# %% The five nearest contexts of each occurrence, layer by layer
NEAREST = 5
shares = {}
for word, occurrences in found.items():
    senses = np.array([sense for sense, _, _ in occurrences])
    for layer in range(3):
        states = np.stack([states[layer] for _, _, states in occurrences])
        if layer == 0:  # equal vectors: any order of the contexts is as good
            states = states + 1e-3 * np.random.default_rng(0).standard_normal(states.shape)
        centred = states - states.mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        likeness = unit @ unit.T
        np.fill_diagonal(likeness, -1)
        nearest = np.argsort(-likeness, axis=1)[:, :NEAREST]
        shares[word, layer] = np.mean(senses[nearest] == senses[:, None])
        if layer == 2:
            sense, sentence, _ = occurrences[0]
            print(f"\n{word} ({sense}): {sentence}")
            for other in nearest[0, :3]:
                print(f"   {occurrences[other][0]:8}{occurrences[other][1]}")

print(f"\nof the {NEAREST} nearest contexts, in the same sense:")
print("             bank (two topics)   plant (noun or verb)")
for layer in range(3):
    print(f"   layer {layer}      {shares['bank', layer]:7.0%}   {shares['plant', layer]:18.0%}")

# %% Verdict
assert all(0.4 < shares[word, 0] < 0.6 for word in found)
assert shares["plant", 1] > 0.95 and shares["plant", 2] > 0.95
best = max(shares["bank", 1], shares["bank", 2])
assert best > 0.65
print(
    f"VERDICT: pass. Spelling alone {shares['bank', 0]:.0%}; in its sentence, noun and verb "
    f"{shares['plant', 2]:.0%}, two nouns {best:.0%}."
)

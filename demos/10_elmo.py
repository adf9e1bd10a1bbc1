"""Demo 10: one word in two senses. Which layer of ELMo tells them apart?

Question: in a copy of the toy language three words are spelled alike. "plant" is a noun and a verb,
"Paris" a place and a person, "bank" a noun of sailing and a noun of music. Of the contexts nearest
to such a word in ELMo's states, how many show the same sense?
Expected: in layer 0, which sees the spelling alone, as many as chance gives: every "plant" has the
same vector. One layer above, noun and verb, place and person are told apart in 95 % or more: a neighbour
gives them away. The two banks stand at the same place of the same sentences and differ in their
topic only. After so little reading they stay near chance (below 65 %), as topics do for BERT in the
demo of its gaps.
Time: 35 s.
"""

# %% A language with three homonyms; the true senses are kept for the test
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.tensor import no_grad
from tinylm.text import ElmoWords
from tinylm.training.train import TrainConfig, Trainer

language = toy.Language()
SENSES = {  # the language's own word -> how it is spelled here, and in which sense
    language.lexicon["gardens", "noun"][0]: ("plant", "noun"),
    language.lexicon["racing", "verb"][0]: ("plant", "verb"),
    language.places[0]: ("Paris", "place"),
    language.first_names[0]: ("Paris", "person"),
    language.lexicon["sailing", "noun"][0]: ("bank", "sailing"),
    language.lexicon["music", "noun"][0]: ("bank", "music"),
}


def spelled(sentence):
    """A text, or words, as they are written: homonyms look alike."""
    words = sentence.split()
    return " ".join(SENSES.get(word, (word,))[0] for word in words)


texts = [spelled(text) for text in toy.documents(6000, seed=0, language=language)]
held_out = toy.documents(1200, seed=9, language=language)

# %% Train: both directions learn to predict the next word
words = ElmoWords.train(texts)
model = tinylm.Elmo(tinylm.ElmoConfig.tiny(words.vocab_size))
model.spell(words.vocab, words.special_ids)
model.prepare(encode_corpus(texts, words, words.end_id, structure=True))
training = TrainConfig.of(tinylm.Elmo, steps=900)
result = Trainer(model, words, config=training, quiet=True).run()
some = [spelled(text) for text in held_out[:200]]
test = encode_corpus(some, words, words.end_id, structure=True)
perplexity = model.eval().perplexities(test)
print(
    f"perplexity forward {perplexity['forward']:.1f}, backward {perplexity['backward']:.1f} "
    f"(single words {np.exp(test.unigram_entropy()):.0f}), after {result['seconds']:.0f} s"
)

# %% Read documents sentence by sentence; the state goes on from one to the next
documents = [text.split(" . ")[:3] for text in held_out]
found = {"plant": [], "Paris": [], "bank": []}  # (true sense, sentence, states of every layer)
with no_grad():
    for place in range(3):
        originals = [f"{sentences[place].rstrip(' .')} .".split() for sentences in documents]
        read = [spelled(" ".join(sentence)).split() for sentence in originals]
        layers, _ = model.word_states(read, carry=True)
        for row, sentence in enumerate(originals):
            for t, word in enumerate(sentence):
                if word in SENSES:
                    name, sense = SENSES[word]
                    states = [layer.data[row, t] for layer in layers]
                    found[name].append((sense, " ".join(read[row]), states))

# %% The five nearest contexts of each occurrence, layer by layer
NEAREST = 5
rng = np.random.default_rng(0)
shares = {}
chance = {}
for name, occurrences in found.items():
    senses = np.array([sense for sense, _, _ in occurrences])
    _, counts = np.unique(senses, return_counts=True)
    chance[name] = np.sum((counts / counts.sum()) ** 2)
    print(f"\n{name} ({senses[0]}): {occurrences[0][1]}")
    for layer in range(3):
        states = np.stack([states[layer] for _, _, states in occurrences])
        if layer == 0:  # equal vectors: any order of the contexts is as good
            states = rng.standard_normal(states.shape)
        centred = states - states.mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        likeness = unit @ unit.T
        np.fill_diagonal(likeness, -1)
        nearest = np.argsort(-likeness, axis=1)[:, :NEAREST]
        shares[name, layer] = np.mean(senses[nearest] == senses[:, None])
        best = occurrences[nearest[0, 0]]
        print(f"   nearest in layer {layer} ({best[0]}): {best[1]}")

print(f"\nof the {NEAREST} nearest contexts, in the same sense:")
print("           " + "".join(f"{name:>10}" for name in found))
print("   chance  " + "".join(f"{chance[name]:10.0%}" for name in found))
for layer in range(3):
    print(f"   layer {layer} " + "".join(f"{shares[name, layer]:10.0%}" for name in found))

# %% Verdict
assert all(abs(shares[name, 0] - chance[name]) < 0.06 for name in found)
for layer in (1, 2):
    assert min(shares["plant", layer], shares["Paris", layer]) > 0.95
    assert shares["bank", layer] < 0.65
print(
    f"VERDICT: pass. By spelling {shares['plant', 0]:.0%} and {shares['Paris', 0]:.0%}; in their "
    f"sentences {shares['plant', 2]:.0%} and {shares['Paris', 2]:.0%}; by topic alone "
    f"{shares['bank', 2]:.0%}."
)

"""Demo 24: an agent with a persona, which learns to reply and to tell a reply from another.

Question: each speaker of the toy dialogues says what its persona likes, in a foreign word. Does a
small GPT with two heads find the right one of 20 replies, where no word of the dialogue stands in
it? And does it say the right thing by itself?
Expected: hits@1 above 90 %; TF-IDF, which compares words, guesses, one in 20. F1 of the drawn words
above 0.9, perplexity below 2. Time: 20 s.
"""

# %% The dialogues
import numpy as np

import tinylm
from tinylm.data.dialogues import load_dialogues
from tinylm.text import Words
from tinylm.transfer import Chat, ChatConfig
from tinylm.transfer.replies import tfidf_hits
from tinylm.transfer.turns import Reader

train = load_dialogues("toy", "train")
test = load_dialogues("toy", "test")[:100]
texts = []
for utterance in train:
    texts += [*utterance.persona, *utterance.history, utterance.reply]
words = Words.train(texts)
sizes = dict(n_positions=32, n_embd=32, n_layer=2, n_head=2, initializer_range=0.15)
model = tinylm.GPT(tinylm.GPTConfig(words.vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, **sizes))

# %% Two heads learn from the reply and three distractors of each
config = ChatConfig(candidates=4, rate=5e-3, batch_size=16, accumulation=1, epochs=3)
agent = Chat(model, words, config).fit(train)

# %% How it reads a dialogue
reader: Reader = agent.reader_
first = test[0]
row = reader.arranged(first.persona, first.history, first.reply)
vocab = agent.tokenizer_.vocab
print(f"{'token':12} {'who speaks':12} counted")
for token, speaker, target in zip(row.ids, row.speakers, row.targets, strict=True):
    print(f"{vocab[token]:12} {vocab[speaker]:12} {'yes' if target >= 0 else ''}")

# %% A talk
rng = np.random.default_rng(0)
for utterance in test[:3]:
    history = ["hello ."]
    history.append(agent.reply(utterance.persona, history, rng))
    history.append("what do you like ?")
    answer = agent.reply(utterance.persona, history, rng)
    print(f"\n({utterance.persona[0]})\n- {history[0]}\n  {history[1]}\n- {history[2]}\n  {answer}")

# %% Measured on dialogues that it has not read
scores = agent.evaluate(test, rng)
baseline = tfidf_hits(train, test)
print(f"\n{scores}\nhits@1 of TF-IDF: {baseline:.3f}")

# %% Verdict
assert scores.hits > 0.9 > 0.3 > baseline and scores.f1 > 0.9 and scores.perplexity < 2
print(
    f"VERDICT: pass. The agent finds {100 * scores.hits:.0f} % of the replies among 20, TF-IDF "
    f"{100 * baseline:.0f} %."
)

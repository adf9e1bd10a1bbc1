"""Demo 12: how close does a small GPT come to the best that any model could do?

Question: the forward algorithm gives the exact loss of text from a hidden Markov model. How much of
the gap between counting tokens (unigram) and that exact loss does GPT close?
Expected: at least 95 %. 0 % is the unigram model; nothing can beat 100 %. Then GPT reads the toy
language and writes some of it. Time: 20 s.
"""

# %% Text whose entropy is known
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.data.documents import Corpus
from tinylm.text import Words
from tinylm.training.generate import generate, unwritten
from tinylm.training.train import TrainConfig, Trainer

source = toy.hidden_markov()
rng = np.random.default_rng(0)
train_ids = source.sample(800_000, rng)
test_ids = source.sample(20_000, rng)


def corpus(ids):
    """One long document of hidden Markov tokens."""
    return Corpus(ids, np.array([0, len(ids)]), source.vocab_size, len(ids), 3 * len(ids))


held_out = corpus(test_ids)
unigram = held_out.unigram_entropy()
exact = source.exact_loss(test_ids)
print(
    f"held-out text: unigram {unigram:.3f} nats per token, exact {exact:.3f}: "
    f"a gap of {unigram - exact:.3f}"
)
assert unigram - exact >= 0.5

# %% GPT sees only the tokens
config = tinylm.GPTConfig.tiny(source.vocab_size, batch_size=32)
model = tinylm.GPT(config)
model.prepare(corpus(train_ids))
training = TrainConfig.of(tinylm.GPT, steps=1000, lr=1e-2, weight_decay=0.01)
result = Trainer(model, config=training, held_out=held_out, quiet=True).run()
loss = result["held_out"]["loss"]
closed = (unigram - loss) / (unigram - exact)
print(
    f"GPT: {loss:.3f} nats per token after {result['seconds']:.0f} s; "
    f"{100 * closed:.1f} % of the gap closed"
)

# %% The toy language: words this time, and a text of GPT's own
texts = toy.documents(2000, seed=0)
words = Words.train(texts)
language = tinylm.GPT(tinylm.GPTConfig.tiny(words.vocab_size, batch_size=8))
language.prepare(encode_corpus(texts, words, end_id=words.end_id))
Trainer(language, words, config=TrainConfig.of(tinylm.GPT, steps=400, lr=2e-3), quiet=True).run()
prompt = texts[0].split()[:3]
ids = generate(
    language,
    words.encode(" ".join(prompt)),
    20,
    np.random.default_rng(0),
    without=unwritten(words),
    temperature=0.8,
)
print("after 400 steps GPT continues", " ".join(prompt), "…:", words.decode(list(ids)))

# %% Verdict
assert closed >= 0.95
print(
    f"VERDICT: pass. GPT closed {100 * closed:.1f} % of the gap between counting tokens "
    "and the exact loss."
)

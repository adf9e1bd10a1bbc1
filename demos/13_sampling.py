"""Demo 13: what do temperature, top-k, top-p, a penalty and beams do to a text?

Question: one small GPT continues the same prompt in seven ways. Which texts does it find probable
itself, and which repeat themselves?
Expected: greedy and beam texts are the most probable, sampled ones the least; cutting the tail (top-k,
top-p) lies between them. Greedy text repeats itself most, and a repetition penalty mends that.
Time: 50 s.
"""

# %% A language model of the toy language
import numpy as np

import tinylm
from tinylm.data import encode_corpus, toy
from tinylm.text import Words
from tinylm.training.beam import beam_search
from tinylm.training.generate import generate
from tinylm.training.train import TrainConfig, Trainer
from tinylm.training.zero_shot import token_log_probabilities

STEPS = 700
TOKENS = 60  # to write behind each prompt
TEXTS = 8  # prompts
texts = toy.documents(4000, seed=0)
words = Words.train(texts)
model = tinylm.GPT(tinylm.GPTConfig.tiny(words.vocab_size, batch_size=8))
model.prepare(encode_corpus(texts, words))
result = Trainer(model, config=TrainConfig.of(tinylm.GPT, steps=STEPS), quiet=True).run()
print(f"{result['loss']:.2f} nats per token after {result['seconds']:.0f} s")
prompts = [words.encode(" ".join(text.split()[:3])) for text in toy.documents(TEXTS, seed=1)]

# %% Seven ways to choose the next word
WAYS = {
    "greedy": dict(temperature=0),
    "greedy, penalty 1.3": dict(temperature=0, repetition_penalty=1.3),
    "beam of 4": None,
    "temperature 0.7": dict(temperature=0.7),
    "top-k 20": dict(top_k=20),
    "top-p 0.9": dict(top_p=0.9),
    "all words": dict(),
}


def continued(prompt, how, seed):
    """TOKENS new ids behind a prompt."""
    if how is None:
        (best,) = beam_search(model, prompt, TOKENS, width=4, count=1)
        return list(best.ids)
    return list(generate(model, prompt, TOKENS, np.random.default_rng(seed), **how))


def measure(how):
    """Mean log p of a new token, and the share of three-word runs that stood there before."""
    nats = []
    repeated = []
    for seed, prompt in enumerate(prompts):
        new = continued(prompt, how, seed)
        nats.append(token_log_probabilities(model, [*prompt, *new])[-len(new) :].mean())
        runs = list(zip(new, new[1:], new[2:], strict=False))
        repeated.append(1 - len(set(runs)) / len(runs))
    return float(np.mean(nats)), float(np.mean(repeated))


found = {}
print(f"{'':20}  log p per token  repeated  and so it reads")
for name, how in WAYS.items():
    found[name] = measure(how)
    sample = words.decode(continued(prompts[0], how, 0)[:9])
    print(f"{name:20} {found[name][0]:12.2f} {100 * found[name][1]:11.0f} %  {sample}", flush=True)

# %% Verdict
likely = {name: nats for name, (nats, _) in found.items()}
again = {name: share for name, (_, share) in found.items()}
assert min(likely["greedy"], likely["beam of 4"]) > likely["temperature 0.7"] > likely["all words"]
assert likely["all words"] < likely["top-p 0.9"] < likely["greedy"]
assert again["greedy"] > 2 * again["greedy, penalty 1.3"] and again["greedy"] > again["all words"]
print(
    f"VERDICT: pass. Greedy text repeats {100 * again['greedy']:.0f} % of its three-word runs, "
    f"sampled text {100 * again['all words']:.0f} %."
)

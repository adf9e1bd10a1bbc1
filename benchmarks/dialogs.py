"""Film dialogues: which of 20 replies was given? A small GPT with two heads beside TF-IDF.

    python -m benchmarks.dialogs [towers | together] [SEEDS] [UTTERANCES]

Each seed draws its own distractors from the replies of other dialogues. GPT has read nothing before
it learns to reply. All are measured on the same held-out dialogues.
"""

import sys
import time

import numpy as np

import tinylm
from tinylm.data.dialogues import load_dialogues
from tinylm.kernels.runtime.pool import set_threads
from tinylm.text import Words
from tinylm.transfer import Chat, ChatConfig
from tinylm.transfer.replies import tfidf_hits

VOCABULARY = 8192
SIZES = dict(n_positions=64, n_embd=64, n_layer=1, n_head=4, initializer_range=0.08)
LEARN = {
    "towers": dict(rate=1e-3, batch_size=128, accumulation=1, epochs=6),
    "together": dict(rate=1e-3, batch_size=16, accumulation=1, epochs=3, candidates=4),
}


def one(choice: str, seed: int, utterances: int | None) -> tuple:
    """(scores of the agent, hits@1 of TF-IDF) of one seed."""
    train = load_dialogues("dialogs", "train", seed=seed)[:utterances]
    test = load_dialogues("dialogs", "test", seed=seed)
    words = Words.train([f"{each.history[0]} {each.reply}" for each in train], VOCABULARY)
    config = tinylm.GPTConfig(
        words.vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **SIZES
    )
    model = tinylm.GPT(config, np.random.default_rng(seed))
    learn = ChatConfig(choice=choice, seed=seed, **LEARN[choice])
    agent = Chat(model, words, learn).fit(train)
    return agent.evaluate(test), tfidf_hits(train, test)


def table(choice: str = "towers", seeds: int = 3, utterances: int | None = None) -> None:
    """Print a line for each seed."""
    for seed in range(seeds):
        begun = time.process_time()
        scores, baseline = one(choice, seed, utterances)
        took = time.process_time() - begun
        print(
            f"{choice}, seed {seed}: {scores}; TF-IDF {baseline:.3f}; {took:.0f} s of CPU",
            flush=True,
        )


if __name__ == "__main__":
    set_threads(1)
    table(*sys.argv[1:2], *[int(word) for word in sys.argv[2:]])

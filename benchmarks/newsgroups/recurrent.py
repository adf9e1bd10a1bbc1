"""AWD-LSTM beside a plain LSTM, and ULMFiT's three stages beside a classifier from scratch."""

import copy
import json
import tempfile
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

import tinylm
from tinylm.data import encode_corpus, load_texts
from tinylm.objectives.inherit import with_tokens
from tinylm.objectives.ulmfit import DROPOUTS
from tinylm.text import Words, grow
from tinylm.training import pointer
from tinylm.training.evaluation import evaluate
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer.finetune import twin
from tinylm.transfer.task import load_task

from .shared import ADAPT, TEST, accuracy, learn, posts, said, split_posts

RATE = 4e-3  # the chapter's own, 1e-2, is for runs of a few minutes

# ---- a small text, read many times

WORDS = 200_000
EPOCHS = 20
SIZES = dict(emb_sz=64, n_hid=128, n_layers=3, bptt=70, batch_size=20, forget_bias=1.0)
DROPPED = 0.5  # of AWD-LSTM's dropouts, which are for layers of 1150
POINTED = 4000  # held-out tokens to choose the cache's θ and λ on, and as many to measure it
PLAIN = dict.fromkeys((*DROPOUTS, "alpha", "beta"), 0.0)
LSTMS = {  # name -> what differs from AWD-LSTM, and its epochs
    "awd-lstm": ({}, EPOCHS),
    "lstm": (PLAIN, EPOCHS),
    "lstm, a shorter schedule": (PLAIN, EPOCHS // 3),
}


def lstm(seeds: int = 3, epochs: int = EPOCHS) -> None:
    """The best held-out perplexity of any epoch: AWD-LSTM, and the same network that drops nothing.

    If a plain LSTM overfits early, it does so while its learning rate is still high. So it also
    gets a schedule that is over after a third of the epochs. The cache of the text's own past, see
    training/pointer.py, is measured with the last weights.
    """
    given = posts("ulmfit", "words", 4000, most=WORDS)
    found = {name: [] for name in LSTMS}
    for seed in range(seeds):
        for name, (changes, length) in LSTMS.items():
            length = max(length * epochs // EPOCHS, 1)
            model, perplexities = learned(given, seed, changes, length)
            best = perplexities.min()
            epoch = 1 + int(perplexities.argmin())
            alone, pointing = with_cache(model, given.held_out.ids)
            found[name].append(best)
            print(
                f"{name}, seed {seed}: perplexity {best:.1f} after epoch {epoch}; "
                f"{perplexities[-1]:.1f} after {length}; on some tokens {alone:.1f}, and "
                f"{pointing:.1f} with the cache",
                flush=True,
            )
    for name, best in found.items():
        print(f"{name}: {said(best)}", flush=True)


def learned(given, seed: int, changes: dict, epochs: int) -> tuple[tinylm.Ulmfit, np.ndarray]:
    """Train; returns the model, and the held-out perplexity after each epoch."""
    vocab_size = given.tokenizer.vocab_size
    config = tinylm.UlmfitConfig.awd_lstm(vocab_size, **SIZES).dropped(DROPPED)
    model = tinylm.Ulmfit(replace(config, **changes), np.random.default_rng(seed))
    model.spell(given.tokenizer.vocab, given.tokenizer.special_ids)
    model.prepare(given.train)
    lane = len(given.train.ids) // config.batch_size
    each = -(-lane // config.bptt)  # updates of an epoch, nearly
    steps = epochs * each
    often = dict(eval_every=each, save_every=steps)
    how = TrainConfig.of(model, steps=steps, seed=seed, lr=RATE, **often)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        Trainer(model, given.tokenizer, out, how, given.held_out, quiet=True).run()
        lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    losses = [event["loss"] for event in events if event["event"] == "evaluation"]
    return model, np.exp(losses)


def with_cache(model, ids: np.ndarray) -> tuple[float, float]:
    """The perplexity of some tokens alone and with the cache, which was tuned on those before."""
    config = pointer.choose(model, [ids[:POINTED]])
    further = ids[POINTED : 2 * POINTED]
    alone = pointer.next_token_nats(model, further, replace(config, share=0.0))
    pointing = pointer.next_token_nats(model, further, config)
    return float(np.exp(alone.mean())), float(np.exp(pointing.mean()))


# ---- three stages

GENERAL = "wikipedia"
GENERAL_WORDS = 3000
ALL_WORDS = 6000
NETWORK = dict(emb_sz=96, n_hid=192)
DECAY = 1 / 2.6  # of the rate, from each layer to the one below, in the second stage
LABELS = (10, 50)
STAGES = replace(ADAPT, rates=(1e-2,))  # of the head; the layers below learn more slowly
RATES = (3e-3, 1e-2)  # all layers at once


def ulmfit(minutes: float = 5.0, seeds: int = 3) -> None:
    """Accuracy on the topics: a language, then the posts, then the labels; or the labels alone.

    A third of the minutes is for the language. Both learn the labels with all layers at once, at
    two rates, and by ULMFiT's gradual recipe.
    """
    texts = Stages()
    task = load_task("newsgroups", TEST)
    found = defaultdict(list)
    for seed in range(seeds):
        model = texts.read(60 * minutes, seed)
        fresh = twin(model, seed)
        ways = {}
        for name, encoder in {"three stages": model, "scratch": fresh}.items():
            ways[f"{name}, gradual"] = (encoder, "gradual", STAGES)
            for rate in RATES:
                how = replace(ADAPT, rates=(rate,))
                ways[f"{name} at {rate:g}"] = (encoder, "finetune", how)
        for labels, (way, (encoder, method, how)) in product(LABELS, ways.items()):
            score = accuracy(encoder, texts.tokenizer, method, task, labels, seed, how)
            found[labels, way].append(score)
            print(f"seed {seed}, {labels} labels, {way}: {score:.1f} %", flush=True)
    for (labels, way), scores in sorted(found.items()):
        print(f"{labels} labels, {way}: {said(scores)} %", flush=True)


class Stages:
    """The texts of the first two stages, in an encoding of the first, grown by words of the second.

    .tokenizer : of both
    """

    def __init__(self):
        general = load_texts(GENERAL)
        train, self.held_out = split_posts()
        first = Words.train(general, GENERAL_WORDS, lower=True)
        self.general = encode_corpus(general, first, end_id=first.end_id)
        self.tokenizer = copy.deepcopy(first)
        grow(self.tokenizer, train, ALL_WORDS)
        end = self.tokenizer.end_id
        self.posts = encode_corpus(train, self.tokenizer, end_id=end)
        self.others = encode_corpus(self.held_out, self.tokenizer, end_id=end)

    def read(self, seconds: float, seed: int) -> tinylm.Ulmfit:
        """A model that has read both texts, for so many seconds of processor time."""
        rng = np.random.default_rng(seed)
        config = tinylm.UlmfitConfig.small(self.general.vocab_size, **NETWORK)
        model = tinylm.Ulmfit(config, rng)
        model.prepare(self.general)
        how = TrainConfig.of(model, steps=1, seed=seed, lr=RATE)
        language = learn(model, how, seconds / 3)
        model = with_tokens(model, self.tokenizer.vocab_size, rng)
        model.spell(self.tokenizer.vocab, self.tokenizer.special_ids)
        model.prepare(self.posts)
        before = evaluate(model, self.others)["loss"]
        domain = learn(model, replace(how, layer_decay=DECAY), 2 * seconds / 3)
        after = evaluate(model, self.others)["loss"]
        print(
            f"seed {seed}: {language:,} updates of {GENERAL}, {domain:,} of posts; "
            f"held-out posts {before:.3f}, then {after:.3f} nats",
            flush=True,
        )
        return model

"""How close do small models come to the best that anybody could do?

    python -m benchmarks.limits [bert|bert_noisy|gpt1|electra] [SEED] [SHARE]

SHARE of the updates, 1 by default; all four lines if none is named. Text from a hidden Markov model has an exact limit,
which the forward-backward algorithm gives. 0 % of the gap is what counting tokens gives, 100 % is the limit, and more
than 100.5 % would be a leak. Texts have 64 tokens and begin anywhere.

bert        every gap shows [MASK]
bert_noisy  8 of 10 gaps show it, 1 of 10 a random word, 1 of 10 itself: the best reader must doubt every word
gpt1        each token from those before it; the first, which nobody can know better than the counts, is left out
electra     was this token replaced? 15 % of them are, by any token

Measured, one thread, seconds of processor time:

    bert 93.2, 93.0, 94.0 % (seeds 0, 1, 2; of seed 2: counts 3.178, found 1.985, exact 1.909 nats; 57,711 gaps; 3,500
        updates, 149 to 261 s), still rising
    bert_noisy 83.4 % (seed 1: 2.969, 1.962, 1.761; 2,000 further updates, 151 s); 82.8 % (seed 0, 1,200 of them)
    electra 86.0 % (seed 1: 0.413, 0.247, 0.220; 384,000 tokens; 2,500 further updates, 164 s); 85.2 % (seed 0, 1,750)
    gpt1 96.7 % (seed 0: counts 3.178, found 2.225, exact 2.193 nats; 64,000 tokens; 2,400 updates, 53 s)
    gpt1 97.5 % (seed 1: 3.178, 2.218, 2.193; 378,000 tokens; 49 s)

What ends the plateau. At first the only way to a lower loss is to look at the neighbours of a gap, and a model that looks
at all 64 places alike hardly ever finds them. With 2 layers of 64 and weights of 1/sqrt(64), 1,000 updates of 15 % gaps
rest at the counts from random positions, 800 from sinusoids. With `look_near` the loss falls after 300, without shorter
texts: 1,200 updates close 78 %, and with 30 % gaps 84 % (10,000 gaps scored). Sinusoids with the published base of 10,000
have too many slow rates: near places are hardly more alike than far ones. 8 heads of 16 in 128, with 40 % gaps, close
88 % in 1,200 updates, at some two and a half times the work of 64. 4 layers with a rate of 3e-3 wait for 900.
ELECTRA from scratch leaves its plateau too, after 500 updates, but it stands at 0.341 nats after 1,200.
"""

import sys
import time
from dataclasses import dataclass, replace

import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.data import Corpus, toy
from tinylm.data.batching import windows
from tinylm.data.gaps import fill
from tinylm.data.markov import HiddenMarkov, Masking
from tinylm.nn.encoder import sinusoids
from tinylm.objectives.bert import NOT_COUNTED
from tinylm.objectives.electra import ElectraBatch
from tinylm.tensor import no_grad
from tinylm.text import Words
from tinylm.training.train import TrainConfig, Trainer

T = 64  # tokens of a text
RATE = 0.15  # of them are picked
LEARN = 2_000_000  # tokens to learn from
SCORED = 6000  # texts; some 58,000 picks
LEAK = 1.005


@dataclass(frozen=True)
class Score:
    """Mean nats of n predictions: by counting tokens, by the model, by the exact answer."""

    n: int
    counts: float
    found: float
    exact: float

    @property
    def share(self) -> float:
        """The share of the gap that the model closes."""
        return (self.counts - self.found) / (self.counts - self.exact)

    def must_not_leak(self) -> None:
        """Nobody can know more than the exact answer, but for the chance of the texts."""
        assert self.share <= LEAK, f"a leak: {self}"

    def __str__(self) -> str:
        return (
            f"{self.n:,} predictions: counts {self.counts:.3f}, found {self.found:.3f}, "
            f"exact {self.exact:.3f} nats: {100 * self.share:.1f} % closed"
        )


# ---- texts


def words_of(source: HiddenMarkov) -> Words:
    """An encoding of the source's tokens, with BERT's special tokens before them."""
    tokenizer = Words(source.words)
    tokenizer.add_specials(tinylm.Bert.needs_tokens)
    return tokenizer


def corpus_of(ids: np.ndarray, tokenizer: Words) -> Corpus:
    """One long document of the source's tokens. Any window of it is a text from the stationary start."""
    ends = np.array([0, len(ids)])
    return Corpus(
        ids + tokenizer.first,
        ends,
        tokenizer.vocab_size,
        words=len(ids),
        characters=3 * len(ids),
        special_ids=tokenizer.special_ids,
        sentences=ends,
        word_starts=np.ones(len(ids), bool),
    )


def some(texts: np.ndarray) -> list[np.ndarray]:
    """Texts in parts of 256, so that a model reads them in little memory."""
    return [texts[first : first + 256] for first in range(0, len(texts), 256)]


def look_near(encoder, std: float) -> None:
    """Let attention begin at the near places: there stands what helps.

    A query equals the key of its place, and the positions are sinusoids, so a place is most like itself and its
    neighbours. Where a model begins to look everywhere, each of 64 places adds next to nothing, and the loss rests
    at the counts for thousands of updates.
    """
    positions = encoder.embeddings.positions.weight.data
    positions[...] = sinusoids(*positions.shape, std, base=30.0)
    for block in encoder.h:
        queries, keys, _ = np.split(block.attn.c_attn.weight.data, 3)
        queries *= 2  # so that near places get most of the weight
        keys[...] = queries


# ---- BERT


class EachByItself(tinylm.Bert):
    """BERT whose every token is picked with the same chance, whatever happens to the others.

    The published count of picks is fixed, so that the number of [MASK]s tells how many words to doubt.
    """

    def choose(self, ids, candidates, begins_word, n, rng):
        """Places to hide."""
        return candidates[rng.random(len(candidates)) < self.config.mask_rate]


def bert(tokenizer: Words, seed: int, **over):
    """A new BERT without the second task. [CLS] and [SEP] stand around each text."""
    width = 96
    config = tinylm.BertConfig.tiny(
        tokenizer.vocab_size,
        hidden_size=width,
        num_attention_heads=6,
        intermediate_size=4 * width,
        initializer_range=width**-0.5,
        max_position_embeddings=T + 2,
        sequence_length=T + 2,
        batch_size=24,
        next_sentence=False,
        short_rate=0.0,
    )
    model = EachByItself(replace(config, **over), np.random.default_rng(seed))
    look_near(model.encoder, config.initializer_range)
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    return model


def score_masked(
    model, corpus: Corpus, source: HiddenMarkov, masking: Masking, first: int
) -> Score:
    """A masked language model beside the exact answer.

    first : the id of the source's token 0
    """
    found = 0.0
    counts = 0.0
    exact = 0.0
    n = 0
    for batch in model.evaluation_batches(corpus):
        scores = F.log_softmax(model.logits(batch.ids, batch.mask)).data  # (B,T,V)
        rows, columns = np.nonzero(batch.targets != NOT_COUNTED)
        places = batch.picks[rows, columns]
        targets = batch.targets[rows, columns]
        ids = batch.ids.copy()
        ids[rows, places] = targets
        picks = np.zeros(ids.shape, bool)
        picks[rows, places] = True
        texts = [array[:, 1:-1] for array in (ids - first, batch.ids - first, picks)]
        n += len(targets)
        found -= scores[rows, places, targets].sum(dtype=float)
        counts += len(targets) * source.masked_loss(*texts, masking, blind=True)
        exact += len(targets) * source.masked_loss(*texts, masking)
    return Score(n, counts / n, found / n, exact / n)


# ---- GPT-1


def gpt1(tokenizer: Words, seed: int):
    """A new GPT-1."""
    config = tinylm.GPT1Config.tiny(
        tokenizer.vocab_size, n_positions=T, n_head=4, initializer_range=64**-0.5, batch_size=24
    )
    return tinylm.GPT1(config, np.random.default_rng(seed))


def score_causal(model, texts: np.ndarray, source: HiddenMarkov, first: int) -> Score:
    """A left-to-right model beside the exact answer, from the second token of each text on.

    texts : (B, T) tokens of the source     first : the id of the source's token 0
    """
    inputs = texts[:, :-1] + first
    targets = texts[:, 1:]
    parts = [F.log_softmax(model.logits(part)).data for part in some(inputs)]
    scores = np.concatenate(parts)  # (B,T-1,V)
    found = np.take_along_axis(scores, targets[..., None] + first, axis=2)
    exact = [source.token_losses(text)[1:] for text in texts]
    chances = source.start @ source.emission
    return Score(
        targets.size,
        -np.log(chances[targets]).mean(),
        -found.mean(dtype=float),
        np.mean(exact),
    )


# ---- ELECTRA


class Channel(tinylm.Electra):
    """ELECTRA whose picks, each drawn by itself, become any of V tokens; [CLS] and [SEP] are neither."""

    first: int  # the id of the source's token 0
    V: int  # the source's tokens

    def prepare(self, corpus):
        """Keep the corpus; there are no examples to cut."""
        self.corpus = corpus
        self.fingerprint = corpus.fingerprint

    def batch(self, step, seed):
        """Windows of the text, and the places that a random token takes."""
        starts = windows(len(self.corpus.ids), T, self.config.batch_size, step, seed)
        ids = self.framed(self.corpus.ids[starts[:, None] + np.arange(T)] - self.first)
        judged = np.zeros(ids.shape, bool)
        judged[:, 1:-1] = True
        rng = np.random.default_rng([seed, 11, step])
        picks = np.flatnonzero(judged & (rng.random(ids.shape) < RATE))
        real = np.ones(ids.shape, bool)
        return ElectraBatch(ids, np.zeros_like(ids), real, ids, picks, judged, int(judged.sum()))

    def framed(self, texts):
        """What the model reads.   tokens of the source (B, T) -> ids (B, T+2)"""
        ids = texts.astype(np.int64) + self.first
        return np.pad(ids, ((0, 0), (1, 1)), constant_values=((0, 0), (self.cls_id, self.sep_id)))

    def _samples(self, batch, scores):
        """A token for each pick, (P,): only such as stand in texts."""
        rng = np.random.default_rng(int(self.noise.key()))
        return self.first + rng.integers(self.V, size=batch.picks.size)


def electra(tokenizer: Words, filler, seed: int):
    """A discriminator that begins with the encoder of a BERT; its replacements are any token.

    Whether a token was replaced shows only in the token and its neighbours together: from scratch the loss is hardly
    below the entropy of the labels after a thousand updates. Clark et al. 2020 call this two-stage training
    (section 3.2).
    """
    c = filler.config
    config = tinylm.ElectraConfig.tiny(
        tokenizer.vocab_size,
        embedding_size=c.hidden_size,
        hidden_size=c.hidden_size,
        num_attention_heads=c.num_attention_heads,
        intermediate_size=c.intermediate_size,
        initializer_range=c.initializer_range,
        max_position_embeddings=T + 2,
        batch_size=c.batch_size,
        uniform_generator=True,
        disc_weight=1.0,
    )
    model = Channel(config, np.random.default_rng(seed))
    model.spell(tokenizer.vocab, tokenizer.special_ids)
    model.first = tokenizer.first
    model.V = len(tokenizer.vocab) - len(tokenizer.special_ids)
    model.encoder.load_state_dict(filler.encoder.state_dict())
    return model


def score_judge(model, texts: np.ndarray, source: HiddenMarkov, rng: np.random.Generator) -> Score:
    """A discriminator beside the exact answer, for every token.   texts : (B, T) tokens of the source"""
    V = source.vocab_size
    picks = np.flatnonzero(rng.random(texts.size) < RATE)
    seen = fill(texts, picks, rng.integers(V, size=picks.size))
    replaced = seen != texts
    parts = [model.judge(model.framed(part)).data[:, 1:-1] for part in some(seen)]
    logits = np.concatenate(parts).astype(float)  # (B,T)

    def nats(chances):
        return -np.log(np.where(replaced, chances, 1 - chances)).mean()

    labels = np.full(seen.shape, RATE * (V - 1) / V)
    found = np.where(replaced, np.logaddexp(0, -logits), np.logaddexp(0, logits)).mean()
    return Score(seen.size, nats(labels), found, nats(source.replaced_chances(seen, RATE)))


# ---- the four lines


@dataclass(frozen=True)
class Stage:
    """Updates with the same settings. The rate rises for a tenth of them, then falls to 0.

    lr : the highest learning rate     config : fields of the model's config that change
    """

    steps: int
    lr: float
    config: dict


HIDDEN = {"masked_share": 1.0, "random_share": 0.0}  # every pick shows [MASK]
PUBLISHED = {"masked_share": 0.8, "random_share": 0.1}
RECIPES = {
    "bert": Stage(3500, 2.5e-3, {"mask_rate": 0.4, **HIDDEN}),  # more gaps teach more
    "bert_noisy": Stage(2000, 1.5e-3, {"mask_rate": RATE, **PUBLISHED}),  # goes on from bert
    "gpt1": Stage(2400, 3e-3, {}),
    "electra": Stage(2500, 1.5e-3, {}),  # goes on from bert
}


class Limits:
    """The four lines for one seed.   seed : of texts, weights and batches; share : of the updates"""

    def __init__(self, seed: int = 0, share: float = 1.0):
        self.seed = seed
        self.share = share
        self.source = toy.hidden_markov()
        self.tokenizer = words_of(self.source)
        self.rng = np.random.default_rng([seed, 1])
        self.corpus = corpus_of(self.source.sample(LEARN, self.rng), self.tokenizer)
        self.filler = None

    def measure(self, name: str) -> Score:
        """Train the model of one line, and hold it beside the exact answer on new texts."""
        model = self.model(name)
        learned = self.learn(model, name)
        model.eval()
        with no_grad():
            score = self.score(model, name)
        model.train()
        print(f"{name}, seed {self.seed}, {learned}\n  {score}", flush=True)
        score.must_not_leak()
        if name == "bert":
            self.filler = model
        return score

    def model(self, name: str):
        """A model at its beginning; bert_noisy and electra begin with a trained bert."""
        if name == "bert":
            return bert(self.tokenizer, self.seed)
        if name == "gpt1":
            return gpt1(self.tokenizer, self.seed)
        if self.filler is None:
            self.measure("bert")
        if name == "electra":
            return electra(self.tokenizer, self.filler, self.seed)
        model = bert(self.tokenizer, self.seed)
        model.load_state_dict(self.filler.state_dict())
        return model

    def learn(self, model, name: str) -> str:
        """Train a model; says how long it took."""
        stage = RECIPES[name]
        model.config = replace(model.config, **stage.config)
        model.prepare(self.corpus)
        steps = max(round(self.share * stage.steps), 1)
        options = dict(lr=stage.lr, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, clip=1.0)
        options |= dict(warmup=0.1, schedule="linear", bias_correction=True)
        how = TrainConfig.of(model, steps=steps, seed=self.seed, **options)
        core = time.process_time()
        result = Trainer(model, config=how, quiet=True).run()
        core = time.process_time() - core
        return f"{steps:,} updates, {result['seconds']:.0f} s ({core:.0f} s of one core)"

    def score(self, model, name: str) -> Score:
        """The score of one line on new texts."""
        ids = self.source.sample(SCORED * T, self.rng)
        texts = ids.reshape(-1, T).astype(np.int64)
        first = self.tokenizer.first
        if name == "electra":
            return score_judge(model, texts, self.source, self.rng)
        if name == "gpt1":
            return score_causal(model, texts, self.source, first)
        model.config = replace(model.config, mask_rate=RATE)
        c = model.config
        masking = Masking(RATE, c.masked_share, c.random_share, self.tokenizer.vocab_size)
        corpus = corpus_of(ids, self.tokenizer)
        return score_masked(model, corpus, self.source, masking, first)


if __name__ == "__main__":
    chosen = list(RECIPES)
    if sys.argv[1:]:
        chosen = sys.argv[1].split(",")
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    share = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
    lines = Limits(seed, share)
    for name in chosen:
        lines.measure(name)

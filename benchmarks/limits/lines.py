"""The lines of the benchmark: how each model begins, learns and is scored."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinylm.data import Corpus, toy
from tinylm.data.markov import Masking
from tinylm.tensor import no_grad
from tinylm.text import ElmoWords, Words
from tinylm.training.train import TrainConfig, Trainer

from . import causal, gaps, judge, orders, students
from .texts import RATE, Score, T, corpus_of, texts_of, words_of

LEARN = 2_000_000  # tokens to learn from
SCORED = 6000  # texts; some 58,000 picks
FEWER = 2000  # where each text takes long: 128,000 tokens, 32,000 targets of an order

LINEAR = dict(  # unless a line says otherwise
    betas=(0.9, 0.98),
    eps=1e-8,
    weight_decay=0.01,
    clip=1.0,
    warmup=0.1,
    schedule="linear",
    bias_correction=True,
)


@dataclass(frozen=True)
class Stage:
    """Updates with the same settings. Unless told otherwise, the rate rises for a tenth of them,
    then falls to 0.

    lr : the highest learning rate     config : fields of the model's config that change
    training : fields of TrainConfig; {} for those that the chapter prefers
    """

    steps: int
    lr: float
    config: dict = field(default_factory=dict)
    training: dict = field(default_factory=lambda: LINEAR)


HIDDEN = {"masked_share": 1.0, "random_share": 0.0}  # every pick shows [MASK]
PUBLISHED = {"masked_share": 0.8, "random_share": 0.1}
VISIBLE = {
    "masked_share": 0.2,
    "random_share": 0.4,
}  # half of what is shown is wrong, as in PUBLISHED
RECIPES = {
    "bert": [Stage(5000, 2e-3, {"mask_rate": 0.4, **HIDDEN})],  # more gaps teach more
    "bert_noisy": [  # goes on from bert; the gaps that show a word are 3 % of the tokens, first 24 %
        Stage(5000, 2.5e-3, {"mask_rate": 0.3, **VISIBLE}),
        Stage(2500, 2e-3, {"mask_rate": RATE, **PUBLISHED}),
    ],
    "gpt1": [Stage(2400, 3e-3)],
    "elmo": [Stage(1500, 1e-2, training={})],
    "elmo_sampled": [Stage(1500, 1e-2, {"n_negative_samples_batch": 10}, training={})],
    "ulmfit": [Stage(4000, 4e-3, training={})],
    "xlnet": [Stage(4000, 3e-3, {"num_predict": 24})],  # more targets teach more
    "electra": [Stage(5000, 1.5e-3)],  # goes on from bert
    "distil": [Stage(1000, 1e-3)],  # bert is the teacher
}


@dataclass(frozen=True)
class Pupil:
    """A model at its beginning, and what it learns from.   label : what tells it from others"""

    model: Any
    corpus: Corpus
    label: str = ""


class Limits:
    """The lines for one seed.   seed : of texts, weights and batches; share : of the updates"""

    def __init__(self, seed: int = 0, share: float = 1.0):
        self.seed = seed
        self.share = share
        self.source = toy.hidden_markov()
        self.tokenizer = words_of(self.source)
        self.rng = np.random.default_rng([seed, 1])
        self.ids = self.source.sample(LEARN // T * T, self.rng)
        self.corpus = corpus_of(self.ids, self.tokenizer)
        self.filler = None

    def measure(self, name: str) -> dict[str, Score]:
        """Train the models of one line, and hold them beside the exact answer on new texts."""
        scores = {}
        for pupil in LINES[name].begin(self):
            learned = [self.learn(pupil, stage) for stage in RECIPES[name]]
            pupil.model.eval()
            with no_grad():
                found = LINES[name].score(self, pupil)
            pupil.model.train()
            print(f"{name}, seed {self.seed}, {', then '.join(learned)}", flush=True)
            for label, score in found.items():
                print(f"  {label}{score}", flush=True)
                score.must_not_leak()
            scores |= found
            if name == "bert":
                self.filler = pupil.model
        return scores

    def trained_bert(self):
        """The model of the line bert, trained once."""
        if self.filler is None:
            self.measure("bert")
        return self.filler

    def learn(self, pupil: Pupil, stage: Stage) -> str:
        """Train a model; says how long it took."""
        model = pupil.model
        model.config = replace(model.config, **stage.config)
        model.prepare(pupil.corpus)
        steps = max(round(self.share * stage.steps), 1)
        how = TrainConfig.of(model, steps=steps, seed=self.seed, lr=stage.lr, **stage.training)
        core = time.process_time()
        result = Trainer(model, config=how, quiet=True).run()
        core = time.process_time() - core
        return f"{steps:,} updates, {result['seconds']:.0f} s ({core:.0f} s of one core)"

    def texts(self, count: int) -> np.ndarray:
        """New texts, (count, T) tokens of the source."""
        return self.source.sample(count * T, self.rng).reshape(-1, T).astype(np.int64)


@dataclass(frozen=True)
class Line:
    """begin(limits) -> the models to train     score(limits, pupil) -> a label and Score of each"""

    begin: Callable[[Limits], list[Pupil]]
    score: Callable[[Limits, Pupil], dict[str, Score]]


# ---- gaps


def begin_bert(limits: Limits) -> list[Pupil]:
    """A new BERT."""
    return [Pupil(gaps.bert(limits.tokenizer, limits.seed), limits.corpus)]


def begin_noisy(limits: Limits) -> list[Pupil]:
    """A copy of the BERT that learned from [MASK] alone."""
    filler = limits.trained_bert()
    [pupil] = begin_bert(limits)
    pupil.model.load_state_dict(filler.state_dict())
    return [pupil]


def begin_distil(limits: Limits) -> list[Pupil]:
    """A student, and its twin."""
    teacher = limits.trained_bert()
    pupils = []
    for label in ("student", "twin"):
        model = students.student(teacher, limits.seed, twin=label == "twin")
        pupils.append(Pupil(model, limits.corpus, label))
    return pupils


def score_gaps(limits: Limits, pupil: Pupil) -> dict[str, Score]:
    """The score of a BERT; of a student also how far it is from its teacher."""
    model = pupil.model
    corpus = corpus_of(limits.texts(SCORED).reshape(-1), limits.tokenizer)
    model.config = replace(model.config, mask_rate=RATE)
    c = model.config
    masking = Masking(RATE, c.masked_share, c.random_share, limits.tokenizer.vocab_size)
    label = ""
    if pupil.label:
        distance = students.distance_to_teacher(model, corpus)
        label = f"{pupil.label}: KL to its teacher {distance:.4f} nats; "
    first = limits.tokenizer.first
    return {label: gaps.score_masked(model, corpus, limits.source, masking, first)}


# ---- one direction


def begin_gpt1(limits: Limits) -> list[Pupil]:
    """A new GPT-1."""
    return [Pupil(causal.gpt1(limits.tokenizer, limits.seed), limits.corpus)]


def score_gpt1(limits: Limits, pupil: Pupil) -> dict[str, Score]:
    """From the second token of each text on."""
    first = limits.tokenizer.first
    score = causal.score_causal(pupil.model, limits.texts(SCORED), limits.source, first)
    return {"": score}


def begin_elmo(limits: Limits) -> list[Pupil]:
    """A new ELMo and its texts."""
    tokenizer = ElmoWords(limits.source.words)
    model = causal.elmo(tokenizer, limits.seed)
    return [Pupil(model, texts_of(limits.ids, tokenizer))]


def score_elmo(limits: Limits, pupil: Pupil) -> dict[str, Score]:
    """Both directions."""
    first = ElmoWords(limits.source.words).first
    texts = limits.texts(FEWER)
    found = causal.score_both_ways(pupil.model, texts, limits.source, first)
    return {f"{way}: ": score for way, score in found.items()}


def begin_ulmfit(limits: Limits) -> list[Pupil]:
    """A new AWD-LSTM and its texts."""
    tokenizer = Words(limits.source.words)
    model = causal.ulmfit(tokenizer, limits.seed)
    return [Pupil(model, texts_of(limits.ids, tokenizer))]


def score_ulmfit(limits: Limits, pupil: Pupil) -> dict[str, Score]:
    """From the second token of each text on; the end of another one stands before the first."""
    texts = limits.texts(SCORED)
    how = (Words(limits.source.words).first, Words.end_id)
    return {"": causal.score_causal(pupil.model, texts, limits.source, *how)}


# ---- orders and replaced tokens


def begin_xlnet(limits: Limits) -> list[Pupil]:
    """A new XLNet, which needs no special token here."""
    return [Pupil(orders.xlnet(limits.tokenizer, limits.seed), limits.corpus)]


def score_xlnet(limits: Limits, pupil: Pupil) -> dict[str, Score]:
    """Every target, given what it may see; a quarter of the tokens are targets."""
    pupil.model.config = replace(pupil.model.config, num_predict=T // 4)
    texts = limits.texts(FEWER)
    how = (limits.source, limits.tokenizer.first, limits.rng)
    return {"": orders.score_in_order(pupil.model, texts, *how)}


def begin_electra(limits: Limits) -> list[Pupil]:
    """A discriminator that begins with BERT's encoder."""
    filler = limits.trained_bert()
    return [Pupil(judge.electra(limits.tokenizer, filler, limits.seed), limits.corpus)]


def score_electra(limits: Limits, pupil: Pupil) -> dict[str, Score]:
    """Every token."""
    score = judge.score_judge(pupil.model, limits.texts(SCORED), limits.source, limits.rng)
    return {"": score}


LINES = {
    "bert": Line(begin_bert, score_gaps),
    "bert_noisy": Line(begin_noisy, score_gaps),
    "gpt1": Line(begin_gpt1, score_gpt1),
    "elmo": Line(begin_elmo, score_elmo),
    "elmo_sampled": Line(begin_elmo, score_elmo),
    "ulmfit": Line(begin_ulmfit, score_ulmfit),
    "xlnet": Line(begin_xlnet, score_xlnet),
    "electra": Line(begin_electra, score_electra),
    "distil": Line(begin_distil, score_gaps),
}

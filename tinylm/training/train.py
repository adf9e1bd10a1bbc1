"""The training loop: one for every chapter, because it knows only the base class Objective.

    batch -> loss -> backward -> clip -> optimiser (or the chapter's own lock-free kernel)
          -> log, evaluate, save

Batches, dropout and schedule are pure functions of the seed and the step. So the state of a run is
its weights, moments and step number. A run that is killed at any moment and resumed ends with the
same bits as one that nobody interrupted; `runs.py` saves and restores that state. The settings of
a run are in `config.py`.
"""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import optim
from tinylm.errors import DivergenceError, TinylmError
from tinylm.finite import first_broken
from tinylm.interrupt import Interrupted, Signals
from tinylm.kernels.runtime.pool import one_pool
from tinylm.progress import Progress

from . import runs
from .best import Best
from .budget import warm_up
from .config import TrainConfig
from .evaluation import evaluate, in_words
from .losses import Components, Divergence, EpochMean

GLANCE = 10_000  # held-out tokens that an evaluation on the way predicts, always the same ones
LAST_LOOK = 200_000  # held-out tokens that the last evaluation predicts
RECENT = 50  # updates over which the reported training loss is averaged
SAVE_EVERY = 100  # updates between checkpoints, unless a config says how many
SAVE_SHARE = 20  # and a run trains at least so many times as long as its last checkpoint took


@dataclass(frozen=True)
class Gathered:
    """What the batches of one update say together.

    loss, components : means     tokens : predicted     read : tokens that the model saw for them
    rate_scale : mean of the factors that the objective puts on the learning rate
    """

    loss: float
    components: dict[str, float]
    tokens: int
    read: int
    rate_scale: float


class Trainer:
    """Trains one prepared objective, in a run folder or only in memory.

    objective : a chapter's model after prepare(corpus)
    tokenizer : saved into the folder beside the model
    out : run folder, or None to keep nothing
    config : TrainConfig, or None for 1,000 steps of what the chapter prefers
    held_out : Corpus for evaluation, or None
    quiet : no progress bar and no lines
    .clock : function that returns seconds since any moment; updates are timed with it

    >>> import tinylm
    >>> ids = np.arange(100) % 5  # 0 1 2 3 4 0 1 ...
    >>> corpus = tinylm.data.Corpus(ids, np.array([0, 100]), 5, words=100, characters=100)
    >>> model = tinylm.GPT(tinylm.GPTConfig.tiny(vocab_size=5, n_positions=7))
    >>> model.prepare(corpus)
    >>> result = Trainer(model, config=TrainConfig.of(model, steps=100), quiet=True).run()
    >>> result["loss"] < 0.1, round(corpus.unigram_entropy(), 2)
    (True, 1.61)
    """

    def __init__(
        self,
        objective: Any,
        tokenizer: Any = None,
        out: str | Path | None = None,
        config: TrainConfig | None = None,
        held_out: Any = None,
        quiet: bool = False,
    ):
        self.objective = objective
        self.tokenizer = tokenizer
        self.held_out = held_out
        self.folder = runs.RunFolder(out, objective, tokenizer)
        self.out = self.folder.path
        self.config = config or TrainConfig.of(objective, steps=1000)
        self.quiet = quiet
        self.clock = time.perf_counter
        self.budget = self.config.budget()
        self.step = 0
        self.seconds = 0.0
        self.saved = (0.0, 0.0)  # `seconds` at the last checkpoint, and what that one took
        self.tokens = 0  # predicted
        self.read = 0  # tokens that the model saw for these predictions
        self.recent = deque(maxlen=RECENT)
        self.epoch = EpochMean()
        self.divergence = Divergence()
        self.best = Best(self.config.keep == "best")
        self.optimizer = None  # stays None for a chapter whose own kernel makes the updates
        self._identity = None
        self._signals = Signals()

    @property
    def steps(self) -> int:
        """Updates of the whole run, as planned now; in `run` minutes or tokens become a plan."""
        return self.budget.plan.steps

    def run(
        self,
        resume: bool = False,
        encoding: Mapping | None = None,
        overwrite: bool = False,
        initial: str | None = None,
    ) -> dict[str, Any]:
        """Train to the last step. Save on the way, at the end, and on Ctrl-C or SIGTERM.

        resume : continue an unfinished run in the folder, leave a finished one alone, start in an
            empty folder
        encoding : dict, JSON: the options asked of the text's encoding; a resumed run must ask for
            the same
        overwrite : replace a run, model or classifier that the folder holds
        initial : fingerprint of the weights that the run began with, if no seed gives them; a
            resumed run must have begun with the same
        returns dict: steps, loss (mean of the last 50 updates, in the objective's `unit`), held_out
            (dict of `evaluate`, or None), seconds (of the updates), tokens (predicted), read
            (tokens that the model saw for them), plan (see budget.py, as lists), kept (the updates
            after which the weights were as they are now)
        raises CheckpointError  if the folder holds anything but the run to resume and overwrite is
            False, if another process writes there, or if the run has other settings or data
        raises DivergenceError  if a loss, gradient or weight is not finite, or the loss explodes
        raises Interrupted      after a signal
        """
        claimed = runs.claim_run(self.out, resume, overwrite)
        with one_pool(), self._signals, claimed:
            finished = self._begin(resume, encoding, initial)
            result = finished or self._train()
            if self.optimizer:
                self.optimizer.adopt_average()
            if self._signals.caught:
                self._stop()
            return result

    def sweep(self, rates: Iterable[float]) -> Iterator[float]:
        """The loss of one update at each rate, until it is not finite.

        Afterwards the weights, and all that training carries, are as they were.
        """
        with one_pool():
            self.config.check_for(self.objective)
            self.objective.train()
            if self.objective.fast_step is None:
                self.optimizer = self._build_optimizer()
            with runs.undone(self.objective, self.optimizer):
                for step, rate in enumerate(rates):
                    try:
                        loss = self._update_at(step, float(rate))["loss"]
                    except DivergenceError:
                        return
                    yield loss

    def _stop(self):
        """End a run after a signal; the exception also keeps the caller from starting another."""
        saved = "stopped" if self.out is None else "saved"
        raise Interrupted(self._signals.caught, f"{saved} at step {self.step} of {self.steps}")

    # ---- beginning ----

    def _begin(self, resume, encoding, initial):
        """Start or restore the run; returns its result if it was finished already, else None."""
        self.config.check_for(self.objective)
        self.objective.train()
        self._identity = runs.identity(
            self.config, self.objective, encoding, initial, self.held_out
        )
        before = self.folder.previous(self._identity) if resume else None
        if before is None and self.held_out is not None:
            self.try_evaluation()
        if self.objective.fast_step is None:
            self.optimizer = self._build_optimizer()
        if before is None:
            self._start()
            return None
        return self._continue(before)

    def try_evaluation(self) -> None:
        """Fail on unusable held-out text before training starts, by evaluating a single batch.

        raises TinylmError
        """
        try:
            evaluate(self.objective, self.held_out, limit=1)
        except TinylmError as error:
            raise TinylmError(f"the held-out text cannot be evaluated: {error}") from error

    def _build_optimizer(self):
        c = self.config
        parameters = self.objective.named_parameters()
        if c.layer_decay is not None:
            layers = self.objective.layer_groups()
            parameters = optim.layerwise(self.objective, layers, c.layer_decay)
        return optim.build(c.optimizer, parameters, vars(c), c.optimizer_options)

    def _start(self):
        """Begin a new run: clear its folder, plan its length, save step 0."""
        self.folder.clear()
        if self.config.minutes:
            with runs.undone(self.objective, self.optimizer):
                self.budget.measure(self._update, self.clock)
        if self.config.tokens:
            self.budget.count(self._tokens_read)
        self.folder.log("started", step=0)
        self.folder.log("plan", step=0, plan=self.budget.plan.lists())
        self.folder.export_model()
        self._save()

    def _tokens_read(self, step):
        """The tokens that the model reads for update `step`."""
        c = self.config
        first = step * c.accumulate
        batches = range(first, first + c.accumulate)
        return sum(self.objective.tokens_read(self.objective.batch(n, c.seed)) for n in batches)

    def _continue(self, before):
        """Restore a saved run; returns its result if it is finished, else None."""
        self.folder.reopen(before.facts["step"])
        runs.put_back(self.objective, self.optimizer, before.arrays)
        self._restore_facts(before.facts)
        self.best.restore(before.facts.get("best"), before.arrays["best"], self.objective)
        if before.facts.get("result"):
            self.folder.export(before.facts, self.optimizer)
            return before.facts["result"]
        self.folder.log("resumed", step=self.step)
        if self.config.minutes:
            with runs.undone(self.objective, self.optimizer):
                warm_up(self._update)
        return None

    # ---- the loop ----

    def _train(self):
        """Make the updates from self.step to self.steps, then the last evaluation and save."""
        held_out = None
        with Progress(self.step, self.steps, self.quiet) as progress:
            while self.step < self.steps:
                took = self._step(progress)
                if self.step < self.steps:
                    self._between_steps(took, progress)
            if self.held_out is not None:
                self._take_best(progress)
                held_out = self._evaluate(progress, LAST_LOOK)
                self._say_if_passed(progress)
        result = {
            "steps": self.steps,
            "loss": float(np.mean(self.recent)),
            "held_out": held_out,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "read": self.read,
            "plan": self.budget.plan.lists(),
            "kept": self.best.step if self.best.arrays else self.steps,
        }
        self._save(result)
        return result

    def _step(self, progress):
        """Make one update, time it and report it; returns its seconds."""
        start = self.clock()
        record = self._update(self.step)
        self.step += 1
        took = self.clock() - start
        self.seconds += took
        self._note(record, progress)
        last = self.step == self.steps
        self.divergence.add(self.step, record["loss"], self.recent, self.config.lr, last)
        return took

    def _between_steps(self, took, progress):
        """After an update of `took` seconds: evaluate, plan anew, save and stop if it is time."""
        c = self.config
        if self.held_out is not None and self.budget.plan.evaluates(self.step, c.eval_every):
            self._evaluate(progress)
        revised = self.budget.revise(self.step, self.seconds, took)
        if revised:
            progress.replan(self.step, self.steps)
            self.folder.log("plan", step=self.step, plan=self.budget.plan.lists())
        # A new plan must be saved before the next update follows it, or nobody could repeat it.
        if revised or self._signals.caught or self._is_due(c.save_every):
            self._save()
        if self._signals.caught:
            self._stop()

    def _is_due(self, save_every):
        """Whether the next checkpoint is due after this update."""
        if save_every:
            return self.step % save_every == 0
        at, took = self.saved
        return self.step % SAVE_EVERY == 0 and self.seconds - at >= took * SAVE_SHARE

    def _update(self, step):
        """Make one update of the weights at the rate of the schedule; returns as `_update_at`."""
        plan = self.budget.plan
        share = self.config.multiplier(plan.place(step), plan.length)
        return self._update_at(step, self.config.lr * share)

    def _update_at(self, step, lr):
        """Make one update of the weights at a learning rate, times the objective's own factor.

        returns dict: loss, components, lr, grad_norm, tokens (predicted), read (seen for them)
        """
        c = self.config
        grad_norm = None
        if self.optimizer is None:
            batch = self.objective.batch(step, c.seed)
            lr *= self.objective.rate_scale(batch)
            loss = float(self.objective.fast_step(batch, lr))
            self._must_be_finite("loss", loss, step)
            found = Gathered(loss, {}, batch.tokens, self.objective.tokens_read(batch), 1.0)
        else:
            found = self._add_gradients(step)
            lr *= found.rate_scale
            grad_norm = self.optimizer.step(lr=lr, max_norm=c.clip or math.inf)
            self._must_be_finite("gradient norm", grad_norm, step * c.accumulate)
        return {
            "loss": found.loss,
            "components": found.components,
            "lr": lr,
            "grad_norm": grad_norm,
            "tokens": found.tokens,
            "read": found.read,
        }

    def _add_gradients(self, step) -> Gathered:
        """Compute the gradients of update `step`, averaged over its batches."""
        c = self.config
        loss = 0.0
        parts = Components()
        tokens = 0
        read = 0
        rate_scale = 0.0
        self.optimizer.zero_grad()
        first = step * c.accumulate
        for number in range(first, first + c.accumulate):
            batch = self.objective.batch(number, c.seed)
            self.objective.rewind(c.seed, number)
            mean, components = self.objective.loss(batch)
            self._must_be_finite("loss", mean.item(), number)
            scaled = mean if c.accumulate == 1 else mean * (1 / c.accumulate)
            scaled.backward()
            loss += mean.item() / c.accumulate
            tokens += batch.tokens
            read += self.objective.tokens_read(batch)
            rate_scale += self.objective.rate_scale(batch) / c.accumulate
            parts.add(components, batch.tokens)
        return Gathered(loss, parts.means(), tokens, read, rate_scale)

    def _must_be_finite(self, what, value, batch=None):
        """Stop before NaN or an infinity is saved, so that the last checkpoint stays good."""
        if math.isfinite(value):
            return
        where = "" if batch is None else f", in batch({batch}, seed={self.config.seed})"
        raise DivergenceError(
            f"the {what} became {value} at step {self.step}{where}; "
            f"try a smaller learning rate than {self.config.lr} or a longer warm-up"
        )

    # ---- reporting and saving ----

    def _note(self, record, progress):
        """Count an update, write it to the log and show it."""
        self.recent.append(record["loss"])
        self.tokens += record["tokens"]
        self.read += record["read"]
        progress.update(self.step, record["loss"], record["read"])
        size = self.config.accumulate
        ended = self.epoch.add(self.step, self.objective.steps_per_epoch, record, size)
        if ended:
            progress.say("epoch {epoch}: mean training loss {loss:.4f}".format(**ended))
        self.folder.log("step", step=self.step, **record, seconds=round(self.seconds, 4))
        if ended:
            self.folder.log("epoch", step=self.step, **ended)

    def _evaluate(self, progress, limit=GLANCE):
        """Evaluate on held-out text and report it."""
        with runs.averaged(self.optimizer):
            found = evaluate(self.objective, self.held_out, limit)
            if limit == GLANCE:  # evaluations of the same text
                self.best.look(self.step, found["loss"], self.objective)
        self._must_be_finite("held-out loss", found["loss"])
        if self.optimizer:
            self.optimizer.check(found["loss"])
        self.folder.log("evaluation", step=self.step, **found)
        progress.say(f"step {self.step}: held-out loss {in_words(found)}")
        return found

    def _take_best(self, progress):
        """Look a last time, and go back to the weights with the lowest loss if they are kept."""
        if self.best.keeps:
            self._evaluate(progress)
            self.best.put_into(self.objective)

    def _say_if_passed(self, progress):
        """Tell a user whose model has learned its text by heart."""
        best = self.best
        if best.is_passed():
            here = "those weights are kept" if best.keeps else "--set keep=best keeps those weights"
            progress.say(
                f"the held-out loss was lowest at step {best.step}, {best.loss:.3f}; "
                f"since then the model has learned its text by heart; {here}"
            )

    def _save(self, result=None):
        """Save a checkpoint.   result : of a finished run"""
        if broken := first_broken(self.objective.state_dict()):  # the next loss would show it
            self._must_be_finite(f"weight {broken}", math.nan)
        facts = {
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "read": self.read,
            "recent": list(self.recent),
            "epoch": self.epoch.sums,
            "budget": self.budget.facts(),
            "first": self.divergence.first,
            "best": self.best.facts(),
            "identity": self._identity,
            "result": result,
        }
        start = self.clock()
        self.folder.save(facts, self.optimizer, self.best.arrays)
        self.saved = (self.seconds, self.clock() - start)

    def _restore_facts(self, facts):
        """Take up the facts that `_save` wrote."""
        self.step = facts["step"]
        self.seconds = facts["seconds"]
        self.tokens = facts["tokens"]
        self.read = facts.get("read", 0)
        self.budget.restore(facts["budget"])
        self.recent.extend(facts["recent"])
        self.epoch.sums = facts.get("epoch", [0.0, 0])
        self.divergence.first = facts.get("first")

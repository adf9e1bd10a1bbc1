"""The training loop: one for every chapter, because it knows only the base class Objective.

    batch -> loss -> backward -> clip -> optimiser (or the chapter's own lock-free kernel) -> log, evaluate, save

Batches, dropout and schedule are pure functions of the seed and the step, so the state of a run is its weights, moments
and step number: a run killed at any moment and resumed ends with the same bits as one that was never interrupted.
"""

import contextlib
import dataclasses
import json
import math
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from tinylm import files, folders, hub, optim, settings
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.interrupt import Interrupted, Signals
from tinylm.kernels.runtime.pool import one_pool
from tinylm.progress import Divergence, EpochMean, Progress
from tinylm.settings import above, at_least, between, from_to_below, one_of
from tinylm.training import checkpoint
from tinylm.training.budget import Budget, warm_up
from tinylm.training.evaluation import evaluate, in_words

GLANCE, LAST_LOOK = (
    20_000,
    200_000,
)  # tokens of held-out text read for an evaluation on the way, and for the last
RECENT = 50  # updates over which the reported training loss is averaged
NOT_FAST = (
    "optimizer",
    "optimizer_options",
    "betas",
    "eps",
    "weight_decay",
    "no_decay",
    "bias_correction",
    "clip",
    "accumulate",
)  # what a lock-free kernel, which updates by itself, has no use for
FREE_TO_CHANGE = (
    "save_every",
    "eval_every",
)  # a resumed run may have others: no weight depends on them, except that asgd
# decides at evaluations when to begin its average


@dataclass(frozen=True)
class TrainConfig(settings.Config):
    """How to train; what a chapter prefers stands in its class attribute `training_defaults`, see `TrainConfig.of`.

    steps, minutes : updates, or the time for them (planned anew on the way, see budget.py; compiling kernels, the
        updates that are timed before the first, evaluation and saving come on top)
    plan : in place of both, what a run of so many minutes recorded as its plan: the same run again, bit for bit
    optimizer : adamw, adam, sgd, asgd or adagrad, see tinylm.optim; optimizer_options : more arguments for it, by name
    lr, betas, eps, weight_decay, no_decay, bias_correction : of the optimizer, as far as it knows them
    warmup : share of the steps over which the rate rises to lr; then `schedule`, a name in optim.schedules, brings it down
    clip : largest global gradient norm, 0 = no clipping
    accumulate : batches per update, their gradients averaged
    eval_every, save_every : updates between evaluations on held-out text (0: ten a run) and between checkpoints
    raises TinylmError on a value that cannot be meant
    """

    ranges = {
        "steps": at_least(1),
        "minutes": above(0, 1e6),
        "optimizer": one_of(*optim.OPTIMIZERS),
        "lr": above(0),
        "betas": from_to_below(0, 1),
        "eps": above(0),
        "weight_decay": at_least(0),
        "warmup": between(0, 1),
        "schedule": one_of(*optim.SCHEDULES),
        "clip": at_least(0),
        "accumulate": at_least(1),
        "eval_every": at_least(0),
        "save_every": at_least(1),
        "seed": at_least(0),
    }
    steps: int | None = None
    minutes: float | None = None
    plan: tuple[tuple[int, int], ...] | None = None
    optimizer: str = "adamw"
    optimizer_options: dict = field(default_factory=dict)
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    no_decay: tuple[str, ...] = (r"bias$", r"ln_", r"[Ll]ayer_?[Nn]orm")
    bias_correction: bool = True
    warmup: float = 0.1
    schedule: str = "linear"
    clip: float = 1.0
    accumulate: int = 1
    eval_every: int = 0
    save_every: int = 100
    seed: int = 0

    def check(self):
        """The run has a length, of one kind.   raises TinylmError"""
        self.budget()

    def budget(self):
        """How long the run may be.   raises TinylmError unless one of steps, minutes and plan says so"""
        return Budget(self.steps, self.minutes, self.plan)

    @classmethod
    def of(cls, objective, **given):
        """The config a chapter prefers (its class attribute `training_defaults`), with `given` fields replaced.

        raises TinylmError if a field does not exist, is of another kind, or says what the chapter's kernel cannot do
        """
        config = settings.build(cls, {**objective.training_defaults, **given})
        config.check_for(objective)
        return config

    def check_for(self, objective):
        """raises TinylmError if a field was changed that the objective's own kernel has no use for"""
        usual = TrainConfig(steps=1)
        for name in () if objective.fast_step is None else NOT_FAST:
            if getattr(self, name) != getattr(usual, name):
                raise TinylmError(
                    f"{objective.name} has no use for {name}: its own kernel makes the updates; leave it out"
                )


class Trainer:
    """Trains one prepared objective, in a run folder or only in memory.

    objective : a chapter's model after prepare(corpus)
    tokenizer : saved into the folder beside the model
    out : run folder, or None to keep nothing
    held_out : Corpus for evaluation, or None
    quiet : no progress bar and no lines
    clock : attribute, function that returns seconds since any moment; updates are timed with it
    """

    def __init__(
        self, objective, tokenizer=None, out=None, config=None, held_out=None, quiet=False
    ):
        self.objective, self.tokenizer, self.held_out = objective, tokenizer, held_out
        self.out = None if out is None else folders.named(out)
        self.config = config or TrainConfig.of(objective, steps=1000)
        self.quiet, self.clock = quiet, time.perf_counter
        self.fast = objective.fast_step is not None
        self.budget = self.config.budget()
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        self.recent, self.epoch = deque(maxlen=RECENT), EpochMean()
        self.divergence = Divergence()
        self.optimizer = self.log = self._identity = None
        self._signals = Signals()

    @property
    def steps(self):
        """Updates of the whole run, as planned now; a run of so many minutes has a plan when it begins."""
        return self.budget.plan.steps

    def run(self, resume=False, encoding=None, overwrite=False):
        """Train to the last step; saves on the way, at the end, and when Ctrl-C or SIGTERM arrives.

        resume : an unfinished run in the folder is continued, a finished one left alone, an empty folder started
        encoding : dict, JSON: what the text's encoding was asked to be; a resumed run must ask for the same
        overwrite : replace a run, model or classifier that the folder holds
        returns dict: steps, loss (mean of the last 50 updates, nats per token), held_out (dict of `evaluate`, or None),
        seconds (of the updates), tokens, plan (see budget.py, as lists)
        raises CheckpointError if the folder holds anything else than the run to resume and overwrite is False, if another
        process writes there, or if the run has other settings or data;
        TinylmError on a loss, gradient or weight that is not finite, or a loss that explodes; Interrupted after a signal
        """
        claimed = checkpoint.claim_run(self.out, resume, overwrite)
        with one_pool(), self._signals, claimed:
            finished = self._begin(resume, encoding)
            result = finished or self._train()
            if self.optimizer:
                self.optimizer.adopt_average()
            if self._signals.caught:
                self._stop()
            return result

    def _stop(self):
        """End a run after a signal; whoever called it must not go on with the next."""
        saved = "stopped" if self.out is None else "saved"
        raise Interrupted(self._signals.caught, f"{saved} at step {self.step} of {self.steps}")

    # ---- beginning ----

    def _begin(self, resume, encoding):
        """Start or restore; returns the result of a run that was finished already, else None."""
        self.config.check_for(self.objective)
        self.objective.train()
        self._identity = self._describe(encoding)
        before = self._previous(resume)
        if before is None and self.held_out is not None:
            self._try_evaluation()
        if not self.fast:
            c = self.config
            self.optimizer = optim.build(
                c.optimizer, self.objective.named_parameters(), vars(c), c.optimizer_options
            )
        if self.out is not None:
            if before is None:
                files.remove(self.out, hub.OURS)
            self.log = checkpoint.RunLog(
                self.out / checkpoint.LOG, keep=before.facts["step"] if before else -1
            )
        if before is None:
            if self.config.minutes:
                self._undone(lambda: self.budget.measure(self._update, self.clock))
            if self.out is not None:
                self.log.write("started", step=0)
                self.log.write("plan", step=0, plan=self.budget.plan.lists())
                hub.write(self.out, self.objective, self.tokenizer)
                self._save()
            return None
        self._restore(before)
        if before.facts.get("result"):
            self._export(before.facts)
            return before.facts["result"]
        self.log.write("resumed", step=self.step)
        if self.config.minutes:
            self._undone(lambda: warm_up(self._update))
        return None

    def _try_evaluation(self):
        """A single batch of the held-out text, so that a text that cannot be used is said before the work."""
        try:
            evaluate(self.objective, self.held_out, limit=1)
        except TinylmError as error:
            raise TinylmError(f"the held-out text cannot be evaluated: {error}") from error

    def _previous(self, resume):
        """The state saved in the run folder, if there is one and it may be continued; None to start at step 0."""
        if self.out is None or not resume or not (self.out / checkpoint.STATE).exists():
            return None
        state = checkpoint.load_state(self.out)
        now, then = self._identity, state.facts.get("identity", {})
        free = FREE_TO_CHANGE[:1] if self.config.optimizer == "asgd" else FREE_TO_CHANGE
        for part in now:
            old = then.get(part, {})
            for name in {**old, **now[part]}:
                if name not in free and old.get(name) != now[part].get(name):
                    raise CheckpointError(
                        f"the run in {self.out} has {part} {name} = {old.get(name)}, now it is {now[part].get(name)}; "
                        "resume with the same settings and data, or give another folder"
                    )
        return state

    def _describe(self, encoding):
        """What must be equal for a resumed run to be the same run, as JSON: settings, model, data, encoding."""
        identity = {
            "option": dataclasses.asdict(self.config),
            "model": dataclasses.asdict(self.objective.config),
            "data": {"fingerprint": self.objective.fingerprint},
            "encoding": encoding or {},
        }
        return json.loads(json.dumps(identity))

    def _undone(self, trial):
        """Call `trial`, which makes updates, and undo them: the run itself starts clean."""
        before = self._copies()
        trial()
        self._put_back(before)

    # ---- the loop ----

    def _train(self):
        """Updates from self.step to self.steps, then the last evaluation and the final save."""
        c = self.config
        with Progress(self.step, self.steps, self.quiet) as progress:
            while self.step < self.steps:
                start = self.clock()
                record = self._update(self.step)
                self.step += 1
                took = self.clock() - start
                self.seconds += took
                self._note(record, progress)
                last = self.step == self.steps
                self.divergence.add(self.step, record["loss"], self.recent, c.lr, last)
                if last:
                    break
                if self.held_out is not None and self.budget.plan.evaluates(
                    self.step, c.eval_every
                ):
                    self._evaluate(progress)
                revised = self.budget.revise(self.step, self.seconds, took)
                if revised:
                    self._announce(progress)
                # A plan that is not saved before the next update follows it could not be repeated.
                if revised or self._signals.caught or self.step % c.save_every == 0:
                    self._save()
                if self._signals.caught:
                    self._stop()
            held_out = None if self.held_out is None else self._evaluate(progress, LAST_LOOK)
        result = {"steps": self.steps, "loss": float(np.mean(self.recent)), "held_out": held_out}
        result |= {"seconds": self.seconds, "tokens": self.tokens}
        result["plan"] = self.budget.plan.lists()
        self._save(result)
        return result

    def _update(self, step):
        """One update of the weights. returns dict: loss, components (nats per token), lr, grad_norm, tokens."""
        c, plan = self.config, self.budget.plan
        lr = c.lr * _multiplier(c, plan.place(step), plan.length)
        if self.fast:
            batch = self.objective.batch(step, c.seed)
            loss = float(self.objective.fast_step(batch, lr))
            self._finite("loss", loss, f", in batch({step}, seed={c.seed})")
            return {
                "loss": loss,
                "components": {},
                "lr": lr,
                "grad_norm": None,
                "tokens": batch.tokens,
            }
        loss, tokens, sums = 0.0, 0, {}
        self.optimizer.zero_grad()
        for number in range(step * c.accumulate, (step + 1) * c.accumulate):
            batch = self.objective.batch(number, c.seed)
            self.objective.rewind(c.seed, number)
            mean, components = self.objective.loss(batch)
            self._finite("loss", mean.item(), f", in batch({number}, seed={c.seed})")
            (mean if c.accumulate == 1 else mean * (1 / c.accumulate)).backward()
            loss, tokens = loss + mean.item() / c.accumulate, tokens + batch.tokens
            for name in components.keys() - {"loss", "tokens"}:
                sums[name] = sums.get(name, 0.0) + float(components[name]) / c.accumulate
        norm = self.optimizer.step(lr=lr, max_norm=c.clip or math.inf)
        self._finite("gradient norm", norm, f", in batch({step * c.accumulate}, seed={c.seed})")
        return {"loss": loss, "components": sums, "lr": lr, "grad_norm": norm, "tokens": tokens}

    def _finite(self, what, value, where=""):
        """Stop before a NaN or an infinity is saved: the last checkpoint stays good."""
        if not math.isfinite(value):
            raise TinylmError(
                f"the {what} became {value} at step {self.step}{where}; "
                f"try a smaller learning rate than {self.config.lr} or a longer warm-up"
            )

    def _note(self, record, progress):
        """Write an update to the log and to the bar."""
        self.recent.append(record["loss"])
        self.tokens += record["tokens"]
        progress.update(self.step, record["loss"], record["tokens"])
        if ended := self.epoch.add(self.step, self.objective.steps_per_epoch, record):
            progress.say("epoch {epoch}: mean training loss {loss:.4f}".format(**ended))
        if self.log:
            self.log.write("step", step=self.step, **record, seconds=round(self.seconds, 4))
            if ended:
                self.log.write("epoch", step=self.step, **ended)

    def _announce(self, progress):
        """Write a new plan to the log and to the bar."""
        progress.replan(self.step, self.steps)
        if self.log:
            self.log.write("plan", step=self.step, plan=self.budget.plan.lists())

    def _evaluate(self, progress, limit=GLANCE):
        """Evaluate on held-out text and report it."""
        with self._averaged():
            found = evaluate(self.objective, self.held_out, limit)
        self._finite("held-out loss", found["loss"])
        if self.optimizer:
            self.optimizer.check(found["loss"])
        if self.log:
            self.log.write("evaluation", step=self.step, **found)
        progress.say(f"step {self.step}: held-out loss {in_words(found)}")
        return found

    def _averaged(self):
        """Context in which the weights are their average, where the optimiser keeps one: to evaluate and to export."""
        return self.optimizer.averaged() if self.optimizer else contextlib.nullcontext()

    # ---- saving ----

    def _arrays(self):
        """All arrays a resumed run needs, by group; the arrays themselves, not copies."""
        moments = self.optimizer.state() if self.optimizer else {}
        return {
            "model": self.objective.state_dict(),
            "optim": moments,
            "carry": self.objective.state(),
        }

    def _copies(self):
        return {
            group: {name: np.array(array) for name, array in arrays.items()}
            for group, arrays in self._arrays().items()
        }

    def _put_back(self, arrays):
        """Weights, moments and carried state from arrays as `_arrays` returns them."""
        self.objective.load_state_dict(arrays["model"])
        if self.optimizer:
            self.optimizer.load_state(arrays["optim"])
        self.objective.load_state(arrays["carry"])

    def _restore(self, state):
        self._put_back(state.arrays)
        facts = state.facts
        self.step, self.seconds, self.tokens = (facts[k] for k in ("step", "seconds", "tokens"))
        self.budget.restore(facts["budget"])
        self.recent.extend(facts["recent"])
        self.epoch.sums = facts.get("epoch", [0.0, 0])
        self.divergence.first = facts.get("first")

    def _save(self, result=None):
        """Checkpoint: the one file that resuming reads, then its exports for other programs and for people."""
        if self.out is None:
            return
        facts = {name: getattr(self, name) for name in ("step", "steps", "seconds", "tokens")}
        facts |= {
            "recent": list(self.recent),
            "epoch": self.epoch.sums,
            "budget": self.budget.facts(),
            "first": self.divergence.first,
            "identity": self._identity,
            "result": result,
        }
        self.log.write("saving", step=self.step)
        checkpoint.save_state(self.out, checkpoint.TrainerState(self._arrays(), facts))
        self._export(facts)
        self.log.write("saved", step=self.step)

    def _export(self, facts):
        """Write what follows from `trainer.safetensors`, unless the summary, written last, says that it is there."""
        summary = self.out / checkpoint.SUMMARY
        with contextlib.suppress(DataError):  # a summary that is missing or damaged is written anew
            if checkpoint.read_json(summary) == facts:
                return
        with self._averaged():
            hub.save_weights(self.out, self.objective)
        files.write_json(summary, facts)


def _multiplier(config, step, steps):
    """The schedule's share of the peak learning rate at place `step` of `steps`, counted from 0."""
    return optim.SCHEDULES[config.schedule](step, steps, round(config.warmup * steps))

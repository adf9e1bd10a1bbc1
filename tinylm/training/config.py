"""How to train: the settings of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tinylm import optim, settings
from tinylm.errors import ArgumentError, TinylmError
from tinylm.settings import above, at_least, between, from_to_below, one_of

from .budget import Budget

# A lock-free kernel updates the weights by itself, so it has no use for these fields.
NOT_FAST = """optimizer optimizer_options betas eps weight_decay no_decay bias_correction
    layer_decay clip accumulate""".split()


def preferred(usual: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The usual fields of a TrainConfig, without the options of what the given ones replace.

    >>> usual = {"schedule": "slanted_triangular", "schedule_options": {"ratio": 32}, "lr": 0.1}
    >>> preferred(usual, {"schedule": "constant"})
    {'schedule': 'slanted_triangular', 'lr': 0.1}
    """
    kept = dict(usual)
    for name in ("schedule", "optimizer"):
        if name in given and given[name] != usual.get(name):
            kept.pop(f"{name}_options", None)
    return kept


@dataclass(frozen=True)
class TrainConfig(settings.Config):
    """How to train. `TrainConfig.of` begins with a chapter's own `training_defaults`.

    steps, minutes : updates, or the time for them. The number of updates is planned anew on the
        way, see budget.py. Compiling kernels, timing the first updates, evaluation and saving come
        on top of the minutes.
    tokens : in their place, as many updates as read about so many tokens of text, repeated ones
        included; what counts is what the model sees, not what it predicts
    plan : in place of all three, the plan that a run of some minutes recorded; it repeats that run
        bit for bit
    optimizer : adamw, adam, sgd, asgd or adagrad, see tinylm.optim
    optimizer_options : more arguments for it, by name
    lr, betas, eps, weight_decay, no_decay, bias_correction : passed on if the optimizer knows them
    layer_decay : d, each layer learns d times as fast as the one above it, and the top one, like
        all that is in no layer, at the full rate (ULMFiT: 1/2.6); None is one rate for all
    warmup : share of the steps over which the rate rises to lr; then `schedule` brings it down
    schedule : a name in optim.SCHEDULES
    schedule_options : more arguments for it, by name: {"floor": 0.1} ends a cosine at lr/10
    clip : largest global gradient norm, 0 = no clipping
    accumulate : batches per update, their gradients averaged
    eval_every : updates between evaluations on held-out text, 0 = ten a run
    save_every : updates between checkpoints, 0 = 100, or more where saving would take over a
        twentieth of the time
    keep : "last", the weights after all updates, or "best", those with the lowest loss on held-out
        text among the evaluations on the way and at the end (without such text: the last); for a
        text so small that it is soon known by heart
    raises ArgumentError on a value that cannot be meant

    >>> TrainConfig(steps=100).lr
    0.001
    >>> TrainConfig(steps=100, warmup=2.0)
    Traceback (most recent call last):
        ...
    tinylm.errors.ArgumentError: TrainConfig: warmup is 2.0; expected a number from 0 to 1.
    """

    ranges = {
        "steps": at_least(1),
        "minutes": above(0, 1e6),
        "tokens": at_least(1, 10**15),
        "optimizer": one_of(*optim.OPTIMIZERS),
        "lr": above(0),
        "betas": from_to_below(0, 1),
        "eps": above(0),
        "weight_decay": at_least(0),
        "layer_decay": above(0, 1),
        "warmup": between(0, 1),
        "schedule": one_of(*optim.SCHEDULES),
        "clip": at_least(0),
        "accumulate": at_least(1),
        "eval_every": at_least(0),
        "save_every": at_least(0),
        "keep": one_of("last", "best"),
        "seed": at_least(0),
    }
    steps: int | None = None
    minutes: float | None = None
    plan: tuple[tuple[int, int], ...] | None = None
    tokens: int | None = None
    optimizer: str = "adamw"
    optimizer_options: dict = field(default_factory=dict)
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    no_decay: tuple[str, ...] = (r"bias(_l\d|$)", r"ln_", r"[Ll]ayer_?[Nn]orm")
    bias_correction: bool = True
    layer_decay: float | None = None
    warmup: float = 0.1
    schedule: str = "linear"
    schedule_options: dict = field(default_factory=dict)
    clip: float = 1.0
    accumulate: int = 1
    eval_every: int = 0
    save_every: int = 0
    keep: str = "last"
    seed: int = 0

    def check(self) -> None:
        """raises ArgumentError for options that the schedule lacks, two lengths or none, two rates

        A run of asgd keeps the average of its weights, so keep="best" is refused too.
        """
        self.budget()
        if self.keep == "best" and self.optimizer == "asgd":
            raise ArgumentError(
                'TrainConfig: asgd keeps the average of its weights; leave out keep="best".'
            )
        if "lr" in self.optimizer_options:
            raise ArgumentError(
                "TrainConfig: optimizer_options holds lr, but the schedule gives each update its "
                "rate; set lr itself."
            )
        optim.check_patterns("TrainConfig", self.no_decay)
        optim.schedules.check_options(self.schedule, self.schedule_options)

    def budget(self) -> Budget:
        """The length of the run, as a new Budget."""
        return Budget(self.steps, self.minutes, self.plan, self.tokens)

    def multiplier(self, step: float, steps: int) -> float:
        """The schedule's share of the peak rate at place `step` of `steps`, counted from 0."""
        options = self.schedule_options
        return optim.schedules.multiplier(self.schedule, step, steps, self.warmup, **options)

    @classmethod
    def of(cls, objective: Any, **given) -> Self:
        """The config that a chapter prefers, with the `given` fields replaced.

        objective : a chapter, its class or a model of it
        raises TinylmError if a field does not exist, is of another kind, or asks for something
            that the chapter's own kernel cannot do
        """
        usual = preferred(objective.training_defaults, given)
        config = settings.build(cls, {**usual, **given})
        config.check_for(objective)
        return config

    def check_for(self, objective: Any) -> None:
        """raises TinylmError if a field was changed that the chapter's own kernel has no use for"""
        if objective.fast_step is None:
            return
        usual = TrainConfig(steps=1)
        for name in NOT_FAST:
            if getattr(self, name) != getattr(usual, name):
                raise TinylmError(
                    f"{objective.name} has no use for {name}: its own kernel makes the updates; "
                    "leave it out"
                )

"""What a comparison is: its settings, its systems and cells, and the results that it has found."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from tinylm import objectives
from tinylm.errors import TinylmError
from tinylm.settings import Config, above, at_least, refuse_repeated

from .finetune import AdaptConfig
from .task import ALL, TAG, Budget, Task, kind_of

TEACHER = "bert"  # whom students learn from

# Baselines, and the three ways to use an objective; a system is called "gpt fine-tuned".
MAJORITY = "majority"
TFIDF = "TF-IDF"
WORD_TAGS = "word counts"  # what TF-IDF is for texts: see baselines.py
FEATURES = "features"
FINETUNED = "fine-tuned"
SCRATCH = "from scratch"

MINUTES = 2.5  # of pretraining, unless told otherwise
CLEARLY = 0.05  # share of the unigram entropy by which a loss must be lower to have left it

Cell = tuple[Budget, int]  # and the seed


@dataclass(frozen=True)
class CompareConfig(Config):
    """The settings of a comparison.

    Runs in one folder may differ in labels, scratch_labels, seeds, objectives, out and quiet only.

    data : named set or labelled file; sentences with tags are "entities", a .conll file, or any
        source that has tags with "tag:" before it
    objectives : names of chapters, see `objectives.names()`, or files that define one
    minutes : of pretraining, for each objective     size : of their configs, e.g. "small"
    tokens : in place of minutes, the tokens that each objective reads, repeated ones included
    labels : budgets per class     seeds : how many draws of labels
    scratch_labels : further budgets per class, or "all", for TF-IDF and the from-scratch twins
        alone: how many labels does a twin need to catch up? Those that the set lacks are left out
    test_size : test texts read, always the same ones; 0 reads all
    adapt : settings of fine-tuning and features     out : the folder
    seed : of pretraining, and of the first draw     encoding : None lets the objective choose

    >>> CompareConfig(labels=(10, 2), seeds=2).cells()
    [(2, 0), (2, 1), (10, 0), (10, 1)]
    """

    ranges = {
        "minutes": above(0, 1e6),
        "tokens": at_least(1, 10**15),
        "labels": at_least(1),
        "seeds": at_least(1, 1000),
        "test_size": at_least(0),
        "seed": at_least(0),
    }
    data: str | Path = "newsgroups"
    objectives: tuple[str, ...] = ("word2vec", "gpt", "bert")
    minutes: float | None = MINUTES
    labels: tuple[int, ...] = (2, 10, 50)
    seeds: int = 3
    out: str | Path = "compare"
    size: str = "small"
    test_size: int = 1000
    adapt: AdaptConfig = AdaptConfig(max_length=512)
    seed: int = 0
    quiet: bool = False
    encoding: str | None = None
    scratch_labels: tuple[Budget, ...] = ()
    tokens: int | None = None

    def check(self) -> None:
        """Refuse unknown objectives, repeated lists, a student before its teacher, mixed layers.

        raises TinylmError
        """
        if (self.minutes is None) == (self.tokens is None):
            raise TinylmError(
                "CompareConfig: expected either minutes or tokens of pretraining; give one of the "
                "two, and None for the other."
            )
        before = set()
        for one in self.objectives:
            chapter = objectives.find(one)
            if objectives.is_student(chapter.name) and TEACHER not in before:
                raise TinylmError(
                    f"{chapter.name} learns from a trained {TEACHER}; name {TEACHER} before it."
                )
            before.add(chapter.name)
        if self.adapt.mixes:
            raise TinylmError(
                "CompareConfig: frozen features of a comparison are those of given layers; leave "
                "out layers=('mix',), whose shares a task learns."
            )
        if not self.labels:
            raise TinylmError("CompareConfig: labels is empty; expected at least one budget.")
        for name in ("objectives", "labels", "scratch_labels"):
            refuse_repeated(name, getattr(self, name))
        for budget in self.scratch_labels:
            if budget != ALL and (isinstance(budget, str) or budget < 1):
                raise TinylmError(
                    f"CompareConfig: scratch_labels names {budget!r}; expected whole numbers of "
                    f"at least 1, or {ALL!r}."
                )

    @property
    def counting(self) -> str:
        """The baseline that counts words: TF-IDF for texts, WORD_TAGS for words with tags.

        >>> CompareConfig(data="entities").counting
        'word counts'
        """
        return WORD_TAGS if kind_of(self.data)[0] == TAG else TFIDF

    @property
    def length(self) -> dict[str, float]:
        """How long each objective learns, as an option of its training.

        >>> CompareConfig(minutes=None, tokens=5000).length
        {'tokens': 5000}
        """
        if self.minutes is None:
            return {"tokens": self.tokens}
        return {"minutes": self.minutes}

    def length_in_words(self) -> str:
        """The same for people.

        >>> CompareConfig(minutes=1.5).length_in_words()
        '1.5 minutes'
        """
        if self.minutes is None:
            return f"{self.tokens:,} tokens"
        return f"{self.minutes:g} minutes"

    def cells(self) -> list[Cell]:
        """(budget, seed) of every cell of the table, from the small budgets to the large."""
        return self._cells(sorted(self.labels))

    def further_cells(self) -> list[Cell]:
        """Those of `scratch_labels`, as far as the table does not have them; "all" comes last.

        >>> CompareConfig(labels=(10,), seeds=1, scratch_labels=("all", 100, 10)).further_cells()
        [(100, 0), ('all', 0)]
        """
        further = set(self.scratch_labels) - set(self.labels)
        return self._cells(sorted(further, key=_size))

    def _cells(self, budgets: list[Budget]) -> list[Cell]:
        """Each budget with each seed."""
        found = []
        for budget in budgets:
            for i in range(self.seeds):
                found.append((budget, self.seed + i))
        return found

    def cells_of(self, method: str) -> list[Cell]:
        """The cells in which a system is measured."""
        if method == self.counting or method.endswith(f" {SCRATCH}"):
            return self.cells() + self.further_cells()
        return self.cells()

    def systems(self) -> list[str]:
        """The names of all systems: the baselines, then three for each objective."""
        found = [MAJORITY, self.counting]
        for name in self.objectives:
            for kind in (FEATURES, FINETUNED, SCRATCH):
                found.append(f"{name} {kind}")
        return found


def _size(budget: Budget) -> float:
    """A key to sort budgets by."""
    return math.inf if budget == ALL else budget


def on_plateau(facts: dict) -> bool | None:
    """Whether an objective has learned no more from its text than how frequent each token is.

    facts : of `Comparison.pretrained`; its token_loss is compared with its unigram entropy
    returns True if the loss is not at least CLEARLY below; None if the objective predicts no tokens
        of a vocabulary, or was trained before token_loss was kept

    >>> on_plateau({"token_loss": 6.9, "unigram": 7.0}), on_plateau({"loss": 0.7})
    (True, None)
    """
    unigram = facts.get("unigram")
    loss = facts.get("token_loss")
    if unigram is None or loss is None:
        return None
    return loss > (1 - CLEARLY) * unigram


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    config, task : its settings, and the texts and labels
    rows : dicts with method, budget, seed, accuracy, macro_f1, seconds; f1 too if words are tagged,
        of entities. The task's `metric` names the main score, that all tables show. TF-IDF and the
        from-scratch twins may have rows of further budgets, `config.scratch_labels`
    pretrained : objective -> dict of steps, seconds, and the held-out loss, nats_per_word, unigram,
        token_loss; see `plateau` for what the last two say
    costs : objective -> dict of parameters, texts_per_second that become frozen features, and
        layers: the states that `encode` gives; a model with one knows no context
    predicted : method -> list of what it said of each of task.test_texts, after learning from the
        largest budget with the last seed: the last of `config.cells()`, the same for all systems.
        A system is missing if its result was computed before predictions were kept
    """

    config: CompareConfig
    task: Task
    rows: list[dict]
    pretrained: dict[str, dict]
    costs: dict[str, dict] = field(default_factory=dict)
    predicted: dict[str, list] = field(default_factory=dict)

    def plateau(self) -> dict[str, bool | None]:
        """objective -> `on_plateau`: True marks a row whose masked or next tokens are guesses.

        A student knows no more than its teacher: where that one guesses, it does so too.
        """
        found = {name: on_plateau(facts) for name, facts in self.pretrained.items()}
        if found.get(TEACHER):
            for name in found:
                if objectives.is_student(name):
                    found[name] = True
        return found

    def methods(self) -> list[str]:
        """The measured systems: the baselines, then each objective's, in the config's order.

        Not in the order of their results, for a row may have been measured again.
        """
        known = [MAJORITY, TFIDF, WORD_TAGS]
        for name in self.config.objectives:
            known += [f"{name} {way}" for way in (FEATURES, FINETUNED, SCRATCH)]
        found = {row["method"] for row in self.rows}
        return [method for method in known if method in found]

    def scores(self, method: str, budget: Budget, score: str | None = None) -> list[float]:
        """One score per seed, in the order of the seeds; empty if the method was not measured.

        score : its name; None for the task's `metric`
        """
        score = score or self.task.metric
        found = []
        for row in sorted(self.rows, key=lambda row: row["seed"]):
            if row["method"] == method and row["budget"] == budget:
                found.append(row[score])
        return found

    def curve(self, method: str, score: str | None = None) -> list[tuple[float, list[float]]]:
        """(labels per class, scores by seed) of a system at every budget it was measured at.

        From few labels to many; "all" counts as many as the classes have in the mean.
        """
        budgets = {row["budget"] for row in self.rows if row["method"] == method}
        found = []
        for budget in budgets:
            found.append((self.per_class(budget), self.scores(method, budget, score)))
        return sorted(found)

    def per_class(self, budget: Budget) -> float:
        """The labels per class of a budget, of "all" in the mean over classes."""
        if budget != ALL:
            return budget
        return len(self.task.labels) / self.task.n_classes

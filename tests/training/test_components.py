"""Parts of a loss: means over what each part counts, whatever the batches' sizes."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm import nn
from tinylm.data import Corpus
from tinylm.objectives import Objective
from tinylm.training.evaluation import evaluate
from tinylm.training.losses import Components, EpochMean
from tinylm.training.train import TrainConfig, Trainer

IDS = np.arange(60, dtype=np.int32) % 7


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 9), st.integers(0, 4)), min_size=1),
)
def test_means_are_sums_divided_by_counts(batches):
    parts = Components()
    for mean, predictions, pairs in batches:
        parts.add({"masked": mean, "pairs": (2.0 * pairs, pairs), "loss": 9.0}, predictions)
    found = parts.means()
    weights = [predictions for _, predictions, _ in batches]
    expected = np.average([mean for mean, _, _ in batches], weights=weights)
    assert found["masked"] == pytest.approx(expected, abs=1e-9)
    assert "loss" not in found
    if any(pairs for *_, pairs in batches):
        assert found["pairs"] == pytest.approx(2)
    else:
        assert "pairs" not in found


@given(st.integers(1, 5), st.integers(1, 7))
def test_epochs_count_batches_however_many_an_update_takes(accumulate, per_epoch):
    epoch = EpochMean()
    said = []
    for step in range(1, 41):
        ended = epoch.add(step, per_epoch, {"loss": 2.0, "tokens": 3}, accumulate)
        if ended:
            said.append(ended["epoch"])
            assert ended["loss"] == 2.0
    assert said == sorted(set(said)) and said[-1] == 40 * accumulate // per_epoch


@dataclass(frozen=True)
class Few:
    """A batch that reads more tokens than it predicts."""

    ids: np.ndarray

    @property
    def tokens(self):
        return 2


class Parts(Objective):
    """Reads five tokens, predicts two, and counts three things of another kind."""

    def build(self, config, rng):
        self.table = nn.Embedding(config.vocab_size, 3, rng=rng)

    def batch(self, step, seed):
        return Few(self.corpus.ids[step % 50 : step % 50 + 5])

    def loss(self, batch):
        loss = (self.table(batch.ids) ** 2).mean() + 1.0
        return loss, {"masked": loss.item(), "right": (1.0, 3)}

    def encode(self, ids, mask=None):
        return [self.table(ids)]

    def tokens_read(self, batch):
        return len(batch.ids)


def test_a_run_and_an_evaluation_report_parts_and_tokens_read():
    corpus = Corpus(IDS, np.array([0, len(IDS)]), 7, words=60, characters=60)
    objective = Parts(Parts.Config(7))
    objective.prepare(corpus)
    found = evaluate(objective, corpus)
    assert found["components"]["right"] == pytest.approx(1 / 3)
    assert found["components"]["masked"] == pytest.approx(found["loss"])
    config = TrainConfig(steps=4, accumulate=3, save_every=1)
    trainer = Trainer(objective, config=config, held_out=corpus, quiet=True)
    result = trainer.run()
    assert (result["tokens"], result["read"]) == (4 * 3 * 2, 4 * 3 * 5)
    assert result["held_out"]["components"]["right"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("guesses", "expected"),
    [
        (None, None),
        ((), "loss"),
        (("right",), 1 / 3),
        (("masked", "right"), "both"),
        (("no",), None),
    ],
)
def test_the_guesses_at_tokens_stand_beside_what_counting_tokens_gives(guesses, expected):
    corpus = Corpus(IDS, np.array([0, len(IDS)]), 7, words=60, characters=60)
    objective = Parts(Parts.Config(7))
    objective.guesses = guesses
    objective.prepare(corpus)
    found = evaluate(objective, corpus)
    known = {"loss": found["loss"], "both": (found["loss"] + 1 / 3) / 2}
    if expected is None:
        assert "token_loss" not in found and "unigram" not in found
    else:
        assert found["token_loss"] == pytest.approx(known.get(expected, expected))
        assert found["unigram"] == pytest.approx(corpus.unigram_entropy())

"""XLNet and its denoising twin: the same network, which fills gaps that it reads as <mask>.

Both read the same rows and predict the same tokens, after the same processor time and from the same skip-gram's
vectors. Held-out posts: nats of each target, from all tokens that are no target.
"""

import numpy as np

import tinylm
from tinylm import nn
from tinylm import ops as F
from tinylm.data.permutation import in_two_parts
from tinylm.objectives.xlnet import NOT_COUNTED
from tinylm.tensor import no_grad
from tinylm.training.start import take_vectors
from tinylm.transfer.finetune import twin
from tinylm.transfer.task import load_task

from .shared import TEST, accuracy, learn, new, posts, said, word2vec

LABELS = 10


def halves(batch, reused: int) -> np.ndarray:
    """What every place may see where no order says it, (T, T) bool.

    The reused part sees nothing of the new one, or its memory would tell the next step its targets.
    """
    length = batch.ids.shape[1]
    ones = np.ones((length, length), bool)
    return in_two_parts(ones[:reused, :reused], ones[reused:, reused:])


class Ordered(tinylm.XLNet):
    """XLNet, which can also fill the gaps of a batch."""

    def fill(self, batch):
        """Scores of the targets from all other tokens, (B, K, V)."""
        hidden = gaps(batch)
        visible = halves(batch, self.config.reused) & ~hidden[:, None]
        picks = np.maximum(batch.picks, 0)
        return self.predict(batch.ids, picks, token_types=batch.token_types, visible=visible)


class Denoising(tinylm.XLNet):
    """One stream, no order: the targets are gaps, and every place sees all others of its part."""

    def loss(self, batch):
        """Mean nats per gap; the memory moves on by a step."""
        carried = self.memory if batch.memory is None else batch.memory
        if batch.fresh or not carried.fits(len(batch.ids)):
            carried.states = None
        states = self.read(batch, carried.states)
        c = self.config
        carried.states = nn.remember(states[:-1], carried.states, c.mem_len, c.reused)
        picked = F.gather_positions(states[-1], np.maximum(batch.picks, 0))  # (B,T,C) -> (B,K,C)
        loss = F.linear_cross_entropy(picked, self.token_table, batch.targets, bias=self.bias)
        return loss, {"loss": loss.item()}

    def read(self, batch, memory=None):
        """The states of a batch with gaps, (B, T, C) a layer."""
        ids = np.where(gaps(batch), self.words.index("<mask>"), batch.ids)
        visible = np.broadcast_to(
            halves(batch, self.config.reused), (len(ids), *[ids.shape[1]] * 2)
        )
        return self.encode(
            ids,
            token_types=batch.token_types,
            memory=memory,
            visible=visible,
            half_backwards=batch.half_backwards,
        )

    def fill(self, batch):
        """Scores of the targets from all other tokens, (B, K, V)."""
        picked = F.gather_positions(self.read(batch)[-1], np.maximum(batch.picks, 0))
        return F.linear(picked, self.token_table, self.bias)


def gaps(batch) -> np.ndarray:
    """The places of the targets, (B, T) bool."""
    places = np.zeros(batch.ids.shape, bool)
    rows, columns = np.nonzero(batch.picks >= 0)
    places[rows, batch.picks[rows, columns]] = True
    return places


def filled(model, corpus) -> tuple[float, float]:
    """On held-out posts: mean nats of the targets, and the share of right ones in %."""
    nats = 0.0
    right = 0
    count = 0
    model.eval()
    with no_grad():
        for batch in model.evaluation_batches(corpus):
            real = batch.targets != NOT_COUNTED
            scores = F.log_softmax(model.fill(batch)).data[real]  # (N,V)
            targets = batch.targets[real]
            nats -= scores[np.arange(targets.size), targets].sum(dtype=float)
            right += (scores.argmax(axis=1) == targets).sum()
            count += targets.size
    model.train()
    return nats / count, 100 * right / count


def table(minutes: float = 1.5, seeds: int = 3) -> None:
    """Print both rows."""
    given = posts("xlnet", "unigram")
    task = load_task("newsgroups", TEST)
    vectors = word2vec(given, 60 * minutes / 5)
    for chapter in (Ordered, Denoising):
        rows = []
        for seed in range(seeds):
            model, how = new(chapter, {}, given, seed)
            take_vectors(model, given.tokenizer, vectors)
            steps = learn(model, how, 60 * minutes * 4 / 5)
            nats, right = filled(model, given.held_out)
            scores = [nats, right]
            ways = (("features", model), ("finetune", model), ("finetune", twin(model, seed)))
            for way, encoder in ways:
                scores.append(accuracy(encoder, given.tokenizer, way, task, LABELS, seed))
            rows.append(scores)
            print(f"{chapter.__name__}, seed {seed}, {steps:,} updates:", *scores, flush=True)
        nats, right, features, tuned, scratch = zip(*rows, strict=True)
        gap = f"{said(nats, 3)} nats per gap, {said(right)} % right"
        topics = f"features {said(features)} %, fine-tuned {said(tuned)} %, from scratch {said(scratch)} %"
        print(f"{chapter.__name__}: {gap}; {topics}", flush=True)

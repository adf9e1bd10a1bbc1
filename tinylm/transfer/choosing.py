"""The second head of a conversational agent: which reply fits? Two ways to read for it.

    together    the dialogue is read with each candidate; a number at the last token
    towers      dialogue and candidate are read apart, and meet as vectors

Read together, every token of a candidate sees the dialogue, and N candidates cost N readings. A
tower reads its text once; its vector is the sum of the words' own vectors and of what the model
makes of them:

    v = unit(Σ_t e[x_t] + s · W Σ_t h_t)                    t over the words of a text
    loss = mean_i −log softmax_j(κ · v_i · v'_j)[i]         v_i dialogues, v'_j replies of the batch

So each reply of a batch is a distractor for all the others: an utterance teaches against a hundred
of them for the price of two readings. e begins as random directions, the rarer a word the longer:
at first the towers compare words as TF-IDF does, then they learn which words answer which.

Sources: Wolf et al. 2019 (together); Humeau et al. 2020, "Poly-encoders" (towers; e is ours).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tinylm import nn
from tinylm import ops as F
from tinylm.data.batching import by_length
from tinylm.data.dialogues import Utterance
from tinylm.objectives import Objective
from tinylm.tensor import Tensor, no_grad

from .turns import NOT_COUNTED, Arranged, Reader

ROWS = 32  # texts that are read together in evaluation
TINY = 1e-12  # a text without any word has no direction: its vector is 0
NEVER = -1e4  # the score of a distractor that is the reply itself


class Heads(nn.Module):
    """A causal model that continues a dialogue, and something that tells replies apart.

    encoder : an Objective that reads speakers
    A subclass defines `losses` and `numbers`.
    """

    def __init__(self, encoder: Objective):
        self.encoder = encoder

    def begin(self, reader: Reader, utterances: Sequence[Utterance]) -> None:
        """Prepare what depends on the dialogues that will be learned from."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What it has learned beside the encoder: name -> array, not a copy."""
        found = {}
        for name, parameter in self.named_parameters():
            if not name.startswith("encoder."):
                found[name] = parameter.data
        return found

    def states(self, batch: dict) -> Tensor:
        """The last layer's states.   batch : of `Reader.arrays`     returns (R, T, C)"""
        return self.encoder.encode(batch["ids"], speakers=batch["speakers"])[-1]

    def word_loss(self, states: Tensor, targets: np.ndarray) -> Tensor:
        """Mean −log p of the counted tokens, in nats.   states (R, T, C), targets (R, T)"""
        counted = targets[:, 1:] != NOT_COUNTED
        before = states[:, :-1][counted]  # (n,C), the states that these tokens are said from
        size = self.encoder.config.vocab_size
        tokens = self.encoder.token_table[:size]  # positions may stand behind them
        return F.linear_cross_entropy(before, tokens, targets[:, 1:][counted])


class DoubleHeads(Heads):
    """Reads the dialogue with each candidate, and gives a number at the last token.

    rng : of the head's weights     candidates : N in training, the last ones of an utterance
    """

    def __init__(
        self,
        encoder: Objective,
        rng: np.random.Generator,
        candidates: int = 2,
        dropout: float = 0.1,
    ):
        super().__init__(encoder)
        self.candidates = candidates
        self.dropout = nn.Dropout(dropout, nn.Noise(0))
        width = encoder.embedding_table().shape[1]
        self.head = nn.Linear(width, 1, rng=rng)

    def losses(self, reader: Reader, utterances: Sequence[Utterance]) -> tuple[Tensor, Tensor]:
        """Both losses, in nats per token of a reply, and in nats per utterance."""
        n = self.candidates
        batch = reader.batch(utterances, n)
        states = self.states(batch)  # (B·N,T,C)
        real = slice(n - 1, None, n)  # the rows with the reply
        words = self.word_loss(states[real], batch["targets"][real])
        numbers = self.choice(states, batch["mask"]).reshape(-1, n)  # (B,N)
        gold = np.full(len(utterances), n - 1)
        return words, F.cross_entropy(numbers, gold)

    def choice(self, states: Tensor, mask: np.ndarray) -> Tensor:
        """The number of each dialogue, read at its last token.   (R, T, C) -> (R,)"""
        last = mask.sum(axis=1) - 1  # (R,)
        top = F.gather_positions(states, last[:, None])  # (R,T,C) -> (R,1,C)
        return self.head(self.dropout(top)).reshape(len(last))

    def numbers(self, reader: Reader, utterances: Sequence[Utterance]) -> list[np.ndarray]:
        """How well each candidate fits, (N,) for each utterance."""
        rows = []
        for utterance in utterances:
            for text in utterance.candidates:
                rows.append(reader.arranged(utterance.persona, utterance.history, text))
        numbers = np.empty(len(rows))
        for chosen, batch in in_batches(reader, rows):
            numbers[chosen] = self.choice(self.states(batch), batch["mask"]).data
        counts = np.cumsum([len(utterance.candidates) for utterance in utterances])[:-1]
        return np.split(numbers, counts)


class Towers(Heads):
    """Reads dialogue and candidate apart; how well they fit is the cosine of their vectors.

    rng : of the vectors     width : W of a vector
    left_out : the share of a text's words that its vector does without in training
    """

    def __init__(
        self, encoder: Objective, rng: np.random.Generator, width: int = 256, left_out: float = 0.3
    ):
        super().__init__(encoder)
        size, channels = encoder.embedding_table().shape
        self.words = nn.Parameter(rng.normal(0, width**-0.5, (size, width)).astype(np.float32))
        self.dialogue = nn.Linear(channels, width, rng=rng)
        self.reply = nn.Linear(channels, width, rng=rng)
        self.share = nn.Parameter(np.full(1, 0.1, np.float32))  # s
        self.sharpness = nn.Parameter(np.full(1, 10.0, np.float32))  # κ
        self.dropout = nn.Dropout(left_out, nn.Noise(0))

    def begin(self, reader: Reader, utterances: Sequence[Utterance]) -> None:
        """Make the vectors of rare words long: ln((1 + n) / (1 + how many of n texts have it))."""
        counts = np.zeros(len(self.words))
        texts = 0
        for utterance in utterances:
            for text in (*utterance.persona, *utterance.history, utterance.reply):
                ids = np.array(reader.tokenizer.encode(text), np.int64)  # of no word, none
                counts[np.unique(ids)] += 1
                texts += 1
        self.words.data *= np.log((1 + texts) / (1 + counts))[:, None].astype(self.words.dtype)

    def losses(self, reader: Reader, utterances: Sequence[Utterance]) -> tuple[Tensor, Tensor]:
        """Both losses, in nats per token of a reply, and in nats per utterance.

        A causal model's states of a dialogue know nothing of the reply behind it, so one reading
        of both serves the first head and the dialogue's tower.
        """
        replies = [utterance.reply for utterance in utterances]
        whole = reader.batch(utterances, 1)
        states = self.states(whole)  # (B,T,C)
        words = self.word_loss(states, whole["targets"])
        asked = whole["words"] & (whole["targets"] == NOT_COUNTED)
        alone = reader.arrays([reader.arranged((), (), text) for text in replies])
        left = self.vectors(states, whole["ids"], asked, self.dialogue)  # (B,W)
        right = self.vectors(self.states(alone), alone["ids"], alone["words"], self.reply)
        numbers = F.matmul(left, F.transpose(right)) * self.sharpness  # (B,B)
        same = np.equal.outer(replies, replies) & ~np.eye(len(replies), dtype=bool)
        numbers = F.where(same, NEVER, numbers)  # "yes ." is no distractor of "yes ."
        return words, F.cross_entropy(numbers, np.arange(len(replies)))

    def vectors(
        self, states: Tensor, ids: np.ndarray, counted: np.ndarray, tower: nn.Linear
    ) -> Tensor:
        """Texts as vectors of length 1.

        states (R, T, C), ids (R, T), counted (R, T) bool, the words of each text     returns (R, W)
        """
        number = np.maximum(counted.sum(axis=1, keepdims=True), 1)
        weights = self.dropout(Tensor((counted / np.sqrt(number)).astype(states.dtype)))  # (R,T)
        weights = weights.reshape(len(ids), 1, -1)
        own = F.matmul(weights, F.embedding(ids, self.words))[:, 0]  # (R,1,T) @ (R,T,W) -> (R,W)
        made = tower(F.matmul(weights, states)[:, 0])  # (R,W)
        said = counted.any(axis=1, keepdims=True).astype(states.dtype)  # (R,1)
        both = (own + made * self.share) * said
        length = F.sqrt(F.sum(both * both, axis=-1, keepdims=True) + TINY)
        return both / length

    def numbers(self, reader: Reader, utterances: Sequence[Utterance]) -> list[np.ndarray]:
        """How well each candidate fits, (N,) for each utterance; equal texts are read once."""
        texts: dict[str, int] = {}
        for utterance in utterances:
            for text in utterance.candidates:
                texts.setdefault(text, len(texts))
        asked = [reader.arranged(each.persona, each.history, None) for each in utterances]
        left = self._read(reader, asked, self.dialogue)
        right = self._read(reader, [reader.arranged((), (), text) for text in texts], self.reply)
        found = []
        for vector, utterance in zip(left, utterances, strict=True):
            rows = right[[texts[text] for text in utterance.candidates]]  # (N,W)
            found.append(rows @ vector * self.sharpness.data)
        return found

    def _read(self, reader: Reader, rows: Sequence[Arranged], tower: nn.Linear) -> np.ndarray:
        """The vectors of all rows, (R, W)."""
        found = np.empty((len(rows), self.words.shape[1]), self.words.dtype)
        for chosen, batch in in_batches(reader, rows):
            states = self.states(batch)
            found[chosen] = self.vectors(states, batch["ids"], batch["words"], tower).data
        return found


def in_batches(reader: Reader, rows: Sequence[Arranged]) -> Iterator[tuple[np.ndarray, dict]]:
    """(their numbers, their arrays) of some rows at a time, short ones first, without gradients."""
    lengths = np.array([len(row.ids) for row in rows])
    with no_grad():
        for chosen in by_length(lengths, ROWS):
            yield chosen, reader.arrays([rows[i] for i in chosen])

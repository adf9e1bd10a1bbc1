"""A conversational agent: a language model that learns to reply, and to tell a reply from another.

    loss = lm_coef · mean −log p(x_t | persona, turns, x_<t)        t over the tokens of the reply
         + mc_coef · −log softmax_k(w · h(dialogue, candidate k))[reply]

Two heads stand on one causal model: its own, which continues the text, and one number for each
candidate, read at the last token. The distractors come from other dialogues, so the second head
learns what a fitting reply is. Another second head, the towers, stands beside it in choosing.py.
How a dialogue is read stands in turns.py.

Source: Wolf et al. 2019, "TransferTransfo", and the released code, whose defaults these are.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinylm import optim, settings
from tinylm.data.dialogues import Utterance
from tinylm.errors import DataError, DivergenceError, TinylmError
from tinylm.kernels.runtime.pool import one_pool
from tinylm.objectives import Objective
from tinylm.objectives.inherit import with_tokens
from tinylm.sampling import Sampling
from tinylm.settings import above, at_least, from_to_below, one_of

from .adapted import Adapted
from .choosing import DoubleHeads, Heads, Towers, in_batches
from .finetune import duplicate
from .replies import ChatScores, word_f1
from .turns import NAMES, NOT_COUNTED, Reader


@dataclass(frozen=True)
class ChatConfig(settings.Config):
    """How a model learns to converse; the released code's values.

    choice : the second head of choosing.py, "together" as published, or "towers"
    candidates : of each utterance in training, the reply included; towers take the batch's replies
    width, left_out : of the towers, see there
    max_history : h, the last 2h + 1 turns are read
    batch_size, accumulation : utterances a backward, backwards an update
    rate, epochs : the rate falls from here to 0 in so many passes
    permutations : each utterance is read so often, its persona's sentences in another order
    lm_coef, mc_coef : the weights of both losses
    clip : the largest norm of a gradient
    seed : of the order, the dropout and the new vectors

    >>> ChatConfig().candidates
    2
    """

    ranges = {
        "choice": one_of("together", "towers"),
        "candidates": at_least(2),
        "width": at_least(1),
        "left_out": from_to_below(0, 1),
        "max_history": at_least(0),
        "batch_size": at_least(1),
        "accumulation": at_least(1),
        "rate": above(0),
        "epochs": at_least(1),
        "permutations": at_least(1),
        "lm_coef": at_least(0),
        "mc_coef": at_least(0),
        "clip": above(0),
        "seed": at_least(0),
    }
    choice: str = "together"
    candidates: int = 2
    width: int = 256
    left_out: float = 0.3
    max_history: int = 2
    batch_size: int = 4
    accumulation: int = 8
    rate: float = 6.25e-5
    epochs: int = 3
    permutations: int = 1
    lm_coef: float = 1.0
    mc_coef: float = 1.0
    clip: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class ReplyConfig(settings.Config):
    """How a reply is drawn.

    top_p, top_k, temperature : as in `sampling.Sampling`
    longest, shortest : tokens of a reply at most, and at least

    >>> ReplyConfig().top_p
    0.9
    """

    ranges = {"longest": at_least(1), "shortest": at_least(0)}
    top_p: float = 0.9
    top_k: int = 0
    temperature: float = 0.7
    longest: int = 20
    shortest: int = 1


DEFAULTS = ChatConfig()
DRAWN = ReplyConfig()


class Chat(Adapted):
    """A conversational agent: `Chat(encoder, tokenizer).fit(utterances).reply((), ["hi !"], rng)`.

    encoder, tokenizer : a causal model that reads speakers, such as GPT; neither is changed
    config : ChatConfig     progress : called as progress(done, updates)
    After `fit`: encoder_ and tokenizer_, which know the tokens of turns.py; head_ = {name: array},
    the arrays of the second head.
    raises TinylmError  for a model that does not read who speaks
    """

    task = "chat"

    def __init__(
        self,
        encoder: Objective,
        tokenizer: Any,
        config: ChatConfig = DEFAULTS,
        progress: Callable[[int, int], None] | None = None,
    ):
        encoder.need("conversation")
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.config = config
        self.progress = progress or (lambda done, updates: None)

    def fit(self, utterances: Sequence[Utterance]) -> "Chat":
        """Learn from dialogues.   returns self

        raises DataError    for no utterances, or one with too few candidates
        raises DivergenceError  if training diverges
        """
        utterances = list(utterances)
        self._check(utterances)
        rng = np.random.default_rng(self.config.seed)
        encoder, tokenizer = with_speakers(self.encoder, self.tokenizer, rng)
        network = self._network(encoder, rng)
        reader = Reader(tokenizer, encoder.max_length, self.config.max_history)
        network.begin(reader, utterances)
        with one_pool():
            self._train(network, reader, utterances)
        self._keep(network, tokenizer)
        return self

    def choose(self, utterance: Utterance) -> np.ndarray:
        """How well each candidate fits, as the second head says, (N,)."""
        self.check_fitted()
        return self.network_.numbers(self.reader_, [utterance])[0]

    def evaluate(
        self,
        utterances: Sequence[Utterance],
        rng: np.random.Generator | None = None,
        how: ReplyConfig | None = None,
    ) -> ChatScores:
        """Hits@1, the perplexity of the replies, and the F1 of the words of drawn ones.

        rng : draws the replies (None: F1 is not measured)     how : ReplyConfig
        raises DataError  if there is nothing to measure on, or to choose from
        """
        self.check_fitted()
        utterances = list(utterances)
        if not utterances or not all(utterance.candidates for utterance in utterances):
            raise DataError(
                "Chat: there are no utterances, or one without candidates; "
                "give at least one, each with its candidates, the reply last."
            )
        hits = []
        with one_pool():
            chosen = self.network_.numbers(self.reader_, utterances)
        for utterance, numbers in zip(utterances, chosen, strict=True):
            hits.append(int(np.argmax(numbers)) == len(utterance.candidates) - 1)
        nats, tokens = self._reply_nats(utterances)
        f1 = None
        if rng is not None:
            values = []
            for utterance in utterances:
                said = self.reply(utterance.persona, utterance.history, rng, how or DRAWN)
                values.append(word_f1(utterance.reply, said))
            f1 = float(np.mean(values))
        return ChatScores(float(np.mean(hits)), float(np.exp(nats / tokens)), f1, len(hits))

    def reply(
        self,
        persona: Sequence[str],
        history: Sequence[str],
        rng: np.random.Generator | None,
        how: ReplyConfig = DRAWN,
    ) -> str:
        """Answer the last turn of a history.

        rng : not needed where how.temperature is 0
        raises ArgumentError  for one string in place of a list
        raises TinylmError  before `fit`, or without a generator where one is needed
        """
        self.check_fitted()
        draw = Sampling(temperature=how.temperature, top_k=how.top_k, top_p=how.top_p)
        draw.check_generator(rng)
        specials = self.reader_.specials
        longest = how.longest
        if self.encoder_.max_length is not None:
            longest = min(longest, self.encoder_.max_length // 2)
        begun = self.reader_.arranged(persona, history, None, room=longest)
        ids = begun.ids
        speakers = begun.speakers
        never = [i for i in self.tokenizer_.special_ids if i != specials.eos]
        cache = self.encoder_.start_cache(1, len(ids) + longest)
        said: list[int] = []
        with one_pool(), self.encoder_.evaluating():
            while len(said) < longest:
                scores = self.encoder_.step(np.array([ids]), cache, speakers=np.array([speakers]))
                scores = scores[0, : self.tokenizer_.vocab_size].copy()
                scores[never] = -np.inf
                if len(said) < how.shortest:
                    scores[specials.eos] = -np.inf
                new = int(draw.draw(scores, rng))
                if new == specials.eos:
                    break
                said.append(new)
                ids = [new]
                speakers = [begun.speakers[-1]]
        return self.tokenizer_.decode(said).strip()

    # ---- learning

    def _check(self, utterances):
        """raises DataError  for nothing to learn from, or nothing to tell replies from"""
        c = self.config
        least = c.candidates if c.choice == "together" else 1
        few = [u for u in utterances if len(u.candidates) < least]
        if few or not utterances:
            raise DataError(
                f"Chat: {len(utterances)} utterances, {len(few)} of them with fewer than "
                f"{least} candidates; expected at least one, each with as many."
            )
        if c.choice == "towers" and c.batch_size < 2:
            raise TinylmError(
                "Chat: towers tell a reply from the others of its batch, but batch_size is 1; "
                "give 2 or more, better 64."
            )

    def _network(self, encoder: Objective, rng: np.random.Generator) -> Heads:
        """The encoder under the second head that the config names."""
        c = self.config
        if c.choice == "towers":
            return Towers(encoder, rng, c.width, c.left_out)
        return DoubleHeads(encoder, rng, c.candidates)

    def _train(self, network, reader, utterances):
        """All updates."""
        c = self.config
        optimiser = optim.AdamW(network.named_parameters(), lr=c.rate)
        batches = list(self._batches(utterances))
        updates = -(-len(batches) // c.accumulation)  # rounded up
        network.train()
        for done in range(updates):
            optimiser.zero_grad()
            for place, rows in enumerate(batches[done * c.accumulation :][: c.accumulation]):
                network.rewind(c.seed, done * c.accumulation + place)
                words, choice = network.losses(reader, rows)
                loss = words * c.lm_coef + choice * c.mc_coef
                (loss * (1 / c.accumulation)).backward()
            rate = c.rate * (1 - done / updates)
            norm = optimiser.step(lr=rate, max_norm=c.clip)
            if not np.isfinite(norm):
                raise DivergenceError(
                    f"Chat: training diverged: the gradient norm became {norm} at update "
                    f"{done + 1} of {updates}; give a smaller rate than {c.rate}."
                )
            self.progress(done + 1, updates)
        network.eval()

    def _batches(self, utterances) -> Iterator[list[Utterance]]:
        """The batches of all passes; in each the persona's sentences stand in another order."""
        c = self.config
        for epoch in range(c.epochs):
            rows = []
            for turn in range(c.permutations):
                for utterance in utterances:
                    rows.append(rotated(utterance, turn))
            order = np.random.default_rng([c.seed, epoch]).permutation(len(rows))
            for first in range(0, len(rows), c.batch_size):
                yield [rows[i] for i in order[first : first + c.batch_size]]

    def _keep(self, network, tokenizer):
        """What a network has learned."""
        self.encoder_ = network.encoder
        self.tokenizer_ = tokenizer
        self.head_ = network.arrays()
        self.network_ = network.eval()
        self.reader_ = Reader(tokenizer, network.encoder.max_length, self.config.max_history)

    # ---- measuring

    def _reply_nats(self, utterances):
        """−log p of all replies, in nats, and how many tokens they have."""
        nats = 0.0
        tokens = 0
        rows = [self.reader_.arranged(u.persona, u.history, u.reply) for u in utterances]
        with one_pool():
            for _, batch in in_batches(self.reader_, rows):
                counted = int((batch["targets"][:, 1:] != NOT_COUNTED).sum())
                mean = self.network_.word_loss(self.network_.states(batch), batch["targets"])
                nats += counted * mean.item()
                tokens += counted
        return nats, tokens

    # ---- folders

    def _write(self, folder, origin):
        """All files; the tokenizer is the one that knows the tokens of turns.py."""
        kept = copy.copy(self)
        kept.tokenizer = self.tokenizer_
        Adapted._write(kept, folder, origin)

    def _arrays(self) -> dict[str, np.ndarray]:
        """The second head."""
        return self.head_

    def _facts(self) -> dict[str, Any]:
        """The settings."""
        return {"config": asdict(self.config)}

    @classmethod
    def _assembled(cls, encoder, tokenizer, facts: dict, arrays: dict) -> "Chat":
        """The parts of a folder put together."""
        self = cls(encoder, tokenizer, settings.build(ChatConfig, facts["config"]))
        if self.config.choice == "towers" and arrays["words"].shape[1:] != (self.config.width,):
            raise TinylmError(f"the towers' words are not {self.config.width} wide")
        network = self._network(encoder, np.random.default_rng(0))
        for name, array in network.arrays().items():
            if arrays[name].shape != array.shape:
                raise TinylmError(f"{name} is {arrays[name].shape}, expected {array.shape}")
            array[...] = arrays[name]
        self._keep(network, tokenizer)
        return self


def with_speakers(
    encoder: Objective, tokenizer: Any, rng: np.random.Generator
) -> tuple[Objective, Any]:
    """Copies of a model and its tokenizer that know the tokens of a dialogue.

    rng : draws their vectors
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_specials([name for name in NAMES if name not in tokenizer.vocab])
    needed = max(tokenizer.vocab_size, encoder.config.vocab_size)
    larger = duplicate(encoder)
    if needed > encoder.config.vocab_size:
        larger = with_tokens(encoder, needed, rng)
    larger.spell(tokenizer.vocab, tokenizer.special_ids)
    return larger, tokenizer


def rotated(utterance: Utterance, turn: int) -> Utterance:
    """The same with its persona's sentences in another order: the last ones first.

    >>> rotated(Utterance(("a", "b", "c"), ("d",), ("e",)), 1).persona
    ('c', 'a', 'b')
    """
    persona = utterance.persona
    cut = len(persona) - turn % len(persona) if persona else 0
    return Utterance(persona[cut:] + persona[:cut], utterance.history, utterance.candidates)

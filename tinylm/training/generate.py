"""Sampling from a causal model, token by token: one text as a stream, or several side by side.

    id_{t+1} ~ softmax(logits(id_1 ... id_t) / temperature), cut to top_k and top_p

Each step reads only the newest token of every text; a key/value cache holds the rest. `Texts` is
the state behind this, and behind beam.py. How an id is chosen by its score: see sampling.py.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinylm import arguments
from tinylm.data import pad
from tinylm.errors import ArgumentError, ShapeError
from tinylm.nn.module import evaluating
from tinylm.sampling import Sampling
from tinylm.settings import argument, at_least
from tinylm.tensor import no_grad


def generate(
    model: Any,
    ids: ArrayLike,
    steps: int,
    rng: np.random.Generator | None = None,
    end_id: int | Collection[int] | None = None,
    vocab_size: int | None = None,
    without: Collection[int] = (),
    **sampling,
) -> Iterator[int]:
    """Continue a text: an iterator over `steps` new ids, each available as soon as it is drawn.

    model : causal, with start_cache and step
    ids : (T,) the prompt, at least one id
    rng : needed unless temperature is 0
    end_id : stop after this id, or after any of these
    vocab_size : the number of tokens: draw only ids below it. A model's table may be padded with
        rows that no token has. None draws from every row
    without : ids that are never drawn, see `unwritten`
    sampling : the fields of `sampling.Sampling`

    If the text outgrows the model's n_positions, the window slides by half its length: the model
    forgets the older half and reads the rest again from position 0. So it pays for one long read
    every n_positions / 2 tokens.

    raises ShapeError       on an empty prompt, or if no id is left to draw
    raises ArgumentError    on a number out of its range
    raises TinylmError      on a model that cannot continue text
    Example: demos/12_gpt.py
    """
    choice = _choice(rng, sampling)
    texts = Texts(model, [ids], steps, vocab_size, without)
    ends = end_ids(end_id)

    def drawn():
        parts = []
        for _ in range(steps):
            if model.training:
                parts = parts or model.modules()
            with evaluating(parts):  # not across a yield: the caller may train in between
                [scores] = texts.scores()
                new = int(choice.draw(choice.penalise(scores, texts.ids[0]), rng))
                texts.extend([0], [new])
            yield new
            if new in ends:
                return

    return drawn()


def generate_batch(
    model: Any,
    prompts: Sequence[ArrayLike],
    steps: int,
    rng: np.random.Generator | None = None,
    end_id: int | Collection[int] | None = None,
    vocab_size: int | None = None,
    stop: Callable[[int, list[int]], bool] | None = None,
    without: Collection[int] = (),
    **sampling,
) -> list[list[int]]:
    """Continue several texts side by side: the new ids of each, `steps` at most.

    prompts : B texts, (T,) ids each, of any lengths; the same one n times gives n samples of it
    rng : text b draws from the b-th generator of rng.spawn(B), so it depends on no other text
    stop : (b, the new ids of text b so far) -> whether that text is finished, see `stop_at`
    The other arguments are those of `generate`, and text b becomes what `generate` would make of
    prompt b alone, up to the rounding of products with more rows.

    raises ShapeError, ArgumentError, TinylmError  as `generate`
    """
    choice = _choice(rng, sampling)
    texts = Texts(model, prompts, steps, vocab_size, without)
    ends = end_ids(end_id)
    count = len(texts.ids)
    if not count:
        return []
    rngs = [None] * count if rng is None else rng.spawn(count)
    new: list[list[int]] = [[] for _ in range(count)]
    left = list(range(count))  # the texts that are not finished, in the order of the cache's rows
    with model.evaluating():
        for _ in range(steps):
            rows = []
            ids = []
            for row, scores in enumerate(texts.scores()):
                b = left[row]
                drawn = int(choice.draw(choice.penalise(scores, texts.ids[row]), rngs[b]))
                new[b].append(drawn)
                if drawn not in ends and not (stop and stop(b, new[b])):
                    rows.append(row)
                    ids.append(drawn)
            if not rows:
                break
            left = [left[row] for row in rows]
            texts.extend(rows, ids)
    return new


def stop_at(
    tokenizer: Any, prompts: Sequence[Sequence[int]], strings: Sequence[str]
) -> Callable[[int, list[int]], bool]:
    """A `stop` for `generate_batch`: a text is finished once what is new holds one of the strings.

    raises ArgumentError  for one string in place of a list, or an empty one, which every text holds

    >>> from tinylm.text import Chars
    >>> letters = Chars("abc")
    >>> stop = stop_at(letters, [letters.encode("b")], ["ca"])
    >>> stop(0, letters.encode("cc")), stop(0, letters.encode("cca"))
    (False, True)
    """

    ends = arguments.strings(strings, "strings")
    if "" in ends:
        raise ArgumentError("stop_at: one of the strings is empty, and every text holds it.")

    def stop(b, new):
        text = continuation(tokenizer, prompts[b], new)
        return any(end in text for end in ends)

    return stop


def continuation(tokenizer: Any, prompt: Sequence[int], new: Sequence[int]) -> str:
    """The text that new ids add to that of a prompt, such as the space between two words.

    >>> from tinylm.text import Words
    >>> continuation(Words(["the", "cat"]), [3], [4])
    ' cat'
    """
    begun = len(tokenizer.decode(prompt))
    return tokenizer.decode([*prompt, *new])[begun:]


def before_first(text: str, strings: Sequence[str]) -> str:
    """The part of a text before the first of these strings in it, or the whole text.

    >>> before_first("one. two! three", ["!", "."])
    'one'
    """
    places = [text.find(string) for string in strings]
    return text[: min([place for place in places if place >= 0], default=len(text))]


class Texts:
    """Texts that a model continues side by side, and the cache of what it has read of them.

    model : causal, with start_cache and step     prompts : B texts, ids of at least one token each
    steps : how many ids each text gets at most     vocab_size, without : as in `generate`
    ids : B lists, the texts so far

    The model sees the window ids[starts[b]:] of text b. A window that outgrows the model's
    n_positions moves to the newest half of it, for each text on its own, see `generate`. Then the
    windows of all texts are read anew, flush right, with padding on the left.
    raises ShapeError  on an empty prompt, or if no id is left to draw
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[ArrayLike],
        steps: int,
        vocab_size: int | None = None,
        without: Collection[int] = (),
    ):
        model.need("generation")
        steps = argument("generate", "steps", steps, int, at_least(0))
        if vocab_size is not None and vocab_size < 1:
            raise ShapeError(f"generate: vocab_size is {vocab_size}, expected at least 1, or None")
        self.model = model
        self.vocab_size = vocab_size
        known = model.config.vocab_size if vocab_size is None else vocab_size
        self.without = [i for i in sorted(set(without)) if 0 <= i < known]
        if len(self.without) == known:
            raise ShapeError(
                "generate: `without` leaves no id to draw; leave at least one out of it"
            )
        self.ids = [_prompt(ids) for ids in prompts]
        needed = max(map(len, self.ids), default=0) + steps
        self.size = min(needed, model.max_length or needed)
        self.starts = [max(len(ids) - self.size, 0) for ids in self.ids]
        self.cache: Any = None
        self.slots = self.size  # of the cache in use; a full one makes `scores` read anew

    def scores(self) -> np.ndarray:
        """The scores of the next id of each text, (B, V); −inf for an id in `without`."""
        if self.slots < self.size:
            self.slots += 1
            scores = self._step([ids[-1:] for ids in self.ids])
        else:
            scores = self._read_windows()
        scores = scores[:, : self.vocab_size]
        if self.without:
            scores = scores.copy()
            scores[:, self.without] = -np.inf
        return scores

    def extend(self, rows: Sequence[int], ids: Sequence[int]) -> None:
        """Go on with these rows, in this order, each with one more id.

        A row may come several times, or no more.
        """
        if list(rows) != list(range(len(self.ids))):
            self.cache.reorder(rows)
            self.starts = [self.starts[row] for row in rows]
            self.ids = [list(self.ids[row]) for row in rows]
        for text, new in zip(self.ids, ids, strict=True):
            text.append(new)

    def _read_windows(self):
        """Slide the windows that are too long, and read all windows into a new cache."""
        for b, text in enumerate(self.ids):
            if len(text) - self.starts[b] > self.size:
                self.starts[b] = len(text) - max(self.size // 2, 1)
        windows = [text[start:] for text, start in zip(self.ids, self.starts, strict=True)]
        self.slots = max(map(len, windows))
        count = len(windows)
        alike = count > 1 and all(window == windows[0] for window in windows)
        if alike:  # read it once
            windows = windows[:1]
        self.cache = self.model.start_cache(len(windows), self.size)
        scores = self._step(windows)
        if alike:
            self.cache.reorder([0] * count)
            scores = np.repeat(scores, count, axis=0)
        return scores

    def _step(self, rows):
        """The model's scores (B, V) after some rows of ids."""
        lengths = {len(row) for row in rows}
        with no_grad():
            if len(lengths) <= 1:
                return self.model.step(np.array(rows), self.cache)
            ids, mask = pad(rows, left=True)  # (B,T)
            return self.model.step(ids, self.cache, mask)


def unwritten(tokenizer: Any) -> tuple[int, ...]:
    """The ids that a model must not write: tokens that no text spells, but for the end of a text.

    >>> from tinylm.text import Chars
    >>> [Chars("ab").vocab[i] for i in unwritten(Chars("ab"))]
    ['<unk>', '<pad>']
    """
    return tuple(i for i in tokenizer.special_ids if i != tokenizer.end_id)


def lead(tokenizer: Any, given: int) -> list[int]:
    """The ids that a causal model reads before a text of which it is given so many tokens.

    They are what begins every text, in an encoding that has it. Else there are none, but a model
    cannot begin from nothing: then it reads the end of another text, behind which a text begins.

    >>> from tinylm.text import Words
    >>> plain, fastai = Words(["the"]), Words(["the"], rules=True)
    >>> lead(plain, 1), [plain.vocab[i] for i in lead(plain, 0)]
    ([], ['<eos>'])
    >>> [fastai.vocab[i] for i in lead(fastai, 1)]
    ['xxbos']
    """
    if tokenizer.begin_id is not None:
        return [tokenizer.begin_id]
    return [] if given or tokenizer.end_id is None else [tokenizer.end_id]


def end_ids(end_id: int | Collection[int] | None) -> set[int]:
    """The ids that end a text, as a set.

    >>> end_ids(None), end_ids(3), end_ids([3, 5])
    (set(), {3}, {3, 5})
    """
    if end_id is None:
        return set()
    return {int(i) for i in np.ravel(list(end_id) if isinstance(end_id, Collection) else end_id)}


def _choice(rng, sampling):
    """The Sampling of some options; raises TinylmError if it needs a generator and gets none."""
    choice = Sampling(**sampling)
    choice.check_generator(rng)
    return choice


def _prompt(ids):
    """A prompt as a list of ids; raises ShapeError for an empty one."""
    ids = arguments.id_array("generate", ids)
    if ids.ndim != 1 or not len(ids):
        raise ShapeError(
            f"generate: got a prompt of shape {ids.shape}, expected (T,) ids with T of at least 1"
        )
    if ids.dtype.kind not in "iu":
        raise ShapeError(f"generate: the prompt holds {ids.dtype}; expected whole numbers, ids.")
    return [int(i) for i in ids]

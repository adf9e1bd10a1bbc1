"""A vocabulary grows by the characters or words that a text has and the vocabulary lacks.

    vocabulary [<unk> <pad> <eos> a b]  and the text "abcc"  ->  [<unk> <pad> <eos> a b c]

Old tokens keep their ids, so a model keeps its rows and gets new ones behind them. Only encodings
that look up whole units can lack one. The others spell every text from parts and never grow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .base import Encoding, as_texts
from .checks import check_numbers, check_whole

MOST = 20_000  # new tokens, unless a vocab_size says otherwise


def lacking(encoding: Encoding, texts: Iterable[str]) -> Counter[str]:
    """The units of some texts that are not in the vocabulary, with their counts.

    texts : a single string counts as one text

    >>> from tinylm.text import Words
    >>> lacking(Words(["the", "cat"]), ["the cat slept", "the dog slept"])
    Counter({'slept': 2, 'dog': 1})
    """
    counts: Counter[str] = Counter()
    for text in as_texts(texts):
        counts.update(encoding.units(text))
    known = set(encoding.vocab)
    unknown = {unit: count for unit, count in counts.items() if unit not in known}
    return Counter(unknown)


def grow(encoding: Encoding, texts: Iterable[str], vocab_size: int | None = None) -> int:
    """Append what the texts have and the vocabulary lacks: most frequent first, then by spelling.

    vocab_size : at most this many tokens in all (None: at most 20,000 new ones)
    returns the number of new tokens, 0 for an encoding that spells texts from parts
    raises VocabularyError  for a token that the encoding's files could not store

    >>> from tinylm.text import Chars
    >>> letters = Chars("ab")
    >>> grow(letters, ["abdcc"]), letters.vocab
    (2, ['<unk>', '<pad>', '<eos>', 'a', 'b', 'c', 'd'])
    """
    check_numbers("grow", vocab_size=vocab_size)
    counts = lacking(encoding, texts)
    new = sorted(counts, key=lambda unit: (-counts[unit], unit))
    room = MOST if vocab_size is None else max(vocab_size - encoding.vocab_size, 0)
    kept = new[:room]
    check_whole([*encoding.vocab, *kept])
    for unit in kept:
        encoding._append(unit)
    return len(kept)

"""`tinylm generate`: continue a text with a causal model."""

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from tinylm.errors import DataError, TinylmError, visible

from .. import options as values
from ..results import load, print_result

HALF = "\N{REPLACEMENT CHARACTER}"  # decoding gives it for the first bytes of a character
CHANCE = (  # options of sampling, which a beam does not do
    "temperature",
    "top_k",
    "top_p",
    "top_p_rule",
    "repetition_penalty",
    "no_repeat_ngram_size",
)


def add(commands) -> argparse.ArgumentParser:
    """Its options."""
    p = commands.add_parser("generate", help="continue a text")
    p.add_argument("dir", metavar="DIR", help=values.CAUSAL_RUN)
    p.add_argument("--prompt", default="", metavar="TEXT")
    p.add_argument(
        "--tokens",
        type=values.count,
        default=200,
        metavar="N",
        help="tokens to write at most (default 200)",
    )
    p.add_argument(
        "--n",
        type=values.count,
        default=1,
        metavar="N",
        help="texts to write (default 1, which appears as it is written)",
    )
    p.add_argument(
        "--stop",
        action="append",
        type=values.some_text,
        default=[],
        metavar="TEXT",
        help="end before this text; may be repeated",
    )
    _add_sampling(p)
    p.add_argument(
        "--beam",
        type=values.count,
        metavar="WIDTH",
        help="search for the most probable texts with a beam, instead of sampling",
    )
    p.add_argument(
        "--length-penalty",
        type=float,
        metavar="P",
        help="a beam compares log p / length^P (default 1; 0 favours short texts)",
    )
    values.add_code(p)
    return p


def _add_sampling(p):
    """The fields of Sampling."""
    p.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="0 = always the most probable (default 1)",
    )
    p.add_argument(
        "--top-k",
        type=int,
        default=0,
        metavar="K",
        help="keep the K most probable (default 0 = all)",
    )
    p.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="keep a nucleus of most probable tokens of mass P (default 1)",
    )
    p.add_argument(
        "--top-p-rule",
        default="reaching",
        choices=("reaching", "within"),
        help="the smallest nucleus that reaches P (default), or the largest within P, as the "
        "released GPT-2 has it",
    )
    p.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="above 1 makes tokens that the text holds less probable (default 1)",
    )
    p.add_argument(
        "--no-repeat-ngram-size",
        type=int,
        default=0,
        metavar="N",
        help="no run of N tokens comes twice (default 0 = any may)",
    )


def run(options: Namespace) -> int:
    """Continue a text, or write several continuations."""
    _check_beam(options)
    model, tokenizer = load(options.dir)
    prompt = tokenizer.encode(options.prompt)
    if not _begin(tokenizer, prompt):
        raise DataError("the prompt holds no token that the model knows; give a longer --prompt")
    if options.beam:
        rows = _searched(options, model, tokenizer, prompt)
    elif options.n > 1:
        rows = _sampled(options, model, tokenizer, prompt)
    else:
        return _streamed(options, model, tokenizer, prompt)
    lines = []
    for number, row in enumerate(rows, 1):
        score = f" ({row['score']:.3f} nats per token^P)" if "score" in row else ""
        lines.append(f"--- {number}{score}\n{options.prompt}{row['text']}")
    return print_result(options, {"prompt": options.prompt, "texts": rows}, lines)


def _check_beam(options: Namespace) -> None:
    """raises TinylmError for options of which one makes the other meaningless"""
    given = vars(options).get("given", set())
    if options.beam:
        without = [name for name in CHANCE if name in given]
        if without:
            name = without[0].replace("_", "-")
            problem = f"--beam searches for the most probable text, so --{name} has no effect"
            raise TinylmError(f"{problem}; leave one of them out")
        if options.n > options.beam:
            problem = f"a beam of {options.beam} holds no {options.n} texts"
            raise TinylmError(f"{problem}; give --beam {options.n} or more")
    elif options.length_penalty is not None:
        raise TinylmError("--length-penalty belongs to a beam; give --beam WIDTH too")


def _begin(tokenizer: Any, prompt: list[int]) -> list[int]:
    """The ids that a model reads first."""
    from tinylm.training.generate import lead

    return [*lead(tokenizer, len(prompt)), *prompt]


def _sampling(options: Namespace) -> dict[str, Any]:
    """The options that are fields of Sampling."""
    return {name: getattr(options, name) for name in CHANCE}


def _row(options: Namespace, tokenizer: Any, prompt: list[int], new: list[int]) -> dict[str, Any]:
    """A finished text, without its end: {"text", "tokens"}."""
    from tinylm.training.generate import before_first, continuation

    kept = [i for i in new if i != tokenizer.end_id]
    text = before_first(continuation(tokenizer, prompt, kept), options.stop)
    return {"text": text, "tokens": len(kept)}


def _searched(options, model, tokenizer, prompt):
    """The best texts of a beam, as rows."""
    from tinylm.training.beam import beam_search
    from tinylm.training.generate import unwritten

    penalty = 1.0 if options.length_penalty is None else options.length_penalty
    found = beam_search(
        model,
        _begin(tokenizer, prompt),
        options.tokens,
        options.beam,
        penalty,
        tokenizer.end_id,
        tokenizer.vocab_size,
        count=options.n,
        without=unwritten(tokenizer),
    )
    rows = []
    for best in found:
        row = _row(options, tokenizer, prompt, best.ids)
        rows.append({**row, "score": best.score, "log_probability": best.log_probability})
    return rows


def _sampled(options, model, tokenizer, prompt):
    """Several texts that are sampled side by side, as rows."""
    from tinylm.training.generate import generate_batch, stop_at, unwritten

    prompts = [prompt] * options.n
    found = generate_batch(
        model,
        [_begin(tokenizer, prompt)] * options.n,
        options.tokens,
        _rng(options),
        tokenizer.end_id,
        tokenizer.vocab_size,
        stop_at(tokenizer, prompts, options.stop) if options.stop else None,
        unwritten(tokenizer),
        **_sampling(options),
    )
    return [_row(options, tokenizer, prompt, new) for new in found]


def _streamed(options, model, tokenizer, prompt) -> int:
    """Sample one text and show it as it grows."""
    from tinylm.training.generate import before_first, continuation, generate, unwritten

    stream = generate(
        model,
        _begin(tokenizer, prompt),
        options.tokens,
        _rng(options),
        tokenizer.end_id,
        tokenizer.vocab_size,
        unwritten(tokenizer),
        **_sampling(options),
    )
    show = (lambda text: None) if options.json else _typewriter(options.prompt)
    new = []
    text = ""
    for new_id in stream:
        if new_id == tokenizer.end_id:
            break
        new.append(new_id)
        whole = continuation(tokenizer, prompt, new)
        text = before_first(whole, options.stop)
        if text != whole:
            break
        # The next token may complete a character, or a text to stop at.
        show(text[: len(text) - begun(text, options.stop)].rstrip(HALF))
    show(text)
    result = {"prompt": options.prompt, "text": text, "tokens": len(new)}
    return print_result(options, result, [""])


def begun(text: str, strings: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of one of these strings.

    >>> begun("the en", ["end", "stop"]), begun("the", ["end"])
    (2, 1)
    """
    longest = 0
    for string in strings:
        for size in range(1, len(string)):
            if text.endswith(string[:size]):
                longest = max(longest, size)
    return longest


def _typewriter(prompt: str) -> Callable[[str], None]:
    """Print the prompt; return a function that prints the new part of a growing text at once."""
    print(visible(prompt), end="", flush=True)
    shown = 0

    def show(text):
        nonlocal shown
        print(visible(text[shown:]), end="", flush=True)
        shown = max(shown, len(text))

    return show


def _rng(options: Namespace) -> Any:
    """The generator that --seed asks for."""
    import numpy as np

    return np.random.default_rng(options.seed)

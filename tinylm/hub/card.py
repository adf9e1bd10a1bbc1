"""What a model folder says of itself: `signature.json` for programs, `MODEL_CARD.md` for people.

    {"model": "gpt", "parameters": 9504, "casing": "kept", "tokens": 300, "max_length": 32,
     "encode": {"takes": [{"name": "ids", "dtype": "int64", "shape": ["B", "T"]}, ...],
                "returns": [{"name": "embeddings", "dtype": "float32", "shape": ["B", "T", 16]},
                            {"name": "layer 1", ...}]},
     "origin": {"data": "kjv", "command": "tinylm pretrain gpt --data kjv", "licence": null}}

The signature is not a promise but a measurement: `encode` reads one short text, and what it was
given and gave back is written down. Of its origin a model knows nothing; whoever saves it says it.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import files
from tinylm.errors import CheckpointError, one_line
from tinylm.objectives import Objective, read_by
from tinylm.tensor import no_grad
from tinylm.training import checkpoint

SIGNATURE = "signature.json"
CARD = "MODEL_CARD.md"  # not README.md: that name belongs to the people who publish the folder
AXES = ("B", "T")  # the first two of every array: texts, tokens
UNKNOWN = "not stated"


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, as far as whoever saves it says so; None where nobody does.

    data : the text that it learned from
    command : what trained it
    licence : under which others may use it
    base : the folder of the model that it goes on from

    >>> Origin(data="kjv").licence is None
    True
    """

    data: str | None = None
    command: str | None = None
    licence: str | None = None
    base: str | None = None


NOTHING_SAID = Origin()
LONGEST = 10_000  # characters of a command
PROBES = 50  # tokens that are tried for their case


def write(folder: Path, model: Objective, tokenizer: Any, origin: Origin = NOTHING_SAID) -> None:
    """Write both files into a model folder.   raises DataError  if the disk refuses"""
    facts = signature(model, tokenizer)
    said = dataclasses.asdict(origin).items()
    facts["origin"] = {key: value and one_line(str(value), LONGEST) for key, value in said}
    files.write_json(folder / SIGNATURE, facts)
    files.write_text(folder / CARD, in_words(facts))


def origin_of(folder: str | Path) -> Origin:
    """What a model folder says of its origin; nothing, if it has no signature.

    raises CheckpointError  if its signature is damaged
    """
    path = Path(folder) / SIGNATURE
    if not os.path.exists(path):
        return NOTHING_SAID
    said = checkpoint.read_json(path).get("origin")
    names = {field.name for field in dataclasses.fields(Origin)}
    is_known = isinstance(said, dict) and said.keys() <= names
    if not is_known or not all(value is None or isinstance(value, str) for value in said.values()):
        raise CheckpointError(f"{path} is damaged: its origin is {said!r:.80}; remove the file")
    return Origin(**said)


def signature(model: Objective, tokenizer: Any = None) -> dict[str, Any]:
    """The facts of a model and its tokenizer, as JSON, see above.

    tokenizer : None for a model that is saved without one
    """
    takes = _inputs(model, tokenizer)
    return {
        "model": model.name,
        "parameters": sum(p.data.size for p in model.parameters()),
        "tokens": None if tokenizer is None else tokenizer.vocab_size,
        "casing": None if tokenizer is None else casing(tokenizer),
        "max_length": model.max_length,
        "encode": {
            "takes": [_described(name, array) for name, array in takes.items()],
            "returns": _outputs(model, takes),
        },
    }


def casing(tokenizer: Any) -> str | None:
    """Whether an encoding sees that letters are capitals: "kept" or "lower"; None without letters.

    >>> from tinylm.text import Words
    >>> casing(Words(["sea"])), casing(Words(["sea"], lower=True)), casing(Words(["7"]))
    ('kept', 'lower', None)
    """
    names = [token for token in tokenizer.vocab if token not in tokenizer.specials]
    cased = [token for token in names if token.lower() != token.upper()][:PROBES]
    if not cased:
        return None
    text = " ".join(cased)
    same = tokenizer.encode(text.lower()) == tokenizer.encode(text.upper())
    return "lower" if same else "kept"


def _inputs(model, tokenizer):
    """The keywords of `encode` that a tokenizer gives, for one short text: name -> array."""
    arrays = {"ids": np.zeros((1, 2), np.int64), "mask": np.ones((1, 2), bool)}
    if tokenizer is not None:
        given = tokenizer(["a a"], max_length=model.max_length)
        if given["ids"].shape[1]:
            arrays = given
    return read_by(model, arrays)


def _outputs(model, takes):
    """What `encode` returns for these arrays; None if it raises anything: no reason not to save."""
    try:
        with model.evaluating(), no_grad(), np.errstate(all="ignore"):
            states = model.encode(**takes)
    except Exception:  # an outside objective's mistake, or a model that was never spelled
        return None
    names = ["embeddings", *(f"layer {n}" for n in range(1, len(states)))]
    return [_described(name, state.data) for name, state in zip(names, states, strict=True)]


def _described(name, array):
    """An array as JSON: its axes of texts and tokens have names, its others numbers."""
    shape = [*AXES, *array.shape[len(AXES) :]]
    return {"name": name, "dtype": str(array.dtype), "shape": shape}


def in_words(facts: dict[str, Any]) -> str:
    """A model card: the facts of a signature, with its origin, as Markdown."""
    origin = facts["origin"]
    lines = [
        f"# {facts['model']}, {facts['parameters']:,} parameters",
        "",
        "Written by tinylm.",
        "",
    ]
    for title, key in (
        ("Learned from", "data"),
        ("Goes on from", "base"),
        ("Trained by", "command"),
        ("Licence", "licence"),
    ):
        said = origin[key]
        if said is not None or key != "base":
            lines.append(f"- {title}: {UNKNOWN if said is None else said}")
    if facts["tokens"] is not None:
        case = {"kept": "capitals are kept", "lower": "text is put in lower case"}
        known = f", {case[facts['casing']]}" if facts["casing"] else ""
        lines.append(f"- Vocabulary: {facts['tokens']:,} tokens{known}")
    if facts["max_length"] is not None:
        lines.append(f"- Longest text: {facts['max_length']:,} tokens")
    lines += ["", "`encode` takes, for B texts of T tokens:", ""]
    lines += _table(facts["encode"]["takes"])
    if facts["encode"]["returns"] is not None:
        lines += ["", "and returns a list:", ""]
        lines += _table(facts["encode"]["returns"])
    given = ", ".join(f'{each["name"]}=read["{each["name"]}"]' for each in facts["encode"]["takes"])
    lines += ["", "```python", *USE, f"states = model.encode({given})", "```"]
    return "\n".join(lines) + "\n"


USE = (
    "from tinylm import hub",
    'model, tokenizer = hub.load("this folder", trainable=False)',
    'read = tokenizer(["a text"])',
)


def _table(arrays):
    """The rows of a Markdown table, one for each array."""
    rows = ["| name | type | shape |", "|---|---|---|"]
    for array in arrays:
        shape = ", ".join(map(str, array["shape"]))
        rows.append(f"| {array['name']} | {array['dtype']} | ({shape}) |")
    return rows

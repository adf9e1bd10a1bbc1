"""Where a run begins: with nothing, with a trained model, or as the student of one.

    FromScratch    sizes by name, an encoding learned from the text, random weights; the tokens'
                   vectors may begin as others', `--init-embeddings DIR`
    FromModel      sizes, encoding and weights of DIR, `--init DIR`: a run of ours or a published
                   folder
    FromTeacher    the encoding of DIR, and what the student takes from it, `tinylm distil DIR`

A run that goes on from DIR has its own text, its own training and its own batches. Characters or
words that DIR's encoding lacks are appended to it. The model's rows for them are drawn as those of
a new model are, or are the mean of the others, as the objective says; all other weights are DIR's.
"""

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import hub, settings, text
from tinylm.errors import TinylmError
from tinylm.objectives import Objective
from tinylm.objectives.inherit import inherit
from tinylm.progress import note
from tinylm.text.names import names
from tinylm.vectors import Vectors


@dataclass(frozen=True)
class FromScratch:
    """The beginning of a run that knows nothing.

    chapter : the objective's class     size : class method of its Config
    kind : of the encoding, one of text.KINDS
    vectors : what the vectors of the tokens begin as, where both know a name; None for random ones
    """

    chapter: type
    size: str
    kind: str
    vectors: Vectors | None = None

    def config(self, options: Mapping[str, Any], vocab_size: int) -> Any:
        """The config of the named size, with some fields replaced.

        raises TinylmError  for an unknown size, or a value that a field cannot have
        """
        return sized(self.chapter, self.size, {**options, "vocab_size": vocab_size})

    def encoding(
        self, texts: Sequence[str], vocab_size: int | None, options: Mapping[str, Any]
    ) -> Any:
        """An encoding learned from the texts, with the special tokens that the objective needs.

        The arguments are those of text.learn.
        """
        note(f"learning an encoding ({self.kind}) from {len(texts):,} documents")
        return learn_encoding(self.chapter, self.kind, texts, vocab_size, options)

    def initialise(self, model: Objective, tokenizer: Any) -> None:
        """Set the tokens' vectors, if there are some to begin as; all else stays random.

        raises TinylmError  if the model has no such table, or one of another width
        """
        if self.vectors is not None:
            known = take_vectors(model, tokenizer, self.vectors)
            note(f"{known:,} of {tokenizer.vocab_size:,} tokens begin with vectors of their own")

    def fingerprint(self) -> str | None:
        """SHA-256 of the given vectors; None without them: the seed says the first weights."""
        if self.vectors is None:
            return None
        digest = hashlib.sha256("\n".join(self.vectors.words).encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(self.vectors.table))
        return digest.hexdigest()


@dataclass(frozen=True)
class FromModel:
    """The beginning of a run that goes on from a trained model.

    folder : DIR     model, tokenizer : as hub.load returns them
    """

    folder: str | Path
    model: Objective
    tokenizer: Any

    @property
    def kind(self) -> str | None:
        """The kind of the encoding, one of text.KINDS; None for one that text.learn never makes."""
        return text.kind_of(self.tokenizer)

    def config(self, options: Mapping[str, Any], vocab_size: int) -> Any:
        """The folder's config with changes that no weight depends on.

        options : fields of the objective's Config
        vocab_size : of the encoding; the model's own if it has more rows
        raises TinylmError  for a field that the weights depend on
        """
        own = self.model.config
        free = type(own).changeable
        for name, value in options.items():
            if name not in free and getattr(own, name) != value:
                may = ", ".join((*free, "the options of training"))
                raise TinylmError(
                    f"{name} is {getattr(own, name)} in {self.folder} and cannot become {value}; "
                    f"with --init you may change {may}"
                )
        fields = {**dataclasses.asdict(own), **options}
        fields["vocab_size"] = max(own.vocab_size, vocab_size)
        return settings.build(type(own), fields)

    def encoding(
        self, texts: Sequence[str], vocab_size: int | None, options: Mapping[str, Any]
    ) -> Any:
        """The folder's encoding, with what the texts have and it lacks; says how much that is.

        vocab_size : the most tokens in all, or None     options : none, they are DIR's
        raises TinylmError  if there are options, or a vocab_size that the encoding cannot have
        """
        asked = sorted(options)
        if vocab_size is not None and self.kind not in text.GROWING:
            asked.append("vocab_size")
        if asked:
            raise TinylmError(
                f"the model in {self.folder} brings its own encoding; "
                f"leave out --set {asked[0]} or --init"
            )
        added = text.grow(self.tokenizer, texts, vocab_size)
        size = self.tokenizer.vocab_size
        rows = max(size - self.model.config.vocab_size, 0)
        note(
            f"going on from {self.folder}: {added:,} new tokens, {size:,} in all; "
            f"the model gets {rows:,} new rows"
        )
        return self.tokenizer

    def initialise(self, model: Objective, tokenizer: Any) -> None:
        """Set the weights of a new model to the folder's; rows of new tokens: see `inherit`."""
        inherit(model, self.model.state_dict(), self.model.config.vocab_size)

    def fingerprint(self) -> str:
        """SHA-256 of the names, shapes and numbers of the folder's weights."""
        digest = hashlib.sha256()
        for name, array in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


@dataclass(frozen=True)
class FromTeacher(FromModel):
    """The beginning of a run that learns from a trained model, in the words of that model.

    chapter : the student's class     size : as in PretrainConfig
    """

    chapter: type
    size: str | None

    def config(self, options: Mapping[str, Any], vocab_size: int) -> Any:
        """The student's config; its vocabulary is the teacher's.

        raises TinylmError  for an option that does not fit the teacher
        """
        return self.chapter.student_config(self.model, self.size, options)

    def encoding(
        self, texts: Sequence[str], vocab_size: int | None, options: Mapping[str, Any]
    ) -> Any:
        """The teacher's encoding as it is, for it knows no other words.

        raises TinylmError  if there are options or a vocab_size
        """
        asked = sorted(options)
        if vocab_size is not None:
            asked.append("vocab_size")
        if asked:
            raise TinylmError(
                f"the teacher in {self.folder} brings its own encoding; leave out --set {asked[0]}"
            )
        note(f"learning from {self.folder}")
        return self.tokenizer

    def initialise(self, model: Objective, tokenizer: Any) -> None:
        """Let the student know its teacher, and begin with what it takes from it."""
        model.learn_from(self.model)


def from_teacher(
    folder: str | Path, chapter: type, size: str | None, encoding: str | None
) -> FromTeacher:
    """The beginning that a teacher's folder gives; the arguments are those of `from_model`.

    raises TinylmError  if the objective learns from no teacher, the folder holds no tokenizer, or
        `encoding` contradicts it
    """
    if chapter.learn_from is None:
        raise TinylmError(
            f"{chapter.name} learns from text alone; choose an objective that learns from a "
            "teacher, such as distil"
        )
    model, tokenizer = hub.load(folder)
    if tokenizer is None:
        raise TinylmError(f"{folder} holds no tokenizer; put its files beside the weights")
    start = FromTeacher(folder, model, tokenizer, chapter, size)
    if encoding not in (None, start.kind):
        raise TinylmError(
            f"the teacher in {folder} brings its own encoding; leave out --encoding {encoding}"
        )
    return start


def from_model(
    folder: str | Path,
    chapter: type,
    size: str | None,
    encoding: str | None,
    loaded: tuple[Objective, Any] | None = None,
) -> FromModel:
    """The beginning that a folder gives.

    chapter : the objective's class
    size, encoding : as in PretrainConfig; None, or what the folder holds
    loaded : the folder's model and tokenizer, for a caller who has them; None reads the folder
    raises TinylmError  if the folder holds another objective or no tokenizer, or contradicts them
    """
    model, tokenizer = loaded or hub.load(folder)
    if type(model) is not chapter:
        raise TinylmError(
            f"{folder} holds a {model.name}, which cannot go on as {chapter.name}; "
            f"say {model.name} in place of {chapter.name}"
        )
    if tokenizer is None:
        raise TinylmError(f"{folder} holds no tokenizer; put its files beside the weights")
    start = FromModel(folder, model, tokenizer)
    if size is not None:
        raise TinylmError(
            f"the model in {folder} brings its own sizes; leave out --config {size} or --init"
        )
    if encoding not in (None, start.kind):
        raise TinylmError(
            f"the model in {folder} brings its own encoding; leave out --encoding {encoding} "
            "or --init"
        )
    return start


def take_vectors(model: Objective, tokenizer: Any, vectors: Vectors) -> int:
    """Let the vectors of a new model's tokens begin as given ones of the same name.

    They are scaled to the spread of the random vectors in whose place they stand, because the
    layers above were drawn for that spread. The others stay random.
    returns how many tokens were found
    raises TinylmError  if the model has no table for them, or one of another width
    """
    model.need("own vectors")
    table = model.token_table.data
    width = vectors.table.shape[1]
    if width != table.shape[1]:
        raise TinylmError(
            f"the given vectors have {width} numbers each, those of {model.name} "
            f"{table.shape[1]}; make either as wide as the other, for example with --set"
        )
    rows = {}  # of the model's table -> of the given one
    for name, i in names(tokenizer).items():
        if name in vectors.index:
            rows[i] = vectors.index[name]
    if rows:
        given = np.asarray(vectors.table[list(rows.values())], np.float32)
        spread = given.std() or 1.0
        table[list(rows)] = given * (table.std() / spread)
    return len(rows)


def sized(chapter: type, size: str, options: Mapping[str, Any]) -> Any:
    """The objective's config of a named size, with some fields replaced.

    raises TinylmError  for an unknown size, or a value that a field cannot have
    """
    sizes = {}
    for name, make in inspect.getmembers(chapter.Config, inspect.ismethod):  # its class methods
        if not name.startswith("_"):
            sizes[name] = make
    if size not in sizes:
        known = ", ".join(sorted(sizes))
        raise TinylmError(f"{chapter.name} has no config {size!r}; it knows {known}")
    return settings.build(chapter.Config, options, make=sizes[size])


def learn_encoding(
    chapter: type, kind: str, texts: Sequence[str], vocab_size: int | None, options: Mapping
) -> Any:
    """An encoding of a kind, with the special tokens that an objective needs.

    chapter : the objective's class     options : of `text.learn` for this kind
    vocab_size : the most tokens; None for what the objective asks for, or for the usual number
    """
    if vocab_size is None:
        vocab_size = chapter.vocab_sizes.get(kind)
    tokenizer = text.learn(kind, texts, vocab_size, chapter.needs_tokens, **options)
    if chapter.template is not None:
        tokenizer.arrange(chapter.template)
    return tokenizer

"""The doors of the newer tasks and chapters: files of examples, adapted folders, published models."""

import bz2
import dataclasses
from functools import cache

import numpy as np
from door import Door, reader, written, written_json, written_rows

from tinylm import files, hub, text
from tinylm.data import columns, dialogues, examples, readers, sources, squad, tagged
from tinylm.data.columns import Choice
from tinylm.hub import elmo as elmo_files
from tinylm.hub.vectors import load_vectors
from tinylm.objectives import find
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.report.curves import curve
from tinylm.training import checkpoint, runs
from tinylm.transfer import (
    AdaptConfig,
    Chat,
    ChatConfig,
    Chooser,
    Classifier,
    PairClassifier,
    Regressor,
    SentenceEncoder,
    SpanConfig,
    SpanReader,
    TowerClassifier,
    paired,
    task_of,
)
from tinylm.transfer.features import encode_texts

TEXTS = ("the sea is calm today .", "a cat and a dog sat on the mat .")

# --- files of examples

PAIRS = "It rains.\tIt is wet.\tentailment\nA cat.\tA dog.\t-\nIce.\tIt melts.\tneutral\n"
NAMED_PAIRS = "index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\t1\n1\tIce.\tSnow.\t0\n"
PAIR_ROWS = [
    {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0},
    {"premise": "Ice.", "hypothesis": "It melts.", "label": "neutral"},
]
NUMBERS = "great film\t3.5\nbad film\t-1e0\nfilm\t0\n"
NUMBER_ROWS = [
    {"sentence1": "ice", "sentence2": "snow", "score": 4.5},
    {"sentence1": "ice", "sentence2": "tax", "score": "0.5"},
]
CHOICES = "He opens it.\tHe reads.\tIt sinks.\t0\nIt rains.\tIt is wet.\tIt burns.\tB\n"
NAMED_CHOICES = (
    "startphrase\tending0\tending1\tlabel\nHe opens it.\tHe reads.\tIt sinks.\t0\n"
    "It rains.\tIt is wet.\tIt burns.\t1\n"
)
ARC = [{"text": "yes", "label": "A"}, {"text": "no", "label": "B"}]
CHOICE_ROWS = [
    {"context": "He opens it.", "answers": ["He reads.", "It sinks."], "right": 0},
    {"question": {"stem": "Is it wet?", "choices": ARC}, "answerKey": "B"},
    {"premise": "It rains.", "choice1": "wet", "choice2": "dry", "label": 1},
]
ANSWER = {"text": "calm", "answer_start": 11}
QUESTION = {"id": "a1", "question": "How is the sea?", "is_impossible": False, "answers": [ANSWER]}
HOPELESS = {"id": "a2", "question": "How is the sky?", "is_impossible": True, "answers": []}
OLD = {"id": "a3", "question": "What is calm?", "answers": [{"text": "sea", "answer_start": 1}]}
PARAGRAPH = {"context": "The sea is calm today.", "qas": [QUESTION, HOPELESS, OLD]}
MANY = []  # enough texts for two parts
for i in range(6):
    asked = [QUESTION | {"id": f"b{i}"}, HOPELESS | {"id": f"c{i}"}]
    MANY.append({"context": f"The sea is calm today, {i}.", "qas": asked})
SQUAD_IN_PARTS = {"data": [{"title": "Sea", "paragraphs": MANY}]}
SQUAD = {"version": "v2.0", "data": [{"title": "Sea", "paragraphs": [PARAGRAPH]}]}
DIALOGUE = {
    "personality": ["i like music ."],
    "utterances": [{"history": ["hello !"], "candidates": ["i am a boat .", "hi !"]}],
}
PERSONAS = {"train": [DIALOGUE, DIALOGUE], "valid": [DIALOGUE]}
FILM = 'n,statement,reply\n0,"who, me ?","yes ."\n1,where ?,here .\n2,when ?,now .\n'
MARKUP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><page>
<title>Sea</title><ns>0</ns><revision><text>The '''sea''' is [[water|wet]].{{note|{{a}}}}
&lt;ref&gt;x&lt;/ref&gt; [http://x y] {| table |} == End ==</text></revision></page>
<page><title>B</title><ns>1</ns><revision><text>no article</text></revision></page></mediawiki>
"""


def _examples(read, name):
    """Both ways to read a file of examples: to learn from, and to predict."""

    def opened(folder):
        read(folder / name, False)
        read(folder / name)

    return opened


def _task_file(task, name):
    def opened(folder):
        examples.read_examples(task, folder / name)
        examples.load_example_parts(task, folder / name, folder / name)

    return opened


def _film(folder):
    pairs = [pair for pair in readers.dialogs(folder / "film.csv") if all(pair)]
    dialogues.with_distractors(pairs, 2, seed=0)


def _personas(folder):
    for split in ("train", "test", "all"):
        dialogues.load_dialogues(folder / "personas.json", split)


def _articles(folder):
    for _, markup in readers.articles(folder / "x.bz2"):
        readers.plain_text(markup)


def _source(name):
    """A file as a source of texts, of labelled texts and of documents."""

    def opened(folder):
        sources.load_texts(folder / name)
        sources.load_parts(folder / name, folder / name)

    return opened


def _write_source(folder):
    rows = "".join(f"the {word} sea is calm\t{i % 2}\n" for i, word in enumerate("abcdefghijk"))
    (folder / "x.tsv").write_text(rows, encoding="utf-8")


def _tokens(folder):
    """What `predict` reads of a tagger: columns, with tags or without."""
    source = files.read_text(folder / "x.conll")
    tagged.sentences(tagged.rows(source, "x.conll"))
    sources.load_tagged(folder / "x.conll", "all")


def _examples_door(name, read, content):
    file = f"x.{'jsonl' if isinstance(content, list) else 'tsv'}"
    write = written_rows if isinstance(content, list) else written
    return Door(name, write(file, content), _examples(read, file), 5)


EXAMPLES = [
    _examples_door("pairs.tsv", columns.pairs, PAIRS),
    _examples_door("pairs named.tsv", columns.pairs, NAMED_PAIRS),
    _examples_door("pairs.jsonl", columns.pairs, PAIR_ROWS),
    _examples_door("numbers.tsv", columns.numbers, NUMBERS),
    _examples_door("numbers.jsonl", columns.numbers, NUMBER_ROWS),
    _examples_door("choices.tsv", columns.choices, CHOICES),
    _examples_door("choices named.tsv", columns.choices, NAMED_CHOICES),
    _examples_door("choices.jsonl", columns.choices, CHOICE_ROWS),
    Door("squad", written_json("x.json", SQUAD), _examples(squad.read, "x.json"), 12),
    Door("pairs in parts", written("x.tsv", 3 * PAIRS), _task_file("pair", "x.tsv"), 2),
    Door("squad in parts", written_json("x.json", SQUAD_IN_PARTS), _task_file("span", "x.json"), 3),
    Door("personas", written_json("personas.json", PERSONAS), _personas, 12),
    Door("set film.csv", written("film.csv", FILM), _film, 4),
    Door("source x.tsv", _write_source, _source("x.tsv"), 3),
    Door("tokens", written("x.conll", "a NN O\nsea NN B-x\n\nb X O\n" * 3), _tokens, 4),
    Door(
        "set articles",
        lambda folder: (folder / "x.bz2").write_bytes(bz2.compress(MARKUP.encode())),
        _articles,
        4,
    ),
    Door(
        "set scores",
        written("m.txt", "id\tscore\ttext\n1\t-2.5\tbad film\n2\t3.0\tgood\n"),
        reader(readers.movie_scores, "m.txt"),
        2,
    ),
]

# --- adapted folders of the newer tasks

ONE_RATE = AdaptConfig(rates=(1e-2,), updates=1, max_length=12)
LEARNED = AdaptConfig(max_length=12)


@cache
def _letters():
    return text.Chars("".join(sorted(set("".join(TEXTS) + "?!,imnory"))))


@cache
def _reader():
    """A causal model that reads letters, and which new tokens fit into."""
    size = _letters().vocab_size
    return GPT(GPTConfig(size, n_positions=12, n_embd=4, n_layer=1, n_head=1, n_inner=3))


@cache
def _pair_reader():
    """A model and a tokenizer with a template for pairs."""
    words = text.WordPiece.train(TEXTS, 60, exact=False)
    config = BertConfig(
        words.vocab_size,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=3,
        max_position_embeddings=12,
    )
    return paired(Bert(config), words)


TWO = [("the sea", "a cat"), ("a dog", "the mat"), ("the sea", "a dog"), ("a cat", "the mat")]
CHOOSING = [Choice("the sea", ("a cat", "calm"), 1), Choice("a dog", ("sat", "sea", "on"), 0)]
ASKED = [
    squad.Question("a", "the sea", "the sea is calm", (squad.Answer("calm", 11),)),
    squad.Question("b", "a cat", "the sea is calm"),
]
SAID = [
    dialogues.Utterance(("a cat .",), ("the sea", "is calm"), ("no", "on the mat")),
    dialogues.Utterance((), ("a dog",), ("sat", "today")),
]


@cache
def _fitted(task):
    """A model of a task, fitted to a few examples."""
    if task in ("chat", "towers"):
        how = "towers" if task == "towers" else "together"
        config = ChatConfig(choice=how, epochs=1, batch_size=2, candidates=2, width=3)
        return Chat(_reader(), _letters(), config).fit(SAID)
    model, tokenizer = _pair_reader()
    if task == "pair":
        return PairClassifier(model, tokenizer, "features", LEARNED).fit(TWO, [1, 0, 1, 0])
    if task == "tower":
        return TowerClassifier(model, tokenizer, "features", LEARNED).fit(TWO, [1, 0, 1, 0])
    if task == "regress":
        return Regressor(model, tokenizer, "features", LEARNED).fit(TWO, [1.5, 0.0, 2.5, -1.0])
    if task == "choice":
        return Chooser(model, tokenizer, "features", LEARNED).fit(CHOOSING)
    if task == "span":
        config = SpanConfig(rates=(1e-2,), updates=1, max_length=12, stride=2, max_question=4)
        return SpanReader(model, tokenizer, config=config).fit(ASKED)
    tuned = Classifier(_reader(), _letters(), "finetune", ONE_RATE)
    return tuned.fit(["the sea", "a cat", "sea", "cat"], ["b", "a", "b", "a"])


ASKS = {
    "pair": lambda model: model.predict_proba(TWO),
    "tower": lambda model: model.predict_proba(TWO),
    "regress": lambda model: model.predict(TWO),
    "choice": lambda model: model.predict(CHOOSING),
    "span": lambda model: model.answers(ASKED),
    "chat": lambda model: model.choose(SAID[0]),
    "towers": lambda model: model.choose(SAID[0]),
    "tuned": lambda model: model.predict(["the sea", ""]),
}


def _adapted(task):
    def write(folder):
        _fitted(task).save(folder, overwrite=True)

    def opened(folder):
        task_of(folder)
        ASKS[task](type(_fitted(task)).load(folder))

    return Door(f"folder {task}", write, opened, 3)


def _talk(folder):
    """The replies of a folder, drawn as `tinylm chat` draws them."""
    Chat.load(folder).reply(["a cat"], ["the sea"], np.random.default_rng(0))


ADAPTED = [_adapted(task) for task in ASKS]
ADAPTED.append(Door("chat", lambda folder: _fitted("chat").save(folder, overwrite=True), _talk, 1))

# --- models of the newer chapters

SIZES = {
    "glove": {"size": 3},
    "elmo": {"embedding_dim": 3, "filters": ((1, 2),), "projection_dim": 3, "dim": 4},
    "ulmfit": {"emb_sz": 3, "n_hid": 4, "n_layers": 2},
    "gpt1": {"n_positions": 5, "n_embd": 4, "n_layer": 1, "n_head": 1},
}


@cache
def _chapter(name):
    """A tiny model of a chapter, and its encoding."""
    cls = find(name)
    if name == "glove":
        encoding = text.Words.train(TEXTS, 30)
    elif name == "elmo":
        encoding = text.ElmoWords.train(TEXTS, 30)
    elif name == "ulmfit":
        encoding = text.Words.train(TEXTS, 30, rules=True)
    else:
        encoding = _letters()
    fields = {field.name for field in dataclasses.fields(cls.Config)}
    sizes = {key: value for key, value in SIZES[name].items() if key in fields}
    model = cls(cls.Config(encoding.vocab_size, **sizes))
    model.spell(encoding.vocab, encoding.special_ids)
    return model, encoding


def _chapter_door(name):
    def write(folder):
        hub.save(folder, *_chapter(name), overwrite=True)

    return Door(f"folder {name}", write, _encode, 3)


def _encode(folder):
    """Load a model, and read a text with it; an encoding of another family may know token types."""
    model, encoding = hub.load(folder)
    if encoding is not None:
        model.encode(**encode_texts(model, encoding, ["the sea"], max_length=5))


@cache
def _distil():
    """A BERT without token types and pooler, which is saved as DistilBERT."""
    config = BertConfig(
        11,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=3,
        max_position_embeddings=5,
        type_vocab_size=0,
        heads=("masked",),
    )
    return Bert(config)


ELMO_SIZES = {
    "lstm": {"dim": 4, "projection_dim": 3, "n_layers": 2, "use_skip_connections": True},
    "char_cnn": {
        "filters": [[1, 2], [2, 3]],
        "n_highway": 1,
        "embedding": {"dim": 3},
        "activation": "relu",
        "max_characters_per_token": 50,
    },
}


def _elmo_files(layout, save, name):
    """A published ELMo: its options, and weights of the right shapes."""

    def write(folder):
        files.write_json(folder / "options.json", ELMO_SIZES)
        config = elmo_files.from_options(ELMO_SIZES, text.ElmoWords([]).vocab_size)
        rng = np.random.default_rng(7)
        arrays = {}
        for place in layout(config):
            for theirs in place.theirs:
                arrays[theirs] = rng.normal(size=place.shape).astype(np.float32)
        save(folder / name, arrays)

    return write


def _save_npz(path, arrays):
    np.savez(path, **arrays)


def _sentences(folder):
    SentenceEncoder.load(folder)(TEXTS)


def _write_sentences(folder):
    model, encoding = _pair_reader()
    hub.save(folder, model, encoding, overwrite=True)
    parts = []
    for name, place in (("Transformer", ""), ("Pooling", "1_Pooling")):
        parts.append({"path": place, "type": f"sentence_transformers.models.{name}"})
    files.write_json(folder / "modules.json", parts)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    files.write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    files.write_json(folder / "generation_config.json", {"eos_token_id": [2, 1]})


def _write_words(folder):
    hub.save(folder, *_chapter("glove"), overwrite=True)


def _write_origin(folder):
    origin = hub.Origin(data="the sea", command="tinylm pretrain glove", licence="CC0")
    hub.save(folder, *_chapter("glove"), overwrite=True, origin=origin)
    for path in folder.iterdir():
        if path.name != "signature.json":
            path.unlink()


def _read_origin(folder):
    str(hub.origin_of(folder))


def _word_vectors(folder):
    vectors = load_vectors(folder)
    vectors.most_similar(vectors.words[-1], n=2)


MODELS = [_chapter_door(name) for name in SIZES]
MODELS += [
    Door("folder distilbert", lambda f: hub.save(f, _distil(), overwrite=True), _encode, 2),
    Door(
        "elmo files.npz", _elmo_files(elmo_files.original, _save_npz, "w_weights.npz"), _encode, 3
    ),
    Door(
        "elmo allennlp",
        _elmo_files(elmo_files.allennlp, checkpoint.save_tensors, "w_weights.safetensors"),
        _encode,
        3,
    ),
    Door("sentences", _write_sentences, _sentences, 3),
    Door("vectors of a model", _write_words, _word_vectors, 2),
    Door("origin", _write_origin, _read_origin, 2),
]

# --- logs, notes of a comparison


def _log(folder):
    log = checkpoint.RunLog(folder / checkpoint.LOG)
    log.write("started", step=0)
    for step in (1, 2, 3):
        parts = {"masked": 2.25, "next": 1.25}
        log.write("step", step=step, loss=3.5, components=parts, tokens=10, seconds=0.5)
    log.write("evaluation", step=3, loss=3.25)


def _read_log(folder):
    curve(folder)
    curve(folder, ("masked",))
    runs._has_begun(folder / checkpoint.LOG)
    checkpoint.RunLog(folder / checkpoint.LOG, keep=2)


NOTES = [Door("log.jsonl", _log, _read_log, 10)]

DOORS = [*EXAMPLES, *ADAPTED, *MODELS, *NOTES]

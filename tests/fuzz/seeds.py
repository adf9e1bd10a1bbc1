"""The doors of tinylm: for each kind of file, a small valid one, and how it is read and then used.

A door is (name, write, read, weight). `write(folder)` makes the files, `read(folder)` opens them as a
user does and asks an ordinary question. What it raises must be one of tinylm's own errors. A reader
of a new kind of file gets a line in `DOORS`.
"""

import base64
import dataclasses
import gzip
import hashlib
import io
import zipfile
from functools import cache
from types import SimpleNamespace

import command_seeds
import newer_seeds
import numpy as np
from door import Door
from door import reader as _reader
from door import written as _written
from door import written_json as _written_json
from door import written_rows as _written_rows

from tinylm import files, hub, optim, text
from tinylm.data import fetch, labelled, readers, tagged
from tinylm.data.sets import Member, NamedSet
from tinylm.hub.sentences import read_pooling
from tinylm.objectives.bert import Bert, BertConfig
from tinylm.objectives.electra import Electra
from tinylm.objectives.fasttext import FastText
from tinylm.objectives.gpt import GPT, GPTConfig
from tinylm.objectives.word2vec import Word2Vec
from tinylm.objectives.xlnet import XLNet
from tinylm.report.maps import agreement
from tinylm.text.normalise import charsmap
from tinylm.text.normalise.normalizing import Normalizer
from tinylm.text.spelling import EndOfWord, Metaspace
from tinylm.training import budget, checkpoint, runs
from tinylm.transfer import AdaptConfig, Classifier, TagConfig, Tagger, compare, mapped, verdict
from tinylm.transfer.results import Results
from tinylm.transfer.task import Task
from tinylm.vectors import Vectors, write_vectors

TEXT = "The cat sat  on the mat, 3 times: café! "
TEXTS = (TEXT * 3, "a dog and a cat and the sea")
WORDS = ("the", "cat", "sea", "café", "a", "on", "mat")


# --- vectors


def _table():
    return np.random.default_rng(3).normal(size=(len(WORDS), 3)).astype(np.float32)


def _vectors(name, form):
    def write(folder):
        write_vectors(folder / name, WORDS, _table(), form=form)

    return write


def _zipped_vectors(folder):
    write_vectors(folder / "plain", WORDS, _table(), form="text")
    (folder / "v.vec.gz").write_bytes(gzip.compress((folder / "plain").read_bytes()))
    (folder / "plain").unlink()


def _read_vectors(name):
    def read(folder):
        vectors = Vectors.load(folder / name)
        vectors.most_similar(vectors.words[0], n=2)

    return read


# --- encodings


def _encoding(folder):
    encoding = text.load(folder)
    ids = encoding.encode(TEXT)
    encoding.offsets(TEXT)
    encoding.decode(ids)
    encoding([TEXT, "a"])


def _unigram():
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("!!", 0.0, 4)]
    letters = "▁thecasonm,3i:!"
    pieces += [(c, -3.0 - i / 8, 1) for i, c in enumerate(letters)]
    pieces += [("▁the", -2.0, 1), ("▁cat", -2.5, 1), ("at", -2.7, 1)]
    rules = {"é": "e", "É": "E", "ﬁ": "fi", "e\u0301": "e"}
    return text.Unigram(pieces, Normalizer(charsmap.write(rules), kept=["!!"]))


def _sentencepiece(folder):
    _unigram().save(folder)


def _pairs_of(spelling):
    return text.BPE.train(TEXTS, 300 if spelling is None else 60, exact=False, **_spelled(spelling))


def _spelled(spelling):
    return {} if spelling is None else {"spelling": spelling}


def _sentencepiece_pairs(folder):
    encoding = _pairs_of(Metaspace(Normalizer(), symbols=["!!"]))
    encoding.save(folder)


def _gpt2(folder):
    _pairs_of(None).save(folder)


def _as_json(make):
    def write(folder):
        text.tokenizer_json.save(make(), folder)

    return write


def _steps_json(folder):
    """XLNet's kind: normalisation in steps."""
    described = text.tokenizer_json.describe(_unigram())
    rules = base64.b64encode(charsmap.write({"é": "e"})).decode()
    described["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
            {"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "NFKD"},
            {"type": "StripAccents"},
            {"type": "Lowercase"},
            {"type": "Precompiled", "precompiled_charsmap": rules},
        ],
    }
    described["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        ],
    }
    described["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
    files.write_json(folder / "tokenizer.json", described)


def _wordpiece():
    return text.WordPiece.train(TEXTS, 60, exact=False)


def _with_settings(make):
    """The files of an encoding, with added tokens, a template and settings of transformers' kind."""

    def write(folder):
        encoding = make()
        encoding.add_specials(["<x>", "<y>"])
        encoding.arrange(text.Template("A <x>", "A <x> B:1 <y>:1", typed=True))
        encoding.save(folder)
        settings = {
            "eos_token": {"content": "<x>"},
            "do_lower_case": True,
            "add_prefix_space": False,
        }
        settings["added_tokens_decoder"] = {str(encoding.token_id("<y>")): {"content": "<y>"}}
        files.write_json(folder / "tokenizer_config.json", settings)
        files.write_json(folder / "special_tokens_map.json", {"eos_token": "<x>"})

    return write


def _phrases():
    return text.Words.train(["new york is new york"] * 9 + list(TEXTS), 50, phrases=1)


# --- model folders

BERT = BertConfig(
    60,
    hidden_size=4,
    num_hidden_layers=1,
    num_attention_heads=1,
    intermediate_size=3,
    max_position_embeddings=5,
)
SMALL_GPT = GPTConfig(vocab_size=60, n_positions=5, n_embd=4, n_layer=1, n_head=1, n_inner=3)


@cache
def _tiny(name):
    """A model of a few hundred numbers."""
    chapters = {"gpt": GPT, "bert": Bert, "xlnet": XLNet, "electra": Electra}
    chapters |= {"fasttext": FastText, "word2vec": Word2Vec}
    chapter = chapters[name]
    if name == "gpt":
        return GPT(SMALL_GPT)
    if name == "bert":
        return Bert(BERT)
    known = {field.name for field in dataclasses.fields(chapter.Config)}
    wanted = {"vocab_size": 11, "size": 3, "bucket": 13, "d_model": 4, "n_head": 1}
    wanted |= {"n_layer": 1, "d_inner": 3, "hidden_size": 4, "num_hidden_layers": 1}
    wanted |= {"num_attention_heads": 1, "intermediate_size": 3, "max_position_embeddings": 5}
    wanted |= {"embedding_size": 4}
    return chapter(chapter.Config(**{key: wanted[key] for key in wanted if key in known}))


def _model(name, make=None):
    def write(folder):
        encoding = None if make is None else make()
        hub.save(folder, _tiny(name), encoding, overwrite=True)

    return write


def _load_model(folder):
    hub.load(folder)


def _sharded(folder):
    _model("gpt")(folder)
    arrays, _ = checkpoint.load_tensors(folder / hub.WEIGHTS)
    (folder / hub.WEIGHTS).unlink()
    places = {}
    for i, name in enumerate(arrays):
        places[name] = f"model-{i % 2 + 1:05}-of-00002.safetensors"
    for place in set(places.values()):
        inside = {name: arrays[name] for name in arrays if places[name] == place}
        checkpoint.save_tensors(folder / place, inside)
    total = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    files.write_json(folder / "model.safetensors.index.json", index)


def _sentence_encoder(folder):
    parts = []
    for name, place in (
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        ("Normalize", "2_Normalize"),
    ):
        parts.append({"path": place, "type": f"sentence_transformers.models.{name}"})
    files.write_json(folder / "modules.json", parts)
    files.write_json(folder / "sentence_bert_config.json", {"max_seq_length": 7})
    files.write_json(folder / "config_sentence_transformers.json", {"prompts": {}})
    files.write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})


def _awd_lstm(folder):
    rng = np.random.default_rng(5)
    shapes = {"0.encoder.weight": (6, 3), "1.decoder.bias": (6,)}
    shapes |= {"0.rnns.0.weight_ih_l0": (12, 3), "0.rnns.0.weight_hh_l0_raw": (12, 3)}
    shapes |= {"0.rnns.0.bias_ih_l0": (12,), "0.rnns.0.bias_hh_l0": (12,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(folder / "weights.npz", **arrays)
    files.write_json(folder / "itos.json", ["xxunk", "xxpad", "xxbos", "the", "sea", "cat"])


def _classifier(method):
    def write(folder):
        _fitted(method).save(folder, overwrite=True)

    return write


@cache
def _fitted(method):
    model = Classifier(_tiny("gpt"), _letters(), method, AdaptConfig(max_length=5))
    if method == "features":
        return model.fit(["the sea", "a cat", "sea", "cat"], ["b", "a", "b", "a"])
    return model


@cache
def _fitted_tagger():
    config = TagConfig(updates=1, max_length=5)
    tagger = Tagger(_tiny("gpt"), _letters(), "crf", "features", config)
    return tagger.fit([["the", "sea"], ["a", "cat"]], [["O", "B-x"], ["O", "O"]])


def _letters():
    return text.Chars("".join(sorted(set(TEXT))))


def _load_classifier(folder):
    Classifier.load(folder).predict(["the sea", ""])


def _load_tagger(folder):
    Tagger.load(folder).predict([["the", "sea"]])


# --- runs


def _optimizer(model):
    return optim.AdamW(model, lr=0.1)


def _run(folder):
    model = _tiny("gpt")
    facts = {"identity": {"option": {}, "model": {}}, "steps": 9, "step": 2, "seconds": 1.5}
    facts |= {"tokens": 20, "read": 20, "recent": [3.5, 3.25], "epoch": [3.5, 1], "first": 3.5}
    facts["budget"] = {"plan": [[0, 9]], "times": [0.5, 0.25], "passed": 3}
    arrays = runs.arrays_of(model, _optimizer(model))
    checkpoint.save_state(folder, checkpoint.TrainerState(arrays, facts))
    result = {"loss": 3.25, "plan": [[0, 9]], "steps": 9, "seconds": 1.5, "tokens": 20}
    files.write_json(folder / checkpoint.SUMMARY, facts | {"step": 9, "result": result})
    log = checkpoint.RunLog(folder / checkpoint.LOG)
    log.write("started", step=0)
    for step in (1, 2):
        log.write("step", step=step, loss=3.5, tokens=10, seconds=0.5)
    log.write("evaluation", step=2, loss=3.25)


def _resume(folder):
    state = checkpoint.load_state(folder)
    model = GPT(SMALL_GPT)
    runs.put_back(model, _optimizer(model), state.arrays)
    planned = budget.Budget(None, 1.0)
    planned.restore(state.facts["budget"])
    checkpoint.RunLog(folder / checkpoint.LOG, keep=state.facts["step"])
    budget.recorded(folder)


COMPARED = Task("two", ["a", "b"], np.array(["x", "y"]), ["c"], np.array(["x"]), 1)
COMPARISON = compare.CompareConfig(objectives=("gpt",), labels=(2,), seeds=1, quiet=True)


def _results(folder):
    """The files of a comparison, but for its runs."""
    found = Results(dataclasses.replace(COMPARISON, out=folder), COMPARED)
    found.finish("pretraining", "gpt", 90.0)
    found.add_cost("gpt", GPT(SMALL_GPT), texts=10, seconds=2.0, layers=3)
    for method in ("majority", "TF-IDF", "gpt fine-tuned"):
        found.add(method, (2, 0), np.array(["x"]), seconds=0.25)
    mapped.keep(folder, "bert", (2, 0), _table())
    mapped.keep(folder, "gpt", (2, 0), _table())


def _read_results(folder):
    config = dataclasses.replace(COMPARISON, out=folder)
    found = Results(config, COMPARED)
    pretrained = {"gpt": {"steps": 1, "seconds": 2.0}}
    said = found.predicted()
    comparison = compare.Comparison(config, COMPARED, found.wanted(), pretrained, found.costs, said)
    for table in verdict.TABLES:
        table(comparison)
    found.how_far()
    rows = mapped.kept(folder, "gpt", (2, 0))
    if rows is not None:
        agreement(rows, list(range(len(rows))))


# --- data


LABELLED = [{"text": "the sea", "label": "b"}, {"text": "a cat", "label": 7}]
SET = (b"word\t1\n" * 30, b"other")


def _row():
    members = []
    for name, content in zip(("a.txt", "b.txt"), SET, strict=True):
        members.append(Member(name, len(content), hashlib.sha256(content).hexdigest()))
    return NamedSet("words", "words", "1.0", "words-1.0.whl", 99, "MIT", "", "w", tuple(members))


def _wheel(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zip(("a.txt", "b.txt"), SET, strict=True):
            archive.writestr(f"w/{name}", content)
    (folder / "words.whl").write_bytes(packed.getvalue())


def _unpack(folder):
    fetch._from_wheel(_row(), (folder / "words.whl").read_bytes())


PAGE = """<html><a href="../x/other-1.0.whl#sha256=0">other</a>
<a data-x='1' href='words-1.0.whl'>words</a></html>"""
INDEX = {"files": [{"filename": "x.whl", "url": "x"}, {"filename": "words-1.0.whl", "url": "w"}]}


def _find_link(name, kind):
    def read(folder):
        page = (folder / name).read_bytes().decode("utf-8", "replace")
        fetch.find_link(page, kind, "words-1.0.whl")

    return read


CHAPTERS = 'x = f("b", "[In] the beginning. And then.", {1001001: 0, 1001002: 5, 1002001: 19})\n'


def _named_file(reader, name, content):
    return Door(f"set {name}", _written(name, content), _reader(reader, name), 2)


WORDS_FILE = SimpleNamespace(
    tokens="-DOCSTART- -X- O\n\nU.N. NNP I-ORG\nofficial NN O\n\nRome NNP B-LOC\n"
)

DOORS = [
    Door("vectors.vec", _vectors("v.vec", "text"), _read_vectors("v.vec")),
    Door("vectors.txt", _vectors("v.txt", "glove"), _read_vectors("v.txt")),
    Door("vectors.vec.gz", _zipped_vectors, _read_vectors("v.vec.gz"), 5),
    Door("vectors.bin", _vectors("v.bin", "word2vec"), _read_vectors("v.bin")),
    Door("vectors gensim.bin", _vectors("v.bin", "gensim"), _read_vectors("v.bin")),
    Door("vectors folder", _vectors("v", "folder"), _read_vectors("v")),
    Door("unigram .model", _sentencepiece, _encoding),
    Door("pairs .model", _sentencepiece_pairs, _encoding),
    Door("tokenizer.json unigram", _as_json(_unigram), _encoding, 6),
    Door("tokenizer.json steps", _steps_json, _encoding),
    Door("tokenizer.json gpt2", _as_json(lambda: _pairs_of(None)), _encoding, 3),
    Door("tokenizer.json gpt1", _as_json(lambda: _pairs_of(EndOfWord())), _encoding, 6),
    Door("tokenizer.json bert", _as_json(_wordpiece), _encoding, 6),
    Door("vocab.json merges.txt", _gpt2, _encoding, 3),
    Door("vocab.txt", _with_settings(_wordpiece), _encoding),
    Door("words.json", _with_settings(_phrases), _encoding),
    Door("elmo.json", _with_settings(lambda: text.ElmoWords.train(TEXTS, 30)), _encoding),
    Door("chars.json", _with_settings(lambda: text.Chars("abc")), _encoding),
    Door("bytes.json", _with_settings(text.Bytes), _encoding, 3),
    Door("folder gpt2", _model("gpt", _letters), _load_model, 3),
    Door("folder shards", _sharded, _load_model, 3),
    Door("folder bert", _model("bert", _wordpiece), _load_model, 3),
    Door("folder xlnet", _model("xlnet"), _load_model, 2),
    Door("folder electra", _model("electra"), _load_model, 2),
    Door("folder word2vec", _model("word2vec"), _load_model, 3),
    Door("folder fasttext", _model("fasttext"), _load_model, 3),
    Door("folder awd-lstm", _awd_lstm, _load_model, 3),
    Door("sentence encoder", _sentence_encoder, read_pooling, 6),
    Door("classifier", _classifier("features"), _load_classifier, 3),
    Door("tagger", lambda folder: _fitted_tagger().save(folder, overwrite=True), _load_tagger, 3),
    Door("run", _run, _resume, 6),
    Door("comparison", _results, _read_results, 2),
    Door("conll", _written("x.conll", WORDS_FILE.tokens), _reader(tagged.read, "x.conll"), 6),
    Door(
        "labelled.tsv",
        _written("x.tsv", "the sea\tb\na cat\ta\n"),
        _reader(labelled.read, "x.tsv"),
        6,
    ),
    Door(
        "labelled.jsonl", _written_rows("x.jsonl", LABELLED), _reader(labelled.read, "x.jsonl"), 6
    ),
    Door("wheel", _wheel, _unpack, 6),
    Door("index page", _written("i.html", PAGE), _find_link("i.html", "text/html"), 4),
    Door(
        "index json",
        _written_json("i.json", INDEX),
        _find_link("i.json", "json"),
        4,
    ),
    _named_file(readers.newsgroups, "n.tab", "a\nb\nc\nx\tthe sea\n"),
    _named_file(readers.questions, "q.txt", "LOC:x where is it\nNUM:y how many\n"),
    _named_file(readers.movies, "m.txt", "id\tscore\ttext\n1\t-2.5\tbad film\n2\t3.0\tgood\n"),
    _named_file(readers.word_pairs, "p.tsv", "# words\nsea\tlake\t7.5\ncat\tdog\t5\n"),
    _named_file(readers.analogies, "a.txt", ": capitals\nRome Italy Paris France\n"),
    _named_file(readers.spam, "s.csv", 'n,spam,text\n0,1,"win, now"\n1,0,hello\n'),
    _named_file(readers.kjv, "k.py", CHAPTERS),
    *newer_seeds.DOORS,
    *command_seeds.DOORS,
]

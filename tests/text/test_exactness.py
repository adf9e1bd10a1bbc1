"""Every post, verse and dialog, and 20,000 strings over all of Unicode: ids and offsets are those of the programs that
people use, and what is decoded is what the encoding's own normaliser made of the text.
"""

import gc
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from strings import EXAMPLES, MANY, VERY_LONG

from tinylm.data import get, load_labelled, load_texts
from tinylm.text import BPE, Encoding, Unigram, WordPiece
from tinylm.text.formats.protobuf import BYTE

pytestmark = [pytest.mark.peer, pytest.mark.named_set]
CORPORA = ("newsgroups", "kjv", "dialogs")


@cache
def corpus(name):
    """All texts of a set, those for testing too."""
    parts = ("train", "test") if name == "newsgroups" else ()
    return [t for part in parts for t in load_labelled(name, part).texts] or load_texts(name)


@dataclass(frozen=True)
class Twins:
    """Two programs with the same vocabulary; theirs : texts -> (ids, offsets) of each; normal : the text that ours keeps."""

    ours: Encoding
    theirs: Callable
    normal: Callable = str  # which leaves a text as it is

    def check(self, texts):
        """Both give the same ids and offsets, and ours the normal text back."""
        for begin in range(0, len(texts), 2000):
            part = texts[begin : begin + 2000]
            for t, row, (ids, spans) in zip(
                part, self.ours.encode_batch(part), self.theirs(part), strict=True
            ):
                shown = ascii(t[:500])
                assert row.tolist() == ids, shown
                assert self.ours.offsets(t) == spans, shown
                assert self.ours.decode(ids) == self.normal(t), shown


def of_tokenizers(theirs):
    """texts -> (ids, offsets) of a program of tokenizers."""
    return lambda texts: [
        (found.ids, found.offsets) for found in theirs.encode_batch(texts, add_special_tokens=False)
    ]


def of_transformers(theirs):
    """The same of transformers; the names of special tokens are ordinary text."""

    def run(texts):
        found = theirs(texts, add_special_tokens=False, split_special_tokens=True,
                       return_offsets_mapping=True, verbose=False)  # fmt: skip
        return zip(found["input_ids"], found["offset_mapping"], strict=True)

    return run


def of_sentencepiece(theirs):
    """The same of sentencepiece."""
    return lambda texts: [
        (found["ids"], found["offsets"])
        for found in theirs.encode(texts, return_type="offset_mapping")
    ]


def words_of(wordpiece):
    """text -> its clean words with a space between them, [UNK] for those that the vocabulary cannot spell."""

    @cache
    def known(word):
        return "[UNK]" if wordpiece.unk_id in wordpiece.encode(word) else word

    return lambda text: " ".join(map(known, wordpiece.cleaning.words(text)))


@pytest.fixture(scope="module", autouse=True)
def no_garbage_collection():
    """Millions of offsets are alive at a time, which the collector would visit again and again: half of the time."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def gpt2():
    from tokenizers.implementations import ByteLevelBPETokenizer

    paths = get("gpt2-bpe", quiet=True)
    theirs = ByteLevelBPETokenizer(str(paths["encoder.json"]), str(paths["vocab.bpe"]))
    return Twins(BPE.load(paths["encoder.json"].parent), of_tokenizers(theirs))


@pytest.fixture(scope="module")
def minilm():
    from transformers import BertTokenizer

    folder = get("minilm", quiet=True)["vocab.txt"].parent
    ours = WordPiece.load(folder)
    return Twins(ours, of_transformers(BertTokenizer.from_pretrained(folder)), words_of(ours))


@cache
def trained_bpe(name):
    """Our merges of a corpus, and tokenizers' own of the same text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=8191, initial_alphabet=theirs.pre_tokenizer.alphabet(), show_progress=False,
                                  min_frequency=2)  # fmt: skip
    theirs.train_from_iterator(corpus(name), trainer)
    ours = BPE.train(corpus(name), 8192)
    assert ours.merges == [tuple(m) for m in json.loads(theirs.to_str())["model"]["merges"]]
    return Twins(ours, of_tokenizers(theirs))


@pytest.fixture(scope="module")
def cased(tmp_path_factory):
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("cased")
    ours = WordPiece.train(corpus("kjv"), 4000, lower=False)
    ours.save(folder)
    return Twins(ours, of_transformers(BertTokenizer.from_pretrained(folder)), words_of(ours))


@pytest.fixture(scope="module")
def unigram(tmp_path_factory):
    """name -> twins; dialogs' vocabulary spells unknown characters by their bytes."""
    import sentencepiece

    @cache
    def trained(name):
        folder = tmp_path_factory.mktemp(name)
        ours = Unigram.train(corpus(name), 4000, byte_fallback=name == "dialogs")
        ours.save(folder)
        theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        return Twins(ours, of_sentencepiece(theirs), pieces_of(ours))

    return trained


def pieces_of(unigram):
    """text -> as it is normalised, without spaces in front; unknown characters side by side are " ⁇ "."""
    kinds = {kind for _, _, kind in unigram.pieces}
    single = re.escape("".join(piece for piece in unigram.vocab if len(piece) == 1))
    unknown = re.compile(f"[^{single}]+" if BYTE not in kinds else "(?!)")
    return lambda text: unknown.sub(" ⁇ ", unigram.normalizer(text).lstrip("▁")).replace("▁", " ")


@pytest.fixture(scope="module")
def strings():
    """20,000 strings that Hypothesis draws, and some very long words."""
    found = []

    @settings(max_examples=EXAMPLES)
    @given(MANY)
    def draw(texts):
        found.extend(texts)

    draw()
    assert len(found) >= 20_000
    return found + VERY_LONG


@pytest.mark.parametrize("name", CORPORA)
def test_the_released_gpt2_vocabulary_on_whole_corpora(gpt2, name):
    gpt2.check(corpus(name))


def test_the_released_gpt2_vocabulary_on_any_string(gpt2, strings):
    gpt2.check(strings)


@pytest.mark.parametrize("name", CORPORA)
def test_a_published_bert_vocabulary_on_whole_corpora(minilm, name):
    minilm.check(corpus(name))


def test_a_published_bert_vocabulary_on_any_string(minilm, strings):
    minilm.check(strings)


def test_a_cased_vocabulary_of_ours(cased, strings):
    cased.check(strings)
    cased.check(corpus("kjv"))


@pytest.mark.parametrize("name", CORPORA)
def test_our_merges_are_those_of_tokenizers_and_cut_alike(name):
    trained_bpe(name).check(corpus(name))


def test_our_merges_on_any_string(strings):
    trained_bpe("dialogs").check(strings)


@pytest.mark.parametrize("name", CORPORA)
def test_our_unigram_pieces_cut_as_sentencepiece_does_with_them(unigram, name):
    unigram(name).check(corpus(name))


@pytest.mark.parametrize(
    "name", ["kjv", "dialogs"]
)  # unknown characters are <unk>, and are written by their bytes
def test_our_unigram_pieces_on_any_string(unigram, strings, name):
    unigram(name).check(strings)

"""A config.json beside small weights: no number in it makes loading take much memory, or long."""

import itertools
import tracemalloc

import newer_seeds
import pytest
import seeds
from quick import some

from tinylm import files, hub, text
from tinylm.errors import CheckpointError, TinylmError
from tinylm.objectives.fasttext import FastText, FastTextConfig

OLDER = ("gpt", "bert", "xlnet", "electra", "fasttext", "word2vec")
MODELS = {name: (lambda name=name: newer_seeds._chapter(name)) for name in newer_seeds.SIZES}
MODELS |= {name: (lambda name=name: (seeds._tiny(name), None)) for name in OLDER}
MODELS["distilbert"] = lambda: (newer_seeds._distil(), None)
LARGE = (10**4, 2**24, 2**31 - 1)


def peak_of(action):
    """The bytes that an action held at most, and whether it was refused in one sentence."""
    tracemalloc.start()
    try:
        action()
        refused = False
    except TinylmError as error:
        refused = True
        assert "\n" not in str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak, refused


@pytest.mark.parametrize("name", MODELS)
def test_no_number_of_a_config_asks_for_more_than_its_file_justifies(tmp_path, name):
    model, encoding = MODELS[name]()
    folder = tmp_path / "model"
    hub.save(folder, model, encoding)
    hub.load(folder)
    own = files.read_json(folder / hub.CONFIG)
    size = sum(path.stat().st_size for path in folder.iterdir())
    sizes = [key for key, value in own.items() if type(value) is int]
    assert len(sizes) >= 3
    refusals = 0
    for key in sizes:
        high = getattr(model.config.ranges.get(key), "high", LARGE[0])
        for value in {*LARGE, int(min(high, 2**40))}:
            files.write_json(folder / hub.CONFIG, own | {key: value})
            peak, refused = peak_of(lambda: hub.load(folder))
            refusals += refused
            assert peak < 20 * size + 2**24, (key, value)
    assert refusals > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_default_of_the_published_model_asks_for_no_more_either(tmp_path, name):
    """A missing number stands for the published one; ELMo's vocabulary has 793,471 words."""
    model, encoding = MODELS[name]()
    folder = tmp_path / "model"
    hub.save(folder, model, encoding)
    own = files.read_json(folder / hub.CONFIG)
    size = sum(path.stat().st_size for path in folder.iterdir())
    sizes = [key for key, value in own.items() if value is None or type(value) is int]
    for missing, small in some(itertools.permutations(sizes, 2), 40):
        left = {key: value for key, value in own.items() if key != missing}
        files.write_json(folder / hub.CONFIG, left | {small: 1})
        peak, _ = peak_of(lambda: hub.load(folder))
        assert peak < 20 * size + 2**24, (missing, small)


def spelled(folder, words, **sizes):
    """A folder of a fastText model that knows some words; the sizes are those of its config.json."""
    encoding = text.Words(words)
    model = FastText(FastTextConfig(encoding.vocab_size, size=3, bucket=7))
    model.spell(encoding.vocab, encoding.special_ids)
    hub.save(folder, model, encoding)
    files.write_json(folder / hub.CONFIG, files.read_json(folder / hub.CONFIG) | sizes)
    return folder


def test_pieces_that_a_config_asks_for_are_refused_beyond_what_the_files_justify(tmp_path):
    """One word of 300,000 letters has 9,600,000 pieces of 1 to 32 letters: 77 MB, and once 6 GB."""
    folder = spelled(tmp_path / "long", ["a" * 300_000], minn=1, maxn=32)
    size = sum(path.stat().st_size for path in folder.iterdir())
    peak, refused = peak_of(lambda: hub.load(folder))
    assert refused and peak < 20 * size + 2**24
    with pytest.raises(CheckpointError, match="all pieces of the words asks for more"):
        hub.load(folder)


def test_pieces_of_ordinary_words_are_always_granted(tmp_path):
    words = [f"{'word' * (n % 4)}{n}" for n in range(3000)]
    folder = spelled(tmp_path / "words", words, minn=3, maxn=6)
    assert len(hub.load(folder)[0].words) == 3003

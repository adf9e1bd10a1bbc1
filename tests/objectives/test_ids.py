"""What a chapter reads: rows of ids of one length, and a mask of their shape. Else one sentence says what is wrong."""

import numpy as np
import pytest
from chapters import made

from tinylm.errors import ShapeError
from tinylm.objectives.registry import CHAPTERS
from tinylm.training.generate import generate
from tinylm.training.pointer import next_token_nats
from tinylm.training.zero_shot import token_log_probabilities

IN_CONTEXT = [name for name in CHAPTERS if name not in ("word2vec", "fasttext", "glove")]
RAGGED = [[3, 1, 4], [1, 5]]
IDS = np.array([[3, 1, 4], [1, 5, 9]])


@pytest.mark.parametrize("name", CHAPTERS)
def test_rows_of_different_lengths_are_named(name):
    with pytest.raises(ShapeError, match="different lengths.*pad"):
        made(name).encode(RAGGED)


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_one_text_without_a_row_is_refused(name):
    with pytest.raises(ShapeError, match=r"shape \(3,\); expected \(B, T\)"):
        made(name).encode(IDS[0])


@pytest.mark.parametrize("mask", [np.ones((2, 2)), np.ones((1, 3)), np.ones(3), np.ones((2, 3, 1))])
@pytest.mark.parametrize("name", IN_CONTEXT)
def test_a_mask_of_another_shape_is_refused(name, mask):
    with pytest.raises(ShapeError, match=r"mask has shape .* the ids, \(2, 3\)"):
        made(name).encode(IDS, mask)


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_lists_and_ones_and_zeros_do(name):
    model = made(name)
    mask = [[1, 1, 1], [1, 1, 0]]
    found = model.encode(IDS.tolist(), mask)
    expected = model.encode(IDS, np.array(mask, bool))
    for ours, wanted in zip(found, expected, strict=True):
        assert np.array_equal(ours.data, wanted.data)


@pytest.mark.parametrize("name", ["gpt", "gpt1", "ulmfit"])
def test_a_step_and_what_reads_one_text_say_it_too(name):
    model = made(name)
    calls = {
        "step": lambda: model.step(RAGGED, model.start_cache(2, 5)),
        "generate": lambda: list(generate(model, RAGGED, 2, temperature=0)),
        "token_log_probabilities": lambda: token_log_probabilities(model, RAGGED),
        "pointer": lambda: next_token_nats(model, RAGGED),
    }
    for called in calls.values():
        with pytest.raises(ShapeError, match="different lengths"):
            called()


@pytest.mark.parametrize("name", ["bert", "xlnet"])
def test_a_place_beyond_the_text_has_no_gap(name):
    model = made(name)
    model.gap_id = 1
    for place in (-1, 3):
        with pytest.raises(
            ShapeError, match=f"place {place} is out of range; expected places from 0 to 2"
        ):
            model.predict(IDS, [[0], [place]])

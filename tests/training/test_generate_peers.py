"""Generation beside transformers', on folders of GPT-1 and GPT-2 that transformers has written with random weights."""

import numpy as np
import pytest

import tinylm
from tinylm import hub
from tinylm.training.beam import beam_search
from tinylm.training.generate import generate, generate_batch

pytestmark = pytest.mark.peer
V, POSITIONS = 307, 229


def gpt2(width, layers, heads, inner):
    """A GPT-2 of transformers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=V,
        n_positions=POSITIONS,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        n_inner=inner,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config)


def gpt1(width, layers, heads, inner):
    """A GPT-1 of transformers; its inner width is always four times its width."""
    import torch
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    config = OpenAIGPTConfig(
        vocab_size=V,
        n_positions=POSITIONS,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=0.3,
    )
    theirs = OpenAIGPTLMHeadModel(config)
    # With norms that weigh all alike, the tied table makes each token its own most probable successor.
    for i in range(layers):
        torch.nn.init.normal_(theirs.transformer.h[i].ln_2.weight)
    return theirs


def published(make, seed, tmp_path_factory):
    """(our model, transformers') of the same folder, of a shape that the seed chooses."""
    import torch

    torch.manual_seed(seed)
    theirs = make(*[(36, 2, 3, None), (20, 3, 1, 52), (44, 1, 11, 31)][seed]).eval()
    folder = tmp_path_factory.mktemp(make.__name__)
    theirs.save_pretrained(folder)
    ours, _ = hub.load(folder)
    return ours, theirs


@pytest.fixture(scope="module", params=[0, 1, 2])
def both(request, tmp_path_factory):
    """(our GPT, transformers' GPT-2) of the same folder."""
    return published(gpt2, request.param, tmp_path_factory)


def ids(length, seed=0):
    return np.random.default_rng(seed).integers(0, V, length)


def continued(theirs, prompt, steps, **how):
    """What transformers' generate adds to a prompt, or to each of several rows."""
    import torch

    read = torch.tensor(np.atleast_2d(prompt))
    mask = how.pop("mask", np.ones(read.shape, int))
    how = {"do_sample": False, "pad_token_id": 0} | how
    found = theirs.generate(read, attention_mask=torch.tensor(mask), max_new_tokens=steps, **how)
    return found[:, read.shape[1] :].tolist()


def close(ours, prompt, found, expected):
    """Whether two greedy texts are equal, or differ first where two scores differ by less than 1e-4."""
    for t, (first, second) in enumerate(zip(found, expected, strict=True)):
        if first != second:
            read = np.array([[*prompt, *found[:t]]])
            with tinylm.no_grad():
                scores = ours.logits(read).data[0, -1]
            return abs(scores[first] - scores[second]) < 1e-4
    return True


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_text_is_theirs_over_200_tokens(both, penalty):
    ours, theirs = both
    prompt = ids(17)
    [expected] = continued(theirs, prompt, 200, repetition_penalty=penalty)
    found = list(generate(ours, prompt, 200, temperature=0, repetition_penalty=penalty))
    assert len(set(expected)) > 5
    if penalty == 1:
        assert close(ours, prompt, found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_greedy_text_of_a_gpt1_is_theirs_over_200_tokens(seed, tmp_path_factory):
    ours, theirs = published(gpt1, seed, tmp_path_factory)
    prompt = ids(17)
    [expected] = continued(theirs, prompt, 200)
    assert len(set(expected)) > 5
    assert close(ours, prompt, list(generate(ours, prompt, 200, temperature=0)), expected)


def test_a_left_padded_batch_is_theirs(both):
    ours, theirs = both
    prompts = [ids(n, seed=n) for n in (3, 13, 7)]
    read, mask = tinylm.data.pad(prompts, left=True)
    expected = continued(theirs, read, 50, mask=mask.astype(int))
    found = generate_batch(ours, prompts, 50, temperature=0)
    for prompt, first, second in zip(prompts, found, expected, strict=True):
        assert close(ours, prompt, first, second)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("end_id", [None, 5])
def test_beams_are_theirs(both, length_penalty, end_id):
    ours, theirs = both
    prompt = ids(11, seed=4)
    # Make the end likely enough to happen.
    if end_id is not None:
        greedy = list(generate(ours, prompt, 9, temperature=0))
        end_id = greedy[-1]
    expected = continued(
        theirs,
        prompt,
        12,
        num_beams=5,
        num_return_sequences=3,
        length_penalty=length_penalty,
        early_stopping="never",
        eos_token_id=end_id,
    )
    found = beam_search(ours, prompt, 12, 5, length_penalty, end_id=end_id, count=3)
    for best, theirs_ids in zip(found, expected, strict=True):
        assert best.ids == theirs_ids[: len(best.ids)]
        assert set(theirs_ids[len(best.ids) :]) <= {0, end_id}  # they pad with the end

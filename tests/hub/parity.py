"""Models of transformers and ours with the same weights, compared: what the parity tests of all families share.

A family's test file says how its models are made, and two functions, `here` and `there`, that tell
what a model of ours and one of transformers make of the same batch: each returns an `Answer`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinylm import files, hub
from tinylm.hub.stored import renamed
from tinylm.nn import ACTIVATION_NAMES
from tinylm.tensors import read_json

NOT_COUNTED = -100
CASES = range(10)  # more than there are activations
ACTIVATIONS = sorted(ACTIVATION_NAMES)
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}
GRADIENT_TOLERANCE = {np.float64: 1e-8, np.float32: 1e-4}
DTYPES = tuple(TOLERANCE)
STORAGE = ("float32", "float16", "bfloat16")
PROBLEMS = ("missing_keys", "unexpected_keys", "mismatched_keys")


@dataclass
class Sizes:
    """The shape of one drawn model and batch; odd numbers, so that no axis can stand for another."""

    case: int
    heads: int
    width: int
    layers: int
    inner: int
    vocab: int
    positions: int
    rows: int
    length: int
    activation: str
    padding: str
    storage: str
    sharded: bool
    prefixed: bool
    eps: float | None

    @property
    def rng(self):
        """A generator of this case's own."""
        return np.random.default_rng([self.case, 7])


def draw(case):
    """The sizes of a case: each activation, padding and kind of storage comes up.

    No norm stands over fewer than five numbers: it would magnify the rounding of float32. The weights that
    transformers draws next are the case's own too.
    """
    import torch

    torch.manual_seed(case)
    rng = np.random.default_rng([case, 3])
    heads = int(rng.choice([1, 2, 3, 5]))
    return Sizes(
        case=case,
        heads=heads,
        width=heads * int(rng.choice([5, 7, 8, 11])),
        layers=int(rng.integers(1, 4)),
        inner=int(rng.choice([11, 13, 29, 31])),
        vocab=int(rng.choice([53, 71, 97])),
        positions=int(rng.choice([13, 17, 19])),
        rows=3,
        length=int(rng.choice([7, 11, 13])),
        activation=ACTIVATIONS[case % len(ACTIVATIONS)],
        padding=("none", "right", "left")[case % 3],
        storage=STORAGE[case % len(STORAGE)] if case % 2 else "float32",
        sharded=case % 4 in (1, 2),
        prefixed=case % 3 != 2,
        eps=1e-3 if case % 5 == 1 else None,
    )


def perturb(theirs, sizes):
    """Move all weights, so that no bias is 0, no norm is 1 and no activation stays in its linear part."""
    import torch

    generator = torch.Generator().manual_seed(sizes.case)
    with torch.no_grad():
        for weights in theirs.parameters():
            weights += 0.2 * torch.randn(weights.shape, generator=generator)
    return theirs


def publish(theirs, sizes, folder):
    """Save a model of transformers as the case says, and return it in float64 with the weights that were saved."""
    import torch

    theirs = perturb(theirs, sizes).to(getattr(torch, sizes.storage))
    more = {"max_shard_size": "4KB"} if sizes.sharded else {}
    theirs.save_pretrained(folder, **more)
    assert (folder / hub.weights.INDEX).exists() == sizes.sharded
    if not sizes.prefixed:
        strip(folder, theirs.base_model_prefix + ".")
    return theirs.double().eval()


def strip(folder, prefix):
    """Take a prefix from the names of all tensors in a folder, as old files have them."""
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        assert len(bare) == len(tensors)
        save_file(bare, path)
    index = folder / hub.weights.INDEX
    if index.exists():
        fields = read_json(index)
        places = fields["weight_map"]
        fields["weight_map"] = {name.removeprefix(prefix): places[name] for name in places}
        files.write_json(index, fields)


def moved(model, sizes):
    """A model of ours as one that has learned: no bias is 0, no norm is 1."""
    for array in model.state_dict().values():
        array += 0.2 * sizes.rng.normal(size=array.shape).astype(np.float32)
    return model.eval()


def adopt(model, folder, **more):
    """Save a model of ours, and return what transformers reads there, in float64.

    more : arguments of from_pretrained, of the class that the folder names
    """
    import transformers

    hub.save(folder, model)
    kind = getattr(transformers, read_json(folder / hub.CONFIG)["architectures"][0])
    theirs, found = kind.from_pretrained(
        folder,
        output_loading_info=True,
        attn_implementation="eager",
        pad_token_id=None,  # else the row of padding gets no gradient from its lookups there
        **more,
    )
    assert not any(found[problem] for problem in PROBLEMS)
    return theirs.double().eval()


def ids_and_mask(sizes):
    """ids (B, T), mask (B, T) bool with `padding`, position_ids (B, T) that count real tokens."""
    rng = sizes.rng
    ids = rng.integers(sizes.vocab, size=(sizes.rows, sizes.length))
    lengths = sizes.length - np.arange(sizes.rows) * 2
    mask = np.arange(sizes.length) < lengths[:, None]
    if sizes.padding == "left":
        mask = mask[:, ::-1].copy()
    if sizes.padding == "none":
        mask[:] = True
    position_ids = np.maximum(mask.cumsum(axis=1) - 1, 0)
    return ids, mask, position_ids


def next_tokens(ids, mask):
    """The targets (B, T) of a causal model: the next id, −100 where it or what predicts it is padding."""
    targets = np.full(ids.shape, NOT_COUNTED)
    counted = mask[:, 1:] & mask[:, :-1]
    targets[:, :-1] = np.where(counted, ids[:, 1:], NOT_COUNTED)
    return targets


def labels_at(ids, places, targets):
    """−100 but for the targets at places (P,) of the flattened ids."""
    labels = np.full(ids.shape, NOT_COUNTED)
    labels.reshape(-1)[places] = targets
    return labels


def loss_of(logits, targets):
    """Mean cross-entropy; transformers' own loss of a causal model is float32 whatever the model is."""
    import torch

    return torch.nn.functional.cross_entropy(logits.flatten(0, -2), torch.tensor(targets).flatten())


# ---- causal models


@dataclass
class CausalBatch:
    """A text with padding, and the next token of each place; see `ids_and_mask` and `next_tokens`."""

    ids: np.ndarray
    mask: np.ndarray
    position_ids: np.ndarray
    targets: np.ndarray


def causal_batch(sizes):
    """A CausalBatch of a case."""
    ids, mask, position_ids = ids_and_mask(sizes)
    return CausalBatch(ids, mask, position_ids, next_tokens(ids, mask))


def causal_there(theirs, batch):
    """What a causal model of transformers makes of a CausalBatch."""
    import torch

    out = theirs(
        torch.tensor(batch.ids),
        attention_mask=torch.tensor(batch.mask),
        position_ids=torch.tensor(batch.position_ids),
        output_hidden_states=True,
    )
    loss = loss_of(out.logits, batch.targets)
    return Answer(list(out.hidden_states), {"logits": out.logits}, loss, {"own": loss})


# ---- the comparison


@dataclass
class Answer:
    """What a model, ours or theirs, makes of a batch.

    states : of each layer, (B, T, C)     scores : by name, (B, T) or (B, T, V), or (B, K) of whole rows
    loss : a scalar of the tape, whose gradients are compared     losses : further ones by name
    """

    states: list
    scores: dict[str, Any]
    loss: Any
    losses: dict[str, Any] = field(default_factory=dict)


def compare(model, theirs, here, there, batch, family, dtype):
    """States, scores and losses at real positions, and the gradients of the loss in all weights.

    here, there : (model, batch) -> Answer     batch : has a mask (B, T)     family : module of tinylm.hub
    """
    ours = here(model.astype(dtype), batch)
    reference = there(theirs, batch)
    for answer in (ours, reference):
        answer.loss.backward()
    tolerance = TOLERANCE[dtype]
    for first, second in zip(ours.states, reference.states, strict=True):
        expect_close(first, second, tolerance, "states", batch.mask)
    assert ours.scores.keys() == reference.scores.keys()
    for name, first in ours.scores.items():
        places = batch.mask if first.shape[:2] == batch.mask.shape else None
        expect_close(first, reference.scores[name], tolerance, name, places)
    expect_close(ours.loss, reference.loss, tolerance, "loss")
    assert ours.losses.keys() == reference.losses.keys()
    for name, first in ours.losses.items():
        expect_close(first, reference.losses[name], tolerance, name)
    expect_same_gradients(model, theirs, family, dtype)


def expect_close(ours, theirs, tolerance, what="", places=None):
    """Compare a Tensor or array of ours with a tensor of theirs, to a share of its largest entry."""
    ours = np.asarray(getattr(ours, "data", ours))
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, what
    if places is not None:
        ours, theirs = ours[places], theirs[places]
    largest = np.abs(theirs).max()
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=tolerance * max(largest, 1e-30), err_msg=what
    )


def expect_same_gradients(model, theirs, family, dtype):
    """Compare the gradients of all weights after a backward pass on both sides."""
    import torch

    named = {name: p for name, p in theirs.named_parameters()}
    gradients = {}
    for name, p in named.items():
        gradients[name] = (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
    gradients = renamed("gradients", gradients, family.canonical)
    own = dict(model.named_parameters())
    layout = list(family.layout(model.config))
    assert {stored.ours for stored in layout} == set(own)
    for stored in layout:
        ours = own[stored.ours].grad
        if ours is None:
            ours = np.zeros(own[stored.ours].shape)
        reference = torch.tensor(stored.read(gradients))
        largest = max(float(reference.abs().max()), 1e-30)
        # A weight that cannot change the loss (the bias of keys) has only rounding errors there.
        if largest < 1e-12:
            assert np.abs(ours).max() < (1e-12 if dtype is np.float64 else 1e-5), stored.ours
            continue
        expect_close(ours, reference, GRADIENT_TOLERANCE[dtype], stored.ours)

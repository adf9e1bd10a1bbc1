"""Models of transformers and ours with the same weights, compared: what the parity tests of all families share."""

from dataclasses import dataclass

import numpy as np

from tinylm import hub
from tinylm.hub.stored import renamed
from tinylm.nn import ACTIVATION_NAMES

NOT_COUNTED = -100
CASES = range(10)  # more than there are activations
ACTIVATIONS = sorted(ACTIVATION_NAMES)
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}
GRADIENT_TOLERANCE = {np.float64: 1e-8, np.float32: 1e-4}
DTYPES = tuple(TOLERANCE)
STORAGE = ("float32", "float16", "bfloat16")


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
        sharded=case % 4 == 2,
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


def loss_of(logits, targets):
    """Mean cross-entropy; transformers' own loss of a causal model is float32 whatever the model is."""
    import torch

    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(targets).flatten())


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

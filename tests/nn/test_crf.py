"""The CRF module is the op with learned parameters, and it learns what follows what."""

import numpy as np

from tinylm import nn, optim
from tinylm import ops as F
from tinylm.tensor import Tensor


def test_a_new_crf_is_a_softmax_at_every_place():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 5, 7)).astype(np.float32)
    tags = rng.integers(0, 7, (3, 5))
    loss = nn.CRF(7)(scores, tags, reduction="token_mean")
    np.testing.assert_allclose(loss.item(), F.cross_entropy(scores, tags).item(), rtol=1e-6)


def test_it_learns_a_cycle_of_tags_that_no_score_tells():
    """Tags go round 0 1 2 0 1 2 from any start: after the first one nothing is left to chance."""
    crf = nn.CRF(3)
    optimiser = optim.AdamW(crf.named_parameters(), lr=0.1, weight_decay=0.0)
    tags = (np.arange(3)[:, None] + np.arange(7)) % 3
    scores = np.zeros((3, 7, 3), np.float32)
    for _ in range(200):
        optimiser.zero_grad()
        crf(scores, tags).backward()
        optimiser.step()
    loss = crf(scores, tags).item()
    assert np.log(3) <= loss < 1.05 * np.log(3)
    scores[:, 3] = 9 * np.eye(3)[tags[:, 3]]  # one place is known, the others follow
    assert np.array_equal(crf.decode(scores), tags)
    marginals = crf.marginals(Tensor(scores))
    assert (np.take_along_axis(marginals, tags[..., None], 2) > 0.9).all()

"""The best weights of a run so far, by the loss on held-out text.

A small text is soon known by heart: the loss on other text falls, and then it rises. A run with
`TrainConfig(keep="best")` ends with the weights of its lowest evaluation. They belong to the state
of the run, so that a resumed one ends with the same bits.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinylm.errors import CheckpointError

WORSE = 1.02  # times the lowest loss: what the noise of an evaluation does not explain


class Best:
    """Where the held-out loss was lowest, and the weights there.

    keeps : whether the weights are kept, or only their place

    >>> from tinylm.nn import Linear
    >>> layer = Linear(1, 1, rng=np.random.default_rng(0))
    >>> best = Best(keeps=True)
    >>> for step, loss in ((10, 5.0), (20, 4.0), (30, 4.5)):
    ...     layer.bias.data[...] = step
    ...     best.look(step, loss, layer)
    >>> best.put_into(layer)
    >>> best.step, layer.bias.data.tolist()
    (20, [20.0])
    """

    def __init__(self, keeps: bool):
        self.keeps = keeps
        self.step: int | None = None
        self.loss: float | None = None
        self.latest: float | None = None  # of the last evaluation
        self.arrays: Mapping[str, np.ndarray] = {}

    def look(self, step: int, loss: float, model: Any) -> None:
        """An evaluation of a model, a Module, after `step` updates; the first of equals stays."""
        self.latest = loss
        if self.loss is not None and loss >= self.loss:
            return
        self.step = step
        self.loss = loss
        if self.keeps:
            self.arrays = {name: np.array(array) for name, array in model.state_dict().items()}

    def put_into(self, model: Any) -> None:
        """Give a model the best weights."""
        model.load_state_dict(self.arrays)

    def is_passed(self) -> bool:
        """Whether the last evaluation was clearly worse than the best one."""
        if self.loss is None:
            return False
        return self.latest - self.loss > (WORSE - 1) * abs(self.loss)

    def facts(self) -> dict | None:
        """As JSON: {"step": 20, "loss": 4.0, "latest": 4.5}; None before the first evaluation."""
        if self.loss is None:
            return None
        return {"step": self.step, "loss": self.loss, "latest": self.latest}

    def restore(self, facts: dict | None, arrays: Mapping[str, np.ndarray], model: Any) -> None:
        """Take up what `facts` and `arrays` were when a run of this model was saved.

        raises CheckpointError  if the weights are another model's, or are not there
        """
        if facts is None:
            return
        if self.keeps and _shapes(arrays) != _shapes(model.state_dict()):
            raise CheckpointError(
                "the saved run's best weights are missing or another model's; "
                "start the run anew in another folder"
            )
        self.step = facts["step"]
        self.loss = facts["loss"]
        self.latest = facts["latest"]
        self.arrays = arrays


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}

"""Floor 5: one chapter per system, in the order of history, word2vec.py first; base.py says what each promises."""

from .base import Objective, ObjectiveConfig
from .registry import by_model_type, find, names

__all__ = ["Objective", "ObjectiveConfig", "by_model_type", "find", "names"]

"""Floor 5: one chapter per system, in the order of history, word2vec.py first; protocol.py says what each promises."""

from .protocol import Objective, by_model_type, names, objective, register

__all__ = ["Objective", "by_model_type", "names", "objective", "register"]

"""The old name of `finetune.py` and `classifier.py`; everything it held is still found here."""

from .classifier import Classifier
from .finetune import AdaptConfig, duplicate, twin, updates_for

__all__ = ["AdaptConfig", "Classifier", "duplicate", "twin", "updates_for"]

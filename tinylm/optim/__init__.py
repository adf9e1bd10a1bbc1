"""Floor 3: optimisers and learning-rate schedules."""

from . import schedules
from .adamw import AdamW

__all__ = ["AdamW", "schedules"]

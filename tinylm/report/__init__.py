"""Results for people: pictures, and a page that needs no other file."""

from .comparison import write

__all__ = ["write"]

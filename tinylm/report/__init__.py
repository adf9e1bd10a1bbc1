"""Results for people: pictures, and a page that holds everything it shows."""

from tinylm.report.comparison import write

__all__ = ["write"]

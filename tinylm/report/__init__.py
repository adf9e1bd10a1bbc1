"""Floor 8: results for people, as pictures and as a page that needs no other file.

Read in this order: html.py, pictures.py, looking.py, comparison.py; then words.py, reading.py,
heads.py, show.py.

>>> from tinylm.report import html
>>> "<p>5 &lt; 7</p>" in html.page("A title", html.paragraph("5 < 7"))
True
"""

from .comparison import write

__all__ = ["write"]

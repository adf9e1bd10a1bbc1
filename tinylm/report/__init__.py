"""Floor 8: results for people, as pictures and as a page that needs no other file.

Read in this order: html.py, words.py, pictures.py, panels.py; the parts of the page of a
comparison, curves.py, maps.py, confusion.py, examples.py, inside.py, costs.py, and
comparison.py, which puts them in order; several.py; the page about one text, looking.py,
reading.py, heads.py, show.py.

>>> from tinylm.report import html
>>> "<p>5 &lt; 7</p>" in html.page("A title", html.paragraph("5 < 7"))
True
"""

from .comparison import write
from .several import write_all

__all__ = ["write", "write_all"]

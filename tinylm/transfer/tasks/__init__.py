"""Tasks beyond classes and tags: numbers, pairs of texts, choices among answers, spans of a text.

Read in this order: ridge.py, regression.py, pairs.py, choice.py, squad.py, windows.py, spans.py.
"""

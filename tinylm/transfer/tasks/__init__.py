"""Tasks beyond classes and tags: numbers, pairs of texts, choices among answers, spans of a text.

Read in this order: ridge.py, regression.py, pairs.py, choice.py, answers.py, windows.py, spans.py;
and the scorers of texts: retrieval.py, overlap.py.
"""

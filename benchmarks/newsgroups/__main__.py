"""`python -m benchmarks.newsgroups`: see the package's own text."""

import sys

from tinylm.kernels.runtime.pool import set_threads

from . import entities, masked, recurrent, streams, students

TABLES = {
    "masked": masked.table,
    "lstm": recurrent.lstm,
    "ulmfit": recurrent.ulmfit,
    "entities": entities.table,
    "xlnet": streams.table,
    "distil": students.table,
}

words = sys.argv[1:]
name = "masked"
if words and words[0] in TABLES:
    name = words.pop(0)
options = {}
if words and float(words[0]):
    options["minutes"] = float(words[0])
if len(words) > 1:
    options["seeds"] = int(words[1])
set_threads(1)
TABLES[name](**options)

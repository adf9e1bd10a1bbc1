"""Demo 18: what does a student learn from its teacher's soft answers that the text alone does not say?

Question: a BERT of 4 layers reads the toy language. A student of 2 layers begins with two of them and
learns what the teacher says at every token; its twin begins with the same two and learns the gaps
alone, in as many updates. Which one stands closer to the teacher, on text that none has read?
Expected: the student's KL to the teacher is less than half of the twin's (a third: 0.07 against 0.24 nats; 1.9
before the first update). The gaps alone teach the twin about as much about gaps: both fill about nine tenths
of those that the teacher fills, at half its layers' size and time (before the first update: 37 %).
Time: 50 s. Picture: demos/out/18_distil.png
"""

# %% A teacher
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import tinylm
from tinylm import hub
from tinylm.data import encode_corpus, toy
from tinylm.tensor import no_grad
from tinylm.training.evaluation import evaluate
from tinylm.training.pretrain import PretrainConfig, pretrain

TEXTS = toy.documents(2000, seed=0)
HELD_OUT = toy.documents(200, seed=1)
FOLDER = Path(tempfile.mkdtemp())
LARGE = {"num_hidden_layers": 4, "hidden_size": 64, "sequence_length": 48, "batch_size": 32}
LARGE |= {"next_sentence": False, "max_predictions": 16, "steps": 600}
how = PretrainConfig(
    "bert", "toy", FOLDER / "teacher", size="tiny", options=LARGE, encoding="wordpiece"
)
teacher, pieces, result = pretrain(how, TEXTS, quiet=True)
teacher.eval()
held_out = encode_corpus(HELD_OUT, pieces, pieces.end_id, structure=True)
print(f"teacher: {result['steps']} updates in {result['seconds']:.0f} s")


# %% A student and its twin
def learn(name, **options):
    """A student of the teacher, trained by `tinylm distil`'s own path."""
    options |= {"steps": 220, "lr": 1e-3}
    asked = PretrainConfig(
        "distil", "toy", FOLDER / name, options=options, teacher=FOLDER / "teacher"
    )
    model, _, found = pretrain(asked, TEXTS, quiet=True)
    print(f"{name}: {found['steps']} updates in {found['seconds']:.0f} s")
    return model.eval()


student = learn("student")
twin = learn("twin", twin=True)
start = tinylm.Distil(student.config)
start.spell(pieces.vocab, pieces.special_ids)
start.learn_from(teacher)
start.eval()


# %% Size, time, loss
def seconds(model):
    """The best of five readings of 32 texts of 48 tokens."""
    ids = np.random.default_rng(0).integers(5, pieces.vocab_size, (32, 48))
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        with no_grad():
            model.encode(ids)
        took.append(time.perf_counter() - begin)
    return min(took)


def parameters(model):
    """How many numbers the layers hold, the tables left out."""
    return sum(p.size for p in model.encoder.h.parameters())


# The same gaps for all, every word alike.
batches = list(teacher.evaluation_batches(held_out))


def right(model):
    """The share of the gaps whose most probable token is the one that stood there."""
    hits = []
    for batch in batches:
        with no_grad():
            scores = model.logits(batch.ids, batch.mask).data
        rows, columns = np.nonzero(batch.picks >= 0)
        guesses = scores[rows, batch.picks[rows, columns]].argmax(axis=1)
        hits.append(guesses == batch.targets[rows, columns])
    return float(np.concatenate(hits).mean())


rows = {}
for name, model in {"teacher": teacher, "begin": start, "twin": twin, "student": student}.items():
    kl = 0.0
    if model is not teacher:
        model.prepare(twin.corpus)
        kl = evaluate(model, held_out)["components"]["kl"]
    rows[name] = (parameters(model), 1000 * seconds(model), 100 * right(model), kl)
    print(
        "{:8} {:7,} numbers, {:5.1f} ms, {:4.1f} % of the gaps, KL {:.3f}".format(name, *rows[name])
    )
again, _ = hub.load(FOLDER / "student")  # a folder that transformers reads as a DistilBERT
assert np.array_equal(again.state_dict()["head.bias"], student.state_dict()["head.bias"])

# %% A picture
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
names = list(rows)
titles = ("milliseconds for 32 texts", "% of the gaps right", "KL to the teacher, nats")
for axis, column, title in zip(axes, (1, 2, 3), titles, strict=True):
    axis.bar(names, [rows[name][column] for name in names], color=["0.4", "0.8", "C1", "C0"])
    axis.set_title(title)
out = Path(__file__).parent / "out"
out.mkdir(exist_ok=True)
figure.savefig(out / "18_distil.png", dpi=110)

# %% Verdict
kept = rows["student"][2] / rows["teacher"][2]
closer = rows["twin"][3] / rows["student"][3]
assert closer > 2 and kept > 0.8
print(
    f"VERDICT: pass. The student stands {closer:.1f} times closer to its teacher than its twin and "
    f"keeps {100 * kept:.0f} % of the gaps that it fills, with half of the layers."
)

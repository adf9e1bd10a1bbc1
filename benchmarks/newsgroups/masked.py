"""What do BERT and ELECTRA learn from newsgroups in a few minutes, and does it save labels?

Rows "from vectors" begin with a skip-gram's vectors, whose time is counted as theirs. Then 10 labelled posts of each of
the 20 classes adapt the model: features of the frozen encoder, all weights, and all weights of a twin that has read
nothing. Masked loss and accuracy are those of held-out posts: BERT's, of 30 % hidden tokens; for ELECTRA its
generator's, of 15 %. Beside them stands what single tokens' counts reach. ELECTRA's own loss stands beside the entropy
of its labels.
"""

import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.tensor import no_grad
from tinylm.training.evaluation import evaluate
from tinylm.training.start import take_vectors
from tinylm.transfer.finetune import twin
from tinylm.transfer.linear import SoftmaxRegression
from tinylm.transfer.task import Task, load_task

from .shared import TEST, accuracy, few, learn, new, posts, said, word2vec

MINUTES = 2.5  # of one processor, for each row
LABELS = 10
PICKED = {"discriminate": "picked"}
ROWS = {  # name -> objective, options, whether it begins with vectors
    "bert": ("bert", {}, False),
    "bert from vectors": ("bert", {}, True),
    "electra from vectors": ("electra", {}, True),
    "electra 15 % from vectors": ("electra", PICKED, True),
}


def masked(model, corpus):
    """On held-out posts: loss and accuracy of the gaps, and those of the counts of single tokens."""
    counts = np.bincount(model.corpus.ids, minlength=model.config.vocab_size) + 1
    unigram = -np.log(counts / counts.sum())
    targets = []
    right = 0
    with no_grad():
        for batch in model.eval().evaluation_batches(corpus):
            if model.name == "electra":
                targets.append(batch.ids.reshape(-1)[batch.picks])
                continue
            real = batch.targets >= 0
            states = model.encode(batch.ids, batch.mask, batch.token_types)[-1]
            picked = F.gather_positions(states, batch.picks)  # (B,T,C) -> (B,P,C)
            scores = model.head(picked, model.token_table).data
            right += (scores.argmax(axis=-1) == batch.targets)[real].sum()
            targets.append(batch.targets[real])
    targets = np.concatenate(targets)
    found = evaluate(model, corpus)["components"]
    model.train()
    share = found.get("right", right / len(targets))
    by_counts = (unigram[targets].mean(), (targets == counts.argmax()).mean())
    return found.get("generator", found.get("masked")), share, by_counts, found


def adapted(model, tokenizer, task: Task, seed: int) -> list[float]:
    """Accuracy in % with LABELS posts of each class: features, fine-tuned, the twin from scratch."""
    ways = (("features", model), ("finetune", model), ("finetune", twin(model, seed)))
    return [accuracy(encoder, tokenizer, way, task, LABELS, seed) for way, encoder in ways]


def minilm(task: Task, seeds: int) -> list[float]:
    """Accuracy in % of softmax regression on MiniLM's vectors, one number for each seed."""
    encoder = tinylm.SentenceEncoder.load("minilm")
    test = encoder(task.test_texts)
    found = []
    for seed in range(seeds):
        texts, labels = few(task, LABELS, seed)
        classes, codes = np.unique(labels, return_inverse=True)
        head = SoftmaxRegression(seed=seed).fit(encoder(texts), codes)
        best = classes[(test @ head.weights_ + head.bias_).argmax(axis=1)]
        found.append(100 * (best == task.test_labels).mean())
    return found


def table(minutes: float = MINUTES, seeds: int = 3) -> None:
    """Print all rows."""
    given = posts("bert", "wordpiece")
    task = load_task("newsgroups", TEST)
    vectors = word2vec(given, 60 * minutes / 5)
    print(f"{minutes:g} minutes of one processor for each row, {seeds} seeds", flush=True)
    for row, (name, options, from_vectors) in ROWS.items():
        losses = []
        shares = []
        scores = []
        discriminator = []
        for seed in range(seeds):
            model, training = new(name, options, given, seed)
            seconds = 60 * minutes
            if from_vectors:
                take_vectors(model, given.tokenizer, vectors)
                seconds *= 4 / 5
            steps = learn(model, training, seconds)
            loss, share, by_counts, parts = masked(model, given.held_out)
            losses.append(loss)
            shares.append(100 * share)
            scores.append(adapted(model, given.tokenizer, task, seed))
            if name == "electra":
                share = parts["replaced"]
                entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
                discriminator.append(f"discriminator {parts['discriminator']:.4f} of {entropy:.4f}")
        features, tuned, scratch = (said(column) for column in zip(*scores, strict=True))
        counts = f"(counts {by_counts[0]:.3f} and {100 * by_counts[1]:.1f} %)"
        gaps = f"masked {said(losses, 3)} nats and {said(shares)} % {counts}"
        topics = f"features {features} %, fine-tuned {tuned} %, from scratch {scratch} %"
        print(f"{row}: {steps:,} updates", gaps, *discriminator, topics, sep="; ", flush=True)
    print(f"minilm: features {said(minilm(task, seeds))} %")

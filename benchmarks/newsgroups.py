"""What do BERT and ELECTRA learn from newsgroups in a few minutes, and does it save labels?

    python -m benchmarks.newsgroups [MINUTES] [SEEDS]      of processor time for each row, 2.5 and 3 by default

Every row gets the same processor time on one thread, so the table does not depend on what else the machine does. Rows
"from vectors" begin with a skip-gram's vectors, whose time is counted as theirs. Then 10 labelled posts of each of the 20
classes adapt the model: features of the frozen encoder, all weights, and all weights of a twin that has read nothing.

Masked loss and accuracy are those of held-out posts: BERT's, of 30 % hidden tokens; for ELECTRA its generator's, of 15 %.
Beside them stands what single tokens' counts reach. ELECTRA's own loss stands beside the entropy of its labels.
"""

import sys
import time
from dataclasses import replace

import numpy as np

import tinylm
from tinylm import ops as F
from tinylm.data import encode_corpus, load_texts, split_documents
from tinylm.kernels.runtime.pool import set_threads
from tinylm.tensor import no_grad
from tinylm.training.evaluation import evaluate
from tinylm.training.pretrain import learn_encoding, sized, untrained
from tinylm.training.start import take_vectors
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import AdaptConfig, Classifier
from tinylm.transfer.budgets import label_budget
from tinylm.transfer.finetune import twin
from tinylm.transfer.linear import SoftmaxRegression
from tinylm.transfer.task import load_task

VOCABULARY = 4096
LABELS = 10
TRIED = 40  # updates by which a row's speed is measured
TEST = 1000  # posts
ADAPT = AdaptConfig(max_length=128)
PICKED = {"discriminate": "picked"}
ROWS = {  # name -> objective, options, whether it begins with vectors
    "bert": ("bert", {}, False),
    "bert from vectors": ("bert", {}, True),
    "electra from vectors": ("electra", {}, True),
    "electra 15 % from vectors": ("electra", PICKED, True),
}
MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 2.5
SEEDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3


def new(name, options, train, seed):
    """A model of the size that `compare` trains, on the training posts; and how it is trained."""
    chapter = tinylm.objectives.find(name)
    config = sized(chapter, "small", {**options, "vocab_size": tokenizer.vocab_size})
    rng = np.random.default_rng(seed)
    model = untrained(chapter, config, tokenizer, train, rng)
    recipe = chapter.Config.recipes.get("small", {})
    return model, TrainConfig.of(chapter, seed=seed, steps=TRIED, **recipe)


def learn(model, how, seconds):
    """Train as many updates as fit into this processor time.   returns their number"""
    trial, _ = new(model.name, {}, model.corpus, 0)
    start = time.process_time()
    Trainer(trial, config=how, quiet=True).run()
    each = (time.process_time() - start) / TRIED
    steps = max(int(seconds / each), 1)
    Trainer(model, config=replace(how, steps=steps), quiet=True).run()
    return steps


def word2vec(seconds, train):
    """A skip-gram's vectors, as wide as the models."""
    model, how = new("word2vec", {"size": 96}, train, 0)
    learn(model, how, seconds)
    return tinylm.Vectors(tokenizer.vocab, model.embedding_table())


def masked(model, corpus):
    """On held-out posts: loss and accuracy of the gaps, and those of the counts of single tokens."""
    counts = np.bincount(model.corpus.ids, minlength=tokenizer.vocab_size) + 1
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
    accuracy = found.get("right", right / len(targets))
    by_counts = (unigram[targets].mean(), (targets == counts.argmax()).mean())
    return found.get("generator", found.get("masked")), accuracy, by_counts, found


def adapted(model, seed):
    """Accuracy in % with LABELS posts of each class: features, fine-tuned, the twin from scratch."""
    chosen = label_budget(task.labels, LABELS, seed)
    texts = [task.texts[i] for i in chosen]
    found = []
    for method, encoder in (
        ("features", model),
        ("finetune", model),
        ("finetune", twin(model, seed)),
    ):
        fitted = Classifier(encoder, tokenizer, method, replace(ADAPT, seed=seed))
        fitted.fit(texts, task.labels[chosen])
        found.append(100 * fitted.score(task.test_texts, task.test_labels))
    return found


def minilm():
    """Accuracy in % of softmax regression on MiniLM's vectors, one number for each seed."""
    encoder = tinylm.SentenceEncoder.load("minilm")
    test = encoder(task.test_texts)
    found = []
    for seed in range(SEEDS):
        chosen = label_budget(task.labels, LABELS, seed)
        classes, codes = np.unique(task.labels[chosen], return_inverse=True)
        rows = encoder([task.texts[i] for i in chosen])
        head = SoftmaxRegression(seed=seed).fit(rows, codes)
        best = classes[(test @ head.weights_ + head.bias_).argmax(axis=1)]
        found.append(100 * (best == task.test_labels).mean())
    return found


def said(numbers):
    """Mean and spread."""
    return f"{np.mean(numbers):.1f} ± {np.std(numbers):.1f}"


set_threads(1)
texts, held_out = split_documents(load_texts("newsgroups"), share=0.05, seed=0)
tokenizer = learn_encoding(tinylm.Bert, "wordpiece", texts, VOCABULARY, {})
how = {"end_id": tokenizer.end_id, "structure": True}
train, other = (encode_corpus(part, tokenizer, **how) for part in (texts, held_out))
task = load_task("newsgroups", TEST)
given = word2vec(60 * MINUTES / 5, train)
print(
    f"{MINUTES:g} minutes of one processor for each row, {SEEDS} seeds, {TEST:,} test posts",
    flush=True,
)
for row, (name, options, from_vectors) in ROWS.items():
    losses, accuracies, scores, discriminator = [], [], [], []
    for seed in range(SEEDS):
        model, training = new(name, options, train, seed)
        seconds = 60 * MINUTES
        if from_vectors:
            take_vectors(model, tokenizer, given)
            seconds *= 4 / 5
        steps = learn(model, training, seconds)
        loss, accuracy, by_counts, parts = masked(model, other)
        losses.append(loss)
        accuracies.append(100 * accuracy)
        scores.append(adapted(model, seed))
        if name == "electra":
            share = parts["replaced"]
            entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
            discriminator.append((parts["discriminator"], entropy))
    features, tuned, scratch = (said(column) for column in zip(*scores, strict=True))
    print(
        f"{row}: {steps:,} updates, masked {np.mean(losses):.3f} ± {np.std(losses):.3f} nats and ",
        end="",
    )
    print(
        f"{said(accuracies)} % (counts {by_counts[0]:.3f} and {100 * by_counts[1]:.1f} %); ", end=""
    )
    for own, entropy in discriminator:
        print(f"discriminator {own:.4f} of {entropy:.4f}; ", end="")
    print(f"features {features} %, fine-tuned {tuned} %, from scratch {scratch} %", flush=True)
print(f"minilm: features {said(minilm())} %")

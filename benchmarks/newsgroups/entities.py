"""Who is who in tweets: frozen vectors from the posts beside a tagger's own word embeddings.

Each encoder reads the posts for the same processor time, then the tagger, a BiLSTM over a CRF, learns from tagged
tweets. The posts have small letters only, so encoders read the tweets in small letters; the tagger's own embeddings
see capitals. F1 is that of whole entities: type, first and last word. GloVe's counting of the posts is not in its time.
"""

from collections import defaultdict
from dataclasses import replace

from tinylm.data import load_tagged
from tinylm.transfer import TagConfig, Tagger

from .shared import learn, new, posts, said

OWN = TagConfig(embeddings=50)
HEAD = "bilstm-crf"
WORDS = 5000
WIDTH = 128  # of every encoder's vectors
ROWS = {  # name -> encoding, options of the objective, size, layers that the tagger reads
    "word2vec": ("words", {"size": WIDTH}, "small", ("last",)),
    "glove": ("words", {"vector_size": WIDTH}, "small", ("last",)),
    "elmo": ("elmo", {"unroll_steps": 32}, "tiny", ("mix",)),
}
ENCODINGS = {"words": "word2vec", "elmo": "elmo"}  # kind -> the objective that it is learned for


def table(minutes: float = 1.5, seeds: int = 3) -> None:
    """Print all rows; the first is the tagger without any encoder."""
    train = load_tagged("entities", "train")
    test = load_tagged("entities", "test")
    sentences, tags = zip(*train, strict=True)
    held_out = tuple(zip(*test, strict=True))
    given = {kind: posts(kind_for, kind, WORDS, lower=True) for kind, kind_for in ENCODINGS.items()}
    found = defaultdict(list)
    for seed in range(seeds):
        own = replace(OWN, seed=seed)
        taggers = {"own embeddings": Tagger(None, None, HEAD, config=own)}
        for name, (kind, options, size, layers) in ROWS.items():
            model, how = new(name, options, given[kind], seed, size)
            steps = learn(model, how, 60 * minutes)
            print(f"{name}, seed {seed}: {steps:,} updates", flush=True)
            config = replace(own, layers=layers)
            taggers[name] = Tagger(model.eval(), given[kind].tokenizer, HEAD, config=config)
        for name, tagger in taggers.items():
            scores = tagger.fit(sentences, tags).evaluate(*held_out).overall
            found[name].append(100 * scores.f1)
            print(f"{name}, seed {seed}: F1 {100 * scores.f1:.1f} %", flush=True)
    for name, scores in found.items():
        print(f"{name}: F1 {said(scores)} %", flush=True)

"""Entities in tweets without a tagged sentence: the named set `entities`, a BERT of the tweets alone.

    python -m benchmarks.unsupervised [STEPS]

The types are named by a few words each, taken from common knowledge and not from the tags. Only the
three commonest kinds of names are asked for; the scores are those of whole entities of these types.
"""

import sys

import tinylm
from tinylm.data import encode_corpus, load_tagged
from tinylm.data.tags import spans
from tinylm.kernels.runtime.pool import set_threads
from tinylm.training.pretrain import learn_encoding
from tinylm.training.train import TrainConfig, Trainer
from tinylm.transfer import UnsupervisedTagger, entity_scores

TYPES = {
    "person": ["John", "Justin", "Taylor", "he", "him", "she", "her"],
    "geo-loc": ["London", "Chicago", "Texas", "there", "here", "town", "city"],
    "company": ["Google", "Apple", "Twitter", "Facebook", "Microsoft"],
}
SIZES = dict(hidden_size=64, next_sentence=False, mask_rate=0.3, sequence_length=32, batch_size=16)


def kept(tags: list[str]) -> list[str]:
    """Tags without the entities of other types."""
    found = ["O"] * len(tags)
    for span in spans(tags):
        if span.type in TYPES:
            found[span.start : span.end] = tags[span.start : span.end]
    return found


def table(steps: int = 10_000) -> None:
    """Train, tag, print."""
    train = load_tagged("entities", "train")
    test = load_tagged("entities", "test")
    texts = [" ".join(tokens) for tokens, _ in train]
    words = learn_encoding(tinylm.Bert, "words", texts, 4000, {})
    model = tinylm.Bert(tinylm.BertConfig.tiny(words.vocab_size, **SIZES))
    model.spell(words.vocab, words.special_ids)
    model.prepare(encode_corpus(texts, words, end_id=words.end_id))
    recipe = tinylm.BertConfig.recipes["tiny"]
    result = Trainer(
        model, words, config=TrainConfig.of(tinylm.Bert, **recipe, steps=steps), quiet=True
    ).run()
    print(f"{result['loss']:.2f} nats per gap after {steps} updates", flush=True)
    known = {kind: [w for w in own if w in words.vocab] for kind, own in TYPES.items()}
    sentences = [tokens for tokens, _ in test]
    truth = [kept(tags) for _, tags in test]
    given = [spans(tags) for tags in truth]
    for threshold in (0.4, 0.6, 1.0):
        tagger = UnsupervisedTagger(model, words, known, threshold=threshold)
        for name, candidates in (("capitals", None), ("true spans", given)):
            scores = entity_scores(truth, tagger.predict(sentences, candidates))
            print(f"threshold {threshold}, {name}: F1 {100 * scores.f1:.1f} %", flush=True)


if __name__ == "__main__":
    set_threads(1)
    table(*[int(word) for word in sys.argv[1:]])

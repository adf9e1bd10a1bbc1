"""`finetune --task chat`: dialogues in, a conversational agent out."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from tinylm import settings
from tinylm.errors import TinylmError
from tinylm.progress import note

from .results import load, origin_of, print_result

TESTED = 1000  # utterances to measure on at most: each has 20 candidates to read
DRAWN = 200  # replies that are drawn for F1, of the first of them


def adapt(options: Namespace, fields: dict[str, Any], progress: Callable[[int, int], None]) -> int:
    """Learn from dialogues, save, and measure on others.

    fields : of its config, given as --set
    raises TinylmError  for --method, which has one meaning here
    """
    import numpy as np

    from tinylm.data.dialogues import load_dialogues
    from tinylm.data.sources import is_same
    from tinylm.transfer import Chat
    from tinylm.transfer.chat import ChatConfig
    from tinylm.transfer.replies import tfidf_hits

    if "method" in vars(options).get("given", ()):
        raise TinylmError("--method does not go with --task chat: all weights learn; leave it out")
    model, tokenizer = load(options.dir)
    alone = not (options.test and is_same(options.train, options.test))
    train = load_dialogues(options.train, "train", seed=options.seed, alone=alone)
    test = []
    if options.test:
        test = load_dialogues(options.test, "test", seed=options.seed, alone=alone)[:TESTED]
    note(f"learning from {len(train):,} utterances")
    config = settings.build(ChatConfig, {"seed": options.seed, **fields})
    chat = Chat(model, tokenizer, config, progress)
    chat.fit(train).save(options.out, origin=origin_of(options, options.train))
    lines = [f"{options.out}: {len(train)} utterances learned from"]
    result = {"out": options.out, "train": len(train), "test": 0}
    if test:
        scores = chat.evaluate(test)
        drawn = chat.evaluate(test[:DRAWN], np.random.default_rng(options.seed))
        baseline = tfidf_hits(train, test)
        result |= {
            "test": scores.count,
            "hits": scores.hits,
            "perplexity": scores.perplexity,
            "f1": drawn.f1,
            "tfidf_hits": baseline,
        }
        lines.append(f"{scores}; hits@1 of TF-IDF {baseline:.3f}")
        lines.append(f"F1 {drawn.f1:.3f} of the words of {drawn.count} drawn replies")
    return print_result(options, result, lines)

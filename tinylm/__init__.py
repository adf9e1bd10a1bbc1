"""tinylm: self-supervised language learning, from word2vec to ELECTRA, as one small engine in NumPy and Numba.

    import tinylm
    model = tinylm.GPT(tinylm.GPTConfig.tiny(vocab_size=256))

Names are loaded when they are first used, so that `import tinylm` stays quick.
"""

import importlib

__version__ = "0.1.0"

_PLACES = {
    "Tensor": "tensor",
    "no_grad": "tensor",
    "check_grads": "gradcheck",
    "one_pool": "kernels",
    "set_threads": "kernels",
    "check_objective": "gradcheck",
    "Objective": "objectives",
    "GPT": "objectives.gpt",
    "GPTConfig": "objectives.gpt",
    "Word2Vec": "objectives.word2vec",
    "Word2VecConfig": "objectives.word2vec",
    "GloVe": "objectives.glove",
    "GloVeConfig": "objectives.glove",
    "Vectors": "vectors",
    "Trainer": "train",
    "TrainConfig": "train",
    "Classifier": "transfer",
    "Features": "transfer",
    "TinylmError": "errors",
}
_MODULES = {
    "ops",
    "nn",
    "optim",
    "text",
    "data",
    "objectives",
    "hub",
    "transfer",
    "report",
    "kernels",
    "train",
    "generate",
    "checkpoint",
    "check",
    "gradcheck",
    "errors",
    "tensor",
    "vectors",
    "sampling",
}
__all__ = sorted([*_PLACES, *_MODULES])


def __getattr__(name):
    """Import the module that holds `name` the first time it is asked for."""
    if name in _PLACES:
        value = getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'tinylm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return [*globals(), *__all__]

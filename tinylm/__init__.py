"""tinylm: self-supervised language learning, from word2vec to ELECTRA, on one small engine.

    import tinylm
    model = tinylm.GPT(tinylm.GPTConfig.tiny(vocab_size=256))

The engine is NumPy and Numba. Names are loaded when they are first used, so that `import tinylm`
stays quick.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys

__version__ = "0.1.0"

_PLACES = {
    "Tensor": "ops",  # not tensor: whoever takes a Tensor wants its operators
    "no_grad": "tensor",
    "check_grads": "gradcheck",
    "one_pool": "kernels",
    "set_threads": "kernels",
    "check_objective": "gradcheck",
    "Objective": "objectives",
    "GPT1": "objectives.gpt1",
    "GPT1Config": "objectives.gpt1",
    "GPT": "objectives.gpt",
    "GPTConfig": "objectives.gpt",
    "Bert": "objectives.bert",
    "BertConfig": "objectives.bert",
    "Word2Vec": "objectives.word2vec",
    "Word2VecConfig": "objectives.word2vec",
    "FastText": "objectives.fasttext",
    "FastTextConfig": "objectives.fasttext",
    "GloVe": "objectives.glove",
    "GloVeConfig": "objectives.glove",
    "Elmo": "objectives.elmo",
    "ElmoConfig": "objectives.elmo",
    "Ulmfit": "objectives.ulmfit",
    "UlmfitConfig": "objectives.ulmfit",
    "XLNet": "objectives.xlnet",
    "XLNetConfig": "objectives.xlnet",
    "Electra": "objectives.electra",
    "ElectraConfig": "objectives.electra",
    "Distil": "objectives.distil",
    "DistilConfig": "objectives.distil",
    "TinyBert": "objectives.tinybert",
    "TinyBertConfig": "objectives.tinybert",
    "Vectors": "vectors",
    "Trainer": "training.train",
    "TrainConfig": "training.train",
    "Chooser": "transfer",
    "Classifier": "transfer",
    "Features": "transfer",
    "PairClassifier": "transfer",
    "Regressor": "transfer",
    "SentenceEncoder": "transfer",
    "SpanReader": "transfer",
    "Tagger": "transfer",
    "TowerClassifier": "transfer",
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
    "training",
    "transfer",
    "report",
    "kernels",
    "gradcheck",
    "errors",
    "tensor",
    "vectors",
    "sampling",
}
_MOVED = {  # modules that once stood at the top -> where they live now; both names work
    "train": "training.train",
    "pretrain": "training.pretrain",
    "evaluation": "training.evaluation",
    "generate": "training.generate",
    "checkpoint": "training.checkpoint",
    "check": "training.check",
    "cli": "app.cli",
    "commands": "app.commands",
}
__all__ = sorted([*_PLACES, *_MODULES])


def __getattr__(name):
    """Import the module that holds `name` the first time it is asked for."""
    if name in _PLACES:
        module = importlib.import_module(f".{_PLACES[name]}", __name__)
        value = getattr(module, name)
    elif name in _MODULES or name in _MOVED:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'tinylm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    """What has been imported already, and every name that can be."""
    return [*globals(), *__all__]


class _OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes `import tinylm.train` give the module that is now `tinylm.training.train`."""

    def __init__(self):
        self.specs = {}  # new name -> the spec under which that module was imported

    def find_spec(self, fullname, path=None, target=None):
        """A spec for an old name, so that `create_module` is asked for it; None for other names."""
        package, _, name = fullname.rpartition(".")
        if package == __name__ and name in _MOVED:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec):
        """The module, imported under its new name."""
        old_name = spec.name.rpartition(".")[2]
        module = importlib.import_module(f".{_MOVED[old_name]}", __name__)
        self.specs[module.__name__] = module.__spec__
        return module

    def exec_module(self, module):
        """Nothing to run. Give the module back its spec, which Python has just replaced."""
        module.__spec__ = self.specs[module.__name__]
        module.__loader__ = module.__spec__.loader


sys.meta_path.append(_OldNames())

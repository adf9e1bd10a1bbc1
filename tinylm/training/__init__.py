"""Floor 6: learning from text.

Read in this order: facts.py, checkpoint.py, budget.py, losses.py, best.py, evaluation.py,
config.py, runs.py, train.py, pretrain.py, generate.py, beam.py, zero_shot.py, check.py.

>>> from tinylm.training.pretrain import PretrainConfig, pretrain
>>> config = PretrainConfig("word2vec", "toy", options={"steps": 3})
>>> model, tokenizer, result = pretrain(config, quiet=True)
>>> result["steps"], model.config.vocab_size == tokenizer.vocab_size
(3, True)
"""

"""Floor 6: learning from text. Read in this order: train.py, checkpoint.py, budget.py, evaluation.py, pretrain.py,
generate.py, check.py."""

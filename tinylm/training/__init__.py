"""Floor 6: learning from text.

Read in this order: config.py, train.py, runs.py, checkpoint.py, facts.py, losses.py, budget.py,
evaluation.py, pretrain.py, generate.py, beam.py, zero_shot.py, check.py.
"""

"""DistilBERT: a student of half the layers and its twin, beside their teacher and the limit."""

import numpy as np

import tinylm
from tinylm.training.evaluation import evaluate

from .gaps import EachByItself

LEARN_AT_GAPS = {  # a teacher that saw [MASK] at every pick has learned nothing at other places
    "restrict_ce_to_mask": True,
    "mlm_smoothing": 0.0,  # all words are picked alike, or a pick would tell which word it is
}


class Student(tinylm.Distil):
    """A student whose every token is picked with the same chance, as its teacher's."""

    choose = EachByItself.choose


def student(teacher, seed: int, twin: bool):
    """A student of a trained BERT, or its twin, that begins with the same layers."""
    options = dict(LEARN_AT_GAPS, twin=twin, batch_size=teacher.config.batch_size)
    config = Student.student_config(teacher, None, options)
    model = Student(config, np.random.default_rng(seed))
    model.spell(teacher.words, teacher.special_ids)
    model.learn_from(teacher)
    return model


def distance_to_teacher(model, corpus) -> float:
    """Mean KL to the teacher at the gaps of another corpus, in nats."""
    return evaluate(model, corpus)["components"]["kl"]

"""How close do small models come to the best that anybody could do?

    python -m benchmarks.limits [LINE,LINE…] [SEED] [SHARE]

SHARE of the updates, 1 by default; all lines if none is named. Text from a hidden Markov model has an exact limit,
which the forward-backward algorithm gives. 0 % of the gap is what counting tokens gives, 100 % is the limit, and more
than 100.5 % would be a leak. Texts have 64 tokens and begin anywhere.

bert        every gap shows [MASK]
bert_noisy  8 of 10 gaps show it, 1 of 10 a random word, 1 of 10 itself: the best reader must doubt every word
gpt1        each token from those before it; the first, which nobody can know better than the counts, is left out
elmo        each token from those before it, and from those behind it: two directions, every token of each text
elmo_sampled    the same, trained with a softmax of 10 log-uniform samples a direction
ulmfit      as gpt1, by an AWD-LSTM; the end of another text stands before the first token
xlnet       16 tokens of each text from those before them in a random order, as XLNet draws orders and targets
electra     was this token replaced? 15 % of them are, by any token
distil      a student of one layer learns from bert's answers at the gaps; its twin from the gaps alone

Measured, one thread, seconds of processor time:

    bert 95.0, 94.7, 95.5 % (seeds 0, 1, 2; of seed 2: counts 3.178, found 1.966, exact 1.909 nats; 57,711 gaps; 5,000
        updates, 306 and 330 s, seed 0 with 4,500, 272 s). 2 layers and 3,500 updates at 2.5e-3: 93.2, 93.0, 94.0 %;
        3 layers and 3,000 updates: 93.7 %; 4 layers and 2,500 at 1.5e-3: 89.7 %
    bert_noisy 94.5, 93.5, 94.1 % (of seed 2: 2.968, 1.842, 1.771; 3,000 and 1,500 further updates, 300 s). 2 layers and
        2,000 updates at the published rates alone: 83.4 %
    electra 92.7, 91.8, 93.0 % (seeds 0, 1, 2; of seed 1: 0.411, 0.235, 0.219; 384,000 tokens; 5,000 further updates, 320
        s). From the BERT of 2 layers: 86.0 % after 2,500
    gpt1 96.7 % (seed 0: counts 3.178, found 2.225, exact 2.193 nats; 64,000 tokens; 2,400 updates, 53 s)
    gpt1 97.5, 96.6 % (seeds 1, 2; of seed 2: 3.178, 2.226, 2.193; 378,000 tokens; 49 s)
    elmo forward 97.0, 97.8, 97.8 %, backward 98.0, 97.2, 96.4 % (seeds 0, 1, 2; of seed 1 forward: 3.178, 2.232, 2.211;
        128,000 tokens; 1,500 updates, 48 to 54 s)
    elmo_sampled forward 96.6, 96.6, 97.2 %, backward 96.7, 97.3, 97.7 % (the same seeds and texts; 48 to 51 s)
    ulmfit 97.3, 96.8 % (seeds 0, 1; of seed 1: 3.178, 2.224, 2.193; 378,000 tokens; 4,000 updates, 55 and 66 s); 92.3 %
        after 1,000
    xlnet 96.6 % (seed 0: 3.178, 1.969, 1.925; 32,000 targets; 4,000 updates, 167 s). With 2 heads, 16 targets and a rate of
        2e-3: 84.9 % after 750 updates, 90.4 % after 2,500; with 4 heads, 24 targets and 3e-3: 93.6 % after 1,500

What a visible gap asks: is this word the right one? Where it is, the best reader loses 0.27 nats. A BERT that never saw
such gaps loses 1.95; after 1,000 updates at the published rates, in which 3 % of the tokens teach it, 1.73; after
1,000 at 40 % gaps 1.68; after 1,500 in which 18 % teach it 1.02; after 3,000 with 24 % 0.32 (seed 0).

What ends the plateau. At first the only way to a lower loss is to look at the neighbours of a gap, and a model that looks
at all 64 places alike hardly ever finds them. With 2 layers of 64 and weights of 1/sqrt(64), 1,000 updates of 15 % gaps
rest at the counts from random positions, 800 from sinusoids. With `look_near` the loss falls after 300, without shorter
texts: 1,200 updates close 78 %, and with 30 % gaps 84 % (10,000 gaps scored). Sinusoids with the published base of 10,000
have too many slow rates: near places are hardly more alike than far ones. 8 heads of 16 in 128, with 40 % gaps, close
88 % in 1,200 updates, at some two and a half times the work of 64. 4 layers with a rate of 3e-3 wait for 900.
ELECTRA from scratch leaves its plateau too, after 500 updates, but it stands at 0.341 nats after 1,200.
"""

from .causal import elmo, gpt1, score_both_ways, score_causal, ulmfit
from .gaps import EachByItself, bert, look_near, score_masked
from .judge import Channel, electra, score_judge
from .lines import RECIPES, Limits
from .orders import OneText, score_in_order, xlnet
from .students import Student, student
from .texts import LEAK, RATE, Score, T, corpus_of, texts_of, words_of

__all__ = [
    "LEAK",
    "RATE",
    "RECIPES",
    "Channel",
    "EachByItself",
    "Limits",
    "OneText",
    "Score",
    "Student",
    "T",
    "bert",
    "corpus_of",
    "electra",
    "elmo",
    "gpt1",
    "look_near",
    "score_both_ways",
    "score_causal",
    "score_in_order",
    "score_judge",
    "score_masked",
    "student",
    "texts_of",
    "ulmfit",
    "words_of",
    "xlnet",
]

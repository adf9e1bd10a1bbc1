"""What do the chapters learn from newsgroups in a few minutes, and does it save labels?

    python -m benchmarks.newsgroups [TABLE] [MINUTES] [SEEDS]

TABLE is one of those below, `masked` by default; MINUTES are of processor time for each row, SEEDS are 3 by default.
Every row gets the same processor time on one thread, so no table depends on what else the machine does.

masked      BERT and ELECTRA: what they fill in, and what their features are worth
lstm        AWD-LSTM and a plain LSTM on 200,000 words, 20 epochs (no minutes: give 0)
ulmfit      a language, the posts, the topics: three stages beside a classifier from scratch
entities    frozen ELMo, word2vec and GloVe as features of one tagger
xlnet       XLNet and its denoising twin: the same network that fills gaps
distil      a student of half the layers and its twin

Measured, one thread of an AMD EPYC:

    lstm    AWD-LSTM 158.3 and 155.9 (seeds 0 and 1), a plain LSTM 164.1 (seed 0), each at its best epoch, the last; with a
            schedule of 6 epochs 263.6. 200 s of processor time for 20 epochs; a vocabulary of 4,000, 8.5 % unknown words
"""

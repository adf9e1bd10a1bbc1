"""Laws of BERT: what is hidden, what is seen, what the loss counts, and batches that are pure functions."""

from dataclasses import replace

import numpy as np
import pytest

from tinylm import Bert, BertConfig, hub, progress
from tinylm.data import encode_corpus, toy
from tinylm.errors import ArgumentError, TinylmError
from tinylm.objectives.bert import NOT_COUNTED
from tinylm.objectives.bidirectional import SPECIALS
from tinylm.text import WordPiece
from tinylm.training.evaluation import evaluate
from tinylm.training.pretrain import PretrainConfig, learn_encoding, pretrain
from tinylm.transfer.features import encode_texts

TEXTS = toy.documents(40, seed=1)
TOKENIZER = WordPiece.train(TEXTS, 300)
CORPUS = encode_corpus(TEXTS, TOKENIZER, TOKENIZER.end_id, structure=True)
CONFIG = BertConfig(
    TOKENIZER.vocab_size,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=29,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    max_position_embeddings=43,
    sequence_length=41,
    batch_size=7,
    initializer_range=0.3,
)


def model(**changes):
    """A small BERT, prepared for the toy text."""
    found = Bert(replace(CONFIG, **changes))
    found.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    found.prepare(CORPUS)
    return found


def restored(batch):
    """The ids of a batch with the hidden tokens put back, and which places were picked."""
    ids, picked = batch.ids.copy(), np.zeros(batch.ids.shape, bool)
    rows, columns = np.nonzero(batch.targets != NOT_COUNTED)
    places = batch.picks[rows, columns]
    ids[rows, places] = batch.targets[rows, columns]
    picked[rows, places] = True
    return ids, picked


@pytest.mark.parametrize("next_sentence", [True, False])
@pytest.mark.parametrize("whole_words", [True, False])
def test_a_batch_is_text_between_special_tokens_none_of_which_is_picked(next_sentence, whole_words):
    bert = model(next_sentence=next_sentence, whole_words=whole_words)
    pad, cls, sep, mask = (
        TOKENIZER.token_id(name) for name in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
    )
    texts = " ".join(str(i) for i in CORPUS.ids)
    for step in range(20):
        batch = bert.batch(step, seed=3)
        ids, picked = restored(batch)
        assert (ids[:, 0] == cls).all() and not (ids == mask).any()
        assert not np.isin(ids[picked], TOKENIZER.special_ids).any()
        assert np.array_equal(batch.mask, ids != pad)
        assert batch.ids.shape[1] <= 41 and batch.mask.any(axis=0).all()
        for row, types, real in zip(ids, batch.token_types, batch.mask, strict=True):
            length = real.sum()
            row, types = row[:length], types[:length]
            assert row[-1] == sep
            parts = [row[1:-1]]
            if next_sentence:
                assert types.tolist() == sorted(types) and types[-1] == 1
                first = int((types == 0).sum())
                parts = [row[1 : first - 1], row[first:-1]]
                assert row[first - 1] == sep
            else:
                assert not types.any()
            for part in parts:
                assert len(part) and " ".join(map(str, part)) in texts
    assert (batch.is_random is None) == (not next_sentence)


@pytest.mark.parametrize("most", [3, 40])
def test_the_picks_are_as_many_as_published(most):
    batch = model(mask_rate=0.3, max_predictions=most).batch(0, 0)
    counts = (batch.targets != NOT_COUNTED).sum(axis=1)
    lengths = batch.mask.sum(axis=1)
    assert counts.tolist() == [min(most, max(1, round(0.3 * n))) for n in lengths]
    assert np.array_equal(batch.picks < 0, batch.targets == NOT_COUNTED)
    assert batch.tokens == counts.sum() and batch.picks.shape[1] == counts.max()


def test_picks_show_the_mask_themselves_or_any_word():
    bert = model(mask_rate=0.5, max_predictions=41)
    shown, hidden = [], []
    for step in range(200):
        batch = bert.batch(step, 0)
        ids, picked = restored(batch)
        shown.append(batch.ids[picked])
        hidden.append(ids[picked])
        assert np.array_equal(batch.ids[~picked], ids[~picked])
    shown, hidden = np.concatenate(shown), np.concatenate(hidden)
    same, masked = shown == hidden, shown == bert.gap_id
    V = TOKENIZER.vocab_size
    for seen, share in ((masked, 0.8 + 0.1 / V), (same, 0.1 + 0.1 / V)):
        assert abs(seen.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(seen))
    others = shown[~same & ~masked]
    assert len(set(others.tolist())) > 0.9 * V and np.isin(others, TOKENIZER.special_ids).any()


def test_whole_words_are_hidden_whole_in_a_batch():
    batch = model(whole_words=True, mask_rate=0.4, max_predictions=41).batch(2, 0)
    ids, picked = restored(batch)
    continues = np.array([token.startswith("##") for token in TOKENIZER.vocab])[ids]
    behind = continues[:, 1:] & ~np.isin(ids[:, :-1], TOKENIZER.special_ids)
    assert behind.any()
    assert np.array_equal(picked[:, 1:][behind], picked[:, :-1][behind])


@pytest.mark.parametrize("duplicates", [0, 2])
def test_masks_are_drawn_anew_each_time_unless_they_are_duplicates(duplicates):
    bert = model(duplicates=duplicates, next_sentence=False, short_rate=0.0)
    n = len(bert.epochs.pieces(0, 0))
    whole = replace(bert.config, batch_size=n)
    bert.config = whole
    epochs = [bert.batch(epoch, 0) for epoch in range(4)]
    rows = [sorted(map(tuple, epoch.ids.tolist())) for epoch in epochs]
    assert (rows[0] == rows[2] and rows[1] == rows[3]) == bool(duplicates)
    assert rows[0] != rows[1]


def log_softmax(scores):
    """Row by row, in float64."""
    scores = scores.astype(np.float64)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def test_the_loss_is_the_mean_over_picks_plus_the_mean_over_pairs():
    bert = model().eval()
    batch = bert.batch(0, 0)
    scores = log_softmax(bert.logits(batch.ids, batch.mask, token_types=batch.token_types).data)
    nats = [
        -scores[b, place, target]
        for b in range(len(batch.ids))
        for place, target in zip(batch.picks[b], batch.targets[b], strict=True)
        if place >= 0
    ]
    states = bert.encode(batch.ids, batch.mask, batch.token_types)[-1].data.astype(np.float64)
    dense, out = bert.pooler.dense, bert.next
    pooled = np.tanh(states[:, 0] @ dense.weight.data.T + dense.bias.data)
    two = log_softmax(pooled @ out.weight.data.T + out.bias.data)
    pairs = -two[np.arange(len(two)), batch.is_random]
    loss, parts = bert.loss(batch)
    assert loss.item() == pytest.approx(np.mean(nats) + pairs.mean(), rel=1e-5)
    assert parts["masked"] == pytest.approx(np.mean(nats), rel=1e-5)
    total, count = parts["next"]
    assert total / count == pytest.approx(pairs.mean(), rel=1e-5) and count == 7
    right, _ = parts["next_accuracy"]
    assert right == (two.argmax(axis=1) == batch.is_random).sum()


def test_without_the_second_task_the_loss_is_the_first():
    bert = model(next_sentence=False)
    loss, parts = bert.loss(bert.batch(0, 0))
    assert loss.item() == parts["masked"] and list(parts) == ["masked"]
    loss.backward()
    assert bert.next.weight.grad is None and bert.pooler.dense.weight.grad is None


def test_evaluation_reads_every_piece_once_and_always_hides_the_same():
    bert = model()
    found = list(bert.evaluation_batches(CORPUS))
    rows = sum(len(batch.ids) for batch in found)
    assert rows == len(bert.epochs.pieces(0, 0))
    again = list(model().evaluation_batches(CORPUS))
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(found, again, strict=True))
    assert evaluate(bert, CORPUS) == evaluate(bert, CORPUS)


def test_stretches_of_an_evaluation_hold_the_whole_text():
    bert = model(next_sentence=False)
    texts = []
    for batch in bert.evaluation_batches(CORPUS):
        ids, _ = restored(batch)
        texts += [row[1 : n - 1] for row, n in zip(ids, batch.mask.sum(axis=1), strict=True)]
    assert np.array_equal(np.concatenate(texts), CORPUS.ids)


@pytest.mark.parametrize("kind", ["words", "bpe", "chars", "unigram"])
def test_any_encoding_gets_the_special_tokens_and_the_pattern_and_keeps_them(tmp_path, kind):
    options = {"steps": 2, "hidden_size": 6, "batch_size": 3}
    asked = PretrainConfig("bert", "toy", tmp_path / kind, options=options, encoding=kind)
    bert, tokenizer, result = pretrain(asked, TEXTS, quiet=True)
    assert np.isfinite(result["loss"]) and set(SPECIALS) <= set(tokenizer.specials)
    loaded, again = hub.load(tmp_path / kind)
    assert again.vocab == tokenizer.vocab and again.specials == tokenizer.specials
    read = encode_texts(loaded, again, ["a b", "c"])
    assert (read["ids"][:, 0] == again.token_id("[CLS]")).all() and "token_types" in read
    assert loaded.gap_id == bert.gap_id == again.token_id("[MASK]")


def test_an_encoding_that_has_the_special_tokens_stays_as_it_is():
    tokenizer = learn_encoding(Bert, "wordpiece", TEXTS, 300, {})
    assert tokenizer.vocab == TOKENIZER.vocab and tokenizer.added == ()


def test_a_text_without_sentence_ends_is_learned_from_spans_and_says_so(capsys):
    texts = [f"{letter} bb " * 40 for letter in "acde"]
    progress._NOTED.clear()
    bert = Bert(CONFIG)
    bert.spell(TOKENIZER.vocab, TOKENIZER.special_ids)
    for _ in range(2):
        bert.prepare(encode_corpus(texts, TOKENIZER, TOKENIZER.end_id, structure=True))
    said = capsys.readouterr().err
    assert said.count("4 of 4 documents have no sentence ends; spans of 20 tokens") == 1
    labels = np.concatenate([bert.batch(step, 0).is_random for step in range(60)])
    assert 0 < labels.mean() < 1


def test_published_sizes():
    c = BertConfig.base()
    assert (c.hidden_size, c.intermediate_size, c.max_position_embeddings) == (768, 3072, 512)
    assert (c.mask_rate, c.max_predictions, c.masked_share, c.random_share) == (0.15, 20, 0.8, 0.1)
    for size in (BertConfig.tiny, BertConfig.small):
        assert size(100, mask_rate=0.15, max_predictions=20).sinusoids


def test_what_cannot_be_is_one_sentence():
    with pytest.raises(ArgumentError, match="more than 1 together"):
        BertConfig(11, masked_share=0.8, random_share=0.3)
    with pytest.raises(TinylmError, match="2 types"):
        model(type_vocab_size=1)
    with pytest.raises(TinylmError, match="structure=True"):
        Bert(CONFIG).prepare(encode_corpus(TEXTS, TOKENIZER))
    silent = Bert(CONFIG)
    silent.prepare(CORPUS)
    with pytest.raises(TinylmError, match="call spell"):
        silent.batch(0, 0)
    with pytest.raises(TinylmError, match="no filling"):
        silent.need("filling")


def test_lengths_come_by_turns_and_every_step_reads_as_many_tokens():
    config = BertConfig(100, sequence_length=32, batch_size=3, lengths=(8, 8, 32))
    turns = [config.turn(step) for step in range(6)]
    assert [length for length, _, _ in turns] == [8, 8, 32, 8, 8, 32]
    assert {length * count for length, count, _ in turns} == {3 * 32}
    assert [number for length, _, number in turns if length == 8] == [0, 1, 2, 3]
    with pytest.raises(TinylmError, match="none above 32"):
        BertConfig(100, sequence_length=32, lengths=(8, 33))

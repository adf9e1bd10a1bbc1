"""The conversational agent: who speaks each token, what is counted, two heads, and the toy dialogues."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from tinylm import GPT, GPT1, Bert, BertConfig, GPTConfig, hub
from tinylm import ops as F
from tinylm.app.cli import main
from tinylm.data.dialogues import Utterance, load_dialogues
from tinylm.errors import CheckpointError, DataError, TinylmError
from tinylm.text import Chars, Words
from tinylm.transfer import Classifier
from tinylm.transfer.chat import Chat, ChatConfig, ReplyConfig, with_speakers
from tinylm.transfer.choosing import DoubleHeads, Towers
from tinylm.transfer.replies import tfidf_hits, word_f1
from tinylm.transfer.turns import NOT_COUNTED, Reader, Specials, arrange, fitting

S = Specials(101, 102, 103, 104, 105)
LETTERS = Chars("abcdefghijklmnopqrstuvwxyz .?!")
DIALOGUE = Utterance(("i like tea.",), ("hi!", "hello.", "tea?"), ("no.", "it is.", "yes, tea."))


def gpt(tokenizer=LETTERS, positions=61, kind=GPT):
    """A model that learned nothing, in float64."""
    sizes = dict(n_positions=positions, n_embd=12, n_layer=2, n_head=3, initializer_range=0.3)
    config = kind.Config(tokenizer.vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, **sizes)
    return kind(config).astype(np.float64)


OTHER = Utterance((), ("so?",), ("no.", "no, tea.", "yes."))


def agent(seed=0, **over):
    """A Chat that has hardly learned."""
    config = ChatConfig(epochs=1, batch_size=2, accumulation=1, seed=seed, **over)
    return Chat(gpt(), LETTERS, config).fit([DIALOGUE, OTHER])


CHOICES = pytest.mark.parametrize("choice", ["together", "towers"])


# --- the input


@pytest.mark.parametrize("turns", range(1, 8))
def test_the_two_rules_of_who_speaks_agree_for_odd_histories_only(turns):
    history = [[turn] for turn in range(turns)]
    found = arrange([[50]], history, [60], S)
    prefix = max(place for place, i in enumerate(found.ids) if i in (S.speaker1, S.speaker2))
    assert found.ids[prefix] == S.speaker1
    assert (found.speakers[prefix] == S.speaker1) == (turns % 2 == 1)
    assert found.speakers[0] == S.speaker1
    prefixes = [i for i in found.ids if i in (S.speaker1, S.speaker2)]
    assert all(a != b for a, b in zip(prefixes, prefixes[1:], strict=False))


def test_the_loss_counts_the_reply_and_its_end_but_not_who_speaks():
    found = arrange([[1, 2], [3]], [[4], [5, 6], [7]], [8, 9], S)
    assert found.ids[-4:] == [S.speaker1, 8, 9, S.eos]
    assert found.targets == [NOT_COUNTED] * (len(found.ids) - 3) + [8, 9, S.eos]
    open_end = arrange([[1]], [[4]], [], S, ends=False)
    assert open_end.ids[-1] == S.speaker1 and set(open_end.targets) == {NOT_COUNTED}


def test_without_a_persona_a_dialogue_begins_all_the_same():
    found = arrange([], [[4]], [5], S)
    assert found.ids == [S.bos, S.speaker2, 4, S.speaker1, 5, S.eos]
    assert found.speakers[0] == found.speakers[-1] == S.speaker1


@pytest.mark.parametrize("most", [8, 11, 17, 29, 53])
def test_what_is_too_long_is_cut_and_the_speakers_stay(most):
    rng = np.random.default_rng(most)
    for _ in range(100):
        persona = [[1] * int(n) for n in rng.integers(1, 7, rng.integers(0, 4))]
        history = [[2] * int(n) for n in rng.integers(1, 7, rng.integers(1, 6))]
        reply = [3] * int(rng.integers(0, 7))
        parts = fitting(persona, history, reply, most)
        found = arrange(*parts, S)
        assert len(found.ids) <= most
        assert len(parts[1]) % 2 == len(history) % 2
        whole = arrange(persona, history, reply, S)
        if len(whole.ids) <= most:
            assert found == whole


@pytest.mark.parametrize("most", range(3, 8))
def test_even_turns_of_one_token_go_where_nothing_else_is_left(most):
    for turns in range(5):
        parts = fitting([[1]], [[2]] * turns, [3], most)
        assert len(arrange(*parts, S).ids) <= most


def test_the_last_turns_are_read():
    reader = Reader(with_speakers(gpt(), LETTERS, np.random.default_rng(0))[1], None, 1)
    history = ["a", "b", "c", "d", "e"]
    assert reader.arranged((), history, "x") == reader.arranged((), history[-3:], "x")
    assert reader.arranged((), history, "x") != reader.arranged((), history[-2:], "x")


# --- the model


@pytest.mark.parametrize("kind", [GPT, GPT1])
def test_a_speaker_is_added_to_the_vector_of_each_token(kind):
    model = gpt(kind=kind).eval()
    ids = np.array([[5, 6, 7]])
    speakers = np.array([[3, 4, 4]])
    states = model.encode(ids, speakers=speakers)[0].data
    expected = model.encode(ids)[0].data + model.embedding_table()[speakers]
    np.testing.assert_allclose(states, expected, rtol=1e-12)


def test_a_cache_reads_speakers_as_one_reading_does():
    model = gpt().eval()
    ids = np.array([[5, 6, 7, 8, 9]])
    speakers = np.array([[3, 4, 4, 3, 3]])
    whole = model.logits(ids, speakers=speakers).data[:, -1]
    cache = model.start_cache(1, 5)
    model.step(ids[:, :3], cache, speakers=speakers[:, :3])
    found = model.step(ids[:, 3:], cache, speakers=speakers[:, 3:])
    np.testing.assert_allclose(found, whole, rtol=1e-10)


def test_both_losses_are_what_one_would_write_on_paper():
    encoder, tokenizer = with_speakers(gpt(), LETTERS, np.random.default_rng(0))
    encoder = encoder.astype(np.float64)
    network = DoubleHeads(encoder, np.random.default_rng(0), 3).astype(np.float64).eval()
    reader = Reader(tokenizer, None, 2)
    words, choice = network.losses(reader, [DIALOGUE, DIALOGUE])
    numbers = []
    for text in DIALOGUE.candidates:
        row = reader.arranged(DIALOGUE.persona, DIALOGUE.history, text)
        states = encoder.encode([row.ids], speakers=np.array([row.speakers]))[-1]
        top = states.data[0, -1]
        numbers.append(float(top @ network.head.weight.data[0] + network.head.bias.data[0]))
    gold = np.exp(numbers[-1]) / np.exp(numbers).sum()
    assert choice.item() == pytest.approx(-np.log(gold))
    logits = encoder.logits([row.ids], speakers=np.array([row.speakers])).data[0]
    expected = F.cross_entropy(logits[:-1], row.targets[1:]).item()
    assert words.item() == pytest.approx(expected)


def test_the_older_tokens_keep_their_vectors_and_the_given_model_stays():
    model = gpt()
    before = model.embedding_table().copy()
    larger, tokenizer = with_speakers(model, LETTERS, np.random.default_rng(0))
    np.testing.assert_array_equal(larger.embedding_table()[: LETTERS.vocab_size], before)
    # Two of the five, <eos> and <pad>, it has already.
    assert larger.config.vocab_size == LETTERS.vocab_size + 3 == tokenizer.vocab_size
    again, same = with_speakers(larger, tokenizer, np.random.default_rng(0))
    assert same.vocab == tokenizer.vocab and again is not larger
    Chat(model, LETTERS, ChatConfig(epochs=1, rate=0.1)).fit([DIALOGUE])
    np.testing.assert_array_equal(model.embedding_table(), before)


@CHOICES
def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(choice):
    how = {"choice": choice, "rate": 0.01}
    first, second, other = agent(**how), agent(**how), agent(seed=1, **how)
    np.testing.assert_array_equal(first.choose(DIALOGUE), second.choose(DIALOGUE))
    assert not np.allclose(first.choose(DIALOGUE), other.choose(DIALOGUE))


@CHOICES
def test_padding_and_the_other_candidates_do_not_change_a_number(choice):
    chat = agent(choice=choice)
    numbers = chat.choose(DIALOGUE)
    for place, text in enumerate(DIALOGUE.candidates):
        alone = Utterance(DIALOGUE.persona, DIALOGUE.history, (text,))
        assert chat.choose(alone)[0] == pytest.approx(numbers[place], rel=1e-5)


def test_a_reply_has_as_many_tokens_as_asked_and_no_special_one():
    chat = agent()
    rng = np.random.default_rng(0)
    how = ReplyConfig(longest=7, shortest=7, top_p=1.0, temperature=3.0)
    for _ in range(20):
        said = chat.reply((), ["tea?"], rng, how)
        assert "<" not in said and len(said) <= 7
    greedy = ReplyConfig(temperature=0.0)
    assert chat.reply((), ["tea?"], None, greedy) == chat.reply((), ["tea?"], None, greedy)


def test_a_long_history_leaves_room_for_a_reply():
    chat = Chat(gpt(positions=23), LETTERS, ChatConfig(epochs=1)).fit([DIALOGUE])
    how = ReplyConfig(temperature=0.0, shortest=5)
    assert isinstance(chat.reply(("i like tea." * 9,), ["tea?" * 30] * 9, None, how), str)


def test_perplexity_and_hits_are_those_of_the_single_utterances():
    chat = agent()
    other = Utterance((), ("so?",), ("no.", "yes."))
    both = chat.evaluate([DIALOGUE, other])
    parts = [chat.evaluate([DIALOGUE]), chat.evaluate([other])]
    assert both.hits == pytest.approx(np.mean([part.hits for part in parts]))
    lengths = [len(LETTERS.encode(u.reply)) + 1 for u in (DIALOGUE, other)]
    nats = [np.log(part.perplexity) * n for part, n in zip(parts, lengths, strict=True)]
    assert np.log(both.perplexity) == pytest.approx(sum(nats) / sum(lengths), rel=1e-5)
    assert both.f1 is None and both.count == 2


@CHOICES
def test_saved_is_loaded(choice, tmp_path):
    chat = agent(choice=choice)
    chat.save(tmp_path / "chat")
    again = Chat.load(tmp_path / "chat")
    np.testing.assert_allclose(again.choose(DIALOGUE), chat.choose(DIALOGUE), rtol=1e-5)
    how = ReplyConfig(temperature=0.0)
    assert again.reply((), ["tea?"], None, how) == chat.reply((), ["tea?"], None, how)
    with pytest.raises(CheckpointError, match="adapted to the task 'chat'"):
        Classifier.load(tmp_path / "chat")


# --- the towers


def towers(**over):
    """Towers that learned nothing, in float64, with large shares of both kinds of vectors; a reader."""
    rng = np.random.default_rng(0)
    encoder, tokenizer = with_speakers(gpt(), LETTERS, rng)
    network = Towers(encoder.astype(np.float64), rng, width=7, **over).astype(np.float64)
    network.share.data[...] = 1.7
    return network.eval(), Reader(tokenizer, None, 2)


def vector_on_paper(network, reader, row, tower):
    """The vector of one text, its special tokens left out."""
    states = network.encoder.encode([row.ids], speakers=np.array([row.speakers]))[-1].data[0]
    places = [t for t, i in enumerate(row.ids) if i not in reader.tokenizer.special_ids]
    own = network.words.data[np.array(row.ids)[places]].sum(axis=0)
    made = states[places].sum(axis=0) @ tower.weight.data.T / np.sqrt(len(places))
    both = own / np.sqrt(len(places)) + 1.7 * (made + tower.bias.data)
    return both / np.linalg.norm(both)


def test_a_number_of_the_towers_is_the_cosine_that_one_would_write_on_paper():
    network, reader = towers()
    found = network.numbers(reader, [DIALOGUE, OTHER])
    for numbers, u in zip(found, [DIALOGUE, OTHER], strict=True):
        asked = reader.arranged(u.persona, u.history, None)
        left = vector_on_paper(network, reader, asked, network.dialogue)
        for number, text in zip(numbers, u.candidates, strict=True):
            row = reader.arranged((), (), text)
            right = vector_on_paper(network, reader, row, network.reply)
            assert number == pytest.approx(10 * left @ right, rel=1e-9)


def test_the_replies_of_a_batch_are_the_distractors_but_for_equal_ones():
    network, reader = towers()
    same = Utterance((), ("well?",), (DIALOGUE.reply,))
    batch = [DIALOGUE, OTHER, same]
    replies = [u.reply for u in batch]
    each = [replace(u, candidates=tuple(replies)) for u in batch]
    numbers = np.array(network.numbers(reader, each))
    numbers[0, 2] = numbers[2, 0] = -np.inf  # the same words
    gold = np.exp(np.diag(numbers)) / np.exp(numbers).sum(axis=1)
    words, choice = network.losses(reader, batch)
    assert choice.item() == pytest.approx(-np.log(gold).mean(), rel=1e-9)
    together = DoubleHeads(network.encoder, np.random.default_rng(0), 1).astype(np.float64).eval()
    assert words.item() == pytest.approx(together.losses(reader, batch)[0].item(), rel=1e-9)


def test_towers_begin_by_comparing_words_and_what_every_text_has_counts_nothing():
    network, reader = towers()
    network = Towers(network.encoder, np.random.default_rng(0), width=512)
    network = network.astype(np.float64).eval()
    network.share.data[...] = 0
    said = ("a a a.", "a a tea.", "a a.", "a q.", "a b.")
    network.begin(reader, [Utterance((), ("a.",), (text,)) for text in said])
    (numbers,) = network.numbers(reader, [Utterance((), ("a q.",), ("a b.", "tee", "b q!"))])
    assert numbers[2] > 4 and np.all(
        np.abs(numbers[:2]) < 1
    )  # "q" is shared; "a" and "." are everywhere


def test_a_text_without_words_fits_nothing():
    network, reader = towers()
    network.dialogue.bias.data[...] = network.reply.bias.data[...] = 1.0  # as learned
    (numbers,) = network.numbers(reader, [Utterance((), ("",), ("yes.", ""))])
    np.testing.assert_array_equal(numbers, 0)


def test_an_empty_text_counts_for_no_word():
    network, reader = towers()
    network.begin(reader, [Utterance(("",), ("a q.",), ("a b.", ""))])
    assert np.isfinite(network.words.data).all()


def test_words_left_out_change_training_only_and_by_the_step():
    network, reader = towers(left_out=0.5)
    quiet = network.losses(reader, [DIALOGUE, OTHER])[1].item()
    network.train()
    losses = []
    for step in (0, 0, 1):
        network.rewind(seed=3, step=step)
        losses.append(network.losses(reader, [DIALOGUE, OTHER])[1].item())
    assert losses[0] == losses[1] != losses[2] and quiet not in losses


def test_every_parameter_of_the_towers_learns():
    network, reader = towers()
    words, choice = network.losses(reader, [DIALOGUE, OTHER])
    (words + choice).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and np.any(parameter.grad), name


# --- measures


def test_f1_counts_a_repeated_word_as_often_as_both_say_it():
    assert word_f1("a dog, a dog", "dog dog dog") == pytest.approx(2 * 2 / 5)
    assert word_f1("The", "the") == 0.0 and word_f1("Sea!", "the sea") == 1.0


def test_tfidf_finds_the_reply_that_shares_words_and_guesses_where_none_does():
    train = [Utterance((), ("do you sail ?",), ("i bake .", "i sail ."))]
    assert tfidf_hits(train, train) == 1.0
    blind = [Utterance((), ("so ?",), ("no .", "i bake .", "yes .", "i sail ."))]
    assert tfidf_hits(train, blind) == 0.25


# --- mistakes


def test_mistakes_are_one_sentence():
    with pytest.raises(TinylmError, match="bert has no conversation"):
        Chat(Bert(BertConfig.tiny(13)), LETTERS)
    with pytest.raises(DataError, match="fewer than 3 candidates"):
        Chat(gpt(), LETTERS, ChatConfig(candidates=3)).fit([Utterance((), ("a",), ("b", "c"))])
    with pytest.raises(TinylmError, match="batch_size is 1; give 2 or more"):
        Chat(gpt(), LETTERS, ChatConfig(choice="towers", batch_size=1)).fit([DIALOGUE])
    with pytest.raises(TinylmError, match="too few for a dialogue"):
        Chat(gpt(positions=7), LETTERS).fit([DIALOGUE])
    with pytest.raises(TinylmError, match="not fitted yet"):
        Chat(gpt(), LETTERS).reply((), ["a"], None)
    with pytest.raises(DataError, match="one without candidates"):
        agent().evaluate([DIALOGUE, replace(OTHER, candidates=())])


# --- the toy dialogues


@pytest.fixture(scope="module")
def talker():
    """A small GPT that has learned the toy dialogues, and those that it has not seen."""
    train, test = load_dialogues("toy", "train"), load_dialogues("toy", "test")
    words = Words.train(
        [*(u.reply for u in train), *(" ".join(u.persona + u.history) for u in train)]
    )
    sizes = dict(n_positions=32, n_embd=32, n_layer=2, n_head=2, initializer_range=0.15)
    model = GPT(GPTConfig(words.vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, **sizes))
    config = ChatConfig(candidates=4, rate=5e-3, batch_size=16, accumulation=1, epochs=EPOCHS)
    return Chat(model, words, config).fit(train), train, test


EPOCHS = 3


def test_a_small_gpt_replies_as_its_persona_would(talker):
    chat, train, test = talker
    test = test[:100]
    scores = chat.evaluate(test, np.random.default_rng(0))
    assert scores.hits >= 0.9 and scores.f1 >= 0.9 and scores.perplexity < 2
    assert tfidf_hits(train, test) < 0.3


def test_towers_learn_which_words_answer_which(talker):
    encoder = talker[0].encoder
    train, test = talker[1:]
    config = ChatConfig(
        choice="towers", width=32, rate=1e-2, batch_size=32, accumulation=1, epochs=3
    )
    chat = Chat(encoder, talker[0].tokenizer, config).fit(train)
    assert chat.evaluate(test[:100]).hits >= 0.9


def test_the_command_answers_line_by_line(talker, tmp_path, capsys):
    chat, _, test = talker
    chat.save(tmp_path / "chat")
    (tmp_path / "said.txt").write_text("hello .\n\nwhat do you like ?\n")
    (persona,) = test[0].persona
    command = ["chat", str(tmp_path / "chat"), str(tmp_path / "said.txt"), "--persona", persona]
    assert main([*command, "--temperature", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1] == test[0].reply
    assert main([*command, "--temperature", "0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [turn["reply"] for turn in result["turns"]] == lines
    assert main(["chat", str(tmp_path / "none")]) == 2


def test_an_answer_tells_the_terminal_nothing(tmp_path, monkeypatch, capsys):
    agent().save(tmp_path / "chat")
    (tmp_path / "said.txt").write_text("hello .\n")
    monkeypatch.setattr(Chat, "reply", lambda *given, **more: "\x1b[31mred")
    assert main(["chat", str(tmp_path / "chat"), str(tmp_path / "said.txt")]) == 0
    assert capsys.readouterr().out == "\\x1b[31mred\n"


def test_what_is_tested_on_is_read_before_anything_is_learned(
    talker, tmp_path, monkeypatch, capsys
):
    hub.save(tmp_path / "gpt", talker[0].encoder, talker[0].tokenizer)

    def fit(*given):
        raise AssertionError("learning began")

    monkeypatch.setattr(Chat, "fit", fit)
    command = ["finetune", str(tmp_path / "gpt"), "--task", "chat", "--train", "toy"]
    assert main([*command, "--test", "none.json", "--out", str(tmp_path / "out")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_the_end_of_input_and_an_interruption_end_it_cleanly(tmp_path, monkeypatch, capsys):
    agent().save(tmp_path / "chat")

    class Terminal(io.BytesIO):
        def __next__(self):
            if self.tell():
                raise KeyboardInterrupt
            return super().__next__()

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Terminal(b"tea?\nmilk?\n")))
    assert main(["chat", str(tmp_path / "chat")]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["chat", str(tmp_path / "chat")]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    assert main(["chat", str(tmp_path / "chat")]) == 2
    monkeypatch.setattr("sys.stdin", None)
    assert main(["chat", str(tmp_path / "chat")]) == 2
    assert "There is no standard input" in capsys.readouterr().err


def test_the_command_learns_dialogues_from_a_file(tmp_path, capsys):
    row = {"history": ["tea?"], "candidates": ["no.", "yes."]}
    dialogue = {"personality": ["i like tea."], "utterances": [row] * 3}
    (tmp_path / "persona.json").write_text(json.dumps({"train": [dialogue], "valid": [dialogue]}))
    hub.save(tmp_path / "gpt", gpt().astype(np.float32), LETTERS)
    data = str(tmp_path / "persona.json")
    command = ["finetune", str(tmp_path / "gpt"), "--task", "chat", "--train", data]
    assert main([*command, "--test", data, "--out", str(tmp_path / "chat"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["train"] == result["test"] == 3
    assert 0 <= result["hits"] <= 1 and result["perplexity"] > 1 and 0 <= result["f1"] <= 1
    assert Chat.load(tmp_path / "chat").reply((), ["tea?"], np.random.default_rng(0)) is not None
    assert main([*command, "--set", "epochs=1", "--out", str(tmp_path / "short")]) == 0
    assert Chat.load(tmp_path / "short").config.epochs == 1
    assert main([*command, "--set", "epoch=1", "--out", str(tmp_path / "wrong")]) == 2

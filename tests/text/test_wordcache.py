"""The memory of words: each is worked out once while there is room, and the room is bounded."""

import pytest

from tinylm.text.wordcache import Remembered

LONG = "x" * 1000


@pytest.fixture
def small(monkeypatch):
    """Room for five words."""
    monkeypatch.setattr("tinylm.text.wordcache.CACHE_WORDS", 5)


def lengths():
    """A memory of the lengths of words, and the list of the words that were worked out."""
    found = []

    def find(words):
        found.extend(words)
        return [len(word) for word in words]

    return Remembered(find), found


def test_a_word_is_worked_out_once_however_often_it_is_asked_for():
    memory, found = lengths()
    memory.learn(["sea", "wave", "sea"])
    assert [memory[word] for word in ("sea", "wave", "sea", "land", "land")] == [3, 4, 3, 4, 4]
    memory.learn(["land", "sea"])
    assert found == ["sea", "wave", "land"]


def test_a_long_word_is_worked_out_each_time_and_never_kept():
    memory, found = lengths()
    memory.learn([LONG, "sea"])
    assert found == ["sea"] and memory[LONG] == memory[LONG] == 1000
    assert found == ["sea", LONG, LONG] and list(memory) == ["sea"]


def test_one_by_one_the_memory_never_holds_more_than_its_bound(small):
    memory, _ = lengths()
    for n in range(20):
        assert memory["w" * n] == n and len(memory) <= 5


def test_many_at_once_are_all_answered_and_no_more_are_kept_than_the_bound(small):
    memory, _ = lengths()
    for begin in (0, 3, 20):
        words = ["w" * n for n in range(begin, begin + 12)]
        memory.learn(words)
        assert len(memory) <= 5
        assert [memory[word] for word in words] == [*map(len, words)]

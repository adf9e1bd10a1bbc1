"""Questions whose answers stand in a text, in the files of SQuAD 1.1 and 2.0.

    {"version": "v2.0", "data": [{"title": "Sea", "paragraphs": [{
        "context": "The sea is calm today.",
        "qas": [
            {"id": "a1", "question": "How is the sea?", "is_impossible": false,
             "answers": [{"text": "calm", "answer_start": 11}]},
            {"id": "a2", "question": "How is the sky?", "is_impossible": true, "answers": []}
        ]}]}]}

In version 1.1 every question has an answer and `is_impossible` is missing. `answer_start` counts
characters. Where people gave several answers, each is right. An answer that does not stand where
the file says is found elsewhere in the text, or left out with a note.
Source: Rajpurkar et al. 2016; Rajpurkar, Jia & Liang 2018.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm import files
from tinylm.errors import DataError
from tinylm.progress import note

FAR = 10_000  # characters between the place of an answer and the place that the file says


@dataclass(frozen=True)
class Answer:
    """Words of a text: context[start : start + len(text)]."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The place behind the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True)
class Question:
    """A question, the text that may answer it, and the right answers; none if it does not.

    >>> Question("a1", "How is the sea?", "The sea is calm.", (Answer("calm", 11),)).impossible
    False
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()

    @property
    def impossible(self) -> bool:
        """Whether the text does not answer the question."""
        return not self.answers


def read(path: str | Path, answered: bool = True) -> list[Question]:
    """The questions of a file.

    answered : False allows questions that do not say their answers
    raises DataError  naming the file, the place and the fault
    """
    found = []
    moved = 0
    lost = 0
    stored = files.read_json(path)
    if not isinstance(stored, dict):
        _refuse(path, "the file", 'an object with the key "data", as SQuAD has')
    for where, paragraph in _paragraphs(path, stored):
        context = _get(path, where, paragraph, "context", str)
        for n, entry in enumerate(_get(path, where, paragraph, "qas", list)):
            place = f"{where}.qas[{n}]"
            if not isinstance(entry, dict):
                _refuse(path, place, "an object")
            name = _get(path, place, entry, "id", str)
            question = _get(path, place, entry, "question", str).strip()
            if entry.get("is_impossible") is True:
                answers = []
            elif answered or "answers" in entry:
                answers = list(_answers(path, place, entry))
            else:
                answers = []
            right = []
            for answer in answers:
                corrected = _placed(context, answer)
                moved += corrected not in (None, answer)
                lost += corrected is None
                if corrected is not None:
                    right.append(corrected)
            if answers and not right:
                continue  # its answer does not stand in the text
            found.append(Question(name, question, context, tuple(right)))
    if moved or lost:
        note(f"{path}: {moved} answers were found elsewhere in their text, {lost} nowhere")
    ids = {question.id for question in found}
    if len(ids) < len(found):
        raise DataError(f"{str(path)!r}: {len(found) - len(ids)} ids of questions are repeated.")
    return found


def _paragraphs(path: str | Path, stored: dict) -> Iterator[tuple[str, dict]]:
    """(place, paragraph) of every paragraph."""
    for i, article in enumerate(_get(path, "the file", stored, "data", list)):
        where = f"data[{i}]"
        if not isinstance(article, dict):
            _refuse(path, where, "an object")
        for j, paragraph in enumerate(_get(path, where, article, "paragraphs", list)):
            place = f"{where}.paragraphs[{j}]"
            if not isinstance(paragraph, dict):
                _refuse(path, place, "an object")
            yield place, paragraph


def _answers(path: str | Path, where: str, entry: dict) -> Iterator[Answer]:
    """The answers of one question; an answer without words is none."""
    for n, answer in enumerate(_get(path, where, entry, "answers", list)):
        place = f"{where}.answers[{n}]"
        if not isinstance(answer, dict):
            _refuse(path, place, "an object")
        text = _get(path, place, answer, "text", str)
        start = _get(path, place, answer, "answer_start", int)
        if text:
            yield Answer(text, start)


def _placed(context: str, answer: Answer) -> Answer | None:
    """An answer where it stands in the text, the nearest place to what the file says; or None.

    It is looked for within FAR characters, so that many answers that stand nowhere cost no more
    than there are of them.

    >>> _placed("a sea, a lake", Answer("sea", 3))
    Answer(text='sea', start=2)
    """
    if answer.start >= 0 and context[answer.start : answer.end] == answer.text:
        return answer
    said = min(max(answer.start, 0), len(context))
    begin = max(said - FAR, 0)
    near = context[begin : said + FAR + len(answer.text)]
    before = near[: said - begin + len(answer.text)]
    # The last place before: the first one in the turned text, for str.rfind can cost the square.
    last = before[::-1].find(answer.text[::-1])
    places = []
    if last >= 0:
        places.append(begin + len(before) - last - len(answer.text))
    following = near.find(answer.text, said - begin)
    if following >= 0:
        places.append(begin + following)
    if not places:
        return None
    return Answer(answer.text, min(places, key=lambda place: abs(place - answer.start)))


def _get(path: str | Path, where: str, entry: dict, key: str, kind: type) -> Any:
    """A value of the right type; True and False are no whole numbers.   raises DataError"""
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        named = {str: "a string", list: "a list", int: "a whole number"}[kind]
        got = "it is missing" if key not in entry else f"it is {value!r:.40}"
        _refuse(path, where, f"{named} as {key!r}, but {got}")
    return value


def _refuse(path: str | Path, where: str, expected: str) -> None:
    raise DataError(f"{str(path)!r}, {where}: expected {expected}.")


def written(questions: list[Question]) -> dict:
    """Questions as the content of a SQuAD 2.0 file, one paragraph for each text.

    >>> written([Question("a", "Who?", "Ada.", (Answer("Ada", 0),))])["data"][0]["title"]
    'tinylm'
    """
    paragraphs: dict[str, list] = {}
    for question in questions:
        answers = [{"text": each.text, "answer_start": each.start} for each in question.answers]
        entry = {
            "id": question.id,
            "question": question.question,
            "answers": answers,
            "is_impossible": question.impossible,
        }
        paragraphs.setdefault(question.context, []).append(entry)
    rows = [{"context": context, "qas": qas} for context, qas in paragraphs.items()]
    return {"version": "v2.0", "data": [{"title": "tinylm", "paragraphs": rows}]}

"""What `tinylm compare` makes of its options, and what it prints of a comparison."""

import json

import numpy as np
import pytest

from tinylm import report
from tinylm.app.cli import main
from tinylm.objectives.registry import CHAPTERS, STUDENTS
from tinylm.transfer import compare
from tinylm.transfer.adapt import AdaptConfig
from tinylm.transfer.experiment import TEACHER, Comparison
from tinylm.transfer.task import Task

SCORES = {"gpt features": (0.5, 0.75), "gpt fine-tuned": (0.25, 0.5), "gpt from scratch": (0, 0.25)}
FACTS = {"steps": 3, "seconds": 5.0, "loss": 9.0, "token_loss": 6.9, "unigram": 7.0, "read": 4321}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The configs that were run; each run finds the same numbers."""
    configs = []

    def run(config):
        configs.append(config)
        rows = []
        for method, scores in SCORES.items():
            for budget, score in zip((2, 8), scores, strict=True):
                row = {"method": method, "budget": budget, "seed": 0, "accuracy": score}
                rows.append(row | {"macro_f1": score, "seconds": 1.0})
        task = Task("posts", ["a", "b"], np.array(["x", "y"]), ["c"], np.array(["x"]), 1)
        return Comparison(config, task, rows, {"gpt": FACTS})

    monkeypatch.setattr(compare, "run", run)
    monkeypatch.setattr(report, "write", lambda comparison: tmp_path / "report.html")
    return configs


def command(tmp_path, *options):
    return ["compare", "--data", "toy", "--out", str(tmp_path / "out"), *options]


def test_all_is_the_whole_history_with_students_after_their_teacher(asked, tmp_path):
    assert main(command(tmp_path, "--objectives", "all", "--minutes", "1.5")) == 0
    [config] = asked
    assert config.objectives == (*CHAPTERS, *STUDENTS) and config.minutes == 1.5
    place = config.objectives.index
    assert all(place(TEACHER) < place(student) for student in STUDENTS)


def test_one_rate_a_test_size_and_further_labels_can_be_asked_for(asked, tmp_path):
    given = ["--rates", "3e-4", "--max-length", "128", "--test-size", "0", "--seeds", "2"]
    assert main(command(tmp_path, *given, "--scratch-labels", "100,all")) == 0
    [config] = asked
    assert config.adapt == AdaptConfig(max_length=128, rates=(3e-4,))
    assert (config.test_size, config.scratch_labels, config.seeds) == (0, (100, "all"), 2)


def test_tokens_stand_in_the_place_of_minutes(asked, tmp_path, capsys):
    assert main(command(tmp_path, "--tokens", "5000")) == 0
    [config] = asked
    assert (config.minutes, config.tokens) == (None, 5000)
    assert "4,321" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(command(tmp_path, "--tokens", "5000", "--minutes", "1"))


def test_what_is_printed_holds_the_factor_and_the_plateau(asked, tmp_path, capsys):
    given = ["--objectives", "gpt", "--labels", "2,8", "--seeds", "1"]
    assert main(command(tmp_path, *given)) == 0
    said = capsys.readouterr().out
    for part in ("labels saved, times", "no, still on it", "> 4.0"):
        assert part in said
    assert main([*command(tmp_path, *given), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    sentences = found["sentence"].splitlines()
    assert len(sentences) == 3 and all(one in said.splitlines() for one in sentences)
    assert sentences[0].endswith("on 0.0 %, in the only draw of labels.")
    assert found["on_unigram_plateau"] == {"gpt": True}
    factors = {(one["way"], one["budget"]): one["factor"] for one in found["labels_saved"]}
    assert factors == {
        ("features", 2): 4,
        ("features", 8): 1,
        ("fine-tuned", 2): 4,
        ("fine-tuned", 8): 1,
    }
    assert [one["bound"] for one in found["labels_saved"]] == [">", ">", "", ">"]

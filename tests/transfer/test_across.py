"""Several tasks: a folder each, one table, and a sentence that says where context pays, or that it does not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tinylm.app.cli import main
from tinylm.errors import TinylmError
from tinylm.transfer import across, compare
from tinylm.transfer.adapt import AdaptConfig
from tinylm.transfer.task import TaggedTask, Task


def tiny(out, **over):
    given = dict(
        objectives=("word2vec", "gpt"),
        minutes=0.004,
        labels=(2,),
        seeds=2,
        out=out,
        size="tiny",
        test_size=20,
        adapt=AdaptConfig(max_length=17, updates=2),
        quiet=True,
    )
    return compare.CompareConfig(**given | over)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = tiny(tmp_path_factory.mktemp("tasks"))
    return config, across.run(config, ["toy", "tag:toy"])


def test_each_task_is_a_comparison_in_its_own_folder(finished):
    config, found = finished
    assert list(found) == ["toy", "tag:toy"]
    assert type(found["toy"].task) is Task and type(found["tag:toy"].task) is TaggedTask
    for source, folder in (("toy", "toy"), ("tag:toy", "tag-toy")):
        alone = compare.run(replace(config, data=source, out=config.out / folder))
        assert alone.rows == found[source].rows
        assert (config.out / folder / "gpt" / "pretrained.json").exists()


def test_what_is_finished_is_not_computed_again(finished, monkeypatch):
    config, found = finished
    monkeypatch.setattr(compare, "pretrain", None)
    again = across.run(config, ["tag:toy", "toy"])
    assert {source: each.rows for source, each in again.items()} == {
        source: each.rows for source, each in found.items()
    }


def test_the_time_of_all_tasks_is_in_their_folders(finished, tmp_path):
    config, _ = finished
    both = across.configs(config, ["toy", "tag:toy"])
    assert across.how_far(both).startswith("all 40 parts done in ")
    more = across.configs(config, ["toy", "tag:toy", "toy-sentiment"])
    assert across.how_far(more).startswith("40 of 60 parts done in ")
    assert across.how_far(across.configs(replace(config, out=tmp_path), ["toy"])).startswith(
        "0 of 20 parts done, about "
    )


def test_the_table_has_every_system_and_every_task(finished):
    _, found = finished
    head, rows = across.table(found)
    assert head == ["system", "toy: accuracy, 2 per class", "tag:toy: f1, 2 per class"]
    cells = {row[0]: row[1:] for row in rows}
    assert set(cells) == {*found["toy"].methods(), *found["tag:toy"].methods()}
    assert cells["TF-IDF"][1] == cells["word counts"][0] == "–"
    assert all("±" in cell for cell in cells["gpt fine-tuned"])


def test_context_is_what_encoders_of_several_layers_have(finished):
    for comparison in finished[1].values():
        assert across.contextual(comparison) == ["gpt"]
        counting = comparison.config.counting
        assert across.rivals(comparison) == [counting, "word2vec features", "word2vec fine-tuned"]


def test_a_task_that_lacks_labels_is_found_before_any_training(tmp_path):
    with pytest.raises(TinylmError, match="smaller budget"):
        across.run(tiny(tmp_path, labels=(4000,)), ["tag:toy", "toy"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["small", "settings", "foreign"])
def test_whatever_the_last_task_lacks_is_found_before_the_first_is_trained(
    tmp_path, monkeypatch, fault
):
    config = tiny(tmp_path / "out")
    other = tmp_path / "mine.tsv"
    other.write_text("".join(f"a{i}\t{'xy'[i % 2]}\n" for i in range(8)))
    sources = ["toy", str(other)]
    found = across.configs(config, sources)[str(other)]
    if fault != "small":
        other.write_text(
            "".join(f"{'some words in a row ' * 40}{i}\t{'xy'[i % 2]}\n" for i in range(40))
        )
        found.out.mkdir(parents=True)
    if fault == "settings":
        (found.out / "settings.json").write_text('{"minutes": 9}')
    if fault == "foreign":
        (found.out / "diary.txt").write_text("mine")
    begun = []
    monkeypatch.setattr(compare, "pretrain", lambda *given, **more: begun.append(given))
    with pytest.raises(TinylmError, match="cannot learn|holds a comparison with|diary.txt"):
        across.run(config, sources)
    assert not begun


def test_the_page_of_several_tasks_replaces_nothing_of_anybody_else(tmp_path, capsys):
    page = tmp_path / "report.html"
    page.write_text("another comparison")
    (tmp_path / "settings.json").write_text("{}")
    command = ["compare", "--data", "toy,tag:toy", "--quiet", "--out"]
    assert main([*command, str(tmp_path)]) == 2
    assert "already holds a comparison; give another folder" in capsys.readouterr().err
    assert page.read_text() == "another comparison"
    assert main([*command, ""]) == 2
    assert "the name of the output folder is empty" in capsys.readouterr().err


def test_two_tasks_never_share_a_folder(tmp_path):
    for sources in (["toy", "toy"], ["a/mine.tsv", "b/mine.tsv"]):
        with pytest.raises(TinylmError, match="share the folder"):
            across.configs(tiny(tmp_path), sources)


# ---- the sentence, on numbers made up for it


def made_up(gpt, word2vec, counting):
    """Each [accuracy per seed], at 2 labels per class."""
    methods = {"TF-IDF": counting, "word2vec features": word2vec, "gpt features": gpt}
    rows = []
    for method, values in methods.items():
        for seed, value in enumerate(values):
            rows.append({"method": method, "budget": 2, "seed": seed, "accuracy": value})
    config = compare.CompareConfig(objectives=("word2vec", "gpt"), labels=(2,))
    task = Task("posts", ["a"], np.array(["x"]), ["b"], np.array(["x"]), 1)
    layers = {"word2vec": {"layers": 1}, "gpt": {"layers": 3}}
    return compare.Comparison(config, task, rows, {}, layers)


WON = made_up([0.75, 0.8], [0.5, 0.55], [0.6, 0.65])
LOST = [
    made_up([0.75, 0.8], [0.5, 0.85], [0.6, 0.65]),  # one seed of word2vec is better
    made_up([0.75, 0.8], [0.5, 0.55], [0.6, 0.8]),  # one seed ties with counting
    made_up([0.75], [0.5], [0.6]),  # a single seed beats nothing
    made_up([], [0.5, 0.55], [0.6, 0.65]),
]


def test_a_task_is_won_if_every_rival_is_beaten_in_every_seed():
    assert across.winners(WON) == {"gpt features": [2]}
    said = across.sentence({"posts": WON, "films": LOST[0]})
    assert "in every seed on posts (gpt features at 2 labels per class); on films none does" in said


@pytest.mark.parametrize("lost", LOST)
def test_otherwise_the_sentence_says_that_none_does(lost):
    assert across.winners(lost) == {}
    said = across.sentence({"posts": lost, "films": lost})
    assert said.startswith("On posts and films, no contextual model beats")


def test_the_command_takes_several_sets(tmp_path, capsys):
    command = ["compare", "--data", "toy,tag:toy", "--objectives", "word2vec", "--minutes", "0.002"]
    sizes = ["--labels", "2", "--seeds", "1", "--test-size", "10", "--out", str(tmp_path)]
    assert main([*command, *sizes, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["tasks"]) == ["toy", "tag:toy"] and len(found["table"]) == 6
    assert found["winners"] == {"toy": {}, "tag:toy": {}}
    assert "no contextual model" in found["sentence"]
    assert main([*command, *sizes, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "== tag:toy ==" in said and "== all tasks ==" in said

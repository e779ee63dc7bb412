"""Reasons on disk: a page that needs nothing else, and folders without leftovers."""

import json
from html.parser import HTMLParser

import pytest

from musicbert.cli.main import main
from musicbert.explanation import passages
from musicbert.synthesis import make_set


@pytest.fixture(scope="module")
def piece(tmp_path_factory):
    path = tmp_path_factory.mktemp("music") / "a<b>.mid"
    next(iter(make_set(3, performers=2, segments=2, movements=1).scores.values())).save(path)
    return path


class Page(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [f"{name}={value}" for name, value in attrs]


def explained(*words):
    return main(["explain", *map(str, words), "--dimension", "pedal sparse"])


def test_the_page_needs_nothing_else(piece, tmp_path, monkeypatch):
    page = tmp_path / "reasons.html"
    assert explained(piece, "--output", page) == 0
    text = page.read_text(encoding="utf-8")
    found = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert not [each for each in found.values if each.startswith(("src=", "href=", "on"))]
    assert "url(" not in text
    assert "a&lt;b&gt;.mid" in text
    assert "because of" in text
    assert found.values.count("class=effect") == 7 + 8  # factors, and the largest properties
    assert any(each.startswith("d=M") for each in found.values)
    assert "Each note was left out in turn" in text
    monkeypatch.setattr(passages, "offered", lambda: {"profile": {"bars gone": ["gone"]}})
    assert explained(piece, "--output", page) == 0
    assert "Each bar was left out in turn (notes were not measured" in page.read_text(encoding="utf-8")


def test_a_folder_of_an_earlier_run_has_no_leftovers(piece, tmp_path, capsys):
    folder = tmp_path / "reasons"
    assert explained(piece, "--output", folder) == 0
    made = {path.name for path in folder.iterdir()}
    content = json.loads((folder / "explanation.json").read_text())
    assert {"explanation.json", *content["files"]} == made
    (folder / "old_up.mid").touch()
    content["files"].append("old_up.mid")
    (folder / "explanation.json").write_text(json.dumps(content))
    assert explained(piece, "--output", folder) == 0
    assert {path.name for path in folder.iterdir()} == made
    (folder / "mine.txt").write_text("kept")
    capsys.readouterr()
    assert explained(piece, "--output", folder) == 2
    assert "output-exists" in (said := capsys.readouterr().err)
    assert "mine.txt" in said
    assert (folder / "mine.txt").read_text() == "kept"

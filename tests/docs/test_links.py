"""Links and anchors in every Markdown page of the repository lead somewhere."""

import importlib.util
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: folders of the repository that hold pages
FOLDERS = ("benchmarks", "checkpoints", "data", "docs", "musicbert", "results", "scripts", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))])
FENCE = re.compile(r"^```.*?^```[^\n]*$", re.M | re.S)


@pytest.fixture(scope="module")
def hooks():
    """The program that finds links for the site."""
    pytest.importorskip("mkdocs", reason="needs mkdocs (pip install 'musicbert[docs]')")
    path = ROOT / "docs" / "tools" / "site_hooks.py"
    spec = importlib.util.spec_from_file_location("site_hooks", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("site_hooks", module)
    spec.loader.exec_module(module)
    return module


@cache
def anchors(path):
    """Anchors of a page's headings, as GitHub names them."""
    found, counted = set(), Counter()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", path.read_text()), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{name}-{counted[name]}" if counted[name] else name)
        counted[name] += 1
    return found


def problems_of(page, hooks):
    """Links of a page that lead nowhere."""
    for match in hooks.links(page.read_text()):
        link = match[3]
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: no {path}"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page.relative_to(ROOT)}: no #{anchor} in {target.name}"


def test_links_and_anchors_lead_somewhere(hooks):
    assert {"README.md", "quickstart.md", "notes.md"} <= {page.name for page in PAGES}
    assert not [problem for page in PAGES for problem in problems_of(page, hooks)]


def test_dead_links_are_found(hooks, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# A `b` title\n[ok](page.md#a-b-title) `[code](x.md)` [`c`](no.md) [d](#nowhere)\n")
    assert list(problems_of(page, hooks)) == ["page.md: no no.md", "page.md: no #nowhere in page.md"]


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150

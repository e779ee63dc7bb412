"""The documentation site builds without a warning, opens from disk, and asks no other host for anything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="needs mkdocs (pip install 'musicbert[docs]')")
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site):
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert (site / "results" / "index.html").is_file()
    assert "from_pretrained" in (site / "api.html").read_text()


def test_nothing_comes_from_another_host(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?https?:[^>]*>", text), page
        assert not re.findall(r"<link[^>]+(?:stylesheet|preconnect|icon)[^>]+href=\"?https?:[^>]*>", text), (
            page
        )
        assert not re.search(r'class="[^"]*mermaid|<code>(?:flowchart|graph|sequenceDiagram) ', text), page


def test_the_search_works_from_disk(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if BROWSER is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.click("input.md-search__input")
        page.keyboard.type("pedal", delay=20)
        page.wait_for_selector(".md-search-result__item", state="attached")
        browser.close()
    assert asked
    assert not [url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))]

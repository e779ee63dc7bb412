"""What mkdocs does beside its settings: pages from outside docs/, and links that leave the site.

Pages of the repository link to each other by their places in it. A Markdown page outside docs/ that a page
of the site links to becomes a page of the site under its path (``results/README.md``). Links to other files,
such as programs, become plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs/"
#: ``[text](target)`` and ``![text](target)``, outside of code
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```[^\n]*$|`[^`\n]+`", re.M | re.S)
#: the front page of the site stands for that of the repository
FRONT = {"README.md": "docs/index.md"}


def links(text: str) -> Iterator[re.Match[str]]:
    """Links of a page that do not stand in code."""
    code = [match.span() for match in CODE.finditer(text)]
    for match in LINK.finditer(text):
        if not any(begin < match.start() < end for begin, end in code):
            yield match


def target_of(place: str, link: str) -> tuple[str, str] | None:
    """Path in the repository and anchor that a link of the page at ``place`` means; None for other sites."""
    if re.match(r"[a-z]+:", link) or link.startswith("#"):
        return None
    path, _, anchor = unquote(link).partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
    return FRONT.get(found, found), anchor


def linked_pages(place: str) -> set[str]:
    """Markdown pages that the page at a path of the repository links to."""
    text = (ROOT / place).read_text(encoding="utf-8")
    targets = (target_of(place, match[3]) for match in links(text))
    return {path for path, _ in filter(None, targets) if path.endswith(".md") and (ROOT / path).is_file()}


def site_path(place: str) -> str:
    """Path below the site's sources of a page of the repository."""
    return place.removeprefix(DOCS)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ that pages link to."""
    known = {DOCS + file.src_uri for file in files if file.is_documentation_page()}
    open_pages = {*known, *FRONT}
    while open_pages:
        new = set().union(*(linked_pages(place) for place in open_pages)) - known
        known |= new
        open_pages = new
    for place in sorted(known):
        if not place.startswith(DOCS):
            content = (ROOT / place).read_text(encoding="utf-8")
            level = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, site_path(place), content=content, inclusion=level))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_others: object) -> str:
    """Point links at pages of the site; those that leave it become text."""
    here = page.file.src_uri
    outside = page.file.generated_by is not None
    place = here if outside else DOCS + here

    def rewrite(match: re.Match[str]) -> str:
        image, text, link = match.groups()
        found = target_of(place, link)
        if found is None:
            return match[0]
        path, anchor = site_path(found[0]), found[1]
        if files.get_file_from_path(path) is None:
            return match[0] if not (ROOT / found[0]).exists() else text
        to = posixpath.relpath(path, posixpath.dirname(here) or ".")
        return f"{image}[{text}]({to}{'#' + anchor if anchor else ''})"

    pieces, end = [], 0
    for match in links(markdown):
        pieces += [markdown[end : match.start()], rewrite(match)]
        end = match.end()
    return "".join([*pieces, markdown[end:]])

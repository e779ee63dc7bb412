"""The files below a folder: the one place that walks folders of data.

Links to folders are followed, wherever they lead, and every folder is walked once: under its own name if it
lies below the given one, else under that of the first link. Hidden files and folders are passed over.
"""

import os
from collections import deque
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

#: why a folder is not walked
LINKED_FOLDER, UNREADABLE_FOLDER = "linked-folder", "unreadable-folder"


class Found(NamedTuple):
    """A file, or a folder that is not walked: then ``reason`` and ``detail`` say why.

    ``inside``: path below the folder that was given, with forward slashes.
    """

    inside: str
    path: str
    reason: str | None = None
    detail: str | None = None


def walk(folder: str | PathLike[str]) -> Iterator[Found]:
    """Yield what lies below a folder, in an order that the file system does not change."""
    walked: dict[str, str] = {}  # real path -> path inside
    ways = deque([("", os.fspath(folder), (os.path.realpath(folder),))])
    while ways:
        inside, path, real = ways.popleft()  # the last of `real` is this folder, before it those above
        if real[-1] in walked:
            same = walked[real[-1]] or "the folder itself"
            yield Found(inside, path, LINKED_FOLDER, f"a linked folder that is read already, as {same}")
        elif any(Path(above).is_relative_to(real[-1]) for above in real[:-1]):
            yield Found(inside, path, LINKED_FOLDER, "a linked folder that leads to a folder above it")
        else:
            for item in _tree(inside, path, real[-1], walked):
                if isinstance(item, Found):
                    yield item
                else:
                    ways.append((*item, (*real, os.path.realpath(item[1]))))


def _tree(inside: str, top: str, real: str, walked: dict[str, str]) -> Iterator[Found | tuple[str, str]]:
    """Yield what a folder holds, and its linked folders as pairs: path inside, path."""
    errors: list[OSError] = []
    for parent, folders, files in os.walk(top, onerror=errors.append):
        below = parent[len(top) :].strip(os.sep)
        above = "/".join(filter(None, (inside, below.replace(os.sep, "/"))))
        if (place := os.path.join(real, below) if below else real) in walked:  # noqa: PTH118 - Path is slow
            folders.clear()
            yield Found(above, parent, LINKED_FOLDER, f"a folder that is read already, as {walked[place]}")
            continue
        walked[place] = above
        prefix = above and above + "/"
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in folders:
            if os.path.islink(path := os.path.join(parent, name)):  # noqa: PTH114, PTH118
                yield prefix + name, path
        for name in sorted(files):
            if not is_hidden(name):
                yield Found(prefix + name, os.path.join(parent, name))  # noqa: PTH118
    for error in errors:
        name = "/".join(filter(None, (inside, str(error.filename)[len(top) :].strip(os.sep))))
        detail = f"a folder that cannot be read: {error.strerror}"
        yield Found(name or ".", str(error.filename), UNREADABLE_FOLDER, detail)


def is_hidden(path: str) -> bool:
    """Whether a path (forward slashes) is a hidden file, in a hidden folder, or in ``__MACOSX``."""
    lower = path.lower()
    if "/." not in lower and not lower.startswith(".") and "__macosx" not in lower:
        return False
    return any(
        part == "__macosx" or (part.startswith(".") and part not in (".", "..")) for part in lower.split("/")
    )

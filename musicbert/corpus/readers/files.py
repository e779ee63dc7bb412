"""Files of a data set as it was published: a folder, a zip archive or a tar archive, never extracted to disk.

`SourceFiles` lists what a reader may want (by a pattern over paths), and reads it by path. Members of a tar
archive are read once, one after the other, and kept in memory, since a compressed tar has no index; their sum
is bounded. Links in archives, devices, unsafe names and hidden files are passed over. Verified in
``tests/unit/corpus/readers/test_files.py``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path, PurePosixPath

from musicbert.corpus.files.archive import (
    DAMAGED,
    ArchiveLimits,
    Member,
    list_folder,
    list_zip,
    open_tar,
    open_zip,
    read_member,
    tar_headers,
)
from musicbert.errors import DatasetError
from musicbert.walk import is_hidden

_TAR = re.compile(r"\.(tar(\.(gz|xz|bz2))?|tgz|txz|tbz2?)$", re.IGNORECASE)
#: Most bytes of wanted files of a tar archive, which lie in memory.
_TAR_BYTES = 2 << 30
_DAMAGED = (*DAMAGED, zipfile.BadZipFile, NotImplementedError)


class SourceFiles:
    """The files that a reader wants, of a folder, a zip or a tar archive; a context manager.

    ``wanted`` is searched for in the path of each file (forward slashes); ``inside`` keeps only files below
    folders of this name, where an archive holds several data sets. ``paths`` lists what is there, sorted.

    Raises `DatasetError`: ``not-found``, ``not-an-archive``, ``damaged-archive``, ``too-many-members``,
    ``too-large``.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        wanted: str | re.Pattern[str] = "",
        *,
        inside: str = "",
        limits: ArchiveLimits | None = None,
    ) -> None:
        self.path = Path(path)
        self._limits = limits or ArchiveLimits()
        self._wanted = re.compile(wanted)
        self._inside = f"/{inside.strip('/')}/" if inside.strip("/") else "/"
        self._contents: dict[str, bytes] = {}
        self._zip: zipfile.ZipFile | None = None
        if self.path.is_dir():
            paths = self._taken(list_folder(self.path))

        elif _TAR.search(self.path.name):
            self._contents = self._read_tar()
            paths = list(self._contents)
        else:
            self._zip = open_zip(self.path)
            paths = self._taken(list_zip(self._zip))

        if len(paths) > self._limits.members:
            raise DatasetError(
                "too-many-members",
                f"More than {self._limits.members} files",
                path=self.path,
                hint="split it up",
            )
        self.paths = tuple(sorted(paths))
        self._known = frozenset(self.paths)

    def __contains__(self, path: object) -> bool:
        """Whether a path is there and wanted."""
        return path in self._known

    def find(self, pattern: str) -> list[re.Match[str]]:
        """Return the matches of a pattern that is searched for in each path, in the order of the paths."""
        compiled = re.compile(pattern)
        return [match for path in self.paths if (match := compiled.search(path))]

    def require(self, pattern: str, layout: str) -> list[re.Match[str]]:
        """Return the matches as `find` does.

        Raises `DatasetError`: ``wrong-layout`` where there is none; ``layout`` says what was looked for.
        """
        if matches := self.find(pattern):
            return matches
        raise DatasetError(
            "wrong-layout",
            f"There is no {layout} in it",
            path=self.path,
            hint="pass the data set as it was published: its folder, or a zip or tar archive of it",
        )

    def read(self, path: str) -> bytes:
        """Return the bytes of a file; raises `DatasetError` (see `read_member`)."""
        where = f"{self.path}/{path}"
        if path not in self._known:
            raise DatasetError("not-found", "There is no such file in the data set", path=where)
        if path in self._contents:
            return self._contents[path]
        return read_member(self.path, self._zip, path, self._limits.member_bytes)

    def text(self, path: str) -> str:
        """Return a file as UTF-8 text (see `read`; ``not-text`` where it is none)."""
        try:
            return self.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DatasetError(
                "not-text", "The file is not UTF-8 text", path=f"{self.path}/{path}"
            ) from error

    def close(self) -> None:
        """Close the archive."""
        if self._zip is not None:
            self._zip.close()

    def __enter__(self) -> SourceFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _taken(self, members: Iterable[Member]) -> list[str]:
        return [member.path for member in members if member.reason is None and self._takes(member.path)]

    def _takes(self, path: str) -> bool:
        pure = PurePosixPath(path)
        return (
            path.isprintable()
            and not pure.is_absolute()
            and ".." not in pure.parts
            and not is_hidden(path)
            and self._inside in f"/{path}"
            and self._wanted.search(path) is not None
        )

    def _read_tar(self) -> dict[str, bytes]:
        """Contents of the wanted files; hard links are followed within the archive."""
        links: dict[str, str] = {}
        contents = self._pass_over(self._takes, links)
        targets = set(links.values()) - set(contents)
        held = contents | (self._pass_over(targets.__contains__, {}) if targets else {})
        for path, target in links.items():
            if target in held:
                contents[path] = held[target]
        return contents

    def _pass_over(self, takes: Callable[[str], bool], links: dict[str, str]) -> dict[str, bytes]:
        """Read an archive once; hard links among what is taken are noted."""
        contents: dict[str, bytes] = {}
        total = 0
        try:
            with open_tar(self.path) as archive:
                for number, info in enumerate(tar_headers(archive), start=1):
                    path = info.name.removeprefix("./")
                    if number > self._limits.members:
                        raise DatasetError(
                            "too-many-members", f"More than {self._limits.members} files", path=self.path
                        )
                    if not takes(path):
                        continue
                    if info.islnk():
                        links[path] = info.linkname.removeprefix("./")
                    if not info.isreg():
                        continue
                    total += info.size
                    if info.size > self._limits.member_bytes or total > _TAR_BYTES:
                        raise DatasetError(
                            "too-large",
                            f"{path} or the files together are too large to be read from a tar archive",
                            path=self.path,
                            hint="unpack it and pass the folder",
                        )
                    file = archive.extractfile(info)
                    assert file is not None  # it is a regular file
                    contents[path] = file.read()
        except FileNotFoundError as error:
            raise DatasetError("not-found", "There is no such folder or archive", path=self.path) from error
        except (*_DAMAGED, OSError) as error:
            raise DatasetError(
                "damaged-archive",
                f"The tar archive is damaged: {error}",
                path=self.path,
                hint="download it again",
            ) from error
        return contents

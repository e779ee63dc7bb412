"""Tar archives, read member by member, where a cut or damaged one is an error and never a shorter archive.

`tarfile` takes a header that it cannot read, or that is not there, as the end of the archive, everywhere but
at its start. The end of a tar archive is a block of zeros, so here everything else is damage.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from os import PathLike
from typing import Literal

__all__ = ["DAMAGED", "open_tar", "tar_headers"]

#: What reading a damaged archive raises.
DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError)


class _Header(tarfile.TarInfo):
    """Header of a member; one that cannot be read is an error wherever it stands."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the block of zeros; not public by its name
                raise
            raise tarfile.ReadError(f"the archive ends too early, or is not one: {error}") from error


def open_tar(path: str | PathLike[str], mode: Literal["r:", "r|*"] = "r|*") -> tarfile.TarFile:
    """Open an archive for reading, as `tarfile.open` does.

    Parameters
    ----------
    path
        The archive.
    mode
        ``"r|*"`` reads it once from start to end, compressed or not; ``"r:"`` seeks, not compressed.

    Raises
    ------
    FileNotFoundError, or what `DAMAGED` lists; going through the members raises these too.
    """
    try:
        return tarfile.open(path, mode, tarinfo=_Header)
    except TypeError as error:  # of a gzip file that ends within its first bytes
        raise tarfile.ReadError("the archive ends too early") from error


def tar_headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Headers one after the other, none kept (`tarfile` keeps each it has read)."""
    for info in archive:
        archive.members = []  # type: ignore[attr-defined]
        yield info

"""All sources by name, and `read`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.augmentednet import AUGMENTEDNET
from musicbert.corpus.readers.bps_motif import BPS_MOTIF
from musicbert.corpus.readers.contract import Source, read_source
from musicbert.corpus.readers.midi_folders import EMOPIA, PIANIST8, TAGTRAUM
from musicbert.corpus.readers.orchestra import ORCHESTRA
from musicbert.corpus.readers.performed_beats import ASAP, PM2S
from musicbert.corpus.readers.pop909 import POP909
from musicbert.corpus.readers.tnua import TNUA

__all__ = ["SOURCES", "read"]

_ALL = (ASAP, AUGMENTEDNET, BPS_MOTIF, EMOPIA, ORCHESTRA, PIANIST8, PM2S, POP909, TAGTRAUM, TNUA)
SOURCES: Mapping[str, Source] = {source.name: source for source in _ALL}


def read(source: str, path: str | PathLike[str], **options: Any) -> Iterator[LabelledPiece | Outcome]:
    """Read the labelled pieces of a data set by the name of its source.

    Parameters
    ----------
    source
        One of `SOURCES`.
    path
        Folder, zip archive or tar archive of it.
    options
        Of `musicbert.corpus.readers.contract.read_source`: ``compatible``, ``strict``, ``inside``,
        ``limits``, ``progress``.

    Raises
    ------
    ValueError
        There is no such source.
    DatasetError, MidiError
        See `musicbert.corpus.readers.contract.read_source`.
    """
    if source not in SOURCES:
        raise ValueError(f"a source is one of {', '.join(SOURCES)}, not {source!r}")
    return read_source(SOURCES[source], path, **options)

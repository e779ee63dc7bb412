"""One contract for all readers: a `Source` lists `Item`s, an item loads the labelled pieces of one file.

A source is one data set in the layout that its authors published. Listing looks at names only, so groups and
splits are known before any music is read; loading reads one file. `read` puts both together:

>>> for piece in read("tnua", "TNUA_violin_fingering_dataset"):  # doctest: +SKIP
...     print(piece.name, len(piece.notes), piece.labels["fingering"][:4])

Notes come as the default profile gives them, or, with ``compatible=True``, as the published benchmark had
them, faults included: each reader's docstring lists the differences. Verified in
``tests/unit/corpus/readers`` and, on the real data, ``tests/parity/test_readers_*.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.corpus.files.archive import ArchiveLimits
from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.files import SourceFiles
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError, MusicBertError
from musicbert.midi import Score

#: what one file gives: name of the piece, its notes, its labels
Loaded = tuple[str, "Score | BeatNotes", Mapping[str, Any]]


@dataclass(frozen=True)
class Item:
    """One file (or group of files) of a source.

    ``name`` is unique in the source, and the names of the pieces begin with it; ``group`` may not lie in two
    parts of a clean split; ``load`` reads the file and may raise any `MusicBertError`.
    """

    name: str
    path: str
    group: str
    splits: Mapping[str, str]
    load: Callable[[], Iterable[Loaded]]


@dataclass(frozen=True)
class Source:
    """A data set and its reader.

    ``name`` is what `musicbert.corpus.readers.read` knows it by; ``origin`` and ``licence`` say where and
    under which terms it is published; ``layout`` which files it must hold; ``wanted`` is the pattern of the
    paths that are read; ``items(files, compatible)`` lists what is there, by names alone. ``versions``:
    whether versions of one piece are to be looked for by content (not where groups are known and parts of
    different pieces are alike, such as the repeated notes of horns and drums).
    """

    name: str
    about: str
    origin: str
    licence: str
    layout: str
    wanted: str
    items: Callable[[SourceFiles, bool], list[Item]] = field(repr=False)
    versions: bool = True


def read_source(
    source: Source,
    path: str | PathLike[str],
    *,
    compatible: bool = False,
    strict: bool = True,
    inside: str = "",
    limits: ArchiveLimits | None = None,
    progress: Callable[[list[Item]], Iterable[Item]] = iter,
) -> Iterator[LabelledPiece | Outcome]:
    """Read the labelled pieces of a data set, in the order of the source's names.

    ``path`` is a folder, a zip or a tar archive; ``inside`` reads only what lies below folders of this name;
    ``compatible`` gives notes as the published benchmark had them, faults included; ``progress`` wraps the
    items, for a progress bar (``functools.partial(progress_bar, desc="TNUA")``).

    If ``strict``, the first file that cannot be read ends the reading with its error. Otherwise such a file
    yields an `Outcome` with its reason, in its place, and the others are read.

    Raises `DatasetError`: ``not-found``, ``wrong-layout`` and those of
    `musicbert.corpus.readers.files.SourceFiles`; if strict also what is wrong with a file. MidiError If
    strict: a file is no music.
    """
    with SourceFiles(path, source.wanted, inside=inside, limits=limits) as files:
        for item in progress(source.items(files, compatible)):
            try:
                pieces = [
                    LabelledPiece(
                        name, notes, item.group, _checked(labels, notes, item), item.splits, item.path
                    )
                    for name, notes, labels in item.load()
                ]
            except MusicBertError as error:
                if strict:
                    raise
                yield Outcome(item.name, error.reason, path=item.path, detail=str(error))
                continue
            yield from pieces


def _checked(labels: Mapping[str, Any], notes: Score | BeatNotes, item: Item) -> Mapping[str, Any]:
    for name, values in labels.items():
        if isinstance(values, np.ndarray) and values.ndim and len(values) != len(notes):
            raise DatasetError(
                "label-length", f"{len(values)} labels {name} for {len(notes)} notes", path=item.path
            )
    return labels


def check_labels(values: NDArray[Any], classes: int, path: str) -> Ints:
    """Return labels as int64; `DatasetError` ``bad-label`` where one is not one of the classes."""
    array = np.asarray(values)
    integers = array.astype(np.int64)
    if not np.array_equal(integers, array) or (len(array) and (array.min() < 0 or array.max() >= classes)):
        raise DatasetError("bad-label", f"A label is not one of 0 to {classes - 1}", path=path)
    return integers

"""The sources by name, and everything that a benchmark task needs of one: pieces with both of their splits.

Beyond `read` the published split is completed (`published.move_tail`), and the clean one is made anew where
versions of one song leak through it (`musicbert.corpus.splits.song_groups`). Verified in
``tests/unit/corpus/readers/test_benchmark.py``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from os import PathLike, fspath
from typing import Any

from musicbert.annotation.folds import PARTS
from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.contract import Item, Source, read_source
from musicbert.corpus.readers.published import move_tail
from musicbert.corpus.readers.tasks import BENCHMARK, READERS, BenchmarkTask
from musicbert.corpus.splits.fingerprints import Fingerprint, fingerprint
from musicbert.corpus.splits.song_groups import regroup
from musicbert.errors import DatasetError


def _sources() -> dict[str, Source]:
    modules = {import_module(f"{__package__}.{name}") for name in READERS.values()}
    defined = [value for module in modules for value in vars(module).values() if isinstance(value, Source)]
    return {name: next(source for source in defined if source.name == name) for name in READERS}


#: Sources by name (see `READERS`).
SOURCES: dict[str, Source] = _sources()


def register_source(source: Source, *tasks: BenchmarkTask) -> None:
    """Add a source that is defined outside this package, and the tasks that it is for."""
    SOURCES[source.name] = source
    BENCHMARK.update({task.abbreviation.upper(): task for task in tasks})


def read(source: str, path: str | PathLike[str], **options: Any) -> Iterator[LabelledPiece | Outcome]:
    """Read the labelled pieces of a data set by the name of its source, one of `SOURCES`.

    ``path`` is a folder, a zip or a tar archive; options and errors are those of
    `musicbert.corpus.readers.contract.read_source`.

    Raises
    ------
    ValueError
        There is no such source.
    """
    if source not in SOURCES:
        raise ValueError(f"a source is one of {', '.join(SOURCES)}, not {source!r}")
    return read_source(SOURCES[source], path, **options)


@dataclass(frozen=True)
class DataSet:
    """The pieces of one source, with the splits ``published`` and ``clean``, and the files that failed."""

    source: str
    pieces: list[LabelledPiece]
    failed: list[Outcome]


def tasks_of(source: str) -> list[BenchmarkTask]:
    """Return the benchmark tasks that a source is for (ASAP serves those of PM2S)."""
    name = "pm2s" if source == "asap" else source
    return [row for row in BENCHMARK.values() if row.source == name]


def parse_source(text: str) -> tuple[str, str, str]:
    """Split ``SOURCE=PATH[#FOLDER]`` into the name, the path and the folder inside it.

    Raises `DatasetError` ``unknown-source``.

    Examples
    --------
    >>> parse_source("emopia=er.tar.xz#EMOPIA_1.0")
    ('emopia', 'er.tar.xz', 'EMOPIA_1.0')
    """
    name, equals, rest = text.partition("=")
    path, _, inside = rest.partition("#")
    if name not in SOURCES or not equals or not path:
        raise DatasetError(
            "unknown-source",
            f"{text!r} is not SOURCE=PATH",
            hint=f"SOURCE is one of {', '.join(SOURCES)}; PATH#FOLDER reads one folder of it",
        )
    return name, path, inside


def load_data_set(
    source: str,
    path: str | PathLike[str],
    *,
    inside: str = "",
    compatible: bool = False,
    progress: Callable[[list[Item]], Iterable[Item]] = iter,
) -> DataSet:
    """Read a source with both of its splits; options as in `musicbert.corpus.readers.contract.read_source`.

    Raises the errors of `read_source`, and `DatasetError` ``no-pieces`` where no file can be read.
    """
    pieces: list[LabelledPiece] = []
    failed: list[Outcome] = []
    for result in read(source, path, inside=inside, compatible=compatible, strict=False, progress=progress):
        if isinstance(result, Outcome):
            failed.append(result)
        else:
            pieces.append(result)
    if not pieces:
        raise DatasetError(
            "no-pieces", f"None of {len(failed)} files can be read: {failed[0].detail}", path=fspath(path)
        )
    label = next((row.task.label for row in tasks_of(source) if row.task.level == "sequence"), None)
    if SOURCES[source].versions:
        pieces = regroup(pieces, label=label)
    if source == "pm2s":
        pieces = move_tail(pieces)
    return DataSet(source, pieces, failed)


def held_out_fingerprints(
    source: str, path: str | PathLike[str]
) -> tuple[dict[str, Fingerprint], list[Outcome]]:
    """Fingerprints of the pieces that a data set tests or validates on, and the files that cannot be read.

    ``source`` is one of `SOURCES`. Where there are folds, every piece is tested.
    Pieces are called ``SOURCE/PART/PIECE``. Raises `DatasetError`: those of `read`,
    ``no-music`` where there is none.
    """
    pieces: dict[str, Fingerprint] = {}
    failed: list[Outcome] = []
    for piece in read(source, path, strict=False):
        if isinstance(piece, Outcome):
            failed.append(piece)
            continue
        part = piece.splits.get("published") or next(iter(piece.splits.values()), "train")  # or in no part
        if part != "train":
            part = part if part in PARTS else f"fold{part}"
            pieces[f"{source}/{part}/{piece.name}"] = fingerprint(piece.notes)
    if not pieces:
        raise DatasetError("no-music", "There is no test piece in it", path=path)
    return pieces, failed

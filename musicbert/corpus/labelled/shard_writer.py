"""`write_shards`: labelled pieces from a reader to a folder of shards (`musicbert.corpus.labelled.shards`).

The folder is built beside its destination and renamed when it is whole. A run that was killed goes on behind
its last whole piece when the same reader is given again, with the same result as a run that was not
(`musicbert.corpus.labelled.shard_files`). A piece that cannot be used is a line of the ledger, and
the others go on. Verified in ``tests/unit/corpus/test_shards.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm

from musicbert.atomic import write_json
from musicbert.corpus.files.folders import check_destination, lock_folder, replace_folder, write_npy
from musicbert.corpus.files.ledger import Outcome, write_ledger
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_files import JOURNAL, ShardFiles
from musicbert.corpus.labelled.shard_pieces import columns_of
from musicbert.corpus.labelled.shards import FORMAT, MANIFEST, OFFSETS, ROWS, VERSION, Shards
from musicbert.encoding.codec import Codec, get_codec
from musicbert.encoding.performance import PERFORMANCE_INPUTS
from musicbert.errors import DatasetError
from musicbert.features import FEATURES as FEATURE_NAMES

__all__ = ["ShardReport", "write_shards"]

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class ShardReport:
    """What became of the pieces.

    Attributes
    ----------
    shards
        The data set.
    outcomes
        One for each piece that was offered.
    """

    shards: Shards
    outcomes: tuple[Outcome, ...]

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """Pieces that are not in the data set."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)


def write_shards(
    pieces: Iterable[LabelledPiece | Outcome],
    codec: Codec | str,
    out: str | PathLike[str],
    tasks: Sequence[Task],
    *,
    performance: bool = False,
    with_features: bool = False,
    outcomes: Iterable[Outcome] = (),
    source: str = "",
    overwrite: bool = False,
    total: int | None = None,
    progress: bool = False,
) -> ShardReport:
    """Write labelled pieces.

    Parameters
    ----------
    pieces
        What a reader yields; an `Outcome` among them is a piece that it could not read.
    codec
        Encoding of the notes, or its name.
    out
        Folder to write.
    tasks
        Tasks that the labels are for; they name the labels, their level, kind and classes.
    performance
        Write performance inputs too.
    with_features
        Write the hand-made features of each piece, for baselines.
    outcomes
        More lines of the ledger: files that the reader never offered.
    source
        What the pieces are, for the manifest.
    overwrite
        Replace an earlier data set of this name.
    total
        Number of pieces, for the progress bar.
    progress
        Show a bar on a terminal.

    Returns
    -------
    ShardReport

    Raises
    ------
    DatasetError
        ``no-pieces`` where none could be used (the ledger stands in the message), and those of
        `musicbert.corpus.files.folders.build_directory`.
    """
    codec = get_codec(codec) if isinstance(codec, str) else codec
    columns = columns_of(tasks)
    path = Path(out).absolute()
    check_destination(path, overwrite, _is_ours)
    partial = path.parent / f".{path.name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(partial, path)
    try:
        head = {
            "format": FORMAT,
            "version": VERSION,
            "codec": codec.name,
            "fields": [field.name for field in codec.fields],
            "labels": [column.as_dict() for column in columns],
            "performance": len(PERFORMANCE_INPUTS) if performance else 0,
            "features": list(FEATURE_NAMES) if with_features else [],
            "source": source,
        }
        bar = tqdm(pieces, total=total, desc="encode", unit="piece", disable=None if progress else True)
        with ShardFiles(partial, head, codec, columns) as writer:
            for offered in bar:
                writer.add(offered)
            done, ledger = writer.pieces, [*writer.outcomes, *outcomes]
        if not done:
            raise DatasetError(
                "no-pieces",
                f"No piece could be used{_first_reasons(ledger)}",
                path=path,
                hint="see its reasons",
            )
        offsets = np.concatenate([[0], np.cumsum([piece.rows for piece in done], dtype=np.int64)])
        write_npy(partial / OFFSETS, offsets.astype(np.int64))
        write_ledger(partial / LEDGER, ledger)
        record = [asdict(piece) for piece in done]
        digest = _digest(partial, record)
        write_json(partial / MANIFEST, {**head, "sha256": digest, "pieces": record}, indent=None)
        (partial / JOURNAL).unlink()
        check_destination(path, overwrite, _is_ours)
        replace_folder(partial, path)
    finally:
        if lock is not None:
            os.close(lock)
    return ShardReport(Shards(path), tuple(ledger))


def _is_ours(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and (folder / ROWS).is_file()


def _first_reasons(ledger: Sequence[Outcome]) -> str:
    shown = [f"{each.name}: {each.outcome}" for each in ledger[:3]]
    return f" ({'; '.join(shown)}{'; ...' if len(ledger) > 3 else ''})" if shown else ": none was offered"


def _digest(folder: Path, record: object) -> str:
    """Hash everything that training can see."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for file in sorted(folder.glob("*.bin")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()

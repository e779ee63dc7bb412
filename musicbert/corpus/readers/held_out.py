"""Fingerprints of the pieces that a data set tests or validates on."""

from os import PathLike

from musicbert.annotation.folds import PARTS
from musicbert.corpus.files.ledger import Outcome
from musicbert.corpus.readers.benchmark import read
from musicbert.corpus.splits.fingerprints import Fingerprint, fingerprint
from musicbert.errors import DatasetError


def held_out_fingerprints(
    source: str, path: str | PathLike[str]
) -> tuple[dict[str, Fingerprint], list[Outcome]]:
    """Fingerprints of the pieces in no training part, and the outcomes of files that could not be read.

    ``source`` is one of `musicbert.corpus.readers.SOURCES`. Where there are folds, every piece is tested.
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

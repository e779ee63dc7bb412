"""Labelled sets: pieces with labels of notes or pieces, in three formats on disk, read in one way.

`open_labelled` opens a folder of any format as a `LabelledSet`. Readers of data sets yield a `Task` and
`LabelledPiece`, which `musicbert.corpus.labelled.shard_writer.write_shards` stores.
"""

from os import PathLike
from pathlib import Path

from musicbert.corpus.bins.databin import fold_folders
from musicbert.corpus.labelled.contract import LabelColumn, LabelledSet, PieceInfo
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.rating_bin import RatingBin
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.corpus.labelled.shards import MANIFEST, Shards
from musicbert.errors import DatasetError

__all__ = [
    "LabelColumn",
    "LabelledPiece",
    "LabelledSet",
    "PieceInfo",
    "RatingBin",
    "SentenceBin",
    "Shards",
    "Task",
    "open_folds",
    "open_labelled",
]


def open_labelled(path: str | PathLike[str]) -> LabelledSet:
    """Open a folder of shards, or one fold of a data-bin of ratings or of a sentence task.

    Raises `DatasetError`: ``not-found`` where the folder is none of these, and those of the openers.
    """
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        return Shards(folder)
    if (folder / "input0").is_dir():
        return (SentenceBin if (folder / "label" / "dict.txt").is_file() else RatingBin)(folder)
    folds = sorted(file.parent.name for file in folder.glob("*/input0"))
    raise DatasetError(
        "not-found",
        "There is no labelled data set here (no manifest.json, no input0/)",
        path=folder,
        hint=f"give one fold, such as {folder / folds[0]}" if folds else None,
    )


def open_folds(path: str | PathLike[str]) -> dict[str, LabelledSet]:
    """Open a labelled set of any format by fold: fold folders by name, else one set named ``0``.

    Raises `DatasetError`: those of `open_labelled`; ``label-mismatch`` for folds with different labels.
    """
    if (Path(path) / MANIFEST).is_file():
        return {"0": open_labelled(path)}
    hint = (
        "give a folder of shards, or a data-bin (scripts/binarize_xai.sh, binarize_nsp.sh, binarize_genre.sh)"
    )
    folders = {name or "0": folder for name, folder in fold_folders(path, marker="input0", hint=hint).items()}
    folds = {name: open_labelled(folder) for name, folder in folders.items()}
    kinds = {data.labels["label"].kind for data in folds.values() if isinstance(data, SentenceBin)}
    if len(kinds) > 1:  # in some fold, every piece happens to have exactly one label
        folds = {name: SentenceBin(folder, kind="multilabel") for name, folder in folders.items()}
    first = next(iter(folds.values())).labels
    if any(dict(data.labels) != dict(first) for data in folds.values()):
        message = "The folds have different labels"
        raise DatasetError("label-mismatch", message, path=path, hint="binarise again")
    return folds

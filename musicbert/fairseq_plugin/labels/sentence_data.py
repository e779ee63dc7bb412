"""Opening a sentence data-bin: ``input0/`` and ``label/`` as fairseq-preprocess writes them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from fairseq.data import Dictionary

from musicbert.corpus.bins.databin import read_index, read_tokens
from musicbert.encoding.sequence_views import sizes_in_view
from musicbert.encoding.views import View
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.databin import load_pieces
from musicbert.fairseq_plugin.labels.sentence_dataset import SentenceDataset

__all__ = ["class_names", "label_classes", "label_sets", "label_values", "load_labels", "open_sentences"]

logger = logging.getLogger(__name__)

#: what fairseq fills dictionaries with
_FILLING = "madeupword"
BINARISE = "binarise the data again (scripts/binarize_nsp.sh, scripts/binarize_genre.sh)"


def load_labels(folder: str | Path) -> Dictionary:
    """Read the dictionary of the labels.

    Raises
    ------
    DatasetError
        ``not-found``.
    """
    path = Path(folder) / "label" / "dict.txt"
    if not path.is_file():
        raise DatasetError("not-found", "There is no label/dict.txt", path=path, hint=BINARISE)
    return Dictionary.load(str(path))


def class_names(labels: Dictionary) -> list[str]:
    """Return the classes in the order of their numbers."""
    names = labels.symbols[labels.nspecial :]
    return [name for name in names if not name.startswith(_FILLING) and name != "<mask>"]


def _label_ids(folder: str | Path, split: str) -> list[np.ndarray]:
    """Ids of the labels of each sequence, the last ``</s>`` left out."""
    prefix = Path(folder) / "label" / split
    ends = np.cumsum(read_index(prefix), dtype=np.int64)
    return [each[:-1].astype(np.int64) for each in np.split(read_tokens(prefix), ends[:-1])]


def label_classes(folder: str | Path, split: str, labels: Dictionary) -> torch.Tensor:
    """Read the class of each sequence of a split [shape=(n,), int64].

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-index``, ``wrong-label`` where there is not exactly one known class.
    """
    found = _label_ids(folder, split)
    classes = np.array([each[0] - labels.nspecial if len(each) == 1 else -1 for each in found], np.int64)
    wrong = np.flatnonzero((classes < 0) | (classes >= len(class_names(labels))))
    if len(wrong):
        raise DatasetError(
            "wrong-label",
            f"Sequence {wrong[0]} of {split} has no single label that the dictionary knows",
            path=Path(folder) / "label",
            hint=BINARISE,
        )
    return torch.from_numpy(classes)


def label_sets(folder: str | Path, split: str, labels: Dictionary, outputs: int) -> torch.Tensor:
    """Read the classes of each sequence of a split [shape=(n, outputs), float32, 0 or 1].

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-index``.
    """
    found = _label_ids(folder, split)
    count = len(class_names(labels))
    hot = torch.zeros(len(found), outputs)
    unknown = 0
    for row, ids in zip(hot, found, strict=True):
        known = ids[(ids >= labels.nspecial) & (ids < labels.nspecial + count)] - labels.nspecial
        unknown += len(ids) - len(known)
        row[torch.from_numpy(known)] = 1.0
    if unknown:  # upstream makes the dictionary from the training part, and leaves these out too
        logger.warning("%s: %d labels are unknown to the dictionary and left out", split, unknown)
    return hot


def label_values(folder: str | Path, split: str, outputs: int) -> torch.Tensor:
    """Read numbers in place of classes, from ``label/<split>.label`` [shape=(n, outputs), float32].

    Raises
    ------
    DatasetError
        ``not-found``, ``wrong-label``.
    """
    path = Path(folder) / "label" / f"{split}.label"
    try:
        rows = [[float(value) for value in line.split()] for line in path.read_text().splitlines()]
    except OSError as error:
        raise DatasetError("not-found", f"There are no labels: {error.strerror}", path=path) from error
    except ValueError as error:
        raise DatasetError("wrong-label", f"A label is no number: {error}", path=path) from error
    wrong = [number for number, row in enumerate(rows, start=1) if len(row) != outputs]
    if wrong:
        raise DatasetError("wrong-label", f"Line {wrong[0]} has not {outputs} numbers", path=path)
    return torch.tensor(rows)


def open_sentences(
    folder: str | Path,
    split: str,
    dictionary: Dictionary,
    targets: torch.Tensor,
    *,
    shorten: str,
    max_positions: int,
    shuffle: bool,
    seed: int,
    combine: bool = False,
    view: View = "octuple",
) -> SentenceDataset:
    """Open a split in a form of the music.

    Raises
    ------
    DatasetError
        ``not-found``, ``no-pieces``, ``wrong-tokens``, ``wrong-length``, ``too-long`` where a sequence is
        longer than ``--max-positions`` and not to be shortened (fairseq would leave it out in silence).
    """
    pieces = load_pieces(Path(folder) / "input0", split, dictionary, combine=combine)
    stored = np.asarray(pieces.sizes)
    if len(pieces) != len(targets):
        raise DatasetError(
            "wrong-length",
            f"{len(targets)} labels for {len(pieces)} sequences of {split}",
            path=folder,
            hint=BINARISE,
        )
    sizes = sizes_in_view(
        lambda begin, end: np.concatenate([np.asarray(pieces[at]) for at in range(begin, end)]), stored, view
    )
    if shorten == "none" and len(sizes) and int(sizes.max()) > max_positions:
        raise DatasetError(
            "too-long",
            f"A sequence of {split} has {int(sizes.max())} tokens, more than {max_positions}",
            path=folder,
            hint="give --shorten-method truncate, or a larger --max-positions",
        )
    dataset = SentenceDataset(
        pieces,
        sizes,
        targets,
        shorten=shorten,
        max_tokens=max_positions,
        shuffle=shuffle,
        seed=seed,
        view=view,
    )
    logger.info("%s: %d sequences", split, len(dataset))
    return dataset

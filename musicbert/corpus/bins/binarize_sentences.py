"""Sentence tasks (``next``, ``acc``, genre, style): from text and labels to the folders fairseq trains on.

``RAW/`` (or ``RAW/<fold>/``) holds ``dict.txt`` and, for each part, ``<part>.txt`` and ``<part>.label``; the
result is upstream's layout, ``BIN/[<fold>/]input0/{dict.txt,<part>.bin,<part>.idx}`` and ``label/`` with the
same, the labels as text (``<part>.label``) and whatever else lies beside the text (``.id``, ``.group``,
``.first``, ``about.json``). The dictionary of the labels is ``RAW/[<fold>/]label.dict.txt`` where there is
one (so that every fold has the same classes), else made from the training labels as fairseq-preprocess makes
it: by falling count, then by name, filled to a multiple of 8. Everything is written by fairseq-preprocess or,
with ``direct``, here: the same bytes, which ``tests/integration/test_sentence_bin.py`` verifies.

Where there is no valid part, test is valid too, as published (and selection then sees the test).

Run as ``python -m musicbert.corpus.bins.binarize_sentences``.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from musicbert.atomic import write_text
from musicbert.corpus.bins.databin import (
    SPECIALS,
    check_dictionary,
    read_index,
)
from musicbert.corpus.bins.text_bin import preprocess, run_program, write_sequences
from musicbert.corpus.files.folders import build_directory
from musicbert.encoding.vocabulary import FIELDS
from musicbert.errors import DatasetError

__all__ = ["binarize_sentences", "label_dictionary", "main", "sentence_folds"]

PARTS = ("train", "valid", "test")
#: What lies beside the text and is kept beside the labels.
_BESIDE = ("id", "group", "first")
#: fairseq fills dictionaries to a multiple of this.
_PADDING = 8
_WIDTH = len(FIELDS)


def sentence_folds(folder: str | PathLike[str], *, marker: str) -> dict[str, Path]:
    """Return the folds of a raw set or data-bin: the folder itself under ``""``, or its numbered folders.

    Parameters
    ----------
    folder
        Raw set or data-bin.
    marker
        A file or folder that every fold holds.

    Raises
    ------
    DatasetError
        ``not-found``.
    """
    folder = Path(folder)
    if (folder / marker).exists():
        return {"": folder}
    numbered = sorted(
        (each.parent for each in folder.glob(f"*/{marker}") if each.parent.name.isdecimal()),
        key=lambda path: int(path.name),
    )
    if not numbered:
        raise DatasetError("not-found", f"There is no {marker} here, nor in numbered folders", path=folder)
    return {each.name: each for each in numbered}


def label_dictionary(lines: Iterable[str]) -> str:
    """Return the dictionary that fairseq-preprocess makes of lines of labels."""
    counts = Counter(word for line in lines for word in line.split())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = "".join(f"{word} {count}\n" for word, count in ordered)
    missing = -(len(SPECIALS) + len(ordered)) % _PADDING
    return text + "".join(f"madeupword{number:04d} 0\n" for number in range(missing))


def binarize_sentences(
    raw: str | PathLike[str],
    output: str | PathLike[str],
    *,
    direct: bool = False,
    workers: int = 1,
    overwrite: bool = False,
) -> dict[str, dict[str, int]]:
    """Binarise every fold of a raw set.

    Parameters
    ----------
    raw, output
        Folders of the raw set and of the data-bin.
    direct
        Write the sequences here instead of calling fairseq-preprocess.
    workers
        Processes of fairseq-preprocess.
    overwrite
        Replace an existing data-bin.

    Returns
    -------
    dict
        fold (``""`` where there is one) -> part -> number of lines.

    Raises
    ------
    DatasetError
        ``not-found``, ``wrong-dictionary``, ``missing-split``, ``wrong-length`` (not one label a line),
        ``unknown-token``, ``preprocess-failed``, and those of `build_directory`.
    """
    counts = {}
    folds = sentence_folds(raw, marker="dict.txt")
    with build_directory(output, overwrite=overwrite, recognise=_is_databin) as partial:
        for fold, folder in tqdm(folds.items(), desc="binarise", unit="fold", disable=None):
            counts[fold] = _binarize_fold(folder, partial / fold, direct=direct, workers=workers)
        if "" not in folds and (Path(raw) / "about.json").is_file():
            shutil.copyfile(Path(raw) / "about.json", partial / "about.json")
    return counts


def _binarize_fold(folder: Path, target: Path, *, direct: bool, workers: int) -> dict[str, int]:
    check_dictionary(folder / "dict.txt", hint="make the text again")
    sources = {part: part for part in PARTS if (folder / f"{part}.txt").is_file()}
    for part in ("train", "test"):
        if part not in sources:
            raise DatasetError("missing-split", f"There is no {part}.txt", path=folder, hint="make it again")
    sources.setdefault("valid", "test")
    target.mkdir(exist_ok=True)
    labels = folder / "label.dict.txt"
    if not labels.is_file():
        labels = target / "label.dict.txt"
        write_text(labels, label_dictionary(_lines(folder / "train.label")))
    write = write_sequences if direct else functools.partial(preprocess, workers=workers)
    write(folder, target / "input0", sources, dictionary=folder / "dict.txt")
    write(folder, target / "label", sources, dictionary=labels, suffix="label")
    (target / "label.dict.txt").unlink(missing_ok=True)
    for part, source in sources.items():
        shutil.copyfile(folder / f"{source}.label", target / "label" / f"{part}.label")
        for suffix in _BESIDE:
            if (folder / f"{source}.{suffix}").is_file():
                shutil.copyfile(folder / f"{source}.{suffix}", target / "label" / f"{part}.{suffix}")
    if (folder / "about.json").is_file():
        shutil.copyfile(folder / "about.json", target / "label" / "about.json")
    return {part: _verify(target, part, folder / f"{source}.txt") for part, source in sources.items()}


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as lines:
            yield from lines
    except OSError as error:
        raise DatasetError("not-found", f"The labels cannot be read: {error.strerror}", path=path) from error


def _verify(target: Path, part: str, text: Path) -> int:
    """Check that there is one label a sequence, and that sequences are octuples; return their number."""
    lengths, labels = read_index(target / "input0" / part), read_index(target / "label" / part)
    if len(lengths) != len(labels):
        raise DatasetError("wrong-length", f"{len(labels)} labels for {len(lengths)} lines", path=text)
    if (lengths % _WIDTH).any():
        raise DatasetError("unknown-token", "A line is no sequence of octuples", path=text)
    return len(lengths)


def _is_databin(folder: Path) -> bool:
    try:
        return bool(sentence_folds(folder, marker="input0"))
    except DatasetError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return run_program(
        binarize_sentences,
        arguments,
        prog="binarize_nsp.sh / binarize_genre.sh",
        description="Binarise PREFIX_data_raw for fairseq-train: PREFIX_data_bin, every fold.",
        prefix=(None, "next, acc, topmagd, masd, ...; names the two folders"),
    )


if __name__ == "__main__":
    sys.exit(main())

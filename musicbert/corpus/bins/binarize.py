"""From the raw rating data set to the folders that fairseq trains on.

``BIN/<fold>/input0`` holds the sequences (by fairseq-preprocess, or the same bytes written directly),
``BIN/<fold>/label`` the labels, ids and class names, and ``BIN/<fold>/performance`` the performance inputs.
A raw set without a valid part (the compatible two-way split) has its test part as valid too. Everything is
checked before and after, and the folder appears when it is complete. Verified in
``tests/integration/test_binarize.py``.

Run as ``python -m musicbert.corpus.bins.binarize`` (see ``scripts/binarize_xai.sh``).
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm

from musicbert.corpus.bins.databin import (
    EOS,
    UNKNOWN,
    read_index,
    read_tokens,
)
from musicbert.corpus.bins.text_bin import preprocess, run_program, write_sequences
from musicbert.corpus.files.folders import build_directory
from musicbert.corpus.labelled.rawset import FIELDS, check_fold, fold_folders, read_part
from musicbert.errors import DatasetError

__all__ = ["binarize", "main"]


def binarize(
    raw: str | PathLike[str],
    output: str | PathLike[str],
    *,
    direct: bool = False,
    workers: int = 1,
    overwrite: bool = False,
) -> dict[str, dict[str, int]]:
    """Binarise every fold of a raw data set.

    Parameters
    ----------
    raw, output
        Folders of the raw and of the binarised data set.
    direct
        Write the sequences here instead of calling fairseq-preprocess: the same bytes in a fraction of the
        time.
    workers
        Processes of fairseq-preprocess.
    overwrite
        Replace an existing binarised data set.

    Returns
    -------
    dict
        fold -> part -> number of pieces.

    Raises
    ------
    DatasetError
        The raw set is missing or its files do not agree (`musicbert.corpus.labelled.rawset.check_fold`),
        the output exists, or fairseq-preprocess failed (``preprocess-failed``).
    """
    folders = fold_folders(raw)
    summaries = {folder: check_fold(folder) for folder in folders}
    counts: dict[str, dict[str, int]] = {}
    with build_directory(output, overwrite=overwrite, recognise=_is_databin) as partial:
        for folder, summary in tqdm(summaries.items(), desc="binarise", unit="fold", disable=None):
            target = partial / folder.name
            sources = {part: part for part in summary.pieces}
            sources.setdefault("valid", "test")
            target.mkdir()
            binarise = write_sequences if direct else functools.partial(preprocess, workers=workers)
            binarise(folder, target / "input0", sources, dictionary=folder / "dict.txt")
            _copy(folder, target, sources, performance=summary.performance)
            _verify(folder, target, sources)
            counts[folder.name] = {part: summary.pieces[source] for part, source in sorted(sources.items())}
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return run_program(
        binarize,
        arguments,
        prog="binarize_xai.sh",
        description="Binarise the raw rating data set for fairseq-train.",
        prefix=("xai", "names the two folders (default: xai)"),
        suffix="_apex_reg_cls",
    )


def _is_databin(folder: Path) -> bool:
    return all((each / "input0" / "dict.txt").is_file() for each in folder.iterdir())


def _copy(folder: Path, target: Path, sources: dict[str, str], *, performance: bool) -> None:
    (target / "label").mkdir()
    shutil.copyfile(folder / "classes.json", target / "label" / "classes.json")
    for part, source in sources.items():
        for suffix in ("label", "id"):
            shutil.copyfile(folder / f"{source}.{suffix}", target / "label" / f"{part}.{suffix}")
    if performance:
        (target / "performance").mkdir()
        for part, source in sources.items():
            name = f"{part}.performance.npy"
            shutil.copyfile(folder / f"{source}.performance.npy", target / "performance" / name)


def _verify(folder: Path, target: Path, sources: dict[str, str]) -> None:
    """Check the binarised sequences against the text that they were made from."""
    for part, source in sources.items():
        prefix = target / "input0" / part
        lengths, tokens = read_index(prefix), read_tokens(prefix)
        ends = np.cumsum(lengths, dtype=np.int64) - 1
        if not np.array_equal(lengths, read_part(folder, source).tokens + 1) or np.any(lengths % FIELDS):
            raise DatasetError(
                "preprocess-failed",
                "The sequences are not as long as the lines of text",
                path=f"{prefix}.idx",
            )
        if np.any(tokens[ends] != EOS):
            raise DatasetError("preprocess-failed", "A sequence does not end in </s>", path=f"{prefix}.bin")
        if np.any(tokens == UNKNOWN):
            raise DatasetError(
                "unknown-token",
                "The text holds tokens that the dictionary lacks",
                path=folder / f"{source}.txt",
                hint="make the raw data set again with gen_xai.py",
            )


if __name__ == "__main__":
    sys.exit(main())

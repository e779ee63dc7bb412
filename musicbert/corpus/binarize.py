"""From the raw rating data set to the folders that fairseq trains on.

``BIN/<fold>/input0`` holds the sequences (by fairseq-preprocess, or the same bytes written directly),
``BIN/<fold>/label`` the labels, ids and class names, and ``BIN/<fold>/performance`` the performance inputs.
A raw set without a valid part (the compatible two-way split) has its test part as valid too. Everything is
checked before and after, and the folder appears when it is complete. Verified in
``tests/integration/test_binarize.py``.

Run as ``python -m musicbert.corpus.binarize`` (see ``scripts/binarize_xai.sh``).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm

from musicbert.atomic import write_bytes
from musicbert.corpus.atomic import build_directory
from musicbert.corpus.databin import (
    EOS,
    UNKNOWN,
    read_dictionary,
    read_index,
    read_tokens,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.corpus.rawset import FIELDS, check_fold, fold_folders, read_part
from musicbert.errors import DatasetError, MusicBertError

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
        The raw set is missing or its files do not agree (`musicbert.corpus.rawset.check_fold`), the output
        exists, or fairseq-preprocess failed (``preprocess-failed``).
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
            (_write if direct else _preprocess)(folder, target / "input0", sources, workers)
            _copy(folder, target, sources, performance=summary.performance)
            _verify(folder, target, sources)
            counts[folder.name] = {part: summary.pieces[source] for part, source in sorted(sources.items())}
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="binarize_xai.sh", description="Binarise the raw rating data set for fairseq-train."
    )
    parser.add_argument(
        "prefix", nargs="?", default="xai", help="names the two folders (default: %(default)s)"
    )
    parser.add_argument("--raw", type=Path, help="raw data set (default: PREFIX_data_raw_apex_reg_cls)")
    parser.add_argument("--bin", type=Path, help="binarised data set (default: PREFIX_data_bin_apex_reg_cls)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of fairseq-preprocess (%(default)s)"
    )
    parser.add_argument(
        "--direct", action="store_true", help="write the same bytes without fairseq-preprocess"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing binarised data set")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    raw = options.raw or Path(f"{options.prefix}_data_raw_apex_reg_cls")
    output = options.bin or Path(f"{options.prefix}_data_bin_apex_reg_cls")
    try:
        counts = binarize(
            raw, output, direct=options.direct, workers=options.workers, overwrite=options.overwrite
        )
    except (MusicBertError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130  # 128 + SIGINT, as shells count
    for fold, parts in counts.items():
        sys.stdout.write(f"{output / fold}: " + ", ".join(f"{n} {part}" for part, n in parts.items()) + "\n")
    return 0


def _is_databin(folder: Path) -> bool:
    return all((each / "input0" / "dict.txt").is_file() for each in folder.iterdir())


def _preprocess(folder: Path, target: Path, sources: dict[str, str], workers: int) -> None:
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--only-source", "--workers", str(workers)]
    command += ["--srcdict", str(folder / "dict.txt"), "--destdir", str(target)]
    for part, source in sources.items():
        command += [f"--{part}pref", str(folder / f"{source}.txt")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = done.stdout.strip().rpartition("\n")[2]
        raise DatasetError(
            "preprocess-failed",
            f"fairseq-preprocess stopped with status {done.returncode}: {last}",
            path=folder,
            hint="install fairseq (`make venv`), or pass --direct to do without",
        )


def _write(folder: Path, target: Path, sources: dict[str, str], workers: int) -> None:  # noqa: ARG001
    target.mkdir()
    write_bytes(target / "dict.txt", (folder / "dict.txt").read_bytes())
    dictionary = read_dictionary(target / "dict.txt")
    for part, source in sources.items():
        with (folder / f"{source}.txt").open(encoding="utf-8") as lines:
            write_indexed_dataset(text_to_ids(lines, dictionary), target / part)


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

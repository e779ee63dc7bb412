"""From a raw data set (lines of tokens and labels) to the folders that fairseq trains on.

``RAW/<fold>/`` holds ``dict.txt`` and ``<part>.{txt,label}`` for each part; a sentence set without folds
holds them in ``RAW/``. The result is ``BIN/<fold>/input0/{dict.txt,<part>.bin,<part>.idx}`` and
``BIN/<fold>/label/`` with the labels as text (``<part>.label``) and, each where the raw set has it,
``<part>.{id,group,first}``, ``classes.json`` and ``about.json``. Performance inputs go to
``BIN/<fold>/performance/``.

Labels of sentence tasks are written as sequences, too. Their dictionary is ``label.dict.txt`` of the fold
where there is one (so that all folds have the same classes), else the one that fairseq-preprocess makes of
the training labels.

Where there is no valid part, test is valid too, as published (and selection then sees the test). Sequences
are written by fairseq-preprocess or, with ``direct``, here: the same bytes, in a fraction of the time.
Everything is checked before and after, and the folder appears when it is complete.

Run as ``python -m musicbert.corpus.labelled.binarize [--kind sentences]`` (see ``scripts/binarize_*.sh``).
"""

import argparse
import functools
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from musicbert.annotation.folds import PARTS
from musicbert.atomic import write_bytes, write_text
from musicbert.command_line import Parser, exit_status
from musicbert.corpus.bins.databin import (
    EOS,
    UNKNOWN,
    check_dictionary,
    fold_folders,
    label_dictionary,
    read_dictionary,
    read_index,
    read_tokens,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.corpus.files.folders import build_directory, read_whole
from musicbert.corpus.labelled.rating_rawset import REMAKE, check_fold, read_part
from musicbert.encoding.vocabulary import N_FIELDS
from musicbert.errors import DatasetError
from musicbert.progress import progress_bar

Kind = Literal["ratings", "sentences"]
#: Tokens that are compared at a time.
_BLOCK = 1 << 24
#: What lies beside the text of a part and is copied beside the labels.
_BESIDE = ("label", "id", "group", "first", "means", "raters")


def binarize(
    raw: str | PathLike[str],
    output: str | PathLike[str],
    kind: Kind = "ratings",
    *,
    direct: bool = False,
    workers: int = 1,
    overwrite: bool = False,
) -> dict[str, dict[str, int]]:
    """Binarise every fold of a raw data set.

    ``kind``: whether labels are ratings and performers, or words of a sentence task; ``direct``: write the
    sequences here instead of calling fairseq-preprocess with ``workers`` processes.
    Returns the number of pieces by fold (``""`` where there are none) and part.
    Raises `DatasetError`: ``not-found``, ``wrong-dictionary``, ``missing-split``, those of
    `musicbert.corpus.labelled.rating_rawset.check_fold` (ratings); ``wrong-length`` (not one label a line),
    ``unknown-token``, ``preprocess-failed``; those of `build_directory`.
    """
    hint = "run `python gen_xai.py` first, or pass --raw FOLDER" if kind == "ratings" else None
    folds = fold_folders(raw, marker="dict.txt", hint=hint)
    sources = {fold: _sources(folder, kind) for fold, folder in folds.items()}
    write: Callable[..., None] = write_sequences if direct else functools.partial(preprocess, workers=workers)
    counts: dict[str, dict[str, int]] = {}
    with build_directory(output, overwrite=overwrite, recognise=_is_databin) as partial:
        for fold, folder in progress_bar(folds.items(), desc="binarise", unit="fold"):
            target = partial / fold
            target.mkdir(exist_ok=True)
            write(folder, target / "input0", sources[fold], dictionary=folder / "dict.txt")
            if kind == "sentences":
                _write_labels(folder, target, sources[fold], write)
            _copy(folder, target, sources[fold])
            verify = _verify_ratings if kind == "ratings" else _verify_labels
            counts[fold] = {
                part: verify(target, part, folder, source) for part, source in sorted(sources[fold].items())
            }
        if "" not in folds and (Path(raw) / "about.json").is_file():
            shutil.copyfile(Path(raw) / "about.json", partial / "about.json")
    return counts


def _sources(folder: Path, kind: Kind) -> dict[str, str]:
    """Check a fold and return the part of the raw set that each part is made of."""
    if kind == "ratings":
        check_fold(folder)
    else:
        check_dictionary(folder / "dict.txt", hint="make the text again")
    sources = {part: part for part in PARTS if (folder / f"{part}.txt").is_file()}
    for part in ("train", "test"):
        if part not in sources:
            raise DatasetError("missing-split", f"There is no {part}.txt", path=folder, hint="make it again")
    sources.setdefault("valid", "test")
    return sources


def preprocess(
    folder: Path,
    target: Path,
    sources: Mapping[str, str],
    *,
    dictionary: Path,
    suffix: str = "txt",
    workers: int = 1,
) -> None:
    """Let fairseq-preprocess binarise ``<source>.<suffix>`` of each part (``sources``: part -> source).

    Raises `DatasetError` (``preprocess-failed``).
    """
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--only-source", "--workers", str(workers)]
    command += ["--srcdict", str(dictionary), "--destdir", str(target)]
    for part, source in sources.items():
        command += [f"--{part}pref", str(folder / f"{source}.{suffix}")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = done.stdout.strip().rpartition("\n")[2]
        message = f"fairseq-preprocess stopped with status {done.returncode}: {last}"
        hint = "install fairseq (`make venv`), or pass --direct to do without it"
        raise DatasetError("preprocess-failed", message, path=folder, hint=hint)


def write_sequences(
    folder: Path, target: Path, sources: Mapping[str, str], *, dictionary: Path, suffix: str = "txt"
) -> None:
    """Binarise as `preprocess` does, without fairseq; raises ``not-found``, ``bad-dictionary``."""
    target.mkdir()
    write_bytes(target / "dict.txt", dictionary.read_bytes())
    ids = read_dictionary(dictionary)
    for part, source in sources.items():
        path = folder / f"{source}.{suffix}"
        try:
            lines = path.open(encoding="utf-8")
        except OSError as error:
            raise DatasetError("not-found", f"Cannot be read: {error.strerror}", path=path) from error
        with lines:
            write_indexed_dataset(text_to_ids(lines, ids), target / part)


def _write_labels(folder: Path, target: Path, sources: dict[str, str], write: Callable[..., None]) -> None:
    """Write the labels of a sentence task as sequences."""
    dictionary, labels = folder / "label.dict.txt", folder / "train.label"
    made = target / "label.dict.txt"
    if not dictionary.is_file():
        dictionary = made
        text = read_whole(labels, "The file of labels").decode("utf-8")
        write_text(dictionary, label_dictionary(text.splitlines()))
    write(folder, target / "label", sources, dictionary=dictionary, suffix="label")
    made.unlink(missing_ok=True)


def _copy(folder: Path, target: Path, sources: dict[str, str]) -> None:
    """Copy what lies beside the text: labels, names, performance inputs."""
    (target / "label").mkdir(exist_ok=True)
    for name in ("classes.json", "about.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / "label" / name)
    for part, source in sources.items():
        for suffix in _BESIDE:
            if (folder / f"{source}.{suffix}").is_file():
                shutil.copyfile(folder / f"{source}.{suffix}", target / "label" / f"{part}.{suffix}")
        inputs = folder / f"{source}.performance.npy"
        if inputs.is_file():
            (target / "performance").mkdir(exist_ok=True)
            shutil.copyfile(inputs, target / "performance" / f"{part}.performance.npy")


def _verify_ratings(target: Path, part: str, folder: Path, source: str) -> int:
    """Check the sequences against the text that they were made from; return their number."""
    prefix = target / "input0" / part
    lengths, tokens = read_index(prefix), read_tokens(prefix)
    if not np.array_equal(lengths, read_part(folder, source).tokens + 1):
        message = "The sequences are not as long as the lines of text"
        raise DatasetError("preprocess-failed", message, path=f"{prefix}.idx")
    if np.any(tokens[np.cumsum(lengths, dtype=np.int64) - 1] != EOS):
        raise DatasetError("preprocess-failed", "A sequence does not end in </s>", path=f"{prefix}.bin")
    if any(np.any(tokens[begin : begin + _BLOCK] == UNKNOWN) for begin in range(0, len(tokens), _BLOCK)):
        message = "The text holds tokens that the dictionary lacks"
        raise DatasetError("unknown-token", message, path=folder / f"{source}.txt", hint=REMAKE)
    return len(lengths)


def _verify_labels(target: Path, part: str, folder: Path, source: str) -> int:
    """Check that there is one label a sequence, and that sequences are octuples; return their number."""
    lengths, labels = read_index(target / "input0" / part), read_index(target / "label" / part)
    path = folder / f"{source}.txt"
    if len(lengths) != len(labels):
        raise DatasetError("wrong-length", f"{len(labels)} labels for {len(lengths)} lines", path=path)
    if (lengths % N_FIELDS).any():
        raise DatasetError("unknown-token", "A line is not a sequence of octuples", path=path)
    return len(lengths)


def _is_databin(folder: Path) -> bool:
    def is_fold(place: Path) -> bool:
        return (place / "input0" / "dict.txt").is_file()

    return is_fold(folder) or all(is_fold(path) or path.name == "about.json" for path in folder.iterdir())


@partial(exit_status, stopped="stopped; nothing was written")
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and binarise."""
    parser = Parser(description="Binarise all folds of a raw data set for fairseq-train.")
    parser.add_argument("prefix", nargs="?", help="names the two folders, such as xai, next or topmagd")
    parser.add_argument("--kind", choices=("ratings", "sentences"), default="ratings", help=argparse.SUPPRESS)
    add = parser.add_argument
    add("--raw", type=Path, help="raw data set (default: PREFIX_data_raw, or ..._apex_reg_cls)")
    add("--bin", type=Path, help="data-bin to write (default: PREFIX_data_bin, or ..._apex_reg_cls)")
    add("--workers", type=int, default=1, help="processes of fairseq-preprocess (%(default)s)")
    add("--direct", action="store_true", help="write the same bytes without fairseq-preprocess")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing data-bin")
    parser.add_argument("--python", help="interpreter of the environment (read by the script)")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    ratings = options.kind == "ratings"
    if options.prefix is None and not ratings and not (options.raw and options.bin):
        parser.error("the following arguments are required: prefix")
    if options.prefix and options.raw and options.bin:
        sys.stderr.write(f"note: {options.prefix} names no folder: --raw and --bin do\n")
    prefix, suffix = options.prefix or "xai", "_apex_reg_cls" if ratings else ""
    raw = options.raw or Path(f"{prefix}_data_raw{suffix}")
    output = options.bin or Path(f"{prefix}_data_bin{suffix}")
    flags = {name: getattr(options, name) for name in ("direct", "workers", "overwrite")}
    counts = binarize(raw, output, options.kind, **flags)
    for fold, parts in counts.items():
        sys.stdout.write(f"{output / fold}: " + ", ".join(f"{n} {part}" for part, n in parts.items()) + "\n")


if __name__ == "__main__":
    sys.exit(main())

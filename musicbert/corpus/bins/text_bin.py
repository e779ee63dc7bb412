"""Lines of tokens as fairseq's binary sequences, by fairseq-preprocess or without it; the programs around it.

Both ways give the same bytes. Verified in ``tests/integration/test_binarize.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from musicbert.atomic import write_bytes
from musicbert.corpus.bins.databin import read_dictionary, text_to_ids, write_indexed_dataset
from musicbert.errors import DatasetError, MusicBertError

__all__ = ["preprocess", "run_program", "write_sequences"]


def preprocess(
    folder: Path,
    target: Path,
    sources: Mapping[str, str],
    *,
    dictionary: Path,
    suffix: str = "txt",
    workers: int = 1,
) -> None:
    """Let fairseq-preprocess binarise the text of some parts.

    Parameters
    ----------
    folder, target
        Where the text is, and where the sequences go.
    sources
        Part -> name of its file without suffix.
    dictionary
        Dictionary of the text.
    suffix
        Of the files.
    workers
        Processes.

    Raises
    ------
    DatasetError
        ``preprocess-failed``
    """
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--only-source", "--workers", str(workers)]
    command += ["--srcdict", str(dictionary), "--destdir", str(target)]
    for part, source in sources.items():
        command += [f"--{part}pref", str(folder / f"{source}.{suffix}")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = done.stdout.strip().rpartition("\n")[2]
        raise DatasetError(
            "preprocess-failed",
            f"fairseq-preprocess stopped with status {done.returncode}: {last}",
            path=folder,
            hint="install fairseq (`make venv`), or pass --direct to do without",
        )


def write_sequences(
    folder: Path, target: Path, sources: Mapping[str, str], *, dictionary: Path, suffix: str = "txt"
) -> None:
    """Binarise as `preprocess` does, without fairseq.

    Raises
    ------
    DatasetError
        ``not-found``, and those of `read_dictionary`.
    """
    target.mkdir()
    write_bytes(target / "dict.txt", dictionary.read_bytes())
    ids = read_dictionary(dictionary)
    for part, source in sources.items():
        path = folder / f"{source}.{suffix}"
        try:
            lines = path.open(encoding="utf-8")
        except OSError as error:
            raise DatasetError("not-found", f"It cannot be read: {error.strerror}", path=path) from error
        with lines:
            write_indexed_dataset(text_to_ids(lines, ids), target / part)


def run_program(
    work: Callable[..., Mapping[str, Mapping[str, int]]],
    arguments: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
    prefix: tuple[str | None, str],
    suffix: str = "",
) -> int:
    """Run the command line of a program that binarises.

    Parameters
    ----------
    work
        `binarize`, or what takes the same arguments and returns as much.
    arguments
        Words of the command line; those of this process if None.
    prog, description
        Name and purpose of the program.
    prefix
        Default of the first argument (None: it must be given) and its help.
    suffix
        What follows PREFIX_data_raw and PREFIX_data_bin in the names of the folders.

    Returns
    -------
    int
        Exit status.
    """
    default, about = prefix
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("prefix", nargs=None if default is None else "?", default=default, help=about)
    parser.add_argument("--raw", type=Path, help=f"raw data set (default: PREFIX_data_raw{suffix})")
    parser.add_argument("--bin", type=Path, help=f"binarised data set (default: PREFIX_data_bin{suffix})")
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
    raw = options.raw or Path(f"{options.prefix}_data_raw{suffix}")
    output = options.bin or Path(f"{options.prefix}_data_bin{suffix}")
    try:
        counts = work(
            raw, output, direct=options.direct, workers=options.workers, overwrite=options.overwrite
        )
    except (MusicBertError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130  # 128 + SIGINT, as shells count
    for fold, parts in counts.items():
        sys.stdout.write(f"{output / fold}: " + ", ".join(f"{n} {part}" for part, n in parts.items()) + "\n")
    return 0

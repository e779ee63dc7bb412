#!/usr/bin/env python3
"""Write the data of M2BERT's benchmark as folders of shards, for scripts/finetune_m2bert.sh.

  bash scripts/prepare_smc_benchmark.sh SMC OUT [OPTIONS]

OUT gets note/<source>/ and seq/<source>/. The same command continues after an interruption; complete folders
of the same options and files are left alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from musicbert.command_line import Parser, exit_status, refuse_unused  # noqa: E402
from musicbert.corpus.labelled.pieces import LabelledPiece  # noqa: E402
from musicbert.corpus.labelled.shard_writer import write_shards  # noqa: E402
from musicbert.corpus.labelled.shards import MANIFEST, Shards  # noqa: E402
from musicbert.corpus.readers.benchmark import load_data_set, parse_source, tasks_of  # noqa: E402
from musicbert.corpus.readers.smc_files import NAMES, SmcFile, export, find_files, read_file  # noqa: E402
from musicbert.corpus.readers.tasks import BenchmarkTask  # noqa: E402
from musicbert.progress import progress_bar  # noqa: E402
from musicbert.reuse import MADE_FROM, hashes_of, made_from, read_record, require_same  # noqa: E402

FOLDERS = {"note": "note", "sequence": "seq"}


@exit_status
def main() -> None:
    """Run."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add(
        "smc",
        help="folder of the published benchmark: downstream_note/ and downstream_seq/ with .npy files, or X "
        "and y files as the published fine-tuning reads them; - for none",
    )
    add("out", type=Path, help="folder to write to")
    add(
        "--source",
        action="append",
        default=[],
        metavar="NAME=PATH[#FOLDER]",
        help="a data set in its own published layout, folder or archive (may be repeated): asap, "
        "augmentednet, bps_motif, emopia, orchestra, pianist8, pm2s, pop909, tagtraum, tnua "
        "(docs/benchmark.md)",
    )
    add("--codec", default="cp", choices=("cp", "cp-m2bert", "octuple"),
        help="cp (for M2BERT), cp-m2bert or octuple (for MusicBERT) (%(default)s)")  # fmt: skip
    add("--compatible", action="store_true", help="notes as published, bugs included")
    add("--npy", action="store_true", help="write the published X and y files too, to OUT/npy/")
    add("--together", metavar="NAME", help="one folder OUT/note/NAME of all --source with labels of notes: "
        "each piece has the labels of its source, for a model of several labels")  # fmt: skip
    add("--overwrite", action="store_true", help="replace existing folders")
    add("--python", help="interpreter of the environment (read by the script)")
    given = parser.parse_args()
    if given.smc == "-" and not given.source:
        parser.error("give the folder of the benchmark, or --source NAME=PATH")
    if not given.source:
        refuse_unused(given, ["compatible"], "without --source: published files hold the notes as they are")
    if given.npy and given.codec == "octuple":
        parser.error("--npy: upstream reads compound words, not --codec octuple")
    unnamed = {parse_source(text)[0] for text in given.source} - set(NAMES.values())
    if given.npy and unnamed:
        parser.error(f"--npy: upstream has no files of {', '.join(sorted(unnamed))}")
    jobs = {} if given.smc == "-" else _smc_files(Path(given.smc))
    for source, files in jobs.items():
        pieces = (piece for file in files for piece in read_file(file))
        rows = {row.abbreviation: row for file in files for row in file.rows}
        _write(source, pieces, list(rows.values()), given, _made_from(given, given.smc))
    if given.together is not None:
        _write_together(given)
        return
    for text in given.source:
        name, path, inside = parse_source(text)
        rows = tasks_of(name)
        record = _made_from(given, path, inside)
        if _done(name, rows, given, record):
            continue
        bar = partial(progress_bar, desc=name, unit="file")
        data = load_data_set(name, path, inside=inside, compatible=given.compatible, progress=bar)
        _write(name, [*data.pieces, *data.failed], rows, given, record)


def _write_together(given: argparse.Namespace) -> None:
    """Write the pieces of all sources as one set; a piece is named SOURCE/PIECE."""
    if given.smc != "-" or given.npy:
        raise ValueError("--together is for --source alone, without the published files and --npy")
    sources = [parse_source(text) for text in given.source]
    rows = [row for name, _, _ in sources for row in tasks_of(name)]
    if any(row.task.level != "note" for row in rows):
        raise ValueError("--together is for labels of notes")
    record = made_from(
        {
            **{"--codec": given.codec, "--compatible": given.compatible},
            **{f"folder of the archive of {name}": inside for name, _, inside in sources},
        },
        {f"{name}/{file}": digest for name, path, _ in sources for file, digest in hashes_of(path).items()},
    )
    if _done(given.together, rows, given, record):
        return
    pieces: list[LabelledPiece | Any] = []
    for name, path, inside in sources:
        bar = partial(progress_bar, desc=name, unit="file")
        data = load_data_set(name, path, inside=inside, compatible=given.compatible, progress=bar)
        named = (
            replace(piece, name=f"{name}/{piece.name}", group=f"{name}/{piece.group}")
            for piece in data.pieces
        )
        pieces += [*named, *data.failed]
    _write(given.together, pieces, rows, given, record)


def _smc_files(folder: Path) -> dict[str, list[SmcFile]]:
    """Files of each source, of the folder and of its two parts."""
    places = [place for place in (folder / "downstream_note", folder / "downstream_seq") if place.is_dir()]
    jobs: dict[str, list[SmcFile]] = {}
    for place in places or [folder]:
        for file in find_files(place):
            jobs.setdefault(file.source, []).append(file)
    return jobs


def _place(source: str, rows: list[BenchmarkTask], given: argparse.Namespace) -> Path:
    return Path(given.out) / FOLDERS[rows[0].task.level] / source


def _made_from(given: argparse.Namespace, path: str, inside: str = "") -> dict[str, Any]:
    """Record what the shards of a source are made from."""
    settings = {"--codec": given.codec, "--compatible": given.compatible, "folder of the archive": inside}
    return made_from(settings, hashes_of(path))


def _done(
    source: str, rows: list[BenchmarkTask], given: argparse.Namespace, record: Mapping[str, Any]
) -> bool:
    place = _place(source, rows, given)
    if given.overwrite or not (place / MANIFEST).is_file():
        return False
    require_same(read_record(place / MADE_FROM), record, place, "choose another OUT, or --overwrite")
    print(f"{place}: complete already")
    return True


def _write(
    source: str,
    pieces: Iterable[LabelledPiece] | Iterator,
    rows: list[BenchmarkTask],
    given: argparse.Namespace,
    record: Mapping[str, Any],
) -> None:
    place = _place(source, rows, given)
    if not _done(source, rows, given, record):
        place.parent.mkdir(parents=True, exist_ok=True)
        report = write_shards(
            pieces, given.codec, place, [row.task for row in rows],
            with_features=rows[0].task.level == "sequence", source=source, made_from=record,
            overwrite=given.overwrite, progress=True,
        )  # fmt: skip
        print(
            f"{place}: {len(report.shards)} pieces, {len(report.skipped)} left out (ledger.jsonl names each)"
        )
    if given.npy:
        name = next(name for name, data_set in NAMES.items() if data_set == source)
        written = export(Shards(place), Path(given.out) / "npy", name)
        print(f"{written[0].parent}: {len(written)} files of {name}")


if __name__ == "__main__":
    sys.exit(main())

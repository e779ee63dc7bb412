#!/usr/bin/env python3
"""The corpora of M2BERT's pre-training become one data set of compound words.

  bash scripts/prepare_pretrain_data.sh DATASET_DIR LMD_DIR OUT [OPTIONS] [-- OPTIONS OF musicbert build]

OUT gets lists/ (the files of each corpus), pop909_processed/ (POP909 on the grid of its beats),
left_out.jsonl, and data/ for scripts/m2bert/pretrain.sh --data. The same command continues after an
interruption.

As published: only pieces with one time signature event, 4/4 (octuples: any); 85 % of the pieces for training,
15 % for validation. Unlike there, exact duplicates are left out and versions of one song stay together.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from musicbert.cli.main import main as musicbert  # noqa: E402
from musicbert.command_line import Parser, exit_status  # noqa: E402
from musicbert.corpus.files.ledger import write_ledger  # noqa: E402
from musicbert.corpus.readers.pretraining import Corpus, find_corpora, process_pop909, write_lists  # noqa: E402
from musicbert.errors import MusicBertError  # noqa: E402
from musicbert.progress import progress_bar  # noqa: E402
from musicbert.reuse import hold_folder  # noqa: E402
from musicbert.walk import walk  # noqa: E402

CORPORA = ("asap", "pop1k7", "pop909", "pianist8", "emopia", "lmd")


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add(
        "data_sets",
        type=Path,
        metavar="DATASET_DIR",
        help="folder with any of asap-dataset/, Pop1K7/, POP909/ "
        "(or pop909_processed/), Pianist8/ and EMOPIA_1.0/, as published",
    )
    add("lmd", metavar="LMD_DIR", help="the Lakh MIDI data set (lmd_matched), or - for none")
    add("out", type=Path, metavar="OUT", help="folder to write to")
    add(
        "--exclude-tests",
        action="store_true",
        help="leave out the files that the benchmark's tasks validate or test on (the published data do not)",
    )
    add(
        "--exclude-music",
        "--tests",
        action="append",
        default=[],
        metavar="TESTS",
        help="leave out files that hold the music of test pieces, too: fingerprints of `musicbert data "
        "fingerprints`, or a folder of MIDI files (may be repeated)",
    )
    add(
        "--all-asap",
        action="store_true",
        help="the scores of all pieces of ASAP, not only of the published 65",
    )
    add("--encoding", default="cp", help="cp, cp-m2bert (as published) or octuple (%(default)s)")
    add("--workers", type=int, default=1, help="processes (%(default)s)")
    add("--python", help="interpreter of the environment (read by the script)")
    return parser


@exit_status
def main(arguments: Sequence[str] | None = None) -> int:
    """List the files, then build the data set; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    given = _parser().parse_args(words[:end])
    with hold_folder(given.out):
        return _build(given, words[end + 1 :])


def _build(given: argparse.Namespace, more: Sequence[str]) -> int:
    corpora = _list_files(given)
    for corpus in corpora:
        print(f"{corpus.name}: {len(corpus.files)} files, {len(corpus.left_out)} left out")
    lists = [given.out / "lists" / f"{name}.txt" for name in CORPORA]
    lists = [path for path in lists if path.is_file() and path.stat().st_size]
    if not lists:
        print("error: no file is left to pre-train on", file=sys.stderr)
        return 2
    metres = [] if given.encoding == "octuple" else ["--metres", "one-4/4"]
    options = ["--output", given.out / "data", "--encoding", given.encoding, "--shares", 85, 15, 0]
    if given.exclude_music:
        options += ["--exclude-music", *given.exclude_music]
    options += ["--workers", given.workers, "--max-failure-rate", 1, *metres, *more]
    return musicbert(["build", *map(str, [*lists, *options])])


def _list_files(given: argparse.Namespace) -> list[Corpus]:
    """Find the corpora and write the lists of their files."""
    raw = _songs(given.data_sets)
    if raw is not None:
        bar = partial(progress_bar, desc="POP909", unit="song")
        outcomes = process_pop909(raw, given.out / "pop909_processed", progress=bar)
        write_ledger(given.out / "pop909.jsonl", outcomes)
        counts = Counter(outcome.outcome for outcome in outcomes)
        print("POP909 on its beats:", ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
    options = {"exclude_tests": given.exclude_tests, "all_asap": given.all_asap}
    lmd = None if given.lmd == "-" else given.lmd
    if raw is None:
        corpora = find_corpora(given.data_sets, lmd, **options)
    else:
        made = find_corpora(given.out / "pop909_processed", None, **options)
        try:
            others = find_corpora(given.data_sets, lmd, **options)
        except MusicBertError as error:
            if error.reason != "no-corpus":
                raise
            others = []
        corpora = [corpus for corpus in others if corpus.name != "pop909"] + made
    for old in (given.out / "lists").glob("*.txt"):
        old.unlink()
    write_lists(corpora, given.out / "lists")
    write_ledger(given.out / "left_out.jsonl", [item for corpus in corpora for item in corpus.left_out])
    return corpora


def _songs(data_sets: Path) -> Path | None:
    """Folder of POP909 as published, where there is no processed one."""
    paths = [Path(found.inside) for found in walk(data_sets)]
    if any("pop909_processed" in path.parts for path in paths):
        return None
    annotations = sorted(data_sets / path for path in paths if path.name == "beat_audio.txt")
    return annotations[0].parents[1] if annotations else None


if __name__ == "__main__":
    sys.exit(main())

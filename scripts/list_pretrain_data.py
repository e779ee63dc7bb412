#!/usr/bin/env python3
"""Find the corpora of M2BERT's pre-training and list their files (see prepare_pretrain_data.sh)."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from musicbert.corpus.files.ledger import write_ledger  # noqa: E402
from musicbert.corpus.readers.pretraining import find_corpora, process_pop909, write_lists  # noqa: E402
from musicbert.errors import MusicBertError  # noqa: E402


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_sets", type=Path, help="folder of data sets")
    parser.add_argument("lmd", help="folder of Lakh, or -")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--exclude-tests", action="store_true", help="leave out pieces of downstream tests")
    parser.add_argument("--all-asap", action="store_true", help="the scores of all pieces of ASAP")
    parser.add_argument(
        "--tests", type=Path, action="append", default=[], help="folder of files to leave out"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        raw = _songs(given.data_sets)
        if raw is not None:
            bar = partial(tqdm, desc="POP909", unit="song")
            outcomes = process_pop909(raw, given.out / "pop909_processed", progress=bar)
            write_ledger(given.out / "pop909.jsonl", outcomes)
            counts = Counter(each.outcome for each in outcomes)
            print("POP909 on its beats:", ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
        options = {"exclude_tests": given.exclude_tests, "all_asap": given.all_asap, "tests": given.tests}
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
            corpora = [each for each in others if each.name != "pop909"] + made
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for old in (given.out / "lists").glob("*.txt"):
        old.unlink()
    write_lists(corpora, given.out / "lists")
    write_ledger(given.out / "left_out.jsonl", [each for corpus in corpora for each in corpus.left_out])
    for corpus in corpora:
        print(f"{corpus.name}: {len(corpus.files)} files, {len(corpus.left_out)} left out")
    return 0


def _songs(data_sets: Path) -> Path | None:
    """Folder of POP909 as published, where there is no processed one."""
    if not data_sets.is_dir() or any(data_sets.rglob("pop909_processed")):
        return None
    found = sorted(data_sets.rglob("beat_audio.txt"))
    return found[0].parents[1] if found else None


if __name__ == "__main__":
    sys.exit(main())

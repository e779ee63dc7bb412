r"""Gather the pieces that weights to be given away may be pre-trained on, and say why others are left out.

Example: python results/tools/choose_pieces.py pretrain_small --asap asap-dataset \
    --held-out PM2S/dev/metadata/metadata.csv --output licensed

Two questions are asked of every file of a collection with a ``manifest.csv`` (columns ``file``, ``subset``,
``licence``, ``downstream_split``) and of an ASAP folder: does its licence allow it (`LICENSED`), and is its
composition part of a downstream task's validation or test (then no performance or score of it is taken, in
whatever subset)? Every file gets a line in the ledger: taken, or why not.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from program import make_parser, report_errors

from musicbert.corpus.files.folders import build_directory
from musicbert.errors import DatasetError

__all__ = ["BARRED", "LICENSED", "Choice", "choose", "held_out_asap"]

#: Subsets whose licence allows weights to be given away; what it asks for is said in the model card.
LICENSED = {
    "pop909": "MIT",
    "asap": "CC BY-NC-SA 4.0 (non-commercial)",
    "giantmidi": "CC BY 4.0",
    "lmd": "CC BY 4.0",
}
#: Compositions of the rating sets and of note-level tasks, by path: Schubert D 960, D 935 (op. 142) and
#: Beethoven WoO 80 (ratings), first movements of Beethoven's sonatas (motifs, chords), Mozart's sonatas and
#: Bach's preludes (chords, keys).
BARRED = (
    r"d\.?_?960|d\.?_?935|op\.?_?142|woo\.?_?80",
    r"^Beethoven/Piano_Sonatas/[^/]*-1(_|/|$)",
    r"^Mozart/",
    r"^Bach/Prelude/",
)
_REPEAT = re.compile(r"_(no_)?repeat$")


@dataclass(frozen=True)
class Choice:
    """One file: its name in the corpus, where it is, and why it is left out (None: taken)."""

    name: str
    path: Path
    licence: str
    reason: str | None = None


def held_out_asap(metadata: Path) -> set[str]:
    """Compositions of ASAP in the validation or test part of a beat-tracking table (PM2S ``metadata.csv``).

    Returns
    -------
    Folders as in ASAP, without their mark of repeats, such as ``Bach/Fugue/bwv_846``

    Raises
    ------
    DatasetError
        ``not-found``, ``wrong-columns``.
    """
    if not metadata.is_file():
        raise DatasetError("not-found", "There is no such table", path=metadata)
    with metadata.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"midi_perfm", "split"} <= set(rows[0]):
        raise DatasetError("wrong-columns", "columns midi_perfm and split are needed", path=metadata)
    return {
        _composition(str(PurePosixPath(row["midi_perfm"].partition("}")[2].lstrip("/")).parent))
        for row in rows
        if row["split"] != "train" and "ASAP" in row["midi_perfm"]
    }


def choose(collection: Path, asap: Path | None = None, held_out: Iterable[str] = ()) -> Iterator[Choice]:
    """Go through a collection and, in place of its own ASAP subset, a whole ASAP folder.

    Parameters
    ----------
    collection
        Folder with ``manifest.csv`` and the files it names.
    asap
        Folder of the ASAP data set; its performances and scores replace the subset ``asap``.
    held_out
        Compositions of ASAP that are left out, as from `held_out_asap`.

    Raises
    ------
    DatasetError
        ``not-found``, ``wrong-columns``.
    """
    manifest = collection / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError("not-found", "The collection has no manifest.csv", path=collection)
    barred = set(held_out)
    with manifest.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"file", "subset", "licence", "downstream_split"} <= set(reader.fieldnames or ()):
            raise DatasetError("wrong-columns", "file, subset, licence, downstream_split", path=manifest)
        for row in reader:
            if asap is not None and row["subset"] == "asap":
                continue
            piece = PurePosixPath(row["file"])
            reason = None
            if row["subset"] not in LICENSED:
                reason = f"licence: {row['licence']}"
            elif row["downstream_split"] not in ("", "train"):
                reason = f"{row['downstream_split']} part of a task"
            elif row["subset"] != "lmd":  # names there are hashes
                reason = _barred(PurePosixPath(*piece.parts[1:]), barred)
            yield Choice(row["file"], collection / row["file"], row["licence"], reason)
    if asap is not None:
        for path in sorted(asap.rglob("*.mid")):
            inside = PurePosixPath(path.relative_to(asap).as_posix())
            yield Choice(f"asap/{inside}", path, LICENSED["asap"], _barred(inside, barred))


def _composition(folder: str) -> str:
    return _REPEAT.sub("", folder)


def _barred(piece: PurePosixPath, held_out: set[str]) -> str | None:
    """Say which rule leaves a piece out, if any."""
    if _composition(str(piece.parent)) in held_out:
        return "composition of a beat-tracking test"
    for rule in BARRED:
        if re.search(rule, str(piece), re.IGNORECASE):
            return "composition of a downstream test"
    return None


def main() -> int:
    """Parse the arguments, copy the files that are taken and write the ledger. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("collection", type=Path, help="folder with manifest.csv")
    parser.add_argument("--asap", type=Path, help="whole ASAP data set, in place of the collection's part")
    parser.add_argument("--held-out", type=Path, help="table of PM2S, whose test compositions are left out")
    parser.add_argument("--piano", action="store_true", help="leave out the band arrangements (lmd)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args()

    def gather() -> str:
        counts: Counter[str] = Counter()
        held_out = held_out_asap(given.held_out) if given.held_out else set()
        with build_directory(given.output) as partial, (partial / "choice.jsonl").open("w") as ledger:
            for choice in choose(given.collection, given.asap, held_out):
                reason = choice.reason
                if reason is None and given.piano and choice.name.startswith("lmd/"):
                    reason = "no piano music"
                line = {"file": choice.name, "licence": choice.licence, "reason": reason}
                ledger.write(json.dumps(line) + "\n")
                counts[reason or f"taken: {choice.name.partition('/')[0]}"] += 1
                if reason is None:
                    target = partial / choice.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(choice.path, target)
        return "\n".join(f"{count:6d}  {reason}" for reason, count in sorted(counts.items()))

    return report_errors(gather)


if __name__ == "__main__":
    sys.exit(main())

r"""Gather the pieces that weights to be given away may be pre-trained on, and say why others are left out.

Example: python results/tools/choose_pieces.py pretrain_small --asap asap-dataset --rolls extra_piano_rolls \
    --subsets asap giantmidi maestro pianolatron vienna4x22 --tests tests.npz --output expressive

Three questions are asked of every file of a collection with a ``manifest.csv`` (columns ``file``, ``subset``,
``licence``, ``downstream_split``), of an ASAP folder and of a folder of piano rolls: does its licence allow
it (`LICENSED`; with ``--commercial``, `COMMERCIAL`), is it in a task's validation or test part by the
manifest, and does it hold the music of a test piece (``--tests``: what `musicbert data fingerprints` wrote)?
``choice.jsonl`` has a line a file: taken, or why not; ``choice.md`` the counts, and what was left out for
which test.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from program import make_parser, report_errors

from musicbert.atomic import write_text
from musicbert.corpus.files.folders import build_directory
from musicbert.corpus.splits.fingerprints import Fingerprints, fingerprint
from musicbert.errors import DatasetError, MidiError
from musicbert.midi import read_score

__all__ = ["COMMERCIAL", "LICENSED", "Choice", "choice_text", "choose"]

#: Subsets whose licence allows weights to be given away; what it asks for is said in the model card.
LICENSED = {
    "pop909": "MIT",
    "asap": "CC BY-NC-SA 4.0 (non-commercial)",
    "maestro": "CC BY-NC-SA 4.0 (non-commercial)",
    "giantmidi": "CC BY 4.0",
    "lmd": "CC BY 4.0",
    "pianolatron": "MIT",
    "vienna4x22": "CC BY 4.0",
}
#: Those that allow commercial use, too. Lakh is not among them: its arrangers are unknown.
COMMERCIAL = ("giantmidi", "pianolatron", "pop909", "vienna4x22")
#: Folders of MIDI files in a folder of piano rolls.
_ROLLS = {"pianolatron": "pianolatron/midi/exp", "vienna4x22": "vienna4x22/midi"}


@dataclass(frozen=True)
class Choice:
    """One file: its name in the corpus (its subset first), where it is, its notes, and why it is left out.

    ``test`` names the data set of the test piece whose music it holds.
    """

    name: str
    path: Path
    licence: str
    notes: int = 0
    reason: str | None = None
    test: str | None = None

    @property
    def subset(self) -> str:
        """Subset that the file is of."""
        return self.name.partition("/")[0]


def choose(
    collection: Path,
    asap: Path | None = None,
    rolls: Path | None = None,
    tests: Fingerprints | None = None,
    subsets: Collection[str] = tuple(LICENSED),
) -> Iterator[Choice]:
    """Go through a collection, a whole ASAP folder in place of its own subset, and a folder of piano rolls.

    Parameters
    ----------
    collection
        Folder with ``manifest.csv`` and the files it names.
    asap, rolls
        Folders of the ASAP data set and of ``pianolatron/`` and ``vienna4x22/``.
    tests
        Pieces whose music must not be taken.
    subsets
        Only these are taken.

    Raises
    ------
    DatasetError
        ``not-found``, ``wrong-columns``.
    """
    for name, path, licence, split in _files(collection, asap, rolls):
        subset = name.partition("/")[0]
        if subset not in LICENSED:
            yield Choice(name, path, licence, reason=f"licence: {licence}")
        elif subset not in subsets:
            yield Choice(name, path, licence, reason="another subset")
        elif split not in ("", "train"):
            yield Choice(name, path, licence, reason=f"{split} part of a task")
        else:
            try:
                score = read_score(path)
            except MidiError as error:
                yield Choice(name, path, licence, reason=error.reason)
                continue
            held = tests.matches(fingerprint(score)) if tests is not None else []
            reason = f"test music: {held[0]}" if held else None
            test = held[0].piece.partition("/")[0] if held else None
            yield Choice(name, path, licence, len(score), reason, test)


def _files(collection: Path, asap: Path | None, rolls: Path | None) -> Iterator[tuple[str, Path, str, str]]:
    manifest = collection / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError("not-found", "The collection has no manifest.csv", path=collection)
    with manifest.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"file", "subset", "licence", "downstream_split"} <= set(reader.fieldnames or ()):
            raise DatasetError("wrong-columns", "file, subset, licence, downstream_split", path=manifest)
        for row in reader:
            if asap is None or row["subset"] != "asap":
                yield row["file"], collection / row["file"], row["licence"], row["downstream_split"]
    more = {"asap": asap, **{name: rolls / inside for name, inside in _ROLLS.items() if rolls is not None}}
    for subset, folder in more.items():
        if folder is not None:
            for path in sorted(folder.rglob("*.mid")):
                yield f"{subset}/{path.relative_to(folder).as_posix()}", path, LICENSED[subset], ""


def choice_text(choices: Collection[Choice], tests: Fingerprints | None) -> str:
    """Return the counts, and the files that hold test music, in Markdown."""
    taken = [each for each in choices if each.reason is None]
    left_out = [each for each in choices if each.test is not None]
    lines = ["# What was taken, and what was left out", ""]
    if tests is None:
        lines += ["**Nothing was compared with the music of test pieces.**", ""]
    else:
        lines += [f"Every file was compared with {len(tests):,} test and validation pieces by its music.", ""]
    lines += ["| subset | licence | files | notes | left out: test music |", "|---|---|---|---|---|"]
    for subset, licence in LICENSED.items():
        mine = [each for each in taken if each.subset == subset]
        barred = sum(each.subset == subset for each in left_out)
        if mine or barred:
            notes = sum(each.notes for each in mine)
            lines.append(f"| {subset} | {licence} | {len(mine):,} | {notes:,} | {barred} |")
    notes = sum(each.notes for each in taken)
    lines += [f"| all | | {len(taken):,} | {notes:,} | {len(left_out)} |", ""]
    others = Counter(each.reason for each in choices if each.reason is not None and each.test is None)
    if others:
        counts = "; ".join(
            f"{count:,} {reason}" for reason, count in sorted(others.items(), key=lambda at: -at[1])
        )
        lines += [f"Others left out: {counts}.", ""]
    if left_out:
        counts = Counter(each.test for each in left_out)
        by_test = ", ".join(f"{test} {count}" for test, count in counts.most_common())
        lines += [f"By the test that they match best: {by_test}.", "", "| file | holds |", "|---|---|"]
        held = [(each.name, (each.reason or "").partition(": ")[2]) for each in left_out]
        lines += [f"| `{name}` | {piece} |" for name, piece in held]
    return "\n".join([*lines, ""])


def main() -> int:
    """Parse the arguments, copy the files that are taken and write the ledger. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("collection", type=Path, help="folder with manifest.csv")
    parser.add_argument("--asap", type=Path, help="whole ASAP data set, in place of the collection's part")
    parser.add_argument("--rolls", type=Path, help="folder with pianolatron/ and vienna4x22/")
    parser.add_argument("--tests", type=Path, help="fingerprints of test pieces, whose music is left out")
    parser.add_argument(
        "--subsets", nargs="+", choices=tuple(LICENSED), default=tuple(LICENSED), help="take only these"
    )
    parser.add_argument("--commercial", action="store_true", help="only what allows commercial use")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args()

    def gather() -> str:
        tests = Fingerprints.load(given.tests) if given.tests else None
        subsets = [name for name in given.subsets if name in COMMERCIAL or not given.commercial]
        with build_directory(given.output) as partial, (partial / "choice.jsonl").open("w") as ledger:
            choices = []
            for choice in choose(given.collection, given.asap, given.rolls, tests, subsets):
                choices.append(choice)
                line = {"file": choice.name, "licence": choice.licence, "reason": choice.reason}
                ledger.write(json.dumps(line) + "\n")
                if choice.reason is None:
                    target = partial / choice.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(choice.path, target)
            text = choice_text(choices, tests)
            write_text(partial / "choice.md", text)
        return text

    return report_errors(gather)


if __name__ == "__main__":
    sys.exit(main())

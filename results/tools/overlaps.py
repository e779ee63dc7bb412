r"""Which test pieces of which tasks the pre-training of each network held, as music.

Example: python results/tools/overlaps.py tests.npz --collection pretrain_small --asap asap-dataset --cards

Writes results/overlaps.json and overlaps.md. ``tests.npz`` is what `musicbert data fingerprints` wrote;
`results/pretraining/pieces.csv` lists the files of each corpus. With ``--extend`` tests are added to those of
the files, with ``--cards`` the paragraph of each model card that names the overlaps is written anew. Songs
of `next_midi` and `acc_midi` are those that ``ledger.jsonl`` of `scripts/gen_nsp.py` calls ``test``.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from program import ROOT, make_parser, report_errors

from musicbert.atomic import read_json, write_json, write_text
from musicbert.corpus.splits.fingerprints import SHARE, SHARED, Fingerprints, fingerprint
from musicbert.errors import DatasetError
from musicbert.midi import read_score
from musicbert.provenance import provenance

__all__ = [
    "NETWORKS",
    "card_text",
    "corpus_files",
    "extended",
    "find_overlaps",
    "named_like_rated_works",
    "overlaps_text",
    "set_card_text",
]

#: network -> its corpus in pieces.csv
NETWORKS = {
    "m2bert-mini": "m2bert",
    "m2bert-tiny": "m2bert",
    "m2bert-base": "m2bert",
    "musicbert-mini": "musicbert",
    "musicbert-small": "musicbert",
    "musicbert-mini-performance": "performance",
}
#: data set of fingerprints -> the tasks that are tested on it
TASKS = {
    "pm2s": "BP, DbP",
    "bps_motif": "MNID",
    "augmentednet": "CR, LK",
    "pop909": "ME, VE",
    "orchestra": "OTC (parts)",
    "pianist8": "PS",
    "tnua": "VF",
    "emopia": "ER (EMOPIA, VGMIDI)",
    "tagtraum": "SGC",
    "genre": "genre, style",
    "next": "next (songs)",
    "acc": "acc (songs)",
    "next_midi": "next, from POP909 (songs)",
    "acc_midi": "acc, from POP909 (songs)",
    "xai": "ratings, XAI (files)",
    "percepiano": "ratings, PercePiano (files)",
}
#: what the names of files call the works that are rated, whose other movements are no test music
RATED_WORKS = {
    "D. 960": r"(?<![a-z\d])(D\.?_?960(?!\d)|960-\d)",
    "D. 935": r"(?<![a-z\d])(D\.?_?935|op\.?_?142)(?!\d)",
    "WoO 80": r"(?<![a-z\d])WoO\.?_?80(?!\d)",
}
_BEGINS, _ENDS = "**Test music is in the corpus all the same**", "Because of ASAP's licence"


def corpus_files(table: Path, collection: Path, asap: Path) -> dict[str, tuple[Path, list[str]]]:
    """Files of all corpora: name -> where it is, and which corpora hold it."""
    with table.open(encoding="utf-8", newline="") as file:
        return {
            row["file"]: (
                asap / row["file"].removeprefix("asap/")
                if row["file"].startswith("asap/")
                else collection / row["file"],
                row["corpora"].split("+"),
            )
            for row in csv.DictReader(file)
        }


def _place(piece: str) -> tuple[str, str, str]:
    """Data set, part and name of a test piece; files without parts are all tests."""
    task, _, rest = piece.partition("/")
    part, _, name = rest.partition("/")
    return (task, part, name) if re.fullmatch(r"valid|test|fold\d+", part) else (task, "test", rest)


def _group(part: str) -> str:
    return "test" if part.startswith("fold") else part


def find_overlaps(tests: Fingerprints, files: Mapping[str, tuple[Path, list[str]]]) -> dict[str, Any]:
    """Compare every file with the test pieces.

    Returns
    -------
    ``tests``: data set -> part -> number of pieces (folds count as test); ``networks``: network -> its
    corpus; ``corpora``: corpus -> number of
    files; ``overlaps``: one entry a test piece, with ``task``, ``part``, ``piece``, and ``files``: name ->
    ``shared`` windows, their ``share``, and the ``corpora``
    """
    pieces: dict[str, dict[str, int]] = defaultdict(Counter)
    for name in tests.names:
        task, part, _ = _place(name)
        pieces[task][_group(part)] += 1
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, (path, corpora) in files.items():
        for match in tests.matches(fingerprint(read_score(path))):
            share = round(match.share, 3)
            found[match.piece][name] = {"shared": match.shared, "share": share, "corpora": corpora}
    return {
        "tests": {task: dict(parts) for task, parts in pieces.items()},
        "networks": NETWORKS,
        "corpora": dict(Counter(corpus for _, corpora in files.values() for corpus in corpora)),
        "overlaps": [
            dict(zip(("task", "part", "piece"), _place(piece), strict=True)) | {"files": found[piece]}
            for piece in sorted(found)
        ],
        "named like rated works": named_like_rated_works(files),
    }


def named_like_rated_works(files: Iterable[str]) -> dict[str, list[str]]:
    """Files by the rated work that their names tell: other movements, which no fingerprint finds."""
    return {
        work: [name for name in files if re.search(pattern, name, re.IGNORECASE)]
        for work, pattern in RATED_WORKS.items()
    }


def extended(before: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Add the tests of a second look at the same corpora; data sets that both have are taken from it.

    Raises `DatasetError` (``other-data``).
    """
    if before["corpora"] != more["corpora"]:
        raise DatasetError("other-data", "The overlaps are of other corpora", hint="compare all tests anew")
    kept = [each for each in before["overlaps"] if each["task"] not in more["tests"]]
    found = sorted([*kept, *more["overlaps"]], key=lambda each: (each["task"], each["part"], each["piece"]))
    order = [*TASKS, *before["tests"], *more["tests"]]
    tests = before["tests"] | more["tests"]
    tests = {name: tests[name] for name in dict.fromkeys(order) if name in tests}
    return {**more, "tests": tests, "overlaps": found}


def seen(record: Mapping[str, Any], network: str) -> dict[str, dict[str, list[str]]]:
    """Test pieces in the corpus of a network: data set -> part (folds are test) -> names."""
    corpus = NETWORKS[network]
    result: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for each in record["overlaps"]:
        if any(corpus in file["corpora"] for file in each["files"].values()):
            result[each["task"]][_group(each["part"])].append(each["piece"])
    return result


def _counts(record: Mapping[str, Any], network: str, task: str) -> str:
    mine = seen(record, network)[task]
    return ", ".join(f"{len(mine[part])} of {n} {part}" for part, n in sorted(record["tests"][task].items()))


def card_text(record: Mapping[str, Any], network: str) -> str:
    """Return the paragraph of a card that names the overlaps."""
    found, nothing = [], []
    for task in record["tests"]:
        name = TASKS.get(task, task)
        if seen(record, network)[task]:
            found.append(f"{name}: {_counts(record, network, task)}")
        else:
            nothing.append(name)
    text = (
        f"{_BEGINS}: nothing was compared by content when it was chosen. Pieces of tests and validations "
        "that it holds as music, without labels, in another file or performance (`results/overlaps.md` names "
        "each): "
        f"{'; '.join(found)}. None of: {'; '.join(nothing)}."
    )
    return textwrap.fill(text, 140)


def set_card_text(text: str, paragraph: str) -> str:
    """Put the paragraph into a card, or into the notes of a report."""
    begin = text.index(_BEGINS)
    return f"{text[:begin]}{paragraph}\n{text[text.index(_ENDS, begin) :]}"


def overlaps_text(record: Mapping[str, Any]) -> str:
    """Return the tables in Markdown."""
    corpora = {
        corpus: [name for name in NETWORKS if NETWORKS[name] == corpus] for corpus in record["corpora"]
    }
    lines = [
        "# Test music in the pre-training",
        "",
        "Made by `results/tools/overlaps.py` (the command is in `overlaps.json`): every file of each corpus",
        "(`results/pretraining/pieces.csv`, validation part included) is compared with every validation and",
        f"test piece by windows of nine notes as intervals; a match shares {SHARED} windows and {SHARE:.0%}",
        "of those of the shorter one (`musicbert/corpus/splits/fingerprints.py`). No labels were seen.",
        "Other movements of a rated work share no window with it. By the names of files there are:",
        f"{_rated(record)}. Files of Lakh have no such names.",
        "",
        "| task | " + " | ".join(f"{corpus} ({n:,} files)" for corpus, n in record["corpora"].items()) + " |",
        "|---" * (1 + len(corpora)) + "|",
    ]
    for task in record["tests"]:
        cells = [_counts(record, names[0], task) for names in corpora.values()]
        lines.append(f"| {TASKS.get(task, task)} | " + " | ".join(cells) + " |")
    names = "; ".join(f"`{corpus}`: {', '.join(networks)}" for corpus, networks in corpora.items())
    lines += [
        "",
        f"Corpora of the networks: {names}.",
        "",
        "| task | part | piece | files | best match | share |",
    ]
    lines.append("|---" * 6 + "|")
    for each in record["overlaps"]:
        best = max(each["files"], key=lambda name: each["files"][name]["share"])
        among = sorted({corpus for file in each["files"].values() for corpus in file["corpora"]})
        missing = [corpus for corpus in record["corpora"] if corpus not in among]
        without = f" (not in {', '.join(missing)})" if missing else ""
        task = TASKS.get(each["task"], each["task"])
        lines.append(
            f"| {task} | {each['part']} | {each['piece']}{without} | {len(each['files'])} | `{best}` "
            f"| {each['files'][best]['share']:.2f} |"
        )
    return "\n".join([*lines, ""])


def _rated(record: Mapping[str, Any]) -> str:
    found = record["named like rated works"].items()
    return "; ".join(f"{work}: {', '.join(f'`{name}`' for name in names) or 'none'}" for work, names in found)


def write_cards(record: Mapping[str, Any], root: Path = ROOT) -> list[Path]:
    """Write the paragraph of every card, and of what it is made from."""
    written = []
    for network in NETWORKS:
        folder = root / "results" / "pretraining" / network
        paragraph = card_text(record, network)
        for path in (folder / "about.md", root / "checkpoints" / network / "README.md"):
            if path.is_file() and _BEGINS in (text := path.read_text(encoding="utf-8")):
                write_text(path, set_card_text(text, paragraph))
                written.append(path)
        report = read_json(folder / "report.json")
        if _BEGINS in report["notes"]:
            text = (folder / "report.json").read_text(encoding="utf-8")
            old, new = (
                json.dumps(each) for each in (report["notes"], set_card_text(report["notes"], paragraph))
            )
            write_text(folder / "report.json", text.replace(old, new))
    return written


def main() -> int:
    """Parse the arguments, compare and write. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("tests", type=Path, help="fingerprints of test pieces")
    parser.add_argument(
        "--pieces", type=Path, default=ROOT / "results/pretraining/pieces.csv", help="files of corpora"
    )
    parser.add_argument("--collection", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--asap", type=Path, required=True, help="whole ASAP data set")
    parser.add_argument("--extend", action="store_true", help="add these tests to those of the file")
    parser.add_argument("--cards", action="store_true", help="write the cards' paragraphs")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results", help="folder of overlaps.json and overlaps.md"
    )
    given = parser.parse_args()

    def work() -> str:
        files = corpus_files(given.pieces, given.collection, given.asap)
        record = find_overlaps(Fingerprints.load(given.tests), files)
        made_by = provenance(sys.argv, inputs={"tests": given.tests, "pieces": given.pieces}, seed=0)
        if given.extend:
            before = read_json(given.output / "overlaps.json")
            record = extended(before, record)
            made_by["earlier"] = before["provenance"]
        write_json(given.output / "overlaps.json", {**record, "provenance": made_by})
        text = overlaps_text(record)
        write_text(given.output / "overlaps.md", text)
        cards = write_cards(record) if given.cards else []
        return "\n".join([text, *(f"card: {path}" for path in cards)])

    return report_errors(work)


if __name__ == "__main__":
    sys.exit(main())

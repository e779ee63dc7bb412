r"""How well `musicbert similar` finds other performances, movements of the same work and versions of a song.

Example: python results/tools/similarity.py --asap asap-dataset --collection pretrain_small --rolls rolls \
    --vienna vienna4x22/midi --versions pop909_processed --segments segment_midi.zip --work work

Writes results/similarity/scores.json and table.md. All music is outside the networks' pre-training: a file
is taken where no file of `results/pretraining/pieces.csv` shares its music
(`musicbert/corpus/splits/fingerprints.py`). Of each piece, the first `NOTES` notes are described, by
every description alike. Layer and pooling of a network are chosen on one half of the compositions, works
and songs; scores are those of the other half, where the pieces of that half, and the distractors, are the
candidates. Vectors are kept in ``--work`` and used again.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from program import ROOT, die, make_parser, report_errors, say

from musicbert.annotation.names import parse_segment
from musicbert.arrays import Floats, Singles
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.corpus.splits.fingerprints import Fingerprints, fingerprint
from musicbert.errors import MidiError
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.features import features
from musicbert.midi import Score, read_score
from musicbert.provenance import provenance
from musicbert.reuse import record_hash
from musicbert.similarity.describe import Features, transposed
from musicbert.similarity.search import KEYS, Standard

#: notes of a piece that are described, files of one composition, distractors, songs
NOTES, PERFORMANCES, DISTRACTORS, SONGS = 1000, 4, 40, 100
SEED = 0
METRICS = ("mean reciprocal rank", "recall at 10")
TASKS = {
    "performances": "other performances of a composition (ASAP, Vienna 4x22)",
    "segments": "other performances of eight bars (PercePiano)",
    "movements": "other movements of a work (piano-midi.de)",
    "versions": "the other version of a song (POP909: performed, quantised)",
    "keys": "the same, the query in another key",
    "keys, all tried": "the same, with `--any-key`",
}


@dataclass(frozen=True)
class Item:
    """One piece of a task; those of a ``group`` belong together, and one without is a distractor."""

    name: str
    group: str
    source: Path | bytes
    semitones: int = 0

    def score(self) -> Score:
        """Return its first notes."""
        whole = read_score(self.source if isinstance(self.source, bytes) else str(self.source))
        keep = np.sort(np.argsort(whole.onset, kind="stable")[:NOTES])
        columns = ("onset", "offset", "pitch", "velocity", "program", "drum", "track")
        notes = replace(whole, **{name: getattr(whole, name)[keep] for name in columns})
        return transposed(notes, self.semitones)


def number(text: str) -> int:
    """A number that looks drawn, always the same for a text."""
    return int(hashlib.sha256(f"{SEED} {text}".encode()).hexdigest()[:12], 16)


def unseen(options: Any) -> Callable[[Path], bool]:
    """Whether the pre-training of the networks held no file with the music of this one."""
    seen = {}
    with (ROOT / "results/pretraining/pieces.csv").open() as table:
        for row in csv.DictReader(table):
            path = options.collection / row["file"]
            if not path.exists():
                path = options.asap / row["file"].removeprefix("asap/")
            if not path.exists():
                die(f"a file of the pre-training is missing: {row['file']}")
            seen[row["file"]] = fingerprint(read_score(path))
    known = Fingerprints(seen)

    def judge(path: Path) -> bool:
        try:
            return not known.matches(fingerprint(read_score(path)))
        except MidiError:
            return False

    return judge


def find_items(options: Any) -> dict[str, list[Item]]:
    """Pieces of each task."""
    say("which files the pre-training held")
    fresh = unseen(options)
    items: dict[str, list[Item]] = defaultdict(list)
    performed = defaultdict(list)
    with (options.asap / "metadata.csv").open() as table:
        for row in csv.DictReader(table):
            performed[f"{row['composer']}/{row['title']}"].append(options.asap / row["midi_performance"])
    for path in sorted(options.vienna.glob("*_p*.mid")):
        performed[f"vienna/{path.stem.rpartition('_')[0]}"].append(path)
    for group, paths in performed.items():
        taken = [path for path in sorted(paths, key=lambda path: number(path.name)) if fresh(path)]
        items["performances"] += [Item(path.name, group, path) for path in taken[:PERFORMANCES]]
    rolls = sorted(options.rolls.glob("*.mid"), key=lambda path: number(path.name))
    rolls = [path for path in rolls[: 2 * DISTRACTORS] if fresh(path)][:DISTRACTORS]
    items["performances"] += [Item(path.name, "", path) for path in rolls]
    for path in sorted((options.collection / "cpm").rglob("*.mid")):
        if fresh(path):
            work = re.fullmatch(r"(.+?)[_-]?[a-z]?\d+", path.stem)
            items["movements"].append(
                Item(path.name, f"{path.parent.name}/{work[1] if work else path.stem}", path)
            )
    quantised = {path.stem: path for path in options.versions.rglob("*.mid")}
    songs = [
        path
        for path in sorted((options.collection / "pop909").glob("*.mid"), key=lambda path: number(path.name))
        if path.stem in quantised and fresh(path) and fresh(quantised[path.stem])
    ]
    for path in songs[:SONGS]:
        both = (("performed", path), ("quantised", quantised[path.stem]))
        items["versions"] += [Item(f"{kind}/{path.name}", path.stem, place) for kind, place in both]
    with ZipFile(options.segments) as archive:
        by_region = defaultdict(list)
        for name in sorted(archive.namelist(), key=number):
            if name.endswith(".mid") and (segment := parse_segment(Path(name).name)).bars == 8:
                by_region[segment.region].append(Item(name, segment.region, archive.read(name)))
    items["segments"] = [item for found in by_region.values() for item in found[:PERFORMANCES]]
    return dict(items)


def describe_all(
    options: Any, key: str, items: list[Item], make: Callable[[list[Score]], list[Singles]]
) -> Singles:
    """Vectors of pieces [shape=(n, L, W)], kept by what they were made of."""
    contents = [item.source if isinstance(item.source, bytes) else item.source.read_bytes() for item in items]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    hashes += [str(item.semitones) for item in items if item.semitones]
    path = options.work / f"{record_hash([key, NOTES, hashes])[:24]}.npz"
    if path.exists():
        return read_npz(path)["vectors"]
    say(f"{key}: {len(items)} pieces")
    vectors: list[Singles] = []
    for start in range(0, len(items), 8):
        vectors += make([item.score() for item in items[start : start + 8]])
    write_npz(path, {"vectors": np.stack(vectors)})
    return np.stack(vectors)


def descriptions(options: Any) -> Iterator[tuple[str, Callable[[list[Score]], list[Singles]]]]:
    """Name and maker of every description."""
    counts = Features()
    yield "features", lambda scores: [bars.whole(spread=False)[None] for bars in counts.describe(scores)]
    yield "features of the playing", lambda scores: [features(score)[None] for score in scores]
    import torch

    from musicbert.predict import from_pretrained
    from musicbert.predict.sentences.databin import random_twin

    torch.set_num_threads(1)
    for name in options.models:
        model = from_pretrained(name, device="cpu")
        yield name, lambda scores, model=model: list(model.moments(scores))
    for name in options.random:
        model = from_pretrained(name, device="cpu")
        model.module.load_state_dict(random_twin(model, seed=SEED), strict=False)
        yield f"{name} with random weights", lambda scores, model=model: list(model.moments(scores))


def neighbours(tables: list[Floats], queries: list[list[Floats]], whiten: list[bool]) -> Floats:
    """Likeness as the index computes it [shape=(queries, candidates)]; the best over several keys.

    Of several descriptions of the candidates (``tables``) and of the queries, in each key, the mean.
    """
    found = 0.0
    for candidates, vectors, white in zip(tables, zip(*queries, strict=True), whiten, strict=True):
        standard = Standard.of(candidates, whiten=white)
        table = standard.unit(candidates.copy())
        found = found + np.stack([standard.unit(each.copy()) @ table.T for each in vectors])
    return np.max(found, axis=0)


def ranks(likeness: Floats, relevant: Any, itself: Any) -> tuple[Floats, Floats]:
    """Reciprocal rank of the first relevant candidate, and recall at 10, of each query that has one."""
    likeness = np.where(itself, -np.inf, likeness)
    relevant = relevant & ~itself
    order = np.argsort(-likeness, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    several = relevant.sum(1)
    reciprocal = np.where(several > 0, 1 / (1 + hits.argmax(1)), np.nan)
    return reciprocal, hits[:, :10].sum(1) / np.where(several > 0, np.minimum(several, 10), np.nan)


def score_task(
    items: list[Item], half: int, tables: list[Floats], moved: list[list[Floats]], whiten: list[bool]
) -> Any:
    """Groups, reciprocal ranks and recalls of the queries of one half of a task.

    ``tables`` has the vectors of the pieces, one of each description; ``moved``, for queries in other keys,
    those of all quantised versions, a list for each key.
    """
    groups = np.array([item.group for item in items])
    mine = np.array([not group or number(group) % 2 == half for group in groups])
    asked = mine & (groups != "")
    if moved:
        quantised = np.array([item.name.startswith("quantised") for item in items])
        asked, candidates = asked & quantised, mine & ~quantised
        queries = [[vectors[asked[quantised]] for vectors in tables] for tables in moved]
    else:
        candidates, queries = mine, [[table[asked] for table in tables]]
    itself = np.flatnonzero(asked)[:, None] == np.flatnonzero(candidates)
    relevant = groups[asked][:, None] == groups[candidates]
    reciprocal, recall = ranks(
        neighbours([table[candidates] for table in tables], queries, whiten), relevant, itself
    )
    known = np.isfinite(reciprocal)
    return groups[asked][known], reciprocal[known], recall[known]


def piece_of(task: str, group: str) -> str:
    """What is drawn together for intervals: segments of a piece share more than others."""
    return parse_segment(f"{group}_1").piece if task == "segments" else group


def intervals(task: str, groups: Any, values: Floats) -> dict[str, float | None]:
    """Mean with its interval over groups of music."""
    numbers, many = group_numbers([piece_of(task, group) for group in groups])
    weights = resample(many, seed=SEED)
    sums, counts = np.bincount(numbers, values), np.bincount(numbers)
    return {"groups": many, **interval((weights @ sums) / np.maximum(weights @ counts, 1)).as_dict()}


def other_key(item: Item, more: int) -> Item:
    """A version in another key, drawn by the song, and ``more`` semitones higher."""
    return replace(item, semitones=number(item.group) % 11 - 5 + (number(item.group) % 11 >= 5) + more)


def variants(vectors: Singles) -> dict[str, Any]:
    """What a description of several layers offers: a function of its vectors by its name."""
    layers, width = vectors.shape[1:]
    if layers == 1:
        return {"": lambda table: table[:, 0]}
    return {
        f"block {layer + 1}, {pooling}": lambda table, layer=layer, stop=stop: table[:, layer, :stop]
        for layer in range(layers)
        for pooling, stop in (("mean", width // 2), ("mean and deviation", width))
    }


def describe_items(options: Any, items: dict[str, list[Item]]) -> dict[str, dict[str, list[Singles]]]:
    """Of each description: its vectors of each task, and of queries in other keys, a table for each key."""
    quantised = [item for item in items["versions"] if item.name.startswith("quantised")]
    known: dict[str, dict[str, list[Singles]]] = {}
    for name, make in descriptions(options):
        known[name] = {task: [describe_all(options, name, found, make)] for task, found in items.items()}
        for task, keys in {"keys": KEYS[:1], "keys, all tried": KEYS if name == "features" else ()}.items():
            turned = [[other_key(item, more) for item in quantised] for more in keys]
            known[name][task] = [describe_all(options, name, found, make) for found in turned]
    return known


@dataclass(frozen=True)
class Way:
    """A row of the table: descriptions whose mean likeness counts.

    ``parts``: of each its name, what is taken of its vectors (`variants`), and whether they are whitened.
    """

    label: str
    parts: tuple[tuple[str, str, bool], ...]

    def score(self, known: Any, items: dict[str, list[Item]], task: str, half: int) -> Any:
        """See `score_task`."""
        base = "versions" if task.startswith("keys") else task

        def tables(of: str) -> list[list[Floats]]:
            picks = [variants(known[name][base][0])[choice] for name, choice, _ in self.parts]
            found = [known[name][of] for name, _, _ in self.parts]
            return [[pick(table) for table in each] for pick, each in zip(picks, found, strict=True)]

        moved = [list(each) for each in zip(*tables(task), strict=True)] if task != base else []
        whiten = [white for _, _, white in self.parts]
        return score_task(items[base], half, [first for first, *_ in tables(base)], moved, whiten)


def find_ways(known: Any, items: dict[str, list[Item]]) -> Iterator[Way]:
    """Each description, as it is and whitened, and beside `features`; what is chosen, on the first half."""
    for name in known:
        for white in (False, True):
            label = f"{name}, whitened" if white else name
            ways = [Way(label, ((name, choice, white),)) for choice in variants(known[name]["segments"][0])]
            means = [np.mean([way.score(known, items, task, 0)[1].mean() for task in items]) for way in ways]
            yield (way := ways[int(np.argmax(means))])
            if name != "features":
                yield Way(f"mean of features and {label}", (("features", "", False), *way.parts))


def write_results(options: Any) -> str:
    """Describe, choose, score and write."""
    options.work.mkdir(parents=True, exist_ok=True)
    items = find_items(options)
    known = describe_items(options, items)
    rows: list[dict[str, Any]] = []
    kept: dict[tuple[str, str], Any] = {}
    for way in find_ways(known, items):
        name, chosen, white = way.parts[-1]
        for task in TASKS:
            if not known[name][task]:
                continue
            groups, *values = kept[way.label, task] = way.score(known, items, task, 1)
            row = {"description": way.label, "chosen": chosen, "task": task, "queries": len(groups)}
            others = {"features": "less features"} if way.label != "features" else {}
            others |= {name: "less not whitened"} if white and len(way.parts) == 1 else {}
            for metric, each, number_of in zip(METRICS, values, (1, 2), strict=True):
                row[metric] = intervals(task, groups, each)
                for other, what in others.items():
                    row[f"{metric}, {what}"] = intervals(task, groups, each - kept[other, task][number_of])
            rows.append(row)
        mine = [row[METRICS[0]]["value"] for row in rows if row["description"] == way.label]
        say(f"{way.label} {chosen}: {np.round(mine, 3).tolist()}")
    counts = {
        task: {"pieces": len(found), "groups": len({i.group for i in found} - {""})}
        for task, found in items.items()
    }
    made = provenance(options.command, inputs={"pieces": ROOT / "results/pretraining/pieces.csv"}, seed=SEED,
                      configuration={"notes": NOTES, "pieces": counts})  # fmt: skip
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "scores.json", {"provenance": made, "rows": rows})
    write_text(options.output / "table.md", table_text(rows, counts))
    return f"written to {options.output}"


def table_text(rows: list[dict[str, Any]], counts: dict[str, dict[str, int]]) -> str:
    """Scores as Markdown."""
    lines = [
        "# How well likeness finds what belongs together", "",
        "Made by `results/tools/similarity.py` (command, versions: `scores.json`). Music outside all",
        f"pre-training, the first {NOTES:,} notes of each piece. Layer and pooling were chosen on one half",
        "of it, scores are of the other; intervals (95 %) over compositions, works or songs. Recall at 10:",
        "share of what belongs to the query among the first ten answers (of ten, where there is more).",
        "Whitened: as `musicbert similar` compares states of networks, learned on the candidates.",
    ]  # fmt: skip
    for task, words in TASKS.items():
        mine = [row for row in rows if row["task"] == task]
        count = counts.get(task)
        size = f", {count['pieces']} pieces of {count['groups']} groups in both halves" if count else ""
        lines += ["", f"## {words[0].upper()}{words[1:]}", "", f"{mine[0]['queries']} queries{size}.", ""]
        lines += [
            "| description | mean reciprocal rank | less `features` | less not whitened | recall at 10 |",
            "|---|---|---|---|---|",
        ]
        for row in mine:
            name = f"`{row['description']}`" + (f" ({row['chosen']})" if row["chosen"] else "")
            less = [row.get(f"{METRICS[0]}, {what}") for what in ("less features", "less not whitened")]
            cells = (
                shown(row[METRICS[0]]),
                *(shown(each, "+") if each else "" for each in less),
                shown(row[METRICS[1]]),
            )
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown(value: dict[str, Any], sign: str = "") -> str:
    """A value with its interval."""
    return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def main() -> int:
    """Run the program."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--asap", type=Path, required=True, help="folder of ASAP, with metadata.csv")
    add(
        "--collection",
        type=Path,
        required=True,
        help="folder with what the networks were pre-trained on, and cpm/",
    )
    add("--rolls", type=Path, required=True, help="folder of piano rolls, as distractors")
    add("--vienna", type=Path, required=True, help="folder of the Vienna 4x22 performances")
    add("--versions", type=Path, required=True, help="folder of POP909 as quantised by MIDI-BERT")
    add("--segments", type=Path, required=True, help="PercePiano's segment_midi.zip")
    add("--work", type=Path, required=True, help="folder of vectors that are kept")
    add("--output", type=Path, default=ROOT / "results/similarity", help="folder of the results")
    add("--models", nargs="*", default=["musicbert-mini", "m2bert-mini", "musicbert-mini-performance"])
    add("--random", nargs="*", default=["musicbert-mini"], help="networks also taken with random weights")
    options = parser.parse_args()
    options.command = ["python", *sys.argv]
    return report_errors(lambda: write_results(options))


if __name__ == "__main__":
    sys.exit(main())

"""The benchmark's one table: scores of networks, mean and deviation, beside published rows and baselines.

A folder of runs is ``OUT/<ABBREVIATION>/<split>/fold<k>/seed<s>/{test.npz,run.json}``. The score of a seed is
the mean over its folds, as published; the table shows mean and standard deviation over seeds (over folds
where there is one seed and several folds). ``scores.json`` has one record a task and split: ``task``
(abbreviation), ``split``, ``network`` (`network_scores`, or null), ``baselines`` (`baseline_scores`),
``data`` (source, hash, codec), ``note`` (why something is missing), and ``train_share`` where not all of the
training parts was used.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.arrays import Floats
from musicbert.atomic import read_json, write_json, write_text
from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.tasks import BENCHMARK, OBJECTIVES, BenchmarkTask
from musicbert.evaluation.baselines.benchmark import baselines_of
from musicbert.evaluation.benchmark_scores import rounds, score_pieces, score_predictions
from musicbert.evaluation.predictions import load_predictions
from musicbert.evaluation.reports.seen import SEEN, UNSEEN, parts_of
from musicbert.evaluation.rows import Row
from musicbert.evaluation.tables import interval_cell, markdown_table, number_cell

SCORES, TABLE = "scores.json", "table.md"
_APART = tuple(f"score, {part}" for part in (SEEN, UNSEEN))
_SCORES = {"score", "published", "pieces", *_APART}
#: baselines that look at no note, and cells without published scores
_PLAIN, _NONE = ("majority", "previous"), (None,) * len(OBJECTIVES)


def network_scores(
    row: BenchmarkTask,
    shards: LabelledSet,
    pieces: Mapping[str, LabelledPiece],
    folder: Path,
    *,
    known: dict[Path, dict[str, Any]] | None = None,
    only: Collection[Path] | None = None,
    seen: Collection[str] | None = None,
) -> dict[str, Any] | None:
    """Score the complete runs (``run.json``) of a folder; None where there is none (see `summary_of_runs`).

    ``pieces``: those of the data by name; ``known``: scores by file, which are not computed again; new ones
    are added; ``only``: folders of the runs that count (all); ``seen``: pieces that are scored apart from the
    others (``score, seen`` and ``score, unseen``).
    """
    runs = []
    known = {} if known is None else known
    for path in sorted(folder.glob("fold*/seed*/test.npz")):
        if not path.with_name("run.json").is_file() or (only is not None and path.parent not in only):
            continue
        if path not in known:
            predictions = load_predictions(path)[row.task.label]
            known[path] = score_predictions(row, predictions, shards, pieces)
            for part, mine in parts_of(predictions, seen).items() if seen is not None else ():
                known[path][f"score, {part}"] = score_predictions(row, mine, shards, pieces)["score"]
        fold, seed = path.parts[-3].removeprefix("fold"), int(path.parts[-2].removeprefix("seed"))
        runs.append({"seed": seed, "fold": fold, **known[path]})
    return summary_of_runs(runs) if runs else None


def summary_of_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``runs`` (seed, fold and scores), and ``mean`` and ``sd`` of each score that all have."""
    result: dict[str, Any] = {"runs": list(runs)}
    everywhere = [key for key in runs[0] if all(key in run for run in runs)]
    apart = [key for key in _APART if any(key in run for run in runs)]  # some folds may have no such piece
    for key in dict.fromkeys(key for key in (*everywhere, *apart) if key not in ("seed", "fold", "n")):
        having = [run for run in runs if key in run]
        seeds = sorted({run["seed"] for run in having})
        means = [np.mean([run[key] for run in having if run["seed"] == seed]) for seed in seeds]
        spread = means if len(means) > 1 else [run[key] for run in having]
        deviation = float(np.std(spread, ddof=1)) if len(spread) > 1 else None
        result[key] = {"mean": float(np.mean(means)), "sd": deviation}
    return result


def baseline_scores(
    row: BenchmarkTask,
    pieces: Sequence[LabelledPiece],
    split: str,
    *,
    trained: Mapping[str, Collection[str]] | None = None,
    features: Mapping[str, Floats] | None = None,
) -> dict[str, dict[str, float]]:
    """Score the baselines of a task on a split: means over its rounds.

    ``trained``: of each fold, the names of the pieces to fit on; whole training parts if None; ``features``
    of whole pieces, for their models.
    """
    parts = rounds(row, pieces, split)
    if trained is not None:
        parts = [
            {**part, "train": [piece for piece in part["train"] if piece.name in trained[str(fold)]]}
            for fold, part in enumerate(parts)
        ]
    result = {}
    for name, baseline in baselines_of(row.task, features).items():
        scores = [
            score_pieces(row, part["test"], baseline(part["train"], part["test"], row.task)) for part in parts
        ]
        result[name] = {
            key: float(np.mean([round_scores[key] for round_scores in scores]))
            for key in scores[0]
            if key != "n"
        }
    return result


def rows_of(record: Mapping[str, Any]) -> list[Row]:
    """Return a record of ``scores.json`` as rows: the network, if there is one, and the baselines."""
    about = {"task": record["task"], "split": record["split"]}
    rows = []
    if network := record.get("network"):
        means = {
            key: {"value": network[key]["mean"], "sd": network[key]["sd"]} for key in _SCORES & network.keys()
        }
        rows.append(Row("network", {"pooled": means}, **about))
    for name, scores in (record.get("baselines") or {}).items():
        rows.append(
            Row("baseline", {"pooled": {key: {"value": scores[key]} for key in scores}}, name=name, **about)
        )
    return rows


def benchmark_table(records: Sequence[Mapping[str, Any]], model: str) -> str:
    """Return all records (see the module) as one table, a line a task, split and score."""
    lines, notes = [], []
    for record in records:
        task, rows = BENCHMARK[record["task"].upper()], rows_of(record)
        if record.get("note"):
            notes.append(f"- {record['task']}, {record['split']}: {record['note']}")
        names = {
            **{key: key.replace("score", task.score) for key in ("score", *_APART)},
        }
        names |= {"published": f"{task.score}, as published", "pieces": "by piece"}
        network = next((row for row in rows if row.kind == "network"), None)
        for key, name in names.items():
            known = [row for row in rows if key in row.scores["pooled"]]
            if not known or (network not in known if network else key != "score"):
                continue
            rivals = [row for row in known if row.kind == "baseline" and row.name not in _PLAIN]
            best = max(rivals, key=lambda row: row.value(key), default=None)
            majority = next((row.value(key) for row in known if row.name == "majority"), None)
            as_published = record["split"] == "published" and key in ("score", "published")
            lines.append(
                [
                    *(record["task"], record["split"], name),
                    interval_cell(network.entry(key)) if network else "–",
                    f"{number_cell(best.value(key))} ({best.name})" if best else "–",
                    *(
                        number_cell(value)
                        for value in (majority, *(task.published if as_published else _NONE))
                    ),
                ]
            )
    shares = sorted({record["train_share"] for record in records if "train_share" in record})
    notes += [f"- networks and baselines learned from {100 * s:g} % of the training part" for s in shares]
    published = [f"M2BERT {objective}" for objective in OBJECTIVES]
    head = ["task", "split", "score", model, "best baseline", "majority", *published]
    return "\n".join([*markdown_table(head, lines), "", *([*notes, ""] if notes else [])])


class TaskFiles:
    """The records so far and their files, ``scores.json`` and ``table.md``, which are always complete.

    When a run is resumed, scores of the earlier call are kept until they are recomputed, if they are of the
    same model, ``made_from`` (`musicbert.reuse.made_from`) and data; ``expected``: hash of the data of the
    tasks and splits that this call comes to.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        expected: Mapping[tuple[str, str], str | None],
        *,
        made_from: Mapping[str, Any],
        made_by: Mapping[str, Any],
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self._folder = folder
        self._head = {"model": model, "made_from": dict(made_from), "made_by": dict(made_by)}
        self._earlier = [
            row
            for row in self._read()
            if row.get("network")
            and row.get("data", {}).get("sha256") == expected.get((row.get("task"), row.get("split")))
        ]

    def _read(self) -> list[dict[str, Any]]:
        """Rows of an earlier call of the same; a file that is no such table is written over."""
        try:
            content = read_json(self._folder / SCORES)
            same = all(content[name] == self._head[name] for name in ("model", "made_from"))
            return [dict(row) for row in content["rows"]] if same else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def write(self) -> None:
        """Write both files."""
        done = {(record["task"], record["split"]) for record in self.records}
        rows = [*self.records, *(row for row in self._earlier if (row["task"], row["split"]) not in done)]
        write_json(self._folder / SCORES, {**self._head, "rows": rows})
        write_text(self._folder / TABLE, benchmark_table(rows, self._head["model"]))

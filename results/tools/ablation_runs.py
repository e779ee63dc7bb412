"""What ``scripts/run_ablations.sh`` leaves behind: variants with their scores, and logs of pre-training.

``OUT/pretrain/<NAME>@<UPDATES>/train.log`` is the log of a pre-training,
``OUT/finetune/<VARIANT>/scores.json`` what `musicbert benchmark` wrote (``scores-1.json`` and so on: earlier
calls, with other tasks), ``OUT/finetune/<VARIANT>/pretraining`` the name of the pre-training that it began
with. A variant is called ``NAME[@UPDATES][%SHARE]``: ``bar@500%10`` was pre-trained for 500 updates and
fine-tuned on 10 per cent of the labels. Verified in ``tests/results_tools/test_ablation_scores.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from pretraining_report import read_log

from musicbert.errors import DatasetError

__all__ = [
    "SCRATCH",
    "Runs",
    "Task",
    "Variant",
    "pretraining_of",
    "read_pretrainings",
    "read_variants",
    "unfinished",
]

SCRATCH = "scratch-"
#: task and split
Task = tuple[str, str]
#: (seed, fold) -> score, in 0-1, higher is better
Runs = Mapping[tuple[int, str], float]

_NAME = re.compile(r"(?P<base>[^@%]+)(?:@(?P<updates>\d+))?(?:%(?P<share>\d+))?")


@dataclass(frozen=True)
class Variant:
    """A variant and its scores.

    Attributes
    ----------
    name
        As it was written.
    base
        The name without updates and share.
    share
        Share of the labels, in 0-1.
    codec
        Encoding of the tasks' data; None where no task had data.
    pretraining
        Name of the pre-training; None without one.
    tasks
        Scores of the complete runs.
    notes
        What went wrong, a sentence each.
    made_by
        Provenance of the scores.
    """

    name: str
    base: str
    share: float = 1.0
    codec: str | None = None
    pretraining: str | None = None
    tasks: Mapping[Task, Runs] = field(default_factory=dict)
    notes: Sequence[str] = ()
    made_by: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scratch(self) -> bool:
        """Whether it was not pre-trained."""
        return self.base.startswith(SCRATCH)

    def reference(self, variants: Sequence[Variant]) -> Variant | None:
        """Return the variant without pre-training on the same encoding and share of the labels."""
        wanted = f"{SCRATCH}{self.codec}", self.share
        return next((variant for variant in variants if (variant.base, variant.share) == wanted), None)


def read_variants(folder: str | PathLike[str]) -> list[Variant]:
    """Read ``finetune/*/scores*.json`` of a folder, those without pre-training first.

    Raises
    ------
    DatasetError
        ``no-runs`` where there are none, ``bad-scores`` where a file or a name cannot be read.
    """
    places = {path.parent for path in Path(folder).glob("finetune/*/scores*.json")}
    variants = [_read(place) for place in sorted(places)]
    if not variants:
        raise DatasetError(
            "no-runs", "No variant was fine-tuned here", path=folder, hint="run scripts/run_ablations.sh"
        )
    return sorted(variants, key=lambda run: (not run.scratch, run.codec or "", run.base, -run.share))


def _read(place: Path) -> Variant:
    match = _NAME.fullmatch(place.name)
    if match is None:
        raise DatasetError("bad-scores", "The folder is not called NAME[@UPDATES][%SHARE]", path=place)
    rows: dict[Task, Mapping[str, Any]] = {}
    # by number, the last call at the end
    for path in sorted(
        place.glob("scores*.json"), key=lambda file: (file.stem == "scores", len(file.stem), file.stem)
    ):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            by_task = {(row["task"], row["split"]): row for row in content["rows"]}
            _scores(by_task.values())
            made_by = dict(content["made_by"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                "bad-scores", "This is no table of `musicbert benchmark`", path=path
            ) from error
        # a failure does not undo what an earlier call has scored
        rows |= {task: row for task, row in by_task.items() if row.get("network") or task not in rows}
    tasks, notes, codecs = _scores(rows.values())
    if len(codecs) > 1:
        raise DatasetError("bad-scores", f"Tasks on different encodings: {', '.join(codecs)}", path=place)
    base = match["base"]
    codec = codecs[0] if codecs else base.removeprefix(SCRATCH) if base.startswith(SCRATCH) else None
    start = place / "pretraining"
    return Variant(
        name=place.name,
        base=base,
        share=int(match["share"] or 100) / 100,
        codec=codec,
        pretraining=start.read_text(encoding="utf-8").strip() if start.is_file() else None,
        tasks=tasks,
        notes=notes,
        made_by=made_by,
    )


def _scores(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[Task, Runs], list[str], list[str]]:
    tasks: dict[Task, Runs] = {}
    notes, codecs = [], set()
    for row in rows:
        if "same_as" in row:  # one training, listed under two splits
            continue
        task = (row["task"], row["split"])
        if row.get("note"):
            notes.append(f"{row['task']}, {row['split']}: {row['note']}")
        if row.get("network"):
            tasks[task] = {
                (int(run["seed"]), str(run["fold"])): float(run["score"]) for run in row["network"]["runs"]
            }
            codecs.add(row["data"]["codec"])
    return tasks, notes, sorted(codecs)


def read_pretrainings(folder: str | PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read the logs of all pre-trainings of a folder.

    Returns
    -------
    Name -> ``updates``, ``notes`` (seen in all), ``seconds``, ``notes_a_second``, ``rows`` (of an update),
    ``loss`` and ``accuracy`` (per cent; of the valid part, None where not logged) and ``options``. Logs
    without a finished epoch are left out.
    """
    summaries = {}
    for path in sorted(Path(folder).glob("pretrain/*/train.log")):
        try:
            summaries[path.parent.name] = _summary(read_log(path))
        except DatasetError as error:
            if error.reason != "bad-log":
                raise
    return summaries


def unfinished(folder: str | PathLike[str]) -> list[str]:
    """Return the names of pre-trainings that were begun and have not come to their end (a file ``done``)."""
    begun = sorted(path for path in Path(folder).glob("pretrain/*") if path.is_dir())
    return [path.name for path in begun if not (path / "done").is_file()]


def _summary(run: Mapping[str, Any]) -> dict[str, Any]:
    notes, seconds, final = run["notes"] or 0, run["seconds"], run["final"]
    return {
        "updates": run["updates"],
        "notes": round(notes),
        "seconds": round(seconds),
        "notes_a_second": round(notes / seconds) if seconds else None,
        "rows": run["rows_of_a_batch"],
        "loss": final.get("loss"),
        "accuracy": final.get("accuracy", final.get("accuracy_all")),
        "options": run["options"],
    }


def pretraining_of(variant: Variant, pretrainings: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the log of a variant's pre-training; empty where there is none."""
    return pretrainings.get(variant.pretraining or "", {})

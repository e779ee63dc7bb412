"""What scoring of genre, style and pairs shares: options, their arguments, logits, and files of results."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.arrays import Singles
from musicbert.atomic import read_json
from musicbert.errors import CheckpointError, DatasetError
from musicbert.evaluation.rows import Row
from musicbert.evaluation.tables import write_scores
from musicbert.predict.runner import line_progress
from musicbert.predict.sentences.databin import class_logits
from musicbert.provenance import provenance

#: name of the label in files of predictions
LABEL = "label"
#: In the order of choice: the best on the validation part, else the last.
_NAMES = ("checkpoint_best.pt", "checkpoint_last.pt")
_FOLD = re.compile(r"fold(\d+)")
#: "x" by itself, which upstream's scorer replaces by the number of the fold.
_LONE_X = re.compile(r"(?<![A-Za-z0-9])x(?![A-Za-z0-9])")


@dataclass(frozen=True)
class Scoring:
    """How checkpoints and baselines are scored."""

    part: str = "test"  # or valid
    baselines: bool = True  # score them, too
    head: str | None = None  # see `musicbert.predict.sentences.databin.class_logits`, like device
    device: str | None = None
    resamples: int = 1000  # of the bootstrap
    seed: int = 0  # of the bootstrap and of baselines that draw
    command: Sequence[str] = ()  # words of the command line, for the record
    progress: Callable[[int, int], None] | None = None  # called with (done, all) sequences

    @classmethod
    def from_arguments(cls, options: argparse.Namespace, command: Sequence[str]) -> Scoring:
        """Return what the arguments of `add_scoring_arguments` say."""
        names = ("part", "baselines", "head", "device", "seed")
        values = {name: getattr(options, name) for name in names}
        return cls(**values, command=command, progress=line_progress("sequences"))

    def logits(self, checkpoint: str | PathLike[str], folder: str | PathLike[str], classes: int) -> Singles:
        """Return the logits of all classes [shape=(n, classes)]; a head may have more outputs.

        Raises `CheckpointError, DatasetError` (those of `class_logits`; ``class-count-mismatch``).
        """
        logits = class_logits(
            checkpoint, folder, self.part, head=self.head, device=self.device, progress=self.progress
        )
        if logits.shape[1] < classes:
            raise DatasetError(
                "class-count-mismatch",
                f"The head has {logits.shape[1]} outputs for {classes} classes",
                path=str(checkpoint),
            )
        return logits[:, :classes]

    def write(
        self,
        out: str | PathLike[str],
        data: str | PathLike[str],
        rows: Sequence[Row],
        *,
        notes: Sequence[str],
        metrics: Sequence[Sequence[str]],
        inputs: Mapping[str, str | PathLike[str]],
        **more: Any,
    ) -> None:
        """Write ``scores.{json,csv,md}`` (see `write_scores`) with where they come from."""
        settings = {"part": self.part, "resamples": self.resamples}
        source = provenance(self.command, inputs=inputs, seed=self.seed, configuration=settings)
        write_scores(
            out,
            title=f"{Path(data).absolute().name}, {self.part}",
            notes=notes,
            rows=rows,
            metrics=metrics,
            more={**more, "provenance": source},
        )


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `Scoring.from_arguments` and the folder of results need."""
    add = parser.add_argument
    add("--output", type=Path, help="folder for scores and predictions (default: DATA_scores)")
    add("--split", dest="part", default="test", choices=("test", "valid"), help="part (%(default)s)")
    add("--no-baselines", dest="baselines", action="store_false", help="leave the baselines out")
    add("--head", help="classification head (default: the only one)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    add("--seed", type=int, default=0, help="of the bootstrap and of baselines that draw (%(default)s)")


def read_about(path: Path) -> dict[str, Any]:
    """Return what a data-bin says about itself; empty where there is no such file."""
    return dict(read_json(path)) if path.is_file() else {}


def seeds_of(rows: Iterable[str]) -> dict[str, list[str]]:
    """Return the rows ``NAME seedK`` of each name that has several seeds."""
    seeds: dict[str, list[str]] = {}
    for row in rows:
        base, mark, number = row.rpartition(" seed")
        if mark and number.isdecimal():
            seeds.setdefault(base, []).append(row)
    return {name: members for name, members in seeds.items() if len(members) > 1}


def find_runs(source: str | PathLike[str]) -> dict[str, Path]:
    """Return row -> checkpoint of a file, or of a folder with ``seed*`` folders.

    Raises `CheckpointError` (``not-found``).
    """
    path = Path(source)
    if path.is_file():
        return {path.parent.name if path.name in _NAMES else path.stem: path}
    name = path.resolve().name
    if found := _checkpoint(path):
        return {name: found}
    seeds = {f"{name} {run.name}": at for run in sorted(path.glob("seed*")) if (at := _checkpoint(run))}
    if not seeds:
        raise _missing(path)
    return seeds


def find_fold_runs(source: str | PathLike[str]) -> dict[str, dict[str, Path]]:
    """Return row -> fold -> checkpoint.

    ``source``: a folder with ``fold*/`` or ``fold*/seed*/``; or a file whose path has ``{fold}`` (or, as
    upstream's scorer takes it, a lone ``x``) in place of the number of the fold; or one file, of fold 0.
    Raises `CheckpointError` (``not-found``).
    """
    path = Path(source)
    rows: dict[str, dict[str, Path]] = {}
    if path.is_dir():
        for folder in sorted(path.glob("fold*")):
            if match := _FOLD.fullmatch(folder.name):
                for name, checkpoint in find_runs(folder).items():
                    seed = name.removeprefix(folder.name)
                    rows.setdefault(path.resolve().name + seed, {})[match[1]] = checkpoint
    elif "{fold}" in str(source) or _LONE_X.search(path.name):
        if "{fold}" not in str(source):
            path = path.with_name(_LONE_X.sub("{fold}", path.name))
        pattern = str(path)
        name = path.stem if "{fold}" in path.name else Path(pattern.replace("{fold}", "")).parent.name
        for fold in range(100):
            checkpoint = Path(pattern.replace("{fold}", str(fold)))
            if checkpoint.is_file():
                rows.setdefault(name.replace("{fold}", "").strip("_-") or "model", {})[str(fold)] = checkpoint
    elif path.is_file():
        rows[path.stem] = {"0": path}
    if not rows:
        raise _missing(path)
    return rows


def _checkpoint(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _missing(path: Path) -> CheckpointError:
    return CheckpointError(
        "not-found",
        "There is no fine-tuned checkpoint here",
        path=path,
        hint="give a file, or the --save-dir of scripts/train_nsp.sh or scripts/train_genre.sh",
    )

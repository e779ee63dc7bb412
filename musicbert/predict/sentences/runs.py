"""Finding the checkpoints of training runs: one file, or a folder of folds and seeds."""

import re
from os import PathLike
from pathlib import Path

from musicbert.errors import CheckpointError

#: In the order of choice: the best on the validation part, else the last.
_NAMES = ("checkpoint_best.pt", "checkpoint_last.pt")
_FOLD = re.compile(r"fold(\d+)")
#: "x" by itself, which upstream's scorer replaces by the number of the fold.
_LONE_X = re.compile(r"(?<![A-Za-z0-9])x(?![A-Za-z0-9])")


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
    seeds = {f"{name} {each.name}": at for each in sorted(path.glob("seed*")) if (at := _checkpoint(each))}
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
                for name, found in find_runs(folder).items():
                    seed = name.removeprefix(folder.name)
                    rows.setdefault(path.resolve().name + seed, {})[match[1]] = found
    elif "{fold}" in str(source) or _LONE_X.search(path.name):
        pattern = (
            str(source) if "{fold}" in str(source) else str(path.with_name(_LONE_X.sub("{fold}", path.name)))
        )
        name = (
            Path(pattern).stem
            if "{fold}" in Path(pattern).name
            else Path(pattern.replace("{fold}", "")).parent.name
        )
        for fold in range(100):
            found = Path(pattern.replace("{fold}", str(fold)))
            if found.is_file():
                rows.setdefault(name.replace("{fold}", "").strip("_-") or "model", {})[str(fold)] = found
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

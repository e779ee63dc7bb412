"""Folds that come as a file: PercePiano's ``folds.json``, and this package's own split files.

PercePiano's file lists segments (``stems``) and, aligned with them, one array a scheme:

| scheme | folds | test | validation |
|---|---|---|---|
| ``performer_published`` | 4 models | the same performers 1 and 2 | two performers, as published |
| ``composition_published_style`` | 4 models | the same regions | a fold of regions, as published |
| ``composition_strict4`` | 4 | regions in turn | carved: whole regions |
| ``performer_cv`` | 5 | performers in pairs | carved: whole performers |
| ``segment_811`` | 1 | a tenth of the segments | a tenth; leaks by design |

Published validation folds are used as they are (``valid="groups"``) or join the training part
(``valid="none"``). An own split file is ``{"0": {"train": [...], "valid": [...], "test": [...]}, ...}``.

Verified in ``tests/unit/annotation/test_folds_file.py`` and ``tests/parity/test_splits_shared.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.annotation.files import write_whole
from musicbert.annotation.splits import Fold, Folds, Valid, split_by_group
from musicbert.errors import DatasetError

__all__ = ["SCHEMES", "folds_from_file", "read_regions", "write_folds"]

#: schemes of PercePiano's fold file
SCHEMES = (
    "performer_published",
    "composition_published_style",
    "composition_strict4",
    "performer_cv",
    "segment_811",
)
#: values in the arrays with a meaning of their own
_TEST, _NEVER_TESTED = 9, -1


def folds_from_file(
    path: str | PathLike[str],
    ids: Iterable[str],
    scheme: str | None = None,
    *,
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """Folds of some segments as a file says.

    Parameters
    ----------
    path
        PercePiano's fold file, or an own split file.
    ids
        Identifiers of the segments; those of the file that are not among them are left out.
    scheme
        One of `SCHEMES`; not for own split files.
    seed, valid, valid_fraction
        As in `musicbert.annotation.splits`.

    Raises
    ------
    DatasetError
        ``not-found``, ``damaged``, ``unknown-split``, ``unknown-ids`` (segments that the file does not know),
        ``empty-split``, ``no-validation``.
    """
    ids = list(ids)
    content = _read(path)
    if "stems" not in content:
        return _own_folds(content, ids, path, valid)
    if scheme not in SCHEMES or scheme not in content:
        raise DatasetError(
            "unknown-split",
            f"there is no scheme {scheme!r}",
            path=path,
            hint=f"schemes: {', '.join(SCHEMES)}",
        )
    fold_of = _aligned(content, scheme, ids, path)
    performers = _aligned(content, "performer_id", ids, path)
    regions = _aligned(content, "region", ids, path)
    if scheme == "segment_811":
        fold = {
            part: [n for n in ids if fold_of[n] == k] for k, part in enumerate(("train", "valid", "test"))
        }
        return {"0": _checked(fold, valid, path)}
    if scheme in ("performer_published", "composition_published_style"):
        folds: Folds = {}
        for k in range(4):
            fold = {
                "train": [n for n in ids if fold_of[n] not in (_TEST, k)],
                "valid": [n for n in ids if fold_of[n] == k],
                "test": [n for n in ids if fold_of[n] == _TEST],
            }
            folds[str(k)] = _checked(fold, valid, path, order=ids)
        return folds
    groups = regions if scheme == "composition_strict4" else performers
    return {
        str(k): split_by_group(
            ids,
            [n for n in ids if fold_of[n] == k],
            {n: str(groups[n]) for n in ids},
            seed=f"{seed}/{k}",
            valid=valid,
            valid_fraction=valid_fraction,
        )
        for k in sorted(set(fold_of.values()) - {_NEVER_TESTED})
    }


def read_regions(path: str | PathLike[str]) -> dict[str, str]:
    """Region of every segment in PercePiano's fold file: ``{id: region}``.

    Raises
    ------
    DatasetError
        ``not-found``, ``damaged``.
    """
    content = _read(path)
    try:
        names = content["regions"]
        return {stem: str(names[k]) for stem, k in zip(content["stems"], content["region"], strict=True)}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DatasetError("damaged", "the fold file names no regions", path=path) from error


def write_folds(path: str | PathLike[str], folds: Folds) -> None:
    """Write folds as an own split file; it appears whole or not at all.

    Raises
    ------
    RatingError
        ``cannot-write``.
    """
    write_whole(path, (json.dumps(folds, indent=0) + "\n").encode())


def _read(path: str | PathLike[str]) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DatasetError("not-found", f"cannot read the fold file: {error.strerror}", path=path) from error
    except ValueError as error:
        raise DatasetError("damaged", f"this is not JSON ({error})", path=path) from error
    if not isinstance(content, dict) or not content:
        raise DatasetError("damaged", "a fold file is one JSON object", path=path)
    return content


def _aligned(
    content: Mapping[str, Any], key: str, ids: list[str], path: str | PathLike[str]
) -> dict[str, int]:
    stems, values = content["stems"], content.get(key)
    if not isinstance(values, list) or len(values) != len(stems):
        raise DatasetError("damaged", f"{key!r} is not aligned with the segments", path=path)
    known = dict(zip(stems, values, strict=True))
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise _unknown(unknown, path)
    return {name: int(known[name]) for name in ids}


def _unknown(names: list[str], path: str | PathLike[str]) -> DatasetError:
    return DatasetError(
        "unknown-ids",
        f"{len(names)} segments are not in the fold file, e.g. {names[0]}",
        path=path,
        hint="use the fold file that belongs to these labels",
    )


def _checked(
    fold: Fold, valid: Valid, path: str | PathLike[str], *, order: Iterable[str] | None = None
) -> Fold:
    """Join validation to training where it is not wanted, and refuse empty parts."""
    if valid == "none":
        joined = {*fold["train"], *fold["valid"]}
        train = [name for name in order if name in joined] if order else [*fold["train"], *fold["valid"]]
        fold = {"train": train, "valid": [], "test": fold["test"]}
    if not fold["train"] or not fold["test"] or (valid != "none" and not fold["valid"]):
        sizes = ", ".join(f"{len(names)} {part}" for part, names in fold.items())
        raise DatasetError("empty-split", f"a fold has {sizes} segments", path=path)
    return fold


def _own_folds(content: dict[str, Any], ids: list[str], path: str | PathLike[str], valid: Valid) -> Folds:
    there = set(ids)
    folds: Folds = {}
    for key, parts in content.items():
        try:
            fold = {part: [str(n) for n in parts.get(part, [])] for part in ("train", "valid", "test")}
        except (AttributeError, TypeError) as error:
            raise DatasetError(
                "damaged",
                f"fold {key!r} is not {{train, valid, test}}",
                path=path,
                hint="see the fold files' format",
            ) from error
        names = [name for part in fold.values() for name in part]
        if len(set(names)) != len(names):
            raise DatasetError("duplicate-id", f"fold {key!r} has a segment in two places", path=path)
        unknown = [name for name in names if name not in there]
        if unknown and len(unknown) == len(names):
            raise _unknown(unknown, path)
        fold = {part: [name for name in listed if name in there] for part, listed in fold.items()}
        if valid == "none":
            fold = {"train": [*fold["train"], *fold["valid"]], "valid": [], "test": fold["test"]}
        if not fold["train"] or not fold["test"]:
            raise DatasetError("empty-split", f"fold {key!r} has nothing to train on or to test", path=path)
        folds[key] = fold
    return folds

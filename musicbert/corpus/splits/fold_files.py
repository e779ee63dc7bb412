"""Folds from a file: own lists of identifiers, or the arrays published for PercePiano.

Three forms are read:

- JSON ``{"0": {"train": [...], "valid": [...], "test": [...]}, ...}``, or such an object under a name
  (``FILE:NAME``); valid may be missing or empty;
- JSON of parallel arrays: ``stems`` and, under a name, one integer a stem. What the integers mean
  follows from the name (`ARRAYS`) or, for an unknown name, from the marker 9: a fixed test set;
- a text file of identifiers, one a line: the test set; the rest is trained on.

Verified in ``tests/unit/corpus/splits/test_fold_files.py``.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from musicbert.annotation.folds import PARTS, Fold, Folds, Valid, carve_validation
from musicbert.annotation.names import content_groups
from musicbert.corpus.files.folders import read_whole
from musicbert.errors import DatasetError
from musicbert.walk import walk

#: Marker of the fixed test set in an array of folds.
_TEST = 9
Meaning = Literal["fixed-test", "test-folds", "parts"]

#: Name of an array -> what its integers mean, and the array of the groups that validation keeps whole.
#: ``fixed-test``: 9 is the test of every fold, k the validation of fold k. ``test-folds``: k is the test of
#: fold k, -1 is never tested. ``parts``: 0 train, 1 valid, 2 test.
ARRAYS: dict[str, tuple[Meaning, str]] = {
    "performer_published": ("fixed-test", "performer_id"),
    "composition_published_style": ("fixed-test", "region"),
    "composition_strict4": ("test-folds", "region"),
    "performer_cv": ("test-folds", "performer_id"),
    "segment_811": ("parts", "region"),
}


def read_folds(
    source: str | PathLike[str],
    ids: Iterable[str],
    *,
    seed: int = 7,
    valid: Valid = "groups",
    groups: Mapping[str, str] | None = None,
) -> Folds:
    """Read folds from ``FILE`` or ``FILE:NAME`` and reduce them to the segments there are.

    Names of the file that are not among ``ids`` are ignored, and segments that the file does not name are
    left out. ``valid="groups"`` takes whole groups out of training where the file names no validation part
    (single segments where training and test share every group); ``"none"`` returns any validation part to
    training. ``groups`` are used where the file has none, instead of content groups. Raises `DatasetError`:
    ``not-found``, ``bad-folds`` (not one of the three forms, or an unknown
    name), ``leak`` (an identifier in two parts), ``empty-split`` (a fold without training or test segments).
    """
    path, name = _split_name(source)
    order = list(ids)
    text = _read(path)
    if path.suffix.lower() == ".json":
        content = _json(text, path)
        if isinstance(content.get("stems"), list):
            folds, given = _from_arrays(content, name, path)
            groups = given or groups
        else:
            folds = _from_lists(content, name, path)
    else:
        test = {line.strip() for line in text.splitlines() if line.strip()}
        unknown = sorted(test - set(order))
        if len(unknown) > len(test) / 2:  # misspelt: the segments that were meant would be trained on
            what = f"{len(unknown)} of its {len(test)} names are not segments, such as {unknown[0]}"
            raise _bad(what, path)
        folds = {"0": {"train": [piece for piece in order if piece not in test], "test": sorted(test)}}
    return {
        fold: _reduce(parts, order, groups, valid=valid, seed=f"{seed}/{fold}", where=f"{path} fold {fold}")
        for fold, parts in folds.items()
    }


def _split_name(source: str | PathLike[str]) -> tuple[Path, str | None]:
    path = Path(source)
    file, colon, name = str(source).rpartition(":")
    return (Path(file), name) if colon and len(file) > 1 and not path.exists() else (path, None)


def _read(path: Path) -> str:
    try:
        return read_whole(path, "The file of folds", hint="see --folds-file").decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad("It is not UTF-8 text", path) from error


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"It is not JSON: {error}", path) from error
    if not isinstance(content, dict):
        raise _bad("It is no JSON object", path)
    return content


def _from_arrays(
    content: dict[str, Any], name: str | None, path: Path
) -> tuple[dict[str, dict[str, list[str]]], Mapping[str, str] | None]:
    stems = content["stems"]
    known = [array for array in ARRAYS if array in content]
    values = content.get(name) if name else None
    if (
        not isinstance(values, list)
        or len(values) != len(stems)
        or not all(type(value) is int for value in values)
    ):
        raise _bad(f"It has no array {name!r}; say FILE:NAME with one of {', '.join(known)}", path)
    assert name is not None
    meaning, group_array = ARRAYS.get(name, ("fixed-test" if _TEST in values else None, "region"))
    if meaning is None:
        raise _bad(f"What the numbers of {name!r} mean is not known; write the folds out as lists", path)
    pairs = list(zip(stems, values, strict=True))

    def where(condition: Callable[[int], bool]) -> list[str]:
        return [stem for stem, value in pairs if condition(value)]

    folds: dict[str, dict[str, list[str]]] = {}
    if meaning == "parts":
        folds["0"] = {part: where(number.__eq__) for number, part in enumerate(PARTS)}
    else:
        for k in sorted(set(values) - {_TEST, -1}):
            held = where(k.__eq__)
            if meaning == "fixed-test":
                train = where(lambda value, k=k: value not in (k, _TEST))  # type: ignore[misc]
                folds[str(k)] = {"train": train, "valid": held, "test": where(_TEST.__eq__)}
            else:
                folds[str(k)] = {"train": where(k.__ne__), "test": held}
    groups = content.get(group_array)
    if isinstance(groups, list) and len(groups) == len(stems):
        return folds, {stem: str(group) for stem, group in zip(stems, groups, strict=True)}
    return folds, None


def _from_lists(content: dict[str, Any], name: str | None, path: Path) -> dict[str, dict[str, list[str]]]:
    folds = content.get(name) if name else content
    if isinstance(folds, dict) and set(folds) <= set(PARTS):
        folds = {"0": folds}
    if (
        not isinstance(folds, dict)
        or not folds
        or not all(
            key.isdecimal() and isinstance(fold, dict) and set(fold) <= set(PARTS)
            for key, fold in folds.items()
        )
        or not all(
            isinstance(part, list) and all(isinstance(piece, str) for piece in part)
            for fold in folds.values()
            for part in fold.values()
        )
    ):
        raise _bad('Folds are {"0": {"train": [...], "valid": [...], "test": [...]}, ...}', path)
    return folds


def _reduce(
    parts: Mapping[str, list[str]],
    order: list[str],
    groups: Mapping[str, str] | None,
    *,
    valid: Valid,
    seed: str,
    where: str,
) -> Fold:
    part_of: dict[str, str] = {}
    for part in PARTS:
        for piece in parts.get(part, ()):
            if part_of.setdefault(piece, part) != part:
                raise DatasetError("leak", f"{piece} is in {part_of[piece]} and in {part}", path=where)
    if valid == "none":
        part_of = {piece: "train" if part == "valid" else part for piece, part in part_of.items()}
    fold: Fold = {part: [piece for piece in order if part_of.get(piece) == part] for part in PARTS}
    if not fold["train"] or not fold["test"]:
        raise DatasetError(
            "empty-split",
            f"{len(fold['train'])} segments are left for training and {len(fold['test'])} for the test",
            path=where,
            hint="do its names belong to these labels?",
        )
    if valid == "groups" and not fold["valid"]:
        named = groups if groups is not None else content_groups([*fold["train"], *fold["test"]])
        tested = {named[piece] for piece in fold["test"]}
        if all(named[piece] in tested for piece in fold["train"]):  # a split that shares all its groups
            named, tested = {piece: piece for piece in order}, set()
        fold["train"], fold["valid"] = carve_validation(fold["train"], named, seed=seed, forbidden=tested)
    return fold


def _bad(message: str, path: Path) -> DatasetError:
    return DatasetError("bad-folds", message, path=path, hint="see --folds-file in docs/labels.md")


def read_databin_folds(folder: str | PathLike[str]) -> Folds:
    """Folds of a data-bin (or of one of its folders) by the ids beside its labels.

    `DatasetError` ``not-found``.
    """
    folder = Path(folder)
    below = sorted(labels.parent for labels in folder.glob("*/label"))
    sources = [folder] if (folder / "label").is_dir() else below
    if not sources or not all((source / "label" / "test.id").is_file() for source in sources):
        raise DatasetError(
            "not-found", "no data-bin with identifiers here", path=folder, hint="run scripts/binarize_xai.sh"
        )
    folds: Folds = {}
    for source in sources:
        parts = {part: source / "label" / f"{part}.id" for part in PARTS}
        fold = {part: _lines(path) if path.is_file() else [] for part, path in parts.items()}
        if fold["valid"] == fold["test"]:  # the compatible two-way split
            fold["valid"] = []
        folds[source.name] = {"train": fold["train"], "valid": fold["valid"], "test": fold["test"]}
    return folds


def read_databin_groups(folder: str | PathLike[str]) -> dict[str, str]:
    """Group of each piece of a data-bin by its id, where there are files of groups."""
    groups: dict[str, str] = {}
    for path in (Path(found.path) for found in walk(folder)):
        if path.suffix == ".group" and path.parent.name == "label":
            groups.update(zip(_lines(path.with_suffix(".id")), _lines(path), strict=True))
    return groups


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()

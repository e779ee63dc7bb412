"""Training curves from the logs of fairseq-train: JSON lines, simple lines, or TensorBoard event files.

A summary line of an epoch looks like ``... | INFO | valid | {"epoch": 1, "valid_loss": "0.05", ...}`` with
``--log-format json`` (``INFO:valid:{...}`` where something else set up logging before fairseq), and like
``... | valid | epoch 001 | valid on 'valid' subset | loss 0.05 | ...`` with ``--log-format simple``. Lines
inside an epoch (``train_inner``) are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

__all__ = ["Curves", "read_curves"]

#: quantity -> part (``train`` or ``valid``) -> points (epoch, value)
Curves = dict[str, dict[str, list[tuple[float, float]]]]

_JSON = re.compile(r"(?:^|\|\s*|:)(?P<part>train|valid)?\s*[|:]?\s*(?P<body>\{.*\})\s*$")
_SIMPLE = re.compile(r"epoch\s+(?P<epoch>\d+)\s*\|\s*(?P<rest>.*)")
_VALID_SUBSET = re.compile(r"valid on '[^']*' subset\s*\|\s*")
_NUMBER = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)\s+(?P<value>[-+]?[\d.]+(?:[eE][-+]?\d+)?|nan|inf)$")


def _add(curves: Curves, part: str, quantity: str, epoch: float, value: object) -> None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return
    points = curves.setdefault(quantity, {}).setdefault(part, [])
    if number == number and abs(number) != float("inf"):
        points[:] = [each for each in points if each[0] != epoch] + [(epoch, number)]


def _json_line(curves: Curves, line: str) -> bool:
    match = _JSON.search(line)
    if match is None or "train_inner" in line:
        return match is not None
    try:
        body = json.loads(match["body"])
        epoch = float(body["epoch"])
    except (ValueError, KeyError, TypeError):
        return True
    for key, value in body.items():
        part, _, quantity = key.partition("_")
        if part in ("train", "valid") and quantity:
            _add(curves, part, quantity, epoch, value)
    return True


def _simple_line(curves: Curves, line: str) -> None:
    match = _SIMPLE.search(line)
    if match is None or "train_inner" in line or ":" in line[: match.start()].rpartition("|")[2]:
        return
    part = "valid" if _VALID_SUBSET.search(match["rest"]) else "train"
    for field in _VALID_SUBSET.sub("", match["rest"]).split("|"):
        number = _NUMBER.match(field.strip())
        if number:
            _add(curves, part, number["name"], float(match["epoch"]), number["value"])


def _lines(lines: Iterable[str]) -> Curves:
    curves: Curves = {}
    for line in lines:
        if not _json_line(curves, line):
            _simple_line(curves, line)
    return curves


def _events(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves: Curves = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        part = next((p for p in ("valid", "train") if p in path.parent.name), None)
        if part is None or "train_inner" in path.parent.name:
            continue
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                _add(curves, part, tag, float(event.step), event.value)
    return curves


def read_curves(path: str | PathLike[str]) -> Curves:
    """Read the curves of one run.

    Parameters
    ----------
    path
        A log file (``log.jsonl``, ``train.log``), or a folder with TensorBoard event files.

    Returns
    -------
    Quantity -> ``train`` or ``valid`` -> points (epoch; update for TensorBoard, value), finite values only;
    the last value counts where an epoch occurs twice (a resumed run). Empty where the log has none.
    """
    path = Path(path)
    if path.is_dir():
        return _events(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        return _lines(file)

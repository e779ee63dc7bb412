"""Training curves from the logs of fairseq-train: JSON lines, simple lines, or TensorBoard event files.

A summary line of an epoch looks like ``... | INFO | valid | {"epoch": 1, "valid_loss": "0.05", ...}`` with
``--log-format json`` (``INFO:valid:{...}`` where something else set up logging before fairseq), and like
``... | valid | epoch 001 | valid on 'valid' subset | loss 0.05 | ...`` with ``--log-format simple``. Lines
inside an epoch (``train_inner``) are left out.
"""

import json
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

#: quantity -> part (``train`` or ``valid``) -> points (epoch, value)
Curves = dict[str, dict[str, list[tuple[float, float]]]]
#: part, quantity, epoch, value
_Point = tuple[str, str, float, object]

_JSON = re.compile(r"(?:^|\||:)\s*(?P<body>\{.*\})\s*$")
_SIMPLE = re.compile(r"\| (?:train|valid) \| epoch\s+(?P<epoch>\d+)\s*\|(?P<rest>.*)")
_VALID_SUBSET = re.compile(r"valid on '[^']*' subset")


def _json_points(text: str) -> Iterator[_Point]:
    try:
        body = json.loads(text)
        epoch = float(body["epoch"])
    except (ValueError, KeyError, TypeError):
        return
    for key, value in body.items():
        part, _, quantity = key.partition("_")
        if part in ("train", "valid") and quantity:
            yield part, quantity, epoch, value


def _line_points(line: str) -> Iterator[_Point]:
    if "train_inner" in line:
        return
    if match := _JSON.search(line):
        yield from _json_points(match["body"])
    elif match := _SIMPLE.search(line):
        part = "valid" if _VALID_SUBSET.search(match["rest"]) else "train"
        for field in match["rest"].split("|"):
            quantity, _, value = field.strip().partition(" ")
            yield part, quantity, float(match["epoch"]), value


def _event_points(folder: Path) -> Iterator[_Point]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for path in sorted(folder.rglob("events.out.tfevents.*")):
        part = next((p for p in ("valid", "train") if p in path.parent.name), None)
        if part is None or "train_inner" in path.parent.name:
            continue
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            yield from ((part, tag, float(event.step), event.value) for event in events.Scalars(tag))


def read_curves(path: str | PathLike[str]) -> Curves:
    """Read the curves of one run from a log file, or a folder with TensorBoard event files (by update).

    Only finite values; the last value counts where an epoch occurs twice (a resumed run).
    """
    path = Path(path)
    if path.is_dir():
        points = list(_event_points(path))
    else:
        with path.open(encoding="utf-8", errors="replace") as file:
            points = [point for line in file for point in _line_points(line)]
    curves: dict[str, dict[str, dict[float, float]]] = {}
    for part, quantity, epoch, value in points:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        line = curves.setdefault(quantity, {}).setdefault(part, {})
        if np.isfinite(number):
            line.pop(epoch, None)  # a later value of the same epoch comes last
            line[epoch] = number
    return {name: {part: list(p.items()) for part, p in parts.items()} for name, parts in curves.items()}

"""Analyses as rows of a table, and layers as JSON-ready values."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from musicbert.analysis.analysis import Analysis

#: a line is a dimension of the whole piece, of one passage, an output of a model, or a reason
COLUMNS = (
    "file", "what", "start", "end", "area", "name", "low_pole", "high_pole",
    "value", "rating", "range_low", "range_high", "coverage", "percentile", "text",
)  # fmt: skip


def csv_of(analyses: Iterable["Analysis"]) -> str:
    """One table of several analyses; times in seconds."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for analysis in analyses:
        writer.writerows({"file": analysis.name, **row} for row in _rows(analysis))
    return stream.getvalue()


def _rows(analysis: "Analysis") -> Iterator[dict[str, Any]]:
    whole = {"start": 0.0, "end": round(analysis.seconds, 3)}
    for reason in analysis.reasons:
        yield {"what": "no profile", **whole, "name": reason.code, "value": reason.value, "text": reason.text}
    profile = analysis.profile
    for each in () if profile is None else profile.dimensions:
        low, high = each.interval or ("", "")
        yield {
            "what": "piece", **whole, "area": each.area, "name": each.name,
            "low_pole": each.low, "high_pole": each.high,
            "value": each.value, "rating": _or_empty(each.rating), "range_low": low, "range_high": high,
            "coverage": _or_empty(each.coverage), "percentile": _or_empty(each.percentile),
        }  # fmt: skip
    for part in () if profile is None else profile.parts:
        place = {"what": "passage", "start": round(part.start, 3), "end": round(part.end, 3)}
        if part.values is None:
            yield {**place, "text": part.reason}
            continue
        for each, value in zip(profile.dimensions if profile else (), part.values, strict=True):
            yield {
                **place,
                "area": each.area,
                "name": each.name,
                "low_pole": each.low,
                "high_pole": each.high,
                "value": value,
            }
    for head, scores in analysis.outputs.items():
        for name, value in scores.items():
            yield {"what": head, **whole, "name": name, "value": value}
    for text in analysis.warnings:
        yield {"what": "warning", "text": text}


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value


def layers_dict(value: Any) -> Any:
    """Layers (dataclasses of arrays) as JSON-ready values."""
    if is_dataclass(value):
        return {each.name: layers_dict(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): layers_dict(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [layers_dict(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return layers_dict(value.tolist())
    return round(value, 6) if isinstance(value, float) else value

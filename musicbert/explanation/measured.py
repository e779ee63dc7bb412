"""What was measured of the profile's explanations on PercePiano's ratings.

`profile.json` is written by ``results/tools/explanation_factors.py``: by dimension the ``noise`` of the
effect of each factor (jackknife over parts of the training music), whether effects of factors are ``offered``
(they agree with ratings better than random factors do), and ``rater_error``, one rater's standard error
(0-1). `properties.json` is the same of measured properties (``results/tools/explanation_properties.py``).
`losses.json` has what real performances are like (``results/tools/explanation_losses.py``).
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def real_ranges() -> dict[str, tuple[float, float]]:
    """Return the ranges of the measures of `musicbert.explanation.plausibility` for real performances."""
    text = files("musicbert.explanation").joinpath("losses.json").read_text(encoding="utf-8")
    return {name: (float(low), float(high)) for name, (low, high) in json.loads(text).items()}


@cache
def measured() -> Mapping[str, Mapping[str, Any]]:
    """Return dimension -> what was measured."""
    text = files("musicbert.explanation").joinpath("profile.json").read_text(encoding="utf-8")
    content: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return content


@cache
def measured_properties() -> Mapping[str, Mapping[str, Any]]:
    """Return dimension -> what was measured of the effects of measured properties."""
    text = files("musicbert.explanation").joinpath("properties.json").read_text(encoding="utf-8")
    content: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return content

"""Made performances, and the model that comes with the package."""

from dataclasses import replace

import numpy as np
import pytest

from musicbert.analysis import load_profile_model
from musicbert.synthesis import make_set


@pytest.fixture(scope="package")
def performances():
    return list(make_set(3, performers=2, segments=2, movements=1).scores.values())


@pytest.fixture(scope="package")
def model():
    return load_profile_model()


@pytest.fixture(scope="package")
def concert(performances):
    """The performances one after another, seven times, with pauses of six seconds."""
    return _joined(performances * 7, pause=6.0)


@pytest.fixture(scope="package")
def joined():
    return _joined


def _joined(scores, pause):
    """One score of several, each a pause after the one before."""
    parts, start = [], 0
    for score in scores:
        parts.append((score, start))
        start += int(score.offset.max()) + round(pause * 2 * score.ticks_per_beat)  # made at 120 BPM
    columns = {
        name: np.concatenate([getattr(score, name) + (at if name in moved else 0) for score, at in parts])
        for names, moved in (
            (("onset", "offset", "pitch", "velocity", "program", "drum", "track"), ("onset", "offset")),
            (("control_tick", "control_number", "control_value", "control_track"), ("control_tick",)),
        )
        for name in names
    }
    return replace(scores[0], **{**columns, "drum": columns["drum"].astype(bool)})

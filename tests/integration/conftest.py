"""A small made rating data set: label map and MIDI files."""

import importlib.util
import json

import numpy as np
import pytest

from musicbert.midi import Score, midi_bytes

PERFORMERS = ("Score", "1", "2", "12")
#: (movement, bars, numbers); mv3 8-bar 5 (repeated as 14) and mv2 8-bar 13 are in the published test
SEGMENTS = (("mv2", 8, (1, 2, 3, 13)), ("mv3", 8, (1, 5, 14, 23)), ("mv2", 16, (5,)))
DIMENSIONS = 3


def _midi(seed, notes):
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.integers(0, 16 * 480, notes))
    zeros = np.zeros(notes, np.int64)
    return midi_bytes(
        Score(
            ticks_per_beat=480,
            onset=onset,
            offset=onset + rng.integers(30, 480, notes),
            pitch=rng.integers(40, 80, notes),
            velocity=rng.integers(1, 128, notes),
            program=zeros,
            drum=zeros.astype(bool),
            track=zeros,
            control_tick=np.arange(8) * 480,
            control_number=np.full(8, 64),
            control_value=rng.integers(0, 128, 8),
            control_track=np.zeros(8, np.int64),
        )
    )


@pytest.fixture(scope="session")
def gen_xai(root):
    """``main`` of the program ``gen_xai.py``."""
    spec = importlib.util.spec_from_file_location("gen_xai", root / "gen_xai.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def made_set(tmp_path):
    """Folder with ``labels.json`` (36 segments, one more without MIDI) and ``midi/`` (36 files, one more)."""
    rng = np.random.default_rng(0)
    (tmp_path / "midi").mkdir()
    labels = {}
    names = [
        f"Schubert_D960_{movement}_{bars}bars_{performer}_{number:02d}"
        for movement, bars, numbers in SEGMENTS
        for number in numbers
        for performer in PERFORMERS
    ]
    for index, name in enumerate(names):
        performer = PERFORMERS.index(name.split("_")[4])
        labels[name] = [*rng.uniform(1 / 7, 1, DIMENSIONS).tolist(), performer]
        (tmp_path / "midi" / f"{name}.mid").write_bytes(_midi(index, 10 + index))
    labels["Schubert_D960_mv3_8bars_12_37"] = [0.5] * DIMENSIONS + [3]
    labels[names[0]][1] = None  # a missing rating
    (tmp_path / "midi" / "Schubert_D960_mv3_8bars_1_36.mid").write_bytes(_midi(99, 12))
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path

"""A small made rating data set: label map and MIDI files."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from warm_python import python

from musicbert.corpus.bins.databin import write_indexed_dataset
from musicbert.corpus.bins.rows_bin import write_rows_bin
from musicbert.encoding.vocabulary import dictionary_text, rows_to_ids
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


@pytest.fixture
def recipe(root, tmp_path):
    """Run a program of ``scripts/`` in an empty folder; returns what it printed.

    ``cold``: in a fresh interpreter, as users run it.
    """

    def run(program, *arguments, code=0, cold=False):
        interpreter = sys.executable if cold else python()
        start = ["bash"] if program.endswith(".sh") else [interpreter]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*start, str(root / "scripts" / program), *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, "PYTHON": interpreter},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def write_tunes():
    """Write tunes of each split to ``cp/`` and ``octuple/`` of a folder, for pre-training.

    A tune is its columns: bar, position in sixteenths, pitch, duration in sixteenths.
    """

    def cp(bar, position, pitch, duration):
        new = np.diff(bar, prepend=-1) != 0
        return np.stack([1 - new, position, pitch - 22, 2 * duration - 1], axis=1)

    def octuple(bar, position, pitch, duration):
        zeros = np.zeros(len(bar), np.int64)
        return np.stack([bar, 4 * position, zeros, pitch, 4 * duration, zeros + 16, zeros + 9, zeros + 34], 1)

    def write(tunes, folder):
        write_rows_bin({s: [cp(*t) for t in pieces] for s, pieces in tunes.items()}, folder / "cp", "cp")
        (folder / "octuple").mkdir()
        (folder / "octuple" / "dict.txt").write_text(dictionary_text())
        for split, pieces in tunes.items():
            write_indexed_dataset([rows_to_ids(octuple(*t)) for t in pieces], folder / "octuple" / split)

    return write


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

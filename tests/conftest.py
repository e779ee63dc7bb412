"""Fixtures shared by all tests: the shared data beside the checkout, where it is there."""

import gc
import importlib.util
import os
import sys
from pathlib import Path

import hydra_cache
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# torch reads it when it is imported: workers of pytest share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
# bytecode of the checkout is kept: tests start hundreds of Pythons, and pytest rewrites every file of them
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# the same examples in every run, so that a failure belongs to a change; `make fuzz` draws new ones
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("new", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items):
    """Skip tests marked ``shared`` with their reason where the shared folder is missing."""
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="needs the shared data folder beside the checkout"))


def pytest_collection_finish():
    """Leave what has been imported out of later searches for garbage: it stays until the end."""
    if "fairseq" in sys.modules:
        hydra_cache.keep()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared():
    """Folder of the shared data (use with ``@pytest.mark.shared``)."""
    return SHARED


@pytest.fixture(scope="session")
def fixtures():
    """Folder of the small files that belong to the tests."""
    return ROOT / "tests" / "fixtures"


@pytest.fixture(scope="session")
def root():
    """Top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def make_databin(root, tmp_path_factory):
    """Factory of small data-bins whose ratings and performers follow from the notes.

    ``make_databin(pieces={"train": 24, "valid": 8}, dimensions=4, classes=3, missing=0.1, performance=2)``
    """
    import json

    import numpy as np

    first = np.array([4, 260, 388, 517, 773, 901, 933, 1187])  # first id of each field
    counts = np.array([256, 128, 129, 256, 128, 32, 254, 49])

    def piece(rng, performer, length):
        level = rng.uniform(4, 27, size=2)  # velocity, and pitch around 44 + it
        onsets = np.sort(rng.integers(0, 64 * 12, size=length))
        notes = np.stack(
            [
                onsets // 64,
                onsets % 64,
                np.zeros(length),
                44 + level[1] + rng.integers(-8, 9, size=length),
                np.clip(8 * (performer + 1) + rng.integers(-2, 3, size=length), 0, 127),
                np.clip(level[0] + rng.integers(-2, 3, size=length), 0, 31),
                np.full(length, 9),
                np.full(length, 34),
            ],
            axis=1,
        ).astype(np.int64)
        return notes + first, level / 32

    def make(pieces=None, *, dimensions=4, classes=3, missing=0.0, performance=0, seed=0, notes=(10, 40)):
        from musicbert.corpus.bins.databin import write_indexed_dataset

        rng = np.random.default_rng(seed)
        mixing = rng.dirichlet(np.ones(2), size=dimensions)  # (dimensions, 2)
        folder = tmp_path_factory.mktemp("databin")
        for name in ("input0", "label", "performance"):
            (folder / name).mkdir()
        lines = [f"<{j}-{v}> 0\n" for j, count in enumerate(counts) for v in range(count)]
        (folder / "input0" / "dict.txt").write_text("".join(lines))
        names = [str(number) for number in range(classes - 1)] + ["Score"]
        record = {
            "classes": names,
            "dimensions": [{"name": f"d{j}", "low": "low", "high": "high"} for j in range(dimensions)],
        }
        (folder / "label" / "classes.json").write_text(json.dumps(record))
        for split, number in (pieces or {"train": 24, "valid": 8}).items():
            tokens, labels, ids, inputs = [], [], [], []
            for index in range(number):
                performer = int(rng.integers(classes))
                body, level = piece(rng, performer, int(rng.integers(*notes)))
                tokens.append(np.concatenate([np.zeros(8), body.reshape(-1), np.full(8, 2)]).astype(np.int64))
                ratings = mixing @ level
                row = [None if rng.random() < missing else float(value) for value in ratings]
                labels.append(json.dumps([*row, performer]))
                ids.append(f"Made_D960_mv3_8bars_{names[performer]}_{split}{index:02d}")
                inputs.append(rng.normal(size=(len(body), performance)).astype(np.float32))
            write_indexed_dataset(tokens, folder / "input0" / split)
            (folder / "label" / f"{split}.label").write_text("\n".join(labels) + "\n")
            (folder / "label" / f"{split}.id").write_text("\n".join(ids) + "\n")
            if performance:
                np.save(folder / "performance" / f"{split}.performance.npy", np.concatenate(inputs))
        return folder

    return make


@pytest.fixture(scope="session")
def make_midi_folder(tmp_path_factory):
    """Factory of folders of made MIDI files.

    ``make_midi_folder(8, notes=(20, 60), seed=1)``: ``a/00000.mid`` and so on, tunes that nobody shares.
    """
    import numpy as np

    from musicbert.midi import Score, midi_bytes

    def tune(rng, notes):
        zeros = np.zeros(notes, np.int64)
        onset = np.cumsum(rng.integers(1, 3, notes)) * 240
        return midi_bytes(
            Score(
                ticks_per_beat=480,
                onset=onset,
                offset=onset + 200,
                pitch=rng.integers(40, 90, notes),
                velocity=rng.integers(1, 128, notes),
                program=zeros + int(rng.integers(0, 100)),
                drum=zeros.astype(bool),
                track=zeros,
            )
        )

    def make(count, *, notes=(20, 60), seed=0):
        folder = tmp_path_factory.mktemp("midi") / "made"
        rng = np.random.default_rng(seed)
        for number in range(count):
            path = folder / "ab"[number % 2] / f"{number:05d}.mid"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tune(rng, int(rng.integers(*notes))))
        return folder

    return make


@pytest.fixture(scope="session")
def make_source(fixtures):
    """Factory of small data sets in published layouts: ``make_source(name, folder, seed=0)``."""
    spec = importlib.util.spec_from_file_location("made_sources", fixtures / "made_sources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make

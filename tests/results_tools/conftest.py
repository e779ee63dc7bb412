"""What tests of kept predictions share."""

import subprocess
import sys

import pytest
import run_xai


@pytest.fixture(scope="session")
def label_map(shared, root, tmp_path_factory):
    """Labels of a set, made from its ratings."""
    made = {}

    def make(name):
        if name not in made:
            file = tmp_path_factory.mktemp("labels") / f"{name}.json"
            ratings = shared / "data" / name.partition("_")[0] / "total.csv"
            command = ["map_midi_to_label.py", "--csv", ratings, "--output", file, *run_xai.LABELS[name]]
            subprocess.run([sys.executable, *map(str, command)], cwd=root, check=True, capture_output=True)
            made[name] = file
        return made[name]

    return make

"""The pictures of the documentation are made by their program, and a page shows each."""

import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
from warm_python import python

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"


def test_the_pictures_are_those_of_the_program(tmp_path):
    program = ROOT / "docs" / "tools" / "make_images.py"
    subprocess.run([python(), program, "--output", tmp_path], check=True, cwd=ROOT)
    made = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(made) == 7
    for name in made:
        new, kept = (matplotlib.image.imread(folder / name) for folder in (tmp_path, IMAGES))
        # fonts and their hinting differ between machines
        sizes = zip(new.shape, kept.shape, strict=True)
        assert all(abs(a - b) < 0.1 * b for a, b in sizes), name
        if new.shape == kept.shape:
            assert np.mean(np.abs(new - kept)) < 0.02, name


def test_every_picture_is_shown_and_small():
    pages = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    for path in IMAGES.iterdir():
        assert f"images/{path.name}" in pages, path.name
        assert path.stat().st_size < 400_000, path.name

"""The real task archives: PiRhDy pairs against a step-by-step reading, pairs of POP909, Lakh genres."""

import importlib.util
import io
import json
import tarfile
from itertools import islice

import numpy as np
import pytest

from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.sentences.genre import SUBSETS, GenreOptions, build_genre
from musicbert.corpus.sentences.pairs.convert import ConvertOptions, convert
from musicbert.corpus.sentences.pairs.generate import GenerateOptions, generate
from musicbert.encoding import line_to_rows

pytestmark = pytest.mark.shared

#: Lines and files taken: enough for every rule, few enough for seconds.
TRAIN_LINES, TEST_LINES, SONGS, FILES = 300, 200, 60, 60


@pytest.fixture(scope="module")
def step_by_step(root):
    path = root / "tests" / "unit" / "corpus" / "sentences" / "pairs" / "pirhdy_lines.py"
    spec = importlib.util.spec_from_file_location("pirhdy_lines", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pirhdy(shared, tmp_path_factory):
    """The first lines of each file of the archive."""
    folder = tmp_path_factory.mktemp("pirhdy")
    with tarfile.open(shared / "data/tasks/pirhdy_next_acc.tar.xz") as archive:
        for member in archive:
            place, _, part = member.name.rpartition("/")
            if part in ("train", "test"):
                target = folder / place.rpartition("/")[2]
                target.mkdir(exist_ok=True)
                count = TRAIN_LINES if part == "train" else TEST_LINES
                (target / part).write_bytes(b"".join(islice(archive.extractfile(member), count)))
    return folder


@pytest.mark.parametrize("task", ["next", "acc"])
def test_pirhdy_lines_are_read_as_step_by_step(pirhdy, shared, tmp_path, step_by_step, task):
    source = pirhdy / f"context_{task}"
    report = convert(source / "train", source / "test", tmp_path / "raw", ConvertOptions(task, valid_share=0))
    assert report.left_out == {}
    assert report.parts["train"]["pairs"] == TRAIN_LINES
    assert report.parts["test"]["queries"] == TEST_LINES // 50
    chords = json.loads((shared / "golden/musicbert/chord_mapping.json").read_text())
    for part, step in (("train", 10), ("test", 20)):
        lines = (source / part).read_text().splitlines()[::step]
        written = (tmp_path / "raw" / f"{part}.txt").read_text().splitlines()[::step]
        labels = (tmp_path / "raw" / f"{part}.label").read_text().splitlines()[::step]
        for line, text, label in zip(lines, written, labels, strict=True):
            *numbers, truth = map(int, line.split(","))
            rows, _ = step_by_step.slow_rows(np.array(numbers).reshape(2, 4, 128), task, chords)
            assert line_to_rows(text).tolist() == [list(row) for row in rows]
            assert int(label) == truth
    # one query a group of fifty; one true continuation, or several true accompaniments
    labels = np.loadtxt(tmp_path / "raw" / "test.label").reshape(-1, 50).sum(axis=1)
    assert (labels == 1).all() if task == "next" else (labels >= 1).all()


@pytest.mark.parametrize("task", ["next", "acc"])
def test_pairs_of_pop909(shared, tmp_path, task):
    midi = tmp_path / "midi"
    midi.mkdir()
    with tarfile.open(shared / "data/tasks/me_ve_pop909.tar.xz") as archive:
        songs = (each for each in archive if each.name.endswith(".mid"))
        for member in islice(songs, SONGS):
            (midi / member.name.rpartition("/")[2]).write_bytes(archive.extractfile(member).read())
    report = generate(midi, tmp_path / "raw", GenerateOptions(task, shares=(0.6, 0.2, 0.2)))
    assert report.left_out == {}  # each has a track called vocal
    assert report.parts["test"]["pairs"] == 50 * report.parts["test"]["true"]
    assert report.parts["train"]["true"] > 5 * SONGS // 2
    groups = {}
    for each in read_ledger(tmp_path / "raw" / "ledger.jsonl"):
        groups.setdefault(each.group, set()).add(each.split)
    assert all(len(parts) == 1 for parts in groups.values())


@pytest.mark.parametrize("subset", list(SUBSETS))
def test_genres_of_lakh_files(shared, tmp_path, subset):
    midi = tmp_path / "lmd_full"
    midi.mkdir()
    with tarfile.open(shared / "data/tasks/genre_lmd_topmagd_masd.tar.xz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name == "midi_genre_map.json":
                genres = json.load(io.TextIOWrapper(archive.extractfile(member)))
            elif "lmd_full/" in member.name and name.endswith(".mid") and len(list(midi.iterdir())) < FILES:
                content = archive.extractfile(member)
                if content is not None:
                    (midi / name).write_bytes(content.read())
    (tmp_path / "map.json").write_text(json.dumps(genres))
    assert max(map(len, genres.values())) == 947
    report = build_genre(tmp_path / "map.json", midi, tmp_path / "bin", GenreOptions(subset, layout="bin"))
    labelled = sum(path.stem in genres[subset] for path in midi.iterdir())
    tested = sum(parts["test"] for parts in report.sizes.values())
    assert tested == labelled - sum(
        n for why, n in report.left_out.items() if why not in ("no-label", "no-midi")
    )
    assert tested > FILES // 2
    assert not any(report.leaking.values())

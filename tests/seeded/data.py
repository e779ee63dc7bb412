"""Small data of every kind, made by the programs of the checkout from songs that are written here."""

import contextlib
import csv
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

__all__ = ["ROOT", "Data", "multilabel_notes", "program"]

ROOT = Path(__file__).resolve().parents[2]
BEAT = 480


def song(seed, bars):
    """A melody over chords, played by hand: uneven onsets and velocities, a pedal."""
    from musicbert.midi import Score

    rng = np.random.default_rng(seed)
    scale, low = int(rng.integers(12)) + np.array([0, 2, 4, 5, 7, 9, 11]), 48 + 12 * (seed % 3)
    table = [(0, k * BEAT // 2, BEAT // 2, low + int(rng.choice(scale))) for k in range(8 * bars)]
    for bar in range(bars):
        chord = rng.choice(scale, 3, replace=False)
        table += [(1, 4 * bar * BEAT, 4 * BEAT, 36 + int(pitch)) for pitch in chord]
    track, onset, length, pitch = np.array(table, np.int64).T
    onset = np.maximum(onset + rng.integers(-12, 13, len(table)), 0)
    zeros, pedal = np.zeros(len(table), np.int64), np.arange(4 * bars) * BEAT
    return Score(
        ticks_per_beat=BEAT,
        onset=onset,
        offset=onset + length - 20 - rng.integers(0, 60, len(table)),
        pitch=pitch,
        velocity=np.clip(40 + 15 * (seed % 4) + rng.integers(-20, 21, len(table)), 1, 127),
        program=zeros + 10 * (seed % 3),
        drum=zeros.astype(bool),
        track=track,
        tempo_tick=np.zeros(1, np.int64),
        tempo_bpm=np.array([90.0 + 10 * (seed % 5)]),
        control_tick=pedal,
        control_number=np.full(len(pedal), 64),
        control_value=rng.integers(0, 128, len(pedal)),
        control_track=np.zeros(len(pedal), np.int64),
    )


def write_songs(folder, names, bars):
    """Write a song for each name."""
    from musicbert.midi import midi_bytes

    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        (folder / f"{name}.mid").write_bytes(midi_bytes(song(seed, bars)))


def program(path, *arguments):
    """Run a program of the checkout, or the command ``musicbert``, in this process."""
    argv, sys.argv = sys.argv, [str(path), *map(str, arguments)]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            if path == "musicbert":
                runpy.run_module("musicbert", run_name="__main__")
            else:
                runpy.run_path(str(ROOT / path), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{path} {arguments}: {end.code}\n{printed.getvalue()}") from end
    finally:
        sys.argv = argv


def binarize(script, task, raw, bins):
    """Run one of the scripts that binarise a raw data set, with this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", ROOT / "scripts" / script, task, "--raw", raw, "--bin", bins, "--direct"]
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stdout}{done.stderr}")


class Data:
    """Makes what is asked for below a folder, each once.

    Parameters
    ----------
    folder
        An empty folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def bins(self, name):
        """Folder of the data ``ratings``, ``pairs``, ``values``, ``genres``, ``octuple`` or ``cp``."""
        folder = self.folder / name
        if not folder.is_dir():
            getattr(self, f"_{name}")(folder)
        inside = {"ratings": "bin/0", "pairs": "bin", "genres": "bin/0"}
        return folder / inside.get(name, "")

    def songs(self):
        """Folder of twenty songs, named as those of the Lakh data set."""
        folder = self.folder / "songs"
        if not folder.is_dir():
            write_songs(folder, [f"{number:032x}" for number in range(20)], bars=8)
        return folder

    def _ratings(self, folder):
        """Three ratings and the performer of 36 short performances, some ratings missing."""
        rng = np.random.default_rng(1)
        performers = ("Score", "1", "2", "12")
        segments = (("mv2_8bars", (1, 2, 3, 13)), ("mv3_8bars", (1, 5, 14, 23)), ("mv2_16bars", (5,)))
        labels = {
            f"Schubert_D960_{part}_{name}_{number:02d}": [*rng.uniform(1 / 7, 1, 3).tolist(), performer]
            for part, numbers in segments
            for number in numbers
            for performer, name in enumerate(performers)
        }
        for name in list(labels)[::7]:
            labels[name][1] = None
        write_songs(folder / "midi", labels, bars=2)
        (folder / "labels.json").write_text(json.dumps(labels))
        files = ("--labels", folder / "labels.json", "--midi", folder / "midi", "--output", folder / "raw")
        program("gen_xai.py", *files, "--performance-input")
        binarize("binarize_xai.sh", "xai", folder / "raw", folder / "bin")

    def _pairs(self, folder):
        """Pairs of phrases of two bars."""
        folder.mkdir(parents=True)
        options = ("--melody", 0, "--bars", 2, "--group", 5, "--shares", "0.6,0.2,0.2", "--most-queries", 6)
        program("scripts/gen_nsp.py", "next", "--midi", self.songs(), "--output", folder / "raw", *options)
        binarize("binarize_nsp.sh", "next", folder / "raw", folder / "bin")

    def _values(self, folder):
        """The same pairs with a number in place of the class."""
        shutil.copytree(self.bins("pairs"), folder)
        rng = np.random.default_rng(2)
        for path in sorted((folder / "label").glob("*.label")):
            values = [int(word) + rng.normal() for word in path.read_text().split()]
            path.write_text("".join(f"{value:.4f}\n" for value in values))

    def _genres(self, folder):
        """Windows of songs of three genres, of which a song may have two."""
        folder.mkdir(parents=True)
        kinds = (["Jazz"], ["Pop Rock"], ["Pop Rock", "Blues"])
        names = sorted(path.stem for path in self.songs().iterdir())
        genres = {name: kinds[number % 3] for number, name in enumerate(names)}
        (folder / "map.json").write_text(json.dumps({"topmagd": genres}))
        files = ("--map", folder / "map.json", "--midi", self.songs(), "--output", folder / "raw")
        program("scripts/gen_genre.py", "topmagd", *files, "--folds", 2, "--length", 30, "--windows", 2)
        binarize("binarize_genre.sh", "topmagd", folder / "raw", folder / "bin")

    def _octuple(self, folder):
        """A corpus of octuples with performance inputs."""
        self._build(folder, "--window", 40, "--overlap", 1, "--performance-input")

    def _cp(self, folder):
        """A corpus of compound words."""
        self._build(folder, "--encoding", "cp")

    def _build(self, folder, *more):
        options = ("--shares", 70, 15, 15, "--quiet")
        program("musicbert", "build", self.songs(), "--output", folder, *options, *more)

    def tables(self):
        """Folder of tables of labels of pieces and of notes."""
        from musicbert import read_score

        folder = self.folder / "tables"
        if folder.is_dir():
            return folder
        folder.mkdir(parents=True)
        rng = np.random.default_rng(3)
        classes, tags, values, note_classes, note_values = [], [], [], [], []
        for number, path in enumerate(sorted(self.songs().iterdir())):
            name, level = path.stem, number % 3
            part = ("train", "train", "train", "valid", "test")[number % 5]
            classes.append([name, ("low", "middle", "high")[level], f"g{number // 2}", 1 + number % 2])
            there = {"high": level, "fast": number % 2, "any": number % 7}
            tags.append({"file": name, "tags": [tag for tag in there if there[tag]], "split": part})
            speed = f"{rng.normal():.3f}" if number % 6 else ""
            values.append([name, f"{rng.normal(level):.3f}", speed, part])
            score = read_score(path)
            columns = zip(score.pitch.tolist(), score.velocity.tolist(), strict=True)
            for note, (pitch, velocity) in enumerate(columns):
                if note % 9 == 0:
                    continue  # no label
                loud = ("soft", "fair", "loud")[(velocity > 50) + (velocity > 75)]
                note_classes.append([name, note, loud])
                note_values.append([name, note, f"{pitch / 12 + rng.normal():.3f}", part])
        for table, header, rows in (
            ("classes", "file register group weight", classes),
            ("regression", "file height speed split", values),
            ("note_classes", "file note label", note_classes),
            ("note_regression", "file note label split", note_values),
        ):
            with (folder / f"{table}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([header.split(), *rows])
        (folder / "multilabel.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tags))
        return folder


def multilabel_notes(source, target):
    """Shards whose notes have two labels each, from shards that have a number a note."""
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["labels"][0].update(kind="multilabel", classes=["five", "six"])
    (target / "manifest.json").write_text(json.dumps(manifest))
    value = np.fromfile(target / "label0.bin", "<f4")[:, None]
    labels = np.where(np.isnan(value), value, value > [5, 6]).astype("<f4")
    labels.tofile(target / "label0.bin")

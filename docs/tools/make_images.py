"""Draw the pictures of docs/: every token, mask and disturbed note comes from the package.

Example: python docs/tools/make_images.py

The music is the beginning of Beethoven's "Ode to Joy" with a simple bass. Same seeds, same pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

import musicbert
from musicbert.encoding import FIELDS
from musicbert.encoding.covering import cover
from musicbert.encoding.vocabulary import MASK, PAD, rows_to_ids
from musicbert.midi.score import TICKS_PER_BEAT, piano_score
from musicbert.objectives.denoising import NoisePolicy, add_noise, noise_radii
from musicbert.objectives.masking import MaskPolicy, mask_tokens
from musicbert.objectives.note_fields import CP
from musicbert.viz.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, save

#: pitch and beats of the melody, four bars of 4/4; then of the bass
MELODY = ((64, 1), (64, 1), (65, 1), (67, 1), (67, 1), (65, 1), (64, 1), (62, 1),
          (60, 1), (60, 1), (62, 1), (64, 1), (64, 1.5), (62, 0.5), (62, 2))  # fmt: skip
BASS = ((48, 2), (52, 2), (43, 2), (47, 2), (48, 2), (52, 2), (43, 4))
LIGHT = "#f2f2f2"
#: a draw in which masked, random and unchanged tokens occur with every strategy
SEED = 0
COLOURS = (BLUE, ORANGE, GREEN, PINK)
STRATEGIES = {
    "element": "element: each token alone",
    "compound": "compound: whole notes",
    "bar": "bar: one field of all notes of a bar",
}


def ode(bars: int) -> musicbert.Score:
    """The first bars of the theme, melody and bass in one piano track."""
    notes = []
    for voice, velocity in ((MELODY, 80), (BASS, 56)):
        begin = 0.0
        for pitch, beats in voice:
            if begin < 4 * bars:
                notes.append((begin, begin + beats, pitch, velocity))
            begin += beats
    columns = np.array(sorted(notes, key=lambda note: (note[0], note[2])))
    times = (columns[:, :2] * TICKS_PER_BEAT).astype(np.int64)
    return piano_score(times[:, 0], times[:, 1], *columns[:, 2:].T.astype(np.int64))


def draw_roll(
    axes: Axes, score: musicbert.Score, colours: Sequence[str], *, bars: int, numbers: bool = False
) -> None:
    """Draw notes as boxes over beats, with bar lines."""
    onset, offset = score.onset / TICKS_PER_BEAT, score.offset / TICKS_PER_BEAT
    for number, (begin, end, pitch) in enumerate(zip(onset, offset, score.pitch, strict=True)):
        box = Rectangle((begin, pitch - 0.5), end - begin, 1, facecolor=colours[number], edgecolor="white")
        axes.add_patch(box)
        if numbers:
            place = (begin + 0.05, pitch + 0.5)
            axes.text(*place, str(number + 1), va="bottom", fontsize=8)
    for bar in range(bars + 1):
        axes.axvline(4 * bar, color=GREY, linewidth=0.8)
    axes.set(xlim=(-0.05, 4 * bars + 0.05), ylim=(33, 73), xticks=range(0, 4 * bars + 1, 2))
    axes.set(ylabel="pitch", xlabel="beats")
    axes.spines[["top", "right"]].set_visible(False)


def draw_table(
    axes: Axes, cells: NDArray[Any], names: Sequence[str], faces: NDArray[Any] | None = None
) -> None:
    """Draw one row a note and one column a field."""
    faces = np.full(cells.shape, LIGHT, object) if faces is None else faces
    for row, values in enumerate(cells):
        axes.text(-0.3, row + 0.5, str(row + 1), ha="right", va="center", fontsize=8, color=GREY)
        for column, value in enumerate(values):
            face = faces[row, column]
            box = Rectangle((column + 0.03, row + 0.06), 0.94, 0.88, facecolor=face)
            axes.add_patch(box)
            ink = BLACK if face == LIGHT else "white"
            axes.text(column + 0.5, row + 0.5, str(value), ha="center", va="center", fontsize=8, color=ink)
    for column, name in enumerate(names):
        text = name.replace("_", " ")
        axes.text(column + 0.5, -0.25, text, ha="left", va="bottom", fontsize=8, rotation=35)
    axes.set(xlim=(-0.8, len(names) + 0.6), ylim=(len(cells) + 0.1, -1.6))
    axes.axis("off")


def octuple(path: Path) -> None:
    """Two bars as a piano roll, and their notes as octuples."""
    score = ode(2)
    rows = musicbert.encode(score)
    figure = Figure(figsize=(7.5, 8), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 1.3))
    draw_roll(above, score, [BLUE] * len(score), bars=2, numbers=True)
    draw_table(below, rows, FIELDS)
    save(figure, path)


def masks(path: Path) -> None:
    """The same two bars under three strategies of masking."""
    rows = musicbert.encode(ode(2))
    tokens = rows_to_ids(rows)
    figure = Figure(figsize=(13, 4.2))
    for axes, (strategy, title) in zip(figure.subplots(1, 3), STRATEGIES.items(), strict=True):
        policy = MaskPolicy(strategy)
        source, target = mask_tokens(tokens, np.random.default_rng(SEED), policy)
        inputs, targets = (ids.reshape(-1, 8)[1:-1] for ids in (source, target))
        shown, faces = rows.astype(object), np.full(rows.shape, LIGHT, object)
        faces[targets != PAD] = GREEN  # asked for, unchanged
        faces[(targets != PAD) & (inputs != targets)] = ORANGE  # a random token
        shown[(targets != PAD) & (inputs != targets)] = "~"
        faces[inputs == MASK], shown[inputs == MASK] = BLUE, "?"
        draw_table(axes, shown, FIELDS, faces)
        axes.set_title(title, fontsize=10)
    save(figure, path)


def compound_words(path: Path) -> None:
    """Two bars as compound words."""
    score = ode(2)
    codec = musicbert.get_codec("cp")
    rows, _ = codec.encode(score)
    figure = Figure(figsize=(7.5, 4.6))
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    draw_roll(left, score, [BLUE] * len(score), bars=2, numbers=True)
    draw_table(right, rows, CP.names)
    save(figure, path)


def denoising(path: Path) -> None:
    """Four bars, and the same with three notes in ten disturbed."""
    codec = musicbert.get_codec("cp")
    rows, _ = codec.encode(ode(4))
    noise = NoisePolicy(noise_radii(CP, (0, 12, 12)))
    source, selected = add_noise(rows, np.random.default_rng(4), CP, noise)
    figure = Figure(figsize=(9, 4.2))
    for axes, cells, title in zip(
        figure.subplots(1, 2), (rows, source), ("the music", "what the network reads"), strict=True
    ):
        score = codec.decode(cells)
        colours = [ORANGE if hit else BLUE for hit in selected.any(axis=1)]
        draw_roll(axes, score, colours, bars=4)
        axes.set_title(title, fontsize=10)
    save(figure, path)


def windows(path: Path) -> None:
    """How much each window counts for each note of a piece of 2,600 notes."""
    figure = Figure(figsize=(8, 1.8))
    axes = figure.subplots()
    parts = cover(np.arange(2600) // 16)
    for number, part in enumerate(parts):
        share = np.concatenate([[0], part.share, [0]])
        axes.fill(np.arange(len(share)) + part.start, share, color=COLOURS[number % 4], alpha=0.5)
        place = ((part.start + part.stop) / 2, 0.5)
        axes.text(*place, f"window {number + 1}", ha="center", va="center", fontsize=9)
    axes.set(xlim=(0, 2600), ylim=(0, 1.05), xlabel="notes of the piece", ylabel="weight")
    axes.spines[["top", "right", "left"]].set_visible(False)
    save(figure, path)


#: box -> column, row, text; an arrow from each box to others
ROOMS = {
    "model": (1, 5, "model/\nnetworks"), "weights": (2, 5, "weights/\ncheckpoints"),
    "predict": (3, 5, "predict/\nmodels in use"), "objectives": (2, 4, "objectives/\nmasks, noise"),
    "recipes": (3, 4, "recipes/\npublished settings"), "midi": (0, 3, "midi/\nnotes of a file"),
    "encoding": (1, 3, "encoding/\nrows of notes"), "builder": (2, 3, "corpus/builder/\nlarge corpora"),
    "bins": (3, 3, "corpus/bins/\nrows and tokens"), "plugin": (4, 3, "fairseq_plugin/\ntraining"),
    "cli": (5, 3, "cli/\nthe commands"), "sources": (2, 2, "corpus/readers/\nand the like"),
    "labelled": (3, 2, "corpus/labelled/\none labelled set"), "csv": (0, 1, "ratings\n(tables)"),
    "annotation": (1, 1, "annotation/\nlabels, folds"), "features": (1, 0, "features/\nof the playing"),
    "answers": (4, 5, "analysis/ explanation/\nsimilarity/ remixing/"), "web": (5, 5, "web/\nthe page"),
    "evaluation": (4, 0, "evaluation/\nmetrics, reports"), "viz": (5, 0, "viz/\npictures"),
}  # fmt: skip
ROOM_ARROWS = {
    "model": "weights", "weights": "predict", "predict": "plugin answers", "answers": "web cli",
    "objectives": "plugin",
    "recipes": "plugin", "midi": "encoding features", "encoding": "objectives builder sources",
    "builder": "bins", "bins": "plugin", "plugin": "cli evaluation", "sources": "labelled",
    "labelled": "plugin evaluation", "csv": "annotation", "annotation": "sources",
    "features": "evaluation", "evaluation": "viz",
}  # fmt: skip
STEPS = {
    "csv": (0, 1, "total.csv\nratings"), "midi": (0, 0, "segment_midi.zip\nperformances"),
    "label": (1, 1, "map_midi_to_label.py\none label a segment\nand dimension"),
    "gen": (2, 0, "gen_xai.py\ntokens, labels, splits\nwithout leaks"),
    "bin": (3, 0, "binarize_xai.sh"), "train": (4, 0, "pre-training,\nfine-tuning"),
    "eval": (5, 0, "eval_xai.sh\nscores, baselines,\npictures"),
}  # fmt: skip
STEP_ARROWS = {"csv": "label", "midi": "gen", "label": "gen", "gen": "bin", "bin": "train", "train": "eval"}


def draw_diagram(axes: Axes, boxes: dict[str, tuple[int, int, str]], arrows: dict[str, str]) -> None:
    """Draw boxes with text on a grid, and arrows between them."""
    frame = {"boxstyle": "round,pad=0.4", "facecolor": LIGHT, "edgecolor": BLUE}
    drawn = {
        name: axes.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame, zorder=2)
        for name, (x, y, text) in boxes.items()
    }
    axes.set(xlim=(-0.5, 5.5), ylim=(-0.5, max(y for _, y, _ in boxes.values()) + 0.5))
    axes.axis("off")
    FigureCanvasAgg(axes.figure).draw()  # so that the boxes have their sizes
    for begin, ends in arrows.items():
        for end in ends.split():
            ties = {"patchA": drawn[begin].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
            line = {"arrowstyle": "-|>", "color": BLACK, "linewidth": 0.9, "shrinkA": 1, "shrinkB": 1, **ties}
            axes.annotate("", boxes[end][:2], boxes[begin][:2], arrowprops=line, zorder=1)


def rooms(path: Path) -> None:
    """The way of the data through the package."""
    figure = Figure(figsize=(9.5, 5.2), layout="constrained")
    draw_diagram(figure.subplots(), ROOMS, ROOM_ARROWS)
    save(figure, path)


def steps(path: Path) -> None:
    """The steps of the main job."""
    figure = Figure(figsize=(10.5, 2.0), layout="constrained")
    draw_diagram(figure.subplots(), STEPS, STEP_ARROWS)
    save(figure, path)


PICTURES = {
    "rooms": rooms,
    "steps-of-ratings": steps,
    "octuple": octuple,
    "masks": masks,
    "compound-words": compound_words,
    "denoising": denoising,
    "windows": windows,
}


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = Path(__file__).resolve().parents[1] / "images"
    parser.add_argument("--output", type=Path, default=folder, help="folder (default: docs/images)")
    given = parser.parse_args()
    for name, draw in PICTURES.items():
        draw(given.output / f"{name}.png")


if __name__ == "__main__":
    main()

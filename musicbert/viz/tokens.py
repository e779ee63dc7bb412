"""Pictures of what a network reads: the eight fields along time, masks as they fall, attention."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from musicbert.arrays import Floats, Ints
from musicbert.encoding import FIELDS, encode_notes, rows_to_ids
from musicbert.encoding.octuple import DRUM_PITCH, DRUM_PROGRAM
from musicbert.encoding.part import part_of, score_bars
from musicbert.encoding.policies import WHOLE
from musicbert.encoding.quantise import (
    METRES,
    POSITIONS_PER_BEAT,
    duration_value,
    tempo_value,
    velocity_value,
)
from musicbert.encoding.vocabulary import FIELD_SIZES, MASK, N_FIELDS, PAD
from musicbert.errors import ConfigError
from musicbert.midi import Score
from musicbert.midi.instruments import instrument_name
from musicbert.objectives.masking import MaskPolicy, mask_tokens
from musicbert.viz.canvas import (
    BLUE,
    CLASSES,
    GREEN,
    LIGHT,
    ORANGE,
    WIDTH,
    Path_,
    amounts,
    check_suffix,
    save,
)
from musicbert.viz.music import LONG, MANY, NO_VALUE, clock, number_above, time_axes

#: notes of a line of masks, and lines of a picture
LINE_NOTES, MASK_LINES = 80, 12
#: what becomes of a token, its colour
FATES = (
    ("given", LIGHT),
    ("hidden", BLUE),
    ("replaced by a random token", ORANGE),
    ("asked for, but shown", GREEN),
)
_PICKED = "choose a part with --bars, or --from and --to (in Python: bars, start, end)"


def field_lines(
    score: Score,
    path: Path_,
    *,
    bars: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    title: str = "",
) -> None:
    """Draw the eight fields of OctupleMIDI along time, as a network reads them: a panel a field.

    Colours are the programs. ``bars``: first and last, from 1; ``start``, ``end``: or seconds.
    Raises `ConfigError` (``bad-suffix``, ``bad-part``) and `MidiError` (``no-notes``; those of `encode`).

    Examples
    --------
    >>> viz.field_lines(score, "fields.png", bars=(1, 8))  # doctest: +SKIP
    """
    check_suffix(path)
    rows, onset, lines, (begin, seconds) = _rows_of(score, bars, start, end)
    values = {
        "bar": rows[:, 0] + 1,
        "position": rows[:, 1] / POSITIONS_PER_BEAT,
        "program": rows[:, 2],
        "pitch": np.where(rows[:, 3] >= DRUM_PITCH, rows[:, 3] - DRUM_PITCH, rows[:, 3]),
        "duration": duration_value(rows[:, 4]) / POSITIONS_PER_BEAT,
        "velocity": velocity_value(rows[:, 5]),
        "time_signature": rows[:, 6],
        "tempo": tempo_value(rows[:, 7]),
    }
    units = {"position": "position\n(quarters)", "duration": "duration\n(quarters)", "tempo": "tempo\n(BPM)",
             "time_signature": "time\nsignature"}  # fmt: skip
    colours, legend = _of_programs(rows[:, 2])
    figure = Figure(figsize=(WIDTH, 9.2), layout="constrained")
    panels = figure.subplots(N_FIELDS, 1)
    for number, (axes, name) in enumerate(zip(panels, FIELDS, strict=True)):
        shown = values[name]
        if name in ("program", "time_signature"):
            kinds, shown = np.unique(shown, return_inverse=True)
            texts = [
                "drums" if name == "program" and k == DRUM_PROGRAM else _kind(name, k) for k in kinds.tolist()
            ]
            few = np.linspace(0, len(kinds) - 1, min(len(kinds), 6)).round().astype(int)
            axes.set_yticks(few, [texts[k] for k in few])
            axes.set_ylim(-0.7, len(kinds) - 0.3)
        points = axes.scatter(
            onset, shown, s=np.clip(2500 / len(rows), 4, 25), c=colours, edgecolors="none", alpha=0.8
        )
        points.set_rasterized(len(rows) > MANY)
        if name == "duration":
            axes.set_yscale("symlog", base=2, linthresh=1 / POSITIONS_PER_BEAT)
            marks = [mark for mark in (0, 0.25, 0.5, 1, 2, 4, 16, 64) if shown.min() <= mark <= shown.max()]
            marks = marks[:: -(-len(marks) // 4) or 1]
            axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
            axes.minorticks_off()
        if name == "duration" and not marks:
            axes.set_yticks(np.unique([shown.min(), shown.max()]))
        if name in ("bar", "pitch", "velocity", "tempo"):
            room = 0.05 * (shown.max() - shown.min()) + 0.7
            axes.set_ylim(shown.min() - room, shown.max() + room)
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        axes.set_ylabel(units.get(name, name), fontsize=8.5)
        axes.tick_params(labelsize=8)
        time_axes(axes, begin, seconds, lines, last=number == N_FIELDS - 1, numbers=number == 0)
        if number < N_FIELDS - 1:
            axes.set_xticklabels([])
    figure.align_ylabels()
    if len(legend) > 1:
        figure.legend(handles=legend, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def mask_lines(
    score: Score,
    path: Path_,
    *,
    policy: MaskPolicy | None = None,
    seed: int = 0,
    bars: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    title: str = "",
) -> None:
    """Draw one draw of the masks of pre-training: a column a note, a row a field.

    ``policy``: see `musicbert.objectives.masking` (the published one); ``seed``: of the draw; part: see
    `field_lines`.
    Raises `ConfigError` (``bad-suffix``, ``bad-part``; ``too-long``: more than 960 notes or 256 bars) and
    `MidiError` (``no-notes``; those of `encode`).

    Examples
    --------
    >>> viz.mask_lines(score, "masks.png", policy=MaskPolicy("bar"), bars=(1, 8))  # doctest: +SKIP
    """
    check_suffix(path)
    rows, onset, _, _ = _rows_of(score, bars, start, end)
    moved = rows - np.array([rows[0, 0]] + [0] * (N_FIELDS - 1))
    if len(rows) > LINE_NOTES * MASK_LINES or moved[-1, 0] >= FIELD_SIZES[0]:
        raise ConfigError(
            "too-long",
            f"{len(rows)} notes in {moved[-1, 0] + 1} bars do not fit into one readable picture, which holds "
            f"{LINE_NOTES * MASK_LINES} notes and {FIELD_SIZES[0]} bars",
            hint=_PICKED,
        )
    source, target = mask_tokens(rows_to_ids(moved), np.random.default_rng(seed), policy or MaskPolicy())
    inputs, targets = (ids.reshape(-1, N_FIELDS)[1:-1] for ids in (source, target))
    fate = np.where(targets == PAD, 0, np.where(inputs == MASK, 1, np.where(inputs == targets, 3, 2)))
    count = -(-len(rows) // LINE_NOTES)
    figure = Figure(figsize=(WIDTH, count * 1.55 + 0.9), layout="constrained")
    for line, axes in enumerate(figure.subplots(count, 1, squeeze=False).ravel()):
        first = line * LINE_NOTES
        part = slice(first, min(first + LINE_NOTES, len(rows)))
        shown = min(LINE_NOTES, len(rows))
        cells = fate[part].T
        axes.pcolormesh(
            np.arange(cells.shape[1] + 1), np.arange(N_FIELDS + 1), cells, vmin=-0.5, vmax=len(FATES) - 0.5,
            cmap=ListedColormap([colour for _, colour in FATES]), edgecolors="white", linewidth=0.4,
        )  # fmt: skip
        axes.set(xlim=(0, shown), ylim=(N_FIELDS, 0))
        axes.set_yticks(np.arange(N_FIELDS) + 0.5, [name.replace("_", " ") for name in FIELDS], fontsize=8)
        _bars_of_columns(axes, rows[part, 0], onset[part], shown)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    share = float((fate > 0).mean())
    said = f"notes in order (above: bars; below: seconds); {share:.0%} of the tokens are asked for"
    axes.set_xlabel(said, fontsize=9)
    handles = [Patch(color=colour, label=name) for name, colour in FATES]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def attention_map(
    weights: ArrayLike,
    path: Path_,
    *,
    bar: ArrayLike,
    seconds: ArrayLike,
    title: str = "",
) -> None:
    """Draw how much each note looks at each other one.

    ``weights`` [shape=(n, n)]: a row the note that looks, a column the one it looks at; ``bar`` (from 0) and
    ``seconds`` of the notes [shape=(n,) each].
    Raises `ConfigError` (``bad-suffix``) and `ValueError` (other shapes).

    Examples
    --------
    >>> viz.attention_map(weights, "attention.png", bar=rows[:, 0], seconds=onset)  # doctest: +SKIP
    """
    check_suffix(path)
    table, bars, onset = np.asarray(weights, float), np.asarray(bar, np.int64), np.asarray(seconds, float)
    n = len(bars)
    if table.shape != (n, n) or onset.shape != (n,):
        raise ValueError(f"weights of shape {table.shape} for {n} notes")
    figure = Figure(figsize=(WIDTH, WIDTH * 0.92), layout="constrained")
    axes = figure.subplots()
    off = table[~np.eye(n, dtype=bool)] if n > 1 else table.ravel()
    most = float(np.quantile(off, 0.995)) or float(table.max()) or 1.0  # a note looks at itself most
    image = axes.imshow(table, cmap=amounts(), norm=PowerNorm(0.5, 0, most, clip=True), aspect="auto",
                        interpolation="none", extent=(0, n, n, 0))  # fmt: skip
    _bars_of_columns(axes, bars, onset, n)
    begins, shown = _bar_places(bars, n)
    axes.set_yticks(shown, [f"{bars[k] + 1}" for k in shown], fontsize=8)
    for begin in begins:
        axes.axhline(begin, color="white", linewidth=0.3)
    axes.set_ylabel("the note that looks (bars)", fontsize=9)
    axes.set_xlabel("the note it looks at (above: bars; below: seconds)", fontsize=9)
    scale = figure.colorbar(image, ax=axes, shrink=0.6, extend="max", ticks=MaxNLocator(4))
    scale.set_label("share of the attention", fontsize=9)
    scale.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def _rows_of(
    score: Score, bars: tuple[int, int] | None, start: float | None, end: float | None
) -> tuple[Ints, Floats, Floats, tuple[float, float]]:
    """Rows of a part and their onsets in seconds, all bar lines, and beginning and length of the part."""
    chosen, begin, stop = part_of(score, bars=bars, start=start, end=end)
    rows, index = encode_notes(score, policies=WHOLE)
    mine = chosen[index]
    onset = score.seconds(score.onset[index[mine]])
    if stop is None:
        stop = float(score.seconds(score.offset[chosen]).max())
    _, ticks = score_bars(score)
    return rows[mine], onset, score.seconds(ticks), (begin, max(stop - begin, 0.5))


def _of_programs(program: Ints) -> tuple[list[str], list[Patch]]:
    """Colour of each note by its program, and the legend."""
    kinds, count = np.unique(program, return_counts=True)
    order = kinds[np.argsort(-count, kind="stable")].tolist()
    colour = {kind: CLASSES[rank] for rank, kind in enumerate(order[: len(CLASSES)])}
    legend = [Patch(color=c, label=instrument_name(k)) for k, c in colour.items()]
    if len(order) > len(CLASSES):
        legend.append(Patch(color=NO_VALUE, label=f"{len(order) - len(CLASSES)} more"))
    return [colour.get(kind, NO_VALUE) for kind in program.tolist()], legend


def _kind(name: str, code: int) -> str:
    """Program number, or time signature."""
    if name == "time_signature":
        return "{}/{}".format(*METRES[code])
    return "drums" if code == DRUM_PROGRAM else str(code)


def _bar_places(bars: Ints, shown: int) -> tuple[Ints, list[int]]:
    """Columns at which bars begin, and those of them whose labels fit."""
    begins = np.flatnonzero(np.diff(bars, prepend=bars[0] - 1))
    least, labelled = shown * 0.042, []
    for begin in begins.tolist():
        if not labelled or begin - labelled[-1] >= least:
            labelled.append(begin)
    return begins, labelled


def _bars_of_columns(axes: Axes, bars: Ints, onset: Floats, shown: int) -> None:
    """Bar lines between columns of notes, bar numbers above and seconds below."""
    begins, labelled = _bar_places(bars, shown)
    axes.vlines(begins, 0, 1, transform=axes.get_xaxis_transform(), color="#555555", linewidth=0.6)
    for begin in labelled:
        number_above(axes, begin, int(bars[begin]))
    below: list[int] = []
    for begin in labelled:
        if not below or begin - below[-1] >= shown * 0.075:
            below.append(begin)
    long = bool(onset[-1] >= LONG)
    rounded = onset.round() if long else onset
    axes.set_xticks(below, [clock(rounded[k], long) for k in below], fontsize=8)

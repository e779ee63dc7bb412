"""Pictures of music: the piano roll, its notes coloured by what is known of them.

Long pieces are drawn in several lines, as a score is. Seconds are below each line, bars (from 1) above it.
Percussion has a strip of its own below the pitches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from musicbert.arrays import Bools, Floats, Ints
from musicbert.encoding.part import part_of, score_bars
from musicbert.errors import ConfigError
from musicbert.midi import Score
from musicbert.midi.instruments import instrument_name
from musicbert.viz.canvas import (
    BLACK,
    BLUE,
    CLASSES,
    GREY,
    LIGHT,
    WIDTH,
    Path_,
    amounts,
    check_suffix,
    differences,
    save,
)

#: seconds of a line: up to `LINES` of the first, then more, at most the second
LINE_SECONDS, MOST_LINE_SECONDS, LINES = 30.0, 60.0, 12
#: notes above which a drawing of lines and boxes is stored as pixels, in formats that have both
MANY = 3000
#: seconds of a piece whose axis has minutes; bar lines that are all drawn; seconds between two numbers
LONG, _TIME_STEPS, MOST_BAR_LINES = (
    120,
    (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600),
    80,
)
#: inches that a bar number and a second need
_BAR_INCHES, _SECOND_INCHES = 0.3, 0.55
NO_VALUE = "#c4c4c4"


@dataclass(frozen=True, eq=False)
class Lines:
    """A part of a score in lines: its notes, and of each line where it begins and how long it lasts."""

    notes: Ints
    onset: Floats
    offset: Floats
    starts: Floats
    seconds: float
    bar_lines: Floats

    def of(self, line: int) -> Bools:
        """Notes that sound in a line [shape=(k,), bool]."""
        begin = self.starts[line]
        return (self.offset >= begin) & (self.onset < begin + self.seconds)


def lines_of(
    score: Score, *, bars: tuple[int, int] | None = None, start: float | None = None, end: float | None = None
) -> Lines:
    """Lay out a part of a score; raises as `part_of`, and `ConfigError` (``too-long``)."""
    chosen, begin, stop = part_of(score, bars=bars, start=start, end=end)
    notes = np.flatnonzero(chosen)
    onset, offset = score.seconds(score.onset[notes]), score.seconds(score.offset[notes])
    if stop is None:
        stop = float(offset.max())
    length = max(stop - begin, 0.5)
    if length > LINES * MOST_LINE_SECONDS:
        raise ConfigError(
            "too-long",
            f"{length / 60:.0f} minutes do not fit into one readable picture, which holds "
            f"{LINES * MOST_LINE_SECONDS / 60:.0f}",
            hint="choose a part with --bars, or --from and --to (in Python: bars, start, end)",
        )
    count = min(int(np.ceil(length / LINE_SECONDS)), LINES)
    seconds = length / count
    _, bar_ticks = score_bars(score)
    return Lines(notes, onset, offset, begin + seconds * np.arange(count), seconds, score.seconds(bar_ticks))


def piano_roll(
    score: Score,
    path: Path_,
    *,
    values: ArrayLike | None = None,
    label: str = "",
    names: Sequence[str] = (),
    signed: bool = False,
    marked: ArrayLike | None = None,
    bars: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    pitches: tuple[float, float] | None = None,
    title: str = "",
) -> None:
    """Draw a piano roll, whose colours are the tracks or a value of each note.

    Parameters
    ----------
    score
        The music.
    path
        Picture to write: .png, .svg or .pdf.
    values
        A number for each note of the score [shape=(n,)]; NaN where there is none. Without values, colours are
        the tracks: the seven with the most notes, and the others in grey.
    label
        What the values are, with their unit.
    names
        The values are then numbers of classes with these names; up to seven have colours in this order.
    signed
        The values are differences: zero is grey, and both ends have the same length.
    marked
        Notes with a dark edge, such as those of the melody [shape=(n,), bool].
    bars, start, end
        Part to draw: first and last bar, from 1, or seconds.
    pitches
        Lowest and highest pitch for which there is room at least, so that pictures can be compared.
    title
        Text above the picture.

    Raises
    ------
    ConfigError
        ``bad-suffix``, ``bad-part``; ``too-long``: more than 12 minutes.
    MidiError
        ``no-notes``: none begins in the part.
    ValueError
        `values` or `marked` do not have an entry for each note.

    Examples
    --------
    >>> viz.piano_roll(score, "roll.svg", values=score.velocity, label="velocity")  # doctest: +SKIP
    """
    check_suffix(path)
    layout = lines_of(score, bars=bars, start=start, end=end)
    for name, column in (("values", values), ("marked", marked)):
        if column is not None and np.shape(column) != (len(score),):
            raise ValueError(f"{name} of shape {np.shape(column)} for {len(score)} notes")
    if values is None:
        colours, legend = _of_tracks(score, layout.notes)
        scale = None
    else:
        colours, legend, scale = _of_values(np.asarray(values, float)[layout.notes], names, signed)
    figure = draw_lines(
        score, layout, colours, None if marked is None else np.asarray(marked, bool)[layout.notes], pitches
    )
    if scale is not None:
        bar = figure.colorbar(
            scale, ax=figure.axes, orientation="horizontal", shrink=0.6, aspect=40, pad=0.02
        )
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8)
        shown = np.asarray(values, float)[layout.notes]
        if np.all(np.mod(shown[np.isfinite(shown)], 1) == 0):
            bar.locator = MaxNLocator(6, integer=True)
            bar.update_ticks()
    if legend:
        title_ = label if values is not None else None
        figure.legend(
            handles=legend, title=title_, loc="outside lower center", ncols=min(len(legend), 4), fontsize=8.5,
            frameon=False,
        )  # fmt: skip
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def draw_lines(
    score: Score,
    layout: Lines,
    colours: NDArray[np.float64],
    marked: Bools | None = None,
    pitches: tuple[float, float] | None = None,
) -> Figure:
    """Figure with the lines of a piano roll; ``colours``: of the notes of the part [shape=(k, 4)]."""
    place, low, high, strip = _heights(score, layout.notes, pitches or ())
    count = len(layout.starts)
    height = float(np.clip((high - low) * 0.035, 0.9, 2.6))
    figure = Figure(figsize=(WIDTH, count * (height + 0.55) + 0.7), layout="constrained")
    for line, axes in enumerate(figure.subplots(count, 1, squeeze=False).ravel()):
        mine = np.flatnonzero(layout.of(line))
        begin = float(layout.starts[line])
        _boxes(axes, layout, mine, place, colours, marked)
        axes.set_ylim(low, high)
        octaves = [pitch for pitch in range(0, 128, 12) if low <= pitch <= high and pitch > strip]
        axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves], fontsize=8)
        for pitch in octaves:
            axes.axhline(pitch, color=LIGHT, linewidth=0.8, zorder=0)
        if strip > low:
            axes.axhline(strip, color=GREY, linewidth=0.8)
            axes.text(
                -0.01,
                (low + strip) / 2,
                "drums",
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=8,
            )
        time_axes(axes, begin, layout.seconds, layout.bar_lines, last=line == count - 1)
    return figure


def time_axes(
    axes: Axes, begin: float, seconds: float, bar_lines: Floats, *, last: bool, numbers: bool = True
) -> None:
    """Seconds below a line of music; bar lines, and above it their numbers, as far as they fit."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(begin - 0.006 * seconds, begin + 1.003 * seconds)
    step = _step(seconds * _SECOND_INCHES / WIDTH, _TIME_STEPS)
    ticks = np.arange(np.ceil(begin / step - 1e-6), np.floor((begin + seconds) / step + 1e-6) + 1) * step
    long = bar_lines[-1] >= LONG
    axes.set_xticks(ticks, [clock(tick, long) for tick in ticks], fontsize=8)
    if last:
        axes.set_xlabel(f"{'minutes and seconds' if long else 'seconds'} (above: bars)", fontsize=9)
    inside = np.flatnonzero((bar_lines >= begin - 1e-6) & (bar_lines < begin + seconds - 1e-6))
    least = seconds * _BAR_INCHES / WIDTH
    every = _step(least * len(inside) / seconds, [2**power for power in range(16)])
    shown: list[int] = []
    for bar in inside[(inside + 1) % every == 0].tolist():
        if not shown or bar_lines[bar] - bar_lines[shown[-1]] >= least:
            shown.append(bar)
    upwards = axes.get_xaxis_transform()
    drawn = inside if len(inside) <= MOST_BAR_LINES else shown
    axes.vlines(bar_lines[drawn], 0, 1, transform=upwards, color=GREY, linewidth=0.5, zorder=0.5)
    for bar in shown if numbers else ():
        number_above(axes, float(bar_lines[bar]), bar)


def number_above(axes: Axes, x: float, bar: int) -> None:
    """Write the number of a bar, which is counted from 0, above the axes: from 1."""
    where = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
    axes.text(x, 1.01, str(bar + 1), fontsize=8, color="#555555", **where)


def clock(seconds: float, long: bool) -> str:
    """Seconds, or minutes and seconds where the piece is long."""
    value = round(float(seconds), 1) + 0.0
    if not long:
        return f"{value:g}"
    minutes, rest = divmod(value, 60)
    return f"{int(minutes)}:{rest:02.0f}" if rest == int(rest) else f"{int(minutes)}:{rest:04.1f}"


def _step(least: float, steps: Sequence[float]) -> float:
    """Return the first step that is not below the least one."""
    return next((step for step in steps if step >= least), steps[-1])


def _heights(score: Score, notes: Ints, pitches: Sequence[float]) -> tuple[Floats, float, float, float]:
    """Height of each note of the part, ends of the axis, and the top of the strip of percussion."""
    drum, pitch = score.drum[notes], score.pitch[notes].astype(float)
    pitched = np.array([*pitch[~drum], *pitches] or [60.0])
    low, high = float(pitched.min()) - 2, float(pitched.max()) + 2
    low, high = min(low, (low + high) / 2 - 7), max(high, (low + high) / 2 + 7)  # at least an octave
    strip = low
    if drum.any():
        kinds, rank = np.unique(pitch[drum], return_inverse=True)
        size = 1.2 * len(kinds) + 1.5
        place = pitch.copy()
        place[drum] = low - size + 1 + 1.2 * rank
        return place, low - size, high, strip
    return pitch, low, high, strip


def _boxes(
    axes: Axes, layout: Lines, mine: Ints, place: Floats, colours: NDArray[np.float64], marked: Bools | None
) -> None:
    """Draw the notes of a line as boxes; the shortest are as wide as can be seen."""
    least = layout.seconds * 0.002
    left, right = layout.onset[mine], np.maximum(layout.offset[mine], layout.onset[mine] + least)
    bottom, top = place[mine] - 0.5, place[mine] + 0.5
    corners = np.stack([left, bottom, left, top, right, top, right, bottom], axis=1).reshape(-1, 4, 2)
    edges = np.array([[1.0, 1.0, 1.0, 0.9]] * len(mine)).reshape(-1, 4)
    widths = np.full(len(mine), 0.3)
    if marked is not None:
        edges[marked[mine]] = to_rgba(BLACK)
        widths[marked[mine]] = 1.1
    boxes = PolyCollection(
        list(corners), facecolors=colours[mine], edgecolors=edges, linewidths=widths, zorder=2
    )
    boxes.set_rasterized(len(layout.notes) > MANY)
    axes.add_collection(boxes)


def _of_tracks(score: Score, notes: Ints) -> tuple[NDArray[np.float64], list[Patch]]:
    """Colours of tracks and their legend, the track with the most notes first."""
    key = np.stack([score.track[notes], np.where(score.drum[notes], 128, score.program[notes])], axis=1)
    parts, part, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    part = part.reshape(-1)
    order = np.argsort(-count, kind="stable")
    colours = np.tile(np.array(to_rgba(NO_VALUE)), (len(notes), 1))
    legend = []
    for rank, which in enumerate(order[: len(CLASSES)].tolist()):
        colours[part == which] = to_rgba(CLASSES[rank])
        track, program = parts[which].tolist()
        legend.append(Patch(color=CLASSES[rank], label=_track_name(score, track, program)))
    if len(parts) > len(CLASSES):
        legend.append(Patch(color=NO_VALUE, label=f"{len(parts) - len(CLASSES)} more"))
    labels = [patch.get_label() for patch in legend]
    for patch, which in zip(legend, order.tolist(), strict=False):
        if labels.count(patch.get_label()) > 1:
            patch.set_label(f"{patch.get_label()} ({parts[which, 0] + 1})")
    return colours, legend if len(parts) > 1 else []


def _track_name(score: Score, track: int, program: int) -> str:
    """Name of a track, or its instrument."""
    name = score.track_name[track].strip() if track < len(score.track_name) else ""
    shown = "".join(c for c in name if c.isprintable())[:24]
    return shown or instrument_name(program)


def _of_values(
    values: Floats, names: Sequence[str], signed: bool
) -> tuple[NDArray[np.float64], list[Patch], ScalarMappable | None]:
    """Colours of values, and a legend (classes) or a scale (numbers)."""
    known = np.isfinite(values)
    colours = np.tile(np.array(to_rgba(NO_VALUE)), (len(values), 1))
    unknown = [Patch(color=NO_VALUE, label="no value")] if not known.all() else []
    if names:
        numbers = values[known].astype(int)
        count = np.bincount(numbers, minlength=len(names))
        few = len(names) <= len(CLASSES)  # then a class has the same colour in every picture
        ranks = np.arange(len(names)) if few else np.argsort(-count, kind="stable")
        order = [k for k in ranks.tolist() if count[k]]
        legend = []
        for rank, number in enumerate(order[: len(CLASSES)]):
            colour = CLASSES[number if few else rank]
            colours[values == number] = to_rgba(colour)
            legend.append(Patch(color=colour, label=names[number]))
        rest = order[len(CLASSES) :]
        return (
            colours,
            [*legend, *([Patch(color=NO_VALUE, label=f"{len(rest)} more")] if rest else unknown)],
            None,
        )
    ends = values[known] if known.any() else np.zeros(1)
    if not signed and ends.min() == ends.max():
        colours[known] = to_rgba(BLUE)
        return colours, [Patch(color=BLUE, label=f"{ends[0]:g} throughout"), *unknown], None
    most = float(np.abs(ends).max()) or 1.0
    low, high = (-most, most) if signed else (float(ends.min()), float(ends.max()))
    scale = ScalarMappable(Normalize(low, high), differences() if signed else amounts())
    colours[known] = scale.to_rgba(values[known])
    return colours, unknown, scale

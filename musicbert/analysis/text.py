"""An analysis as text for a terminal."""

from textwrap import wrap
from typing import TYPE_CHECKING

from musicbert.analysis.profile import Dimension, Profile
from musicbert.analysis.programs import PROGRAMS

if TYPE_CHECKING:
    from musicbert.analysis.analysis import Analysis

#: characters of a bar
BAR = 25


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def track_line(track: object) -> str:
    """Name, instrument and notes of a track."""
    name, program, notes = (getattr(track, each) for each in ("name", "program", "notes"))
    instrument = "drums" if program < 0 else PROGRAMS[program]
    return (
        f"{name}: {instrument}, {notes:,} notes"
        if name and name != instrument
        else f"{instrument}, {notes:,} notes"
    )


def text_of(analysis: "Analysis", *, width: int = 100) -> str:
    """What is known of a piece, in lines of at most ``width`` characters."""
    size = f"{analysis.notes:,} notes, {clock(analysis.seconds)}, {analysis.bars:,} bars"
    lines = [f"{analysis.name or 'music'}: {size}", *(f"  {track_line(track)}" for track in analysis.tracks)]
    if analysis.profile is not None:
        lines += ["", *_profile(analysis.profile, width)]
    if analysis.reasons:
        lines += ["", "No profile of the playing:"]
        for reason in analysis.reasons:
            lines += _paragraph(f"{reason.text}", width, "  - ")
    for head_name, scores in analysis.outputs.items():
        lines += ["", f"{head_name}:"]
        best = sorted(scores.items(), key=lambda item: -item[1])[:10]
        lines += [f"  {name:30} {value:6.3f}" for name, value in best]
    lines += _layers(analysis, width)
    if analysis.warnings:
        lines += ["", "Note:"]
        for text in analysis.warnings:
            lines += _paragraph(text, width, "  - ")
    return "\n".join(lines) + "\n"


def scale_of(profile: Profile) -> str:
    """Ends of the scale of the ratings: ``1 to 7``."""
    low, high = profile.scale or (0, 1)
    return f"{low:g} to {high:g}"


def _paragraph(text: str, width: int, first: str = "") -> list[str]:
    return wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first))


def bar(each: Dimension) -> str:
    """The value (●) in its range (━) on the scale of the ratings."""
    low, high = limits(each)
    at = [
        round((BAR - 1) * (value - low) / (high - low))
        for value in (each.interval or (each.value, each.value))
    ]
    place = round((BAR - 1) * (each.value - low) / (high - low))
    cells = ["━" if at[0] <= k <= at[1] else "·" for k in range(BAR)]
    cells[min(max(place, 0), BAR - 1)] = "●"
    return "".join(cells)


def limits(each: Dimension) -> tuple[float, float]:
    """Values of the ends of a bar: those of the lowest and highest rating."""
    if each.scale is not None:
        lowest, highest, zero = each.scale
        return min((lowest - zero) / (highest - zero), each.value), max(1.0, each.value)
    if each.trained is not None and each.trained[0] < each.trained[1]:
        return min(each.trained[0], each.value), max(each.trained[1], each.value)
    return min(0.0, each.value), max(1.0, each.value)


def _profile(profile: Profile, width: int) -> list[str]:
    known = [each for each in profile.dimensions if each.interval is not None]
    level = f"{known[0].coverage:.0%}" if known and known[0].coverage else ""
    lines = [f"How the playing is heard ({profile.model})"]
    area = max(len(each.area) for each in profile.dimensions)
    low = max(len(each.low) for each in profile.dimensions)
    high = max(len(each.high) for each in profile.dimensions)
    placed = any(each.percentile is not None for each in profile.dimensions)
    lines.append(
        f"{'':{area}}  {'':{low}}  {'':{BAR}}  {'':{high}}  rating" + ("  range    place" if placed else "")
    )
    last = ""
    for each in profile.dimensions:
        shown = each.area if each.area != last else ""
        last = each.area
        line = f"{shown:{area}}  {each.low:>{low}}  {bar(each)}  {each.high:{high}}  "
        line += f"{each.rating if each.rating is not None else each.value:6.1f}"
        if each.interval is not None and each.rating is not None:
            line += f"  {each.rated(each.interval[0]):.1f}–{each.rated(each.interval[1]):.1f}"
        if each.percentile is not None:
            line += f"  {each.percentile:5.0f}"
        if each.trained is not None:
            line += f"  (training: {each.rated(each.trained[0]):.1f}–{each.rated(each.trained[1]):.1f})"
        lines.append(line.rstrip())
    lines.append("")
    if level:
        count = "; place: how many of 100 rated performances lie further to the left" if placed else ""
        text = (
            f"● is the rating to expect from listeners ({scale_of(profile)}), "
            f"━ where it lies for {level} of unknown music{count}."
        )
        lines += _paragraph(text, width)
    for text in (profile.meaning, *profile.notes):
        lines += _paragraph(text, width) if text else []
    for name, r2 in profile.not_shown:
        lines += _paragraph(
            f"Not shown: {name} (R² {r2:.2f} on held-out music: not better than the mean rating).", width
        )
    return lines


def _layers(analysis: "Analysis", width: int) -> list[str]:
    layers = analysis.layers
    if layers is None:
        return []
    lines = []
    melody = getattr(layers, "melody", None)
    if melody is not None:
        lines.append(f"Melody: {int(melody.sum()):,} of {len(melody):,} notes sound like the tune of a song")
    for title, name in (("Keys", "keys"), ("Chord roots", "chords")):
        found = getattr(layers, name, None)
        if found is not None and len(found):
            shown = [f"{clock(segment.start_seconds)} {segment.name}" for segment in found[:12]]
            lines += _paragraph(f"{title}: {'  '.join(shown)}{'  ...' if len(found) > 12 else ''}", width)
    for title, name in (("Beats", "beats"), ("Downbeats", "downbeats")):
        found = getattr(layers, name, None)
        if found is not None and len(found):
            lines.append(f"{title}: {len(found):,}")
    for name, remark in (getattr(layers, "remarks", None) or {}).items():
        lines += _paragraph(f"{name.capitalize()}: {remark}", width)
    for name, score in (getattr(layers, "scores", None) or {}).items():
        known = (
            f"{score.metric} {score.value:.2f}, {score.baseline_name} {score.baseline:.2f}, on {score.music}"
        )
        lines += _paragraph(f"{name.capitalize()}, measured: {known}.", width)
    return ["", *lines] if lines else []

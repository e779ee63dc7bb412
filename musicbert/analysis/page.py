"""Analyses as one web page that needs nothing else: no script, no other host; light, dark or printed."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicbert.analysis.profile import Dimension, Profile
from musicbert.analysis.text import clock, limits, scale_of, track_line
from musicbert.arrays import Bools
from musicbert.midi import Score

if TYPE_CHECKING:
    from musicbert.analysis.analysis import Analysis

#: notes that a piano roll draws; width and height of pictures in units of their own
ROLL_NOTES, WIDTH, HEIGHT = 12_000, 1000, 220
#: segments of chords and keys that are named
NAMED = 60
#: how the page looks
STYLE = Path(__file__).with_name("page.css")


def page_of(analyses: Sequence["Analysis"]) -> str:
    """One page of one or several analyses."""
    title = analyses[0].name if len(analyses) == 1 else f"{len(analyses)} pieces"
    return whole_page(title or "music", "\n".join(_article(each) for each in analyses))


def whole_page(title: str, body: str, style: str = "") -> str:
    """A page with its style: no script, no other file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        'content="light dark">'
        f"<title>{escape(title)}</title>"
        f"<style>{STYLE.read_text(encoding='utf-8')}{style}</style></head>\n<body><main>\n{body}\n"
        "</main></body></html>\n"
    )


def _article(analysis: "Analysis") -> str:
    tracks = [escape(track_line(each)) for each in analysis.tracks]
    shown = "; ".join(tracks[:8]) + (f"; and {len(tracks) - 8} more" if len(tracks) > 8 else "")
    parts = [
        f"<h1>{escape(analysis.name or 'music')}</h1>",
        f'<p class="soft">{analysis.notes:,} notes, {clock(analysis.seconds)}, {analysis.bars:,} bars. '
        f"{shown}.</p>",
    ]
    if analysis.profile is not None:
        parts += [_profile(analysis.profile), _along(analysis.profile)]
    if analysis.reasons:
        items = "".join(f"<li>{escape(reason.text)}</li>" for reason in analysis.reasons)
        parts.append(f"<section><h2>No profile of the playing</h2><ul>{items}</ul></section>")
    for head, scores in analysis.outputs.items():
        rows = "".join(
            f"<li>{escape(name)}: {value:.3f}</li>"
            for name, value in sorted(scores.items(), key=lambda e: -e[1])[:20]
        )
        parts.append(f"<section><h2>{escape(head)}</h2><ul>{rows}</ul></section>")
    parts += [_roll(analysis), _segments(analysis)]
    if analysis.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in analysis.warnings)
        parts.append(f"<section><h2>Note</h2><ul>{items}</ul></section>")
    return f"<article>{''.join(parts)}</article>"


def _row(each: Dimension, first: bool) -> str:
    low, high = limits(each)

    def at(value: float) -> str:
        return f"{100 * min(max((value - low) / (high - low), 0.0), 1.0):.1f}%"

    span, said = "", f"{each.value:.2f}"
    if each.rating is not None:
        said = f"{each.rating:.1f}"
        if each.interval is not None:
            said += f" <small>{each.rated(each.interval[0]):.1f}–{each.rated(each.interval[1]):.1f}</small>"
    if each.trained is not None:
        ends = " to ".join(f"{each.rated(value):.1f}" for value in each.trained)
        said += f" <small>(training: {ends})</small>"
    if each.interval is not None:
        span = f'<b style="left:{at(each.interval[0])};right:calc(100% - {at(each.interval[1])})"></b>'
    place = (
        ""
        if each.percentile is None
        else f' title="further right than {each.percentile:.0f} of 100 rated performances"'
    )
    return (
        f'<div class="row{" first" if first else ""}"{place}><span '
        f'class="area">{escape(each.area) if first else ""}</span>'
        f'<span class="low">{escape(each.low)}</span><span class="bar"><i></i>{span}<u '
        f'style="left:{at(each.value)}"></u></span>'
        f'<span class="high">{escape(each.high)}</span><span class="number">{said}</span></div>'
    )


def _profile(profile: Profile) -> str:
    rows, area = [], None
    for each in profile.dimensions:
        rows.append(_row(each, each.area != area))
        area = each.area
    known = next((each for each in profile.dimensions if each.coverage and each.interval), None)
    texts = [profile.meaning]
    if known is not None and known.coverage:
        texts.append(
            f"The dot is the rating to expect from listeners ({scale_of(profile)}), the band where it lies "
            f"for {known.coverage:.0%} of unknown music."
        )
    texts += profile.notes
    texts += [f"Not shown: {name} (R² {r2:.2f} on held-out music)." for name, r2 in profile.not_shown]
    said = "".join(f'<p class="soft">{escape(text)}</p>' for text in texts if text)
    return f"<section><h2>How the playing is heard</h2>{''.join(rows)}{said}</section>"


def _along(profile: Profile) -> str:
    """Each dimension over the passages."""
    rated = [part for part in profile.parts if part.values is not None]
    if len(rated) < 3:
        return ""
    end = max(part.end for part in profile.parts)
    charts = []
    for k, each in enumerate(profile.dimensions):
        low, high = limits(each)
        runs: list[list[str]] = [[]]
        for part in profile.parts:
            if part.values is None:
                runs.append([])
                continue
            x = 300 * (part.start + part.end) / 2 / end
            runs[-1].append(f"{x:.1f},{56 - 52 * (part.values[k] - low) / (high - low):.1f}")
        lines = "".join(
            f'<polyline points="{" ".join(run)}" fill="none" stroke="var(--value)" stroke-width="2"/>'
            for run in runs
            if len(run) > 1
        )
        dots = "".join(
            f'<circle cx="{run[0].split(",")[0]}" cy="{run[0].split(",")[1]}" r="2" fill="var(--value)"/>'
            for run in runs
            if len(run) == 1
        )
        frame = '<path d="M0 4H300M0 56H300" stroke="var(--line)"/>'
        charts.append(
            f'<div><p><span>{escape(each.high)}</span></p><svg viewBox="0 0 300 60" role="img" '
            f'aria-label="{escape(each.name)}">{frame}{lines}{dots}</svg><p '
            f'class="soft"><span>{escape(each.low)}</span><span>{clock(end)}</span></p></div>'
        )
    return f'<section><h2>Along the piece</h2><div class="small">{"".join(charts)}</div></section>'


def _roll(analysis: "Analysis") -> str:
    """Piano roll, the melody in colour."""
    melody = getattr(analysis.layers, "melody", None)
    tune = np.zeros(len(analysis.score), np.bool_) if melody is None else np.asarray(melody)
    drawn, cut = piano_roll(analysis.score, [(~tune, "var(--note)", 1.0), (tune, "var(--melody)", 1.0)])
    if not drawn:
        return ""
    words = "Notes by time and pitch." + (" The melody is in colour." if tune.any() else "") + cut
    return f'<section><h2>The music</h2>{drawn}<p class="soft">{words}</p></section>'


def piano_roll(score: Score, parts: Sequence[tuple[Bools, str, float]]) -> tuple[str, str]:
    """Draw pitched notes as SVG; return it with what is said of notes that are left out.

    ``parts``: notes [shape=(n,)], their colour and opacity, in the order in which they are drawn.
    """
    keep = np.flatnonzero(~score.drum)
    if not len(keep):
        return "", ""
    onset, offset = score.seconds(score.onset), score.seconds(score.offset)
    keep = keep[np.argsort(onset[keep], kind="stable")]
    keep, many = keep[:ROLL_NOTES], len(keep)
    begin, end = float(onset[keep].min()), float(offset[keep].max())
    lowest, highest = int(score.pitch[keep].min()) - 1, int(score.pitch[keep].max()) + 1
    step = HEIGHT / (highest - lowest)
    wide, drawn = f"{max(step * 0.8, 0.8):.1f}", ""
    for notes, colour, opacity in parts:
        strokes = []
        for k in keep[notes[keep]].tolist():
            x = WIDTH * (onset[k] - begin) / (end - begin + 1e-9)
            long = max(WIDTH * (offset[k] - onset[k]) / (end - begin + 1e-9), 0.8)
            strokes.append(f"M{x:.1f} {HEIGHT - (score.pitch[k] - lowest) * step:.1f}h{long:.1f}")
        seen = "" if opacity == 1 else f' stroke-opacity="{opacity:g}"'
        drawn += (
            f'<path d="{"".join(strokes)}" stroke="{colour}" stroke-width="{wide}" fill="none"{seen}/>'
            if strokes
            else ""
        )
    cut = f" The first {clock(end - begin)} of it." if len(keep) < many else ""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="piano roll">{drawn}</svg>', cut


def _segments(analysis: "Analysis") -> str:
    layers = analysis.layers
    result = ""
    for title, name in (("Keys", "keys"), ("Chord roots", "chords")):
        found: Any = getattr(layers, name, None)
        if found is None or not len(found):
            continue
        chips = "".join(
            f"<span><small>{clock(s.start_seconds)}</small> {escape(s.name)}</span>" for s in found[:NAMED]
        )
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        result += f'<section><h2>{title}</h2><div class="chips">{chips}{more}</div></section>'
    told = [f"{name.capitalize()}: {text}" for name, text in (getattr(layers, "remarks", None) or {}).items()]
    for name, score in (getattr(layers, "scores", None) or {}).items():
        known = (
            f"{score.metric} {score.value:.2f} ({score.baseline_name}: {score.baseline:.2f}) on {score.music}"
        )
        told.append(f"{name.capitalize()}, measured: {known}.")
    if told:
        items = "".join(f"<li>{escape(text)}</li>" for text in told)
        result += f'<section><h2>About these layers</h2><ul class="soft">{items}</ul></section>'
    return result

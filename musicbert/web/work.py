"""What worker processes do for the page: bytes of a MIDI file in, values for JSON out.

Models are opened once in each worker. No path that comes from a request is opened.
"""

import base64
import io
import logging
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from musicbert.errors import ConfigError, MidiError
from musicbert.midi import Score, programs_elsewhere, read_score
from musicbert.midi.writer import midi_bytes

#: notes and seconds that the page takes: a long concert
MOST_NOTES, MOST_SECONDS = 100_000, 3 * 3600.0
#: seconds of sound of one file, its samples a second
MOST_SOUND, RATE = 900.0, 22_050
#: notes of a remix at most, and versions
MOST_REMIXED, MOST_VERSIONS = 4000, 4
_EXAMPLES = {
    "expressive": "A waltz, played freely",
    "even": "The same waltz, played evenly",
    "score": "The same waltz as it is written, without a player",
}


def examples() -> dict[str, str]:
    """Names of the examples that come with the page."""
    return dict(_EXAMPLES)


def example(name: str) -> bytes:
    """MIDI file of an example: made music, so that it may be given to anybody.

    Raises `ConfigError` (``unknown-example``).
    """
    if name not in _EXAMPLES:
        raise ConfigError("unknown-example", f"there is no example {name!r}", hint=", ".join(_EXAMPLES))
    return midi_bytes(_waltz(name))


@cache
def _waltz(name: str) -> Score:
    from musicbert.explanation import neutral
    from musicbert.synthesis import make_set

    made = make_set(3, performers=3, segments=1, movements=1, raters=3, per_segment=2)
    played = max(made.scores.values(), key=lambda score: float(score.velocity.std()))
    if name == "expressive":
        return played
    flat = neutral(played, "dynamics", "timing", "voicing")
    return flat if name == "even" else neutral(played)


def warm(index: str | None = None) -> None:
    """Open what a first question needs, when a worker starts."""
    from musicbert.analysis import analyse

    analyse(_waltz("expressive"), model=_models().open())
    if index:
        _index(index)


@cache
def _models() -> Any:
    from musicbert.analysis import load_profile_model

    return load_profile_model()


@cache
def _index(folder: str) -> Any:
    from musicbert.similarity import open_index

    return open_index(folder)


def _read(data: bytes, name: str) -> Score:
    score = read_score(data, name=name)
    if len(score) > MOST_NOTES:
        raise MidiError(
            "too-many-notes",
            f"It has {len(score):,} notes; the page takes {MOST_NOTES:,}",
            path=name,
            hint="choose a part of it, or use musicbert analyse",
        )
    seconds = float(score.seconds(score.offset).max())
    if seconds > MOST_SECONDS:
        raise MidiError("too-long", f"It lasts {seconds / 3600:.1f} hours; the page takes 3", path=name)
    return score


def answer(data: bytes, name: str) -> dict[str, Any]:
    """Analyse a file: what `musicbert analyse` says, the notes to draw, and files to download."""
    from musicbert.analysis import analyse
    from musicbert.analysis.analysis import bar_lines
    from musicbert.analysis.marked_midi import marked_midi

    score = _read(data, name)
    found = analyse(score, model=_models(), name=name)
    melody = getattr(found.layers, "melody", None)
    stem = Path(name).stem or "music"
    answered = found.to_dict()
    if elsewhere := programs_elsewhere(data):
        answered["warnings"].append(
            f"{elsewhere:,} of {len(score):,} notes have an instrument that another track sets on their "
            "channel: they are described without it, and heard with it."
        )
    return {
        **answered,
        "bar_seconds": np.round(score.seconds(bar_lines(score)), 4).tolist(),
        "heard_seconds": MOST_SOUND,
        "roll": _roll(score),
        "melody": None if melody is None else np.flatnonzero(melody).tolist(),
        "downloads": [
            _download(f"{stem}-report.html", "text/html", found.to_html().encode()),
            _download(f"{stem}.json", "application/json", found.to_json().encode()),
            _download(f"{stem}-marked.mid", "audio/midi", marked_midi(found)),
        ],
    }


def _download(name: str, kind: str, data: bytes) -> dict[str, str]:
    return {"name": name, "type": kind, "data": base64.b64encode(data).decode()}


def _roll(score: Score) -> dict[str, list[Any]]:
    """Notes to draw, in the order of the score."""
    return {
        "start": np.round(score.seconds(score.onset), 4).tolist(),
        "end": np.round(score.seconds(score.offset), 4).tolist(),
        "pitch": score.pitch.tolist(),
        "velocity": score.velocity.tolist(),
        "track": score.track.tolist(),
        "drum": score.drum.astype(int).tolist(),
    }


def reasons(data: bytes, name: str, names: list[str]) -> dict[str, Any]:
    """Reasons for dimensions: factors of the playing in words and numbers, and what notes or bars add.

    ``lit``: what was hidden in turn, ``note`` or ``bar``, "" for nothing. It is notes where
    `musicbert.explanation.passages.lit` says so.
    """
    from musicbert.explanation import explain
    from musicbert.explanation.occlusion import occlude_passages
    from musicbert.explanation.passages import lit
    from musicbert.explanation.target import ProfileTarget

    score = _read(data, name)
    found = explain(score, names)
    target = ProfileTarget(_models())
    by, words = lit(len(score))
    groups, group_of, effects = (), np.full(len(score), -1), np.zeros((0, len(target.names)))
    if by:
        hidden = occlude_passages(target, score, by)
        groups, group_of, effects = hidden.groups, hidden.group_of, hidden.effects["gone"]
    return {
        **found.to_dict(),
        "lit": by,
        "lit_words": words,
        "groups": list(groups) if by == "bar" else [],
        "group_of": group_of.tolist(),
        "effects": {each: np.round(effects[:, k], 6).tolist() for k, each in enumerate(target.names)},
    }


def suggestions(data: bytes, name: str, dimension: str) -> dict[str, Any]:
    """The smallest changes of the playing that move a dimension by a rater's standard error, up and down."""
    from musicbert.explanation import explain

    found = explain(_read(data, name), dimension, parts=["change"])
    result = []
    for each in found.changes or ():
        entry = {**each.to_dict(), "words": str(each)}
        if each.score is not None:
            music = midi_bytes(each.score)
            entry |= {
                "roll": _roll(read_score(music)),
                "download": _download(
                    f"{Path(name).stem}-{'more' if each.up else 'less'}.mid", "audio/midi", music
                ),
            }
        result.append(entry)
    return {"changes": result}


class Sound(NamedTuple):
    """A WAV file, and what of the music is not in it, in sentences."""

    data: bytes
    notes: list[str]


def sound(data: bytes, name: str) -> Sound:
    """The music as sound; raises `MissingPackage` where no synthesiser is installed."""
    from musicbert.sound import render

    score = _read(data, name)
    end = float(score.seconds(score.offset).max())
    with _warnings("musicbert.sound") as notes:  # of the bytes: a score holds no pitch bends
        samples = render(data, sample_rate=RATE, **({"end": MOST_SOUND} if end > MOST_SOUND else {}))
    assert samples is not None
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return Sound(file.getvalue(), notes)


@contextmanager
def _warnings(room: str) -> Iterator[list[str]]:
    """Collect what a room says to the log."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(room)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def played_otherwise(data: bytes, name: str, strengths: Mapping[str, Any]) -> dict[str, Any]:
    """The performance with other strengths of its factors (0: neutral, 1: as played, at most 2).

    Returns the music to draw and to download, and the profile before and after.
    """
    from musicbert.analysis import analyse
    from musicbert.explanation import with_strengths

    score = _read(data, name)
    try:
        after = with_strengths(score, {str(factor): float(value) for factor, value in strengths.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError("bad-option", str(error)) from error
    music = midi_bytes(after)
    values = [analyse(each, model=_models(), layers=False).profile for each in (score, after)]
    return {
        "roll": _roll(read_score(music)),
        "before": None if values[0] is None else values[0].values(),
        "after": None if values[1] is None else values[1].values(),
        "download": _download(f"{Path(name).stem}-changed.mid", "audio/midi", music),
    }


def remixed(data: bytes, name: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Versions of a piece, ranked, as MIDI with the notes to draw."""
    from dataclasses import replace

    from musicbert.remixing import remix
    from musicbert.remixing.versions import DEFAULTS

    score = _read(data, name)
    if len(score) > MOST_REMIXED and not wishes.get("bars"):
        raise ConfigError("bad-choice", f"The file has {len(score):,} notes", hint="choose fewer bars")
    versions = remix(
        data,
        bars=None if not wishes.get("bars") else (int(wishes["bars"][0]), int(wishes["bars"][1])),
        share=float(wishes.get("share", 0.5)),
        fields=tuple(wishes.get("fields") or ("pitch",)),
        versions=min(max(int(wishes.get("versions", 2)), 1), MOST_VERSIONS),
        seed=int(wishes.get("seed", 0)),
        options=replace(DEFAULTS, temperature=float(wishes.get("temperature", 1.0))),
    )
    result = []
    with TemporaryDirectory() as folder:
        for each in versions:
            path = Path(folder) / f"{each.number}.mid"
            each.save(path)
            music = path.read_bytes()
            title = f"{Path(name).stem}-version-{each.number}.mid"
            result.append(
                {
                    "number": each.number, "rank": each.rank, "notes": each.notes, "changed": each.changed,
                    "likelihood": each.likelihood, "original": each.original,
                    "roll": _roll(read_score(music)),
                    "download": _download(title, "audio/midi", music),
                }
            )  # fmt: skip
    return {"versions": result}


def alike(data: bytes, name: str, folder: str, bars: list[int] | None) -> dict[str, Any]:
    """Most similar music of the index that the server was started with."""
    _read(data, name)
    found = _index(folder).query(io.BytesIO(data), bars=None if bars is None else (bars[0], bars[1]), top=10)
    return {"answers": [dict(vars(each)) for each in found]}


#: question -> function of the bytes, the name and the wishes of the page
QUESTIONS: dict[str, Callable[[bytes, str, Mapping[str, Any]], Any]] = {
    "analyse": lambda data, name, _: answer(data, name),
    "reasons": lambda data, name, wishes: reasons(data, name, [*map(str, wishes.get("dimensions", []))]),
    "sound": lambda data, name, _: sound(data, name),
    "suggest": lambda data, name, wishes: suggestions(data, name, str(wishes.get("dimension", ""))),
    "changed": lambda data, name, wishes: played_otherwise(data, name, wishes.get("strengths") or {}),
    "remix": remixed,
}


def work(question: str, data: bytes, name: str, wishes: dict[str, Any]) -> Any:
    """Answer one question of the page (called in a worker)."""
    if question == "similar":
        return alike(data, name, wishes["folder"], wishes.get("bars"))
    return QUESTIONS[question](data, name, wishes)

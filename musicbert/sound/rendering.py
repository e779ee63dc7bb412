"""`render`: a score as stereo samples, or as a WAV file."""

import logging
import wave
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from musicbert.arrays import Singles
from musicbert.atomic import replacing
from musicbert.encoding.part import part_of
from musicbert.errors import ConfigError, MidiError
from musicbert.midi import Score, read_bytes, read_score
from musicbert.midi.events import content, file_events
from musicbert.midi.reader import name_of
from musicbert.progress import progress_bar
from musicbert.sound.player import TAIL, Player, as_integers, bank_path
from musicbert.sound.timeline import Timeline, timeline

logger = logging.getLogger(__name__)

SAMPLE_RATE = 44100
#: amplification in dB: piano performances then reach a third of full scale, songs two thirds
GAIN = 10.0
#: largest sample of a result that would be clipped otherwise
_FULL = 0.999
#: sample rates in Hz, and amplifications in dB, that make sense
_RATES, _GAINS = (4000, 192000), (-60.0, 40.0)
#: samples of an array: 30 minutes at 44.1 kHz, 0.6 GB
_MOST_SAMPLES = 30 * 60 * 44100
#: bytes of a sample in a WAV file, and of the largest file
_FRAME, _MOST_BYTES = 4, 2**32 - 1024
#: ends of a name that may hold a WAV file; devices have none
_SUFFIXES = (".wav", ".wave", "")
#: upper half of a status byte, and of the value that bends nothing; controller
_PITCH_BEND, _CENTRE, _SOFT_PEDAL = 0xE, 64, 67

Source = str | PathLike[str] | bytes | IO[bytes] | Score


def render(
    source: Source | Any,
    path: str | PathLike[str] | None = None,
    *,
    sample_rate: int = SAMPLE_RATE,
    bars: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    gain: float = GAIN,
    bank: str | PathLike[str] | None = None,
    progress: bool = False,
) -> Singles | None:
    """Play a piece with a synthesiser: samples, or a WAV file of 16 bits.

    Heard: tempo, programs (of a file: by channel, as in any MIDI player), percussion, the sustain and the
    sostenuto pedal, volume, expression, panning, and the tail after the last note (at most 10 seconds). Not
    heard, with a warning: the soft pedal and pitch bends. The same call gives the same bytes. Loudness is not
    normalised, so that two performances can be compared: only what would be clipped is made quieter, with a
    warning. A file is written in blocks, in memory that does not grow with its length.

    Parameters
    ----------
    source
        Anything that `musicbert.read_score` takes.
    path
        WAV file to write, whole or not at all.
    sample_rate
        Samples a second, 4,000-192,000.
    bars
        First and last bar to play, from 1, as in a printed score (`musicbert.encode` counts from 0).
    start, end
        Or: part to play, in seconds. Notes that begin before the part are not heard; those that begin in it
        end with it.
    gain
        Amplification in dB.
    bank
        SoundFont file (.sf2 or .sf3) with the instruments; the default is TimGM6mb of the package
        ``pretty_midi``.
    progress
        Show a bar on a terminal.

    Returns
    -------
    Samples [shape=(samples, 2), float32; left and right, full scale is 1], or None if they went to a file.

    Raises
    ------
    MidiError
        As `read_score`; ``no-notes``: none begins in the part; ``too-long``: more than 30 minutes without a
        ``path``, or more than a WAV file holds (6.7 hours at 44,100 Hz).
    ConfigError
        ``no-synthesiser``, ``missing-bank``, ``bad-bank``, ``bad-part``, ``bad-rate``, ``bad-gain``,
        ``bad-suffix``.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> samples = musicbert.render("piece.mid")  # doctest: +SKIP
    >>> musicbert.render("piece.mid", "piece.wav", bars=(5, 8))  # doctest: +SKIP
    """
    if path is not None and Path(path).suffix.lower() not in _SUFFIXES:
        raise ConfigError("bad-suffix", "The sound is a WAV file: its name ends in .wav", path=path)
    if not _RATES[0] <= sample_rate <= _RATES[1]:
        raise ConfigError("bad-rate", f"A sample rate of {sample_rate} Hz is outside {_RATES[0]}-{_RATES[1]}")
    if not _GAINS[0] <= gain <= _GAINS[1]:
        raise ConfigError("bad-gain", f"A gain of {gain:g} dB is outside {_GAINS[0]:g} to {_GAINS[1]:g}")
    score, name = _read(source)
    notes, begin, stop = part_of(score, bars=bars, start=start, end=end, name=name)
    where = bank_path(bank)
    events = timeline(score, notes, begin=begin, end=stop, sample_rate=sample_rate)
    _check_length(events, sample_rate, name, to_file=path is not None)

    def blocks(factor: float = 1.0) -> Iterator[Singles]:
        player = Player(where, events, sample_rate=sample_rate, gain=gain + 20 * np.log10(factor))
        with progress_bar(total=events.end, shown=progress, unit=" samples", unit_scale=True) as bar:
            for block in player.blocks():
                yield block
                bar.update(len(block))

    if path is None:
        samples = np.concatenate(list(blocks()))
        samples *= np.float32(_factor(float(np.abs(samples).max()), name))
        return samples
    with replacing(path) as file:
        factor = _factor(_write(file, blocks(), sample_rate), name)
        if factor != 1:
            file.seek(0)
            file.truncate()
            _write(file, blocks(factor), sample_rate)
    return None


def _read(source: Any) -> tuple[Score, str | None]:
    """Score and name of a source; what will not be heard is said as a warning."""
    data, name = read_bytes(source), name_of(source)
    if data is None:
        score, bends = read_score(source), False
    else:
        score = read_score(data, name=name, channel_programs="channel")
        bends = not score.notation and _has_bends(data)
    soft = ((score.control_number == _SOFT_PEDAL) & (score.control_value >= 64)).any()
    if unheard := [what for what, there in (("the soft pedal", soft), ("pitch bends", bends)) if there]:
        logger.warning("%snot heard: %s", f"{name}: " if name else "", ", ".join(unheard))
    return score, name


def _has_bends(data: bytes) -> bool:
    events = file_events(data)
    at = events.data[events.status >> 4 == _PITCH_BEND]
    return bool(((content(data, at) != 0) | (content(data, at + 1) != _CENTRE)).any())


def _check_length(events: Timeline, rate: int, name: str | None, *, to_file: bool) -> None:
    """Refuse what does not fit into memory, or into a WAV file."""
    samples = events.end + int(TAIL * rate)
    if not to_file and samples > _MOST_SAMPLES:
        hint = "give a path: a file is written in blocks; or choose a part by bars, or by start and end"
    elif samples * _FRAME > _MOST_BYTES:
        hint = "choose a part with --from and --to, or --bars (in Python: start, end, bars)"
    else:
        return
    limit = _MOST_BYTES // _FRAME if to_file else _MOST_SAMPLES
    raise MidiError(
        "too-long",
        f"{_clock(samples / rate)} of sound; {'a WAV file' if to_file else 'an array'} holds at most "
        f"{_clock(limit / rate)} at {rate} Hz",
        path=name,
        hint=hint,
    )


def _clock(seconds: float) -> str:
    """Hours and minutes."""
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def _factor(peak: float, name: str | None) -> float:
    """Factor that keeps a peak below full scale; said as a warning unless it is 1."""
    if peak <= _FULL:
        return 1.0
    factor = _FULL / peak
    logger.warning(
        "%s%.1f dB quieter, so that nothing is clipped", f"{name}: " if name else "", -20 * np.log10(factor)
    )
    return factor


def _write(file: IO[bytes], blocks: Iterable[Singles], rate: int) -> float:
    """Write a WAV file of 16 bits and return the largest sample."""
    peak = 0.0
    with wave.open(file, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0)))
            wav.writeframesraw(as_integers(block))
    return peak

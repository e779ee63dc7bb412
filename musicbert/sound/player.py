"""The synthesiser: a bank of instruments, and a timeline played on it in blocks of samples."""

from collections.abc import Iterator
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.arrays import Singles
from musicbert.errors import ConfigError, first_line
from musicbert.sound.timeline import EXPRESSION, NOTE_OFF, NOTE_ON, PAN, VOLUME, Timeline

#: package that has a bank, and the name of the file in it
BANK_PACKAGE, BANK_FILE = "pretty_midi", "TimGM6mb.sf2"
#: notes that sound at once; the oldest ends where there are more
VOICES = 256
#: values of the controllers at the beginning (General MIDI System Level 1)
INITIAL = {VOLUME: 100, PAN: 64, EXPRESSION: 127}
#: after the music: longest tail, and length of its parts, in seconds; a part below this peak, before
#: amplification, ends it (-90 dB)
TAIL, PART, SILENT = 10.0, 0.1, 3e-5


def bank_path(bank: str | PathLike[str] | None = None) -> Path:
    """Path of the bank of instruments: the given file, or that of the installed package.

    Raises `ConfigError` (``missing-bank``).
    """
    if bank is not None:
        path = Path(bank)
        if not path.is_file():
            raise ConfigError("missing-bank", "There is no such SoundFont", path=path)
        return path
    found = find_spec(BANK_PACKAGE)  # not imported: it needs pkg_resources
    for folder in (found and found.submodule_search_locations) or ():
        if (Path(folder) / BANK_FILE).is_file():
            return Path(folder) / BANK_FILE
    raise ConfigError(
        "missing-bank",
        "There is no bank of instruments to play with",
        hint="pip install 'musicbert[sound]', or name a SoundFont file (.sf2 or .sf3) with --bank",
    )


class Player:
    """A synthesiser with the instruments of a timeline.

    ``gain``: amplification in dB. Raises `ConfigError` (``no-synthesiser``, ``bad-bank``).
    """

    def __init__(self, bank: Path, timeline: Timeline, *, sample_rate: int, gain: float) -> None:
        self.timeline, self.rate = timeline, sample_rate
        self.silent = SILENT * 10 ** (gain / 20)
        synth = _synthesiser(gain, sample_rate)
        try:
            number = synth.sfload(str(bank), max_voices=VOICES)
            for channel, (_, program, drum, _) in enumerate(timeline.channels.tolist()):
                synth.program_select(channel, number, 0, program, bool(drum))
        except Exception as error:  # of the extension module
            raise ConfigError(
                "bad-bank",
                f"The SoundFont cannot be used: {first_line(error)}",
                path=bank,
                hint="take a SoundFont with all instruments of General MIDI",
            ) from error
        self.font = synth.soundfonts[number]
        self.levels = {track: dict(INITIAL) for track in np.unique(timeline.channels[:, 0]).tolist()}

    def blocks(self) -> Iterator[Singles]:
        """Play all, then the tail [shape=(samples, 2) each, float32; full scale is 1]."""
        for track in self.levels:
            self._set_levels(track)
        part = max(1, int(PART * self.rate))
        end, longest = self.timeline.end, self.timeline.end + int(TAIL * self.rate)
        at = event = 0
        while at < longest:
            size = min(10 * part, end - at) if at < end else min(part, longest - at)
            block = np.zeros((size, 2), np.float32)
            event = self._play(block, at, event)
            if at >= end:
                if event == len(self.timeline.sample) and np.abs(block).max() < self.silent:
                    return
                # what sounds for ever, such as an organ under a pedal, fades in the last second
                left = (longest - at - np.arange(size)) / self.rate
                block *= np.minimum(left, 1.0, dtype=np.float32)[:, None]
            yield block
            at += size

    def _play(self, block: Singles, at: int, event: int) -> int:
        """Fill a block that begins at a sample, and return the next event."""
        times, done = self.timeline.sample, 0
        while event < len(times) and times[event] < at + len(block):
            now = int(times[event]) - at
            if now > done:
                self.font.render(block[done:now], False)
                done = now
            self._do(event)
            event += 1
        if done < len(block):
            self.font.render(block[done:], False)
        return event

    def _do(self, event: int) -> None:
        """Carry out an event."""
        timeline = self.timeline
        kind, where, value = (
            int(column[event]) for column in (timeline.kind, timeline.where, timeline.value)
        )
        if kind == NOTE_ON:
            self.font.channel_note_on(where, value, int(timeline.channels[where, 3]) / 127)
        elif kind == NOTE_OFF:
            self.font.channel_note_off(where, value)
        else:
            self.levels[where][kind] = value
            self._set_levels(where)

    def _set_levels(self, track: int) -> None:
        """Loudness and place of the channels of a track: 40 log10 of velocity, volume and expression, in dB.

        (General MIDI 2, "Volume"; SoundFont 2.04, section 8.4.1.) TinySoundFont's own is 20 log10 of the
        velocity; the rest is the volume of the channel, of which there is one for each velocity.
        """
        level = self.levels[track]
        own = (level[VOLUME] * level[EXPRESSION] / 127**2) ** 2
        mine = np.flatnonzero(self.timeline.channels[:, 0] == track)
        for channel, velocity in zip(mine.tolist(), self.timeline.channels[mine, 3].tolist(), strict=True):
            self.font.channel_set_volume(channel, own * velocity / 127)
            self.font.channel_set_pan(channel, level[PAN] / 127)


def as_integers(block: Singles) -> bytes:
    """Samples as 16-bit integers, low byte first."""
    integers = np.rint(np.clip(block * 32767.0, -32768, 32767)).astype("<i2")
    return bytes(integers.tobytes())


def _synthesiser(gain: float, sample_rate: int) -> Any:
    """TinySoundFont; raises `ConfigError` (``no-synthesiser``)."""
    try:
        from tinysoundfont import Synth
    except ModuleNotFoundError as error:
        raise ConfigError(
            "no-synthesiser",
            "This needs the package tinysoundfont, which is not installed",
            # pyaudio, its only requirement, plays through loudspeakers and is compiled against portaudio
            hint="pip install --no-deps tinysoundfont",
        ) from error
    return Synth(gain=gain, samplerate=sample_rate)

"""`musicbert render`: a MIDI file as sound."""

import argparse
from pathlib import Path
from typing import Any

from musicbert.cli.inputs import add_part, add_repeats

DESCRIPTION = "Play a MIDI file with a synthesiser into a WAV file, without a network."
EPILOG = """examples:
  musicbert render piece.mid
  musicbert render piece.mid --bars 5-8 --output part.wav
  musicbert render piece.mid --from 60 --to 90 --output part.wav

Two packages play: pip install 'musicbert[sound]' brings the instruments, and
pip install --no-deps tinysoundfont the synthesiser. --bank takes other instruments: any SoundFont file with
those of General MIDI. Loudness is not normalised, so that two performances can be compared.

exit status: 0 done; 2 bad usage or input."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert render`."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="MIDI file")
    add("--output", "-o", type=Path, help="WAV file to write (the name of INPUT with .wav, in this folder)")
    add_part(parser)
    add_repeats(parser)
    add("--sample-rate", type=int, default=44100, metavar="HZ", help="samples a second (%(default)s)")
    add("--gain", type=float, default=10.0, metavar="DB", help="amplification (%(default)s)")
    add("--bank", type=Path, help="SoundFont file (.sf2 or .sf3) with the instruments (TimGM6mb)")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Render and write; return the exit status."""
    from musicbert.midi import read_score
    from musicbert.sound import render

    source: Any = options.input
    if options.repeats == "played" and (score := read_score(source, repeats="played")).notation:
        source = score
    output = options.output or Path(Path(options.input).with_suffix(".wav").name)
    render(
        source,
        output,
        sample_rate=options.sample_rate,
        bars=options.bars,
        start=options.start,
        end=options.end,
        gain=options.gain,
        bank=options.bank,
        progress=not options.quiet,
    )
    print(output)
    return 0

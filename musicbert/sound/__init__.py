"""A score as sound: the only door to a synthesiser.

The synthesiser is TinySoundFont (MIT, package ``tinysoundfont``); its instruments are those of a SoundFont
file, by default TimGM6mb of the package ``pretty_midi`` (128 instruments and drums, 6 MB, GPL-2). Neither
needs a network. TinySoundFont plays in blocks, to the sample, with 256 voices and in single precision, so a
concert takes no more memory than a song. Others that were tried: symusic's synthesiser cannot return its
samples with NumPy 2; ``midirenderer`` holds the whole piece in memory, in 16 bits at a low level, and has 64
voices, too few for a pedal that stays down.

TinySoundFont knows neither pedals nor a standard curve of loudness; both are made here (`timeline`,
`player`).
"""

from musicbert.sound.rendering import render

__all__ = ["render"]

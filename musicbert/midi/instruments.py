"""Names of the 128 programs of General MIDI, and numbers from names.

Source: General MIDI System Level 1 (RP-003), "GM Sound Set".
"""

from musicbert.errors import ConfigError, nearest

#: name of each program
INSTRUMENTS: tuple[str, ...] = tuple(
    """acoustic grand piano, bright acoustic piano, electric grand piano, honky-tonk piano, electric piano 1,
electric piano 2, harpsichord, clavinet, celesta, glockenspiel, music box, vibraphone, marimba, xylophone,
tubular bells, dulcimer, drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion,
harmonica, tango accordion, nylon guitar, steel guitar, jazz guitar, clean guitar, muted guitar,
overdriven guitar, distortion guitar, guitar harmonics, acoustic bass, fingered bass, picked bass,
fretless bass, slap bass 1, slap bass 2, synth bass 1, synth bass 2, violin, viola, cello, contrabass,
tremolo strings, pizzicato strings, orchestral harp, timpani, string ensemble 1, string ensemble 2, synth
strings 1, synth strings 2, choir aahs, voice oohs, synth voice, orchestra hit, trumpet, trombone, tuba,
muted trumpet, french horn, brass section, synth brass 1, synth brass 2, soprano sax, alto sax, tenor sax,
baritone sax, oboe, english horn, bassoon, clarinet, piccolo, flute, recorder, pan flute, blown bottle,
shakuhachi, whistle, ocarina, square lead, sawtooth lead, calliope lead, chiff lead, charang lead, voice
lead, fifths lead, bass and lead, new age pad, warm pad, polysynth pad, choir pad, bowed pad, metallic
pad, halo pad, sweep pad, rain, soundtrack, crystal, atmosphere, brightness, goblins, echoes, sci-fi,
sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai, tinkle bell, agogo, steel drums,
woodblock, taiko drum, melodic tom, synth drum, reverse cymbal, guitar fret noise, breath noise, seashore,
bird tweet, telephone ring, helicopter, applause, gunshot""".replace("\n", " ").split(", ")
)
DRUMS = "drums"


def instrument_name(program: int) -> str:
    """Name of a program of octuples: 128 is percussion."""
    return DRUMS if program == len(INSTRUMENTS) else INSTRUMENTS[program]


def instrument_number(text: str) -> int:
    """Program, 0-128, of a number or a name; a part of a name is enough where only one name has it.

    Raises `ConfigError` (``bad-instrument``).
    """
    names = [*INSTRUMENTS, DRUMS]
    word = " ".join(text.lower().replace("_", " ").split())
    if word.isascii() and word.isdigit():
        if int(word) < len(names):
            return int(word)
        raise ConfigError("bad-instrument", f"Program {text} is not 0-127, or 128 for drums")
    # a hyphen may stand for a space: a name is then one word of the command line
    keys = [name.replace("-", " ") for name in names]
    word = word.replace("-", " ")
    if word in keys:
        return keys.index(word)
    found = [number for number, name in enumerate(keys) if word and word in name]
    if len(found) == 1:
        return found[0]
    several = ", ".join(f"{names[number]} ({number})" for number in found[:6])
    raise ConfigError(
        "bad-instrument",
        f"{text!r} is {'the name of several instruments' if found else 'not an instrument of General MIDI'}",
        hint=several or nearest(word, names) or "docs/remix.md names them by number and by name",
    )

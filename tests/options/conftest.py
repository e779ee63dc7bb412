"""Music and models for calls of programs."""

from dataclasses import asdict

import mido
import numpy as np
import pytest

from musicbert.midi import Score, midi_bytes
from musicbert.synthesis import make_set
from options.effects import Caller


def piece(seed, notes=40, beats=1.0):
    """A made piece of two programs with a pedal."""
    rng = np.random.default_rng(seed)
    zeros = np.zeros(notes, np.int64)
    onset = np.sort(rng.integers(0, int(beats * 480 * notes), notes))
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + rng.integers(60, 900, notes),
        pitch=rng.integers(40, 80, notes),
        velocity=rng.integers(20, 120, notes),
        program=np.arange(notes) % 2,
        drum=zeros.astype(bool),
        track=np.arange(notes) % 2,
        control_tick=np.arange(8) * 480,
        control_number=np.full(8, 64),
        control_value=rng.integers(0, 128, 8),
        control_track=np.zeros(8, np.int64),
    )


def save(path, *messages):
    """A MIDI file of one track of (time, kind, values)."""
    track = mido.MidiTrack()
    for time, kind, values in messages:
        made = mido.MetaMessage if kind == "time_signature" else mido.Message
        track.append(made(kind, time=time, **values))
    mido.MidiFile(tracks=[track]).save(path)


@pytest.fixture(scope="session")
def places(tmp_path_factory, fixtures):
    """Paths by name, to be filled into words: music for each choice, folders, a model."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "midi").mkdir()
    for seed in range(6):
        (folder / "midi" / f"p{seed}.mid").write_bytes(midi_bytes(piece(seed)))
    (folder / "one").mkdir()
    (folder / "song.mid").write_bytes(midi_bytes(piece(7)))
    (folder / "one" / "song.mid").write_bytes((folder / "song.mid").read_bytes())
    (folder / "other.mid").write_bytes(midi_bytes(piece(8)))
    played = make_set(3, performers=1, segments=1, movements=1).scores
    next(iter(played.values())).save(folder / "played.mid")
    on, off = {"note": 60, "velocity": 80}, {"note": 60}
    save(folder / "beyond.mid", (0, "note_on", on), (480, "note_off", off), (480 * 5000, "note_on", on),
         (480, "note_off", off))  # fmt: skip
    # readers give the same music; what they refuse, they refuse in their own name
    damaged = (folder / "other.mid").read_bytes()
    (folder / "damaged.mid").write_bytes(damaged[:-3] + b"\xf4" + damaged[-2:])
    program, notes = mido.MidiTrack([mido.Message("program_change", program=40)]), mido.MidiTrack()
    notes += [mido.Message("note_on", **on), mido.Message("note_off", **off, time=480)]
    mido.MidiFile(tracks=[program, notes]).save(folder / "elsewhere.mid")
    (folder / "repeated.abc").write_text("X:1\nM:4/4\nL:1/4\nK:C\n|:CDEF|GABc:|cBAG|\n")
    made = fixtures / "musicbert"
    names = {
        "midbar": "s06_ts_change_midbar", "unsupported": "s08b_ts_3_128_unsupported", "metre": "s07b_ts_11_4_prime_numerator",
        "zero": "s10_zero_and_tiny_durations", "long": "s13_2600_notes", "basic": "s01_basic_4_4", "bars": "s18_sparse_over_256_bars", "drums": "s02_percussion_multi_program",
    }  # fmt: skip
    return {
        "micro": fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt",
        "plain": fixtures / "musicbert_model" / "micro_pretrained_v1.0.0a0_cfg.pt",
        "root": fixtures.parents[1],
        **{name: made / f"{file}.mid" for name, file in names.items()},
        **{path.stem: path for path in folder.glob("*.mid")},
        "repeated": folder / "repeated.abc", "midi": folder / "midi", "one": folder / "one",
    }  # fmt: skip


@pytest.fixture(scope="session")
def tagger(tmp_path_factory):
    """Folder of a fine-tuned model, as `musicbert finetune` writes it."""
    import torch

    from musicbert.config import ModelConfig
    from musicbert.model import MusicBert
    from musicbert.model.tagger import Tagger, TagSettings
    from musicbert.weights.tagger_folder import save_tagger_folder

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tagger") / "model"
    backbone = MusicBert(ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=256))
    made = Tagger(backbone, TagSettings(3, head="mean")).eval()
    made.spread.fill_(2.0)
    task = {"name": "x", "label": "x", "level": "sequence", "kind": "classes", "classes": "abc", "ignore": []}
    settings = {
        "family": "musicbert", "architecture": asdict(backbone.config), "codec": "octuple", "window": 64,
        "overlap": 4, "windows": "all", "head": asdict(made.settings), "task": {**task, "classes": [*"abc"]},
        "origin": {},
    }  # fmt: skip
    save_tagger_folder(folder, made.state_dict(), settings)
    return folder


@pytest.fixture(scope="module")
def caller(tmp_path_factory, places):
    """Make a `Caller` of a program, which may be given spies."""
    with pytest.MonkeyPatch.context() as patch:

        def make(main, *, values=(), **settings):
            folder = tmp_path_factory.mktemp("calls")
            return Caller(main, folder, {**places, **dict(values)}, patch, **settings)

        yield make

"""A model at tiny random weights, and a song of three instruments."""

import numpy as np
import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.midi import Score, midi_bytes
from musicbert.model import MusicBert
from musicbert.predict import Model
from musicbert.weights import Bundle


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    module = MusicBert(ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=1100))
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(4)  # far from the near-equal outputs of new weights
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    return Model(Bundle(module.config, weights, ()), device="cpu")


@pytest.fixture(scope="session")
def song():
    """Eight bars of 4/4: piano chords, a flute and drums, with pedal, tempi and names."""
    beats = np.arange(32)
    piano = [(beat, pitch, 0, 0) for beat in beats[::2] for pitch in (48, 52, 55)]
    flute = [(beat, 72 + beat % 5, 73, 1) for beat in beats]
    drums = [(beat, 36 if beat % 2 else 38, 0, 2) for beat in beats]
    onset, pitch, program, track = (np.array(each) for each in zip(*piano, *flute, *drums, strict=True))
    return midi_bytes(
        Score(
            ticks_per_beat=480, onset=onset * 480 + 7, offset=onset * 480 + 400, pitch=pitch,
            velocity=60 + pitch % 20, program=program, drum=track == 2, track=track,
            tempo_tick=np.array([0, 7680]), tempo_bpm=np.array([100.0, 120.0]),
            metre_tick=np.array([0]), metre_numerator=np.array([4]), metre_denominator=np.array([4]),
            control_tick=beats * 480, control_number=np.full(32, 64), control_value=(beats % 2) * 127,
            control_track=np.zeros(32, np.int64), track_name=("Keys", "Flute", "Kit"),
        )
    )  # fmt: skip

"""Frozen states of a network as features of a performance: mean and deviation over its notes, by layer.

The bars of a recorded performance are those of its file's clock, not of the music, so where they begin is
chance. The performance is therefore read at six phases of that clock (all events later by sixths of a whole
note) and the six descriptions are averaged.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import musicbert.encoding
import musicbert.midi
from musicbert.arrays import Floats, Ints
from musicbert.midi import Score
from musicbert.predict.embedding import Embedder
from musicbert.predict.model import from_pretrained

if TYPE_CHECKING:  # takes a second of processor time, and answers do without
    from musicbert.evaluation.baselines.rated_examples import Description

PHASES = 6


def later(score: Score, ticks: int) -> Score:
    """Return a score whose events come later; tempo and metre of its beginning stay at the beginning."""

    def moved(at: Ints) -> Ints:
        return np.where(at > 0, at + ticks, at)

    return replace(
        score,
        onset=score.onset + ticks,
        offset=score.offset + ticks,
        control_tick=score.control_tick + ticks,
        tempo_tick=moved(score.tempo_tick),
        metre_tick=moved(score.metre_tick),
    )


def state_moments(model: Embedder, *scores: Score, phases: int = PHASES, layer: int | None = None) -> Floats:
    """Describe performances by mean and deviation over their notes [shape=(m, layers, 2D), float64].

    Row ``k`` is of the states after block ``k + 1``; ``layer``: of the states after this block alone. Raises
    `MidiError` (those of `Embedder.read`).
    """
    at = [
        later(score, round(k * 4 * score.ticks_per_beat / phases)) for score in scores for k in range(phases)
    ]
    moments = model.moments(at, layer=layer)
    return np.asarray(moments.reshape(len(scores), phases, *moments.shape[1:]).mean(1))


def states_key(model: Embedder) -> str:
    """Name the states of a network by a hash of its weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.module.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return f"{digest.hexdigest()} {PHASES} phases"


def description(model: Embedder) -> "Description":
    """Describe MIDI files by `state_moments`, a row a file of all layers after one another."""
    from musicbert.evaluation.baselines.rated_examples import Description

    return Description(
        name="states",
        packages=(musicbert.midi, musicbert.encoding),
        width=2 * model.config.layers * model.config.width,
        make=lambda _, __: lambda _, score: state_moments(model, score).reshape(-1),
        key=states_key(model),
        layers=model.config.layers,
    )


def open_descriptions(models: Sequence[str], *, random_seeds: int = 1) -> dict[str, "Description"]:
    """Descriptions by the names of models, each followed by those of random weights of its size.

    Raises `CheckpointError` (those of ``from_pretrained``).
    """
    from musicbert.predict.sentences.databin import random_twin

    found = {}
    for path in models:
        model, name = from_pretrained(path), Path(path).name
        found[name] = description(model)
        for seed in range(random_seeds):
            model = from_pretrained(path)
            model.module.load_state_dict(random_twin(model, seed=seed), strict=False)
            found[f"{name} with random weights{f' {seed}' if seed else ''}"] = description(model)
    return found

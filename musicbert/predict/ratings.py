"""Ratings of performances by a saved committee (`musicbert.evaluation.baselines.committee_file`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from musicbert.arrays import Floats
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.committee_file import RatingModel, load_rating_model
from musicbert.features import features
from musicbert.features.against_score import SCORE_FEATURES, score_features
from musicbert.midi import Score, read_score
from musicbert.predict.embedding import Embedder
from musicbert.predict.model import from_pretrained
from musicbert.predict.state_blocks import state_moments, states_key


@dataclass(frozen=True, eq=False)
class RatedPerformances:
    """Ratings of performances.

    ``values``: 0-1 [shape=(m, d), float64]; ``error``: root mean square error of each dimension on music that
    training did not hold [shape=(d,), NaN where unknown]; ``dimensions``: names.
    """

    values: Floats
    error: Floats
    dimensions: tuple[str, ...]


class RatingPredictor:
    """A saved committee with the network whose states it reads.

    ``committee``: file, or what it holds; ``network``: a model, or its folder or name (default: as the
    committee names it).
    Raises `DatasetError` (those of `load_rating_model`; ``other-settings``: the committee reads other inputs,
    or states of other weights) and `CheckpointError` (those of ``from_pretrained``).
    """

    def __init__(
        self,
        committee: str | PathLike[str] | RatingModel,
        network: Embedder | str | PathLike[str] | None = None,
    ) -> None:
        opened = isinstance(committee, RatingModel)
        self.model: RatingModel = committee if opened else load_rating_model(committee)
        about, path = self.model.about, None if opened else committee
        if unknown := sorted(set(about["inputs"]) - {"score"}):
            raise DatasetError("other-settings", f"Inputs that need other files: {unknown}", path=path)
        self.network: Any = None
        if name := about["network"]:
            self.network = network if isinstance(network, Embedder) else from_pretrained(network or name)
            if states_key(self.network) != about["states"]:
                raise DatasetError(
                    "other-settings", f"It was fitted on states of other weights of {name}", path=path
                )

    def rate(
        self, performances: Sequence[Any], *, scores: Sequence[Any] | None = None, same_bars: bool = False
    ) -> RatedPerformances:
        """Rate performances (anything that `read_score` takes).

        ``scores``: the written music of each, or None for one without; ``same_bars``: all of them play the
        same bars, so that they are compared with each other.
        Raises `MidiError` for what cannot be read.
        """
        music = [_read(each) for each in performances]
        memo: dict[bytes, dict[str, float]] = {}  # versions of one performance have much in common
        table = np.stack([features(each, memo) for each in music])
        if "score" in self.model.about["inputs"]:
            against = np.full((len(music), len(SCORE_FEATURES)), np.nan)
            for row, each, score in zip(against, music, scores or [None] * len(music), strict=True):
                if score is not None:
                    row[:] = score_features(each, _read(score))
            table = np.concatenate([table, against], axis=1)
        states = self.states(music)
        bars = np.zeros(len(music), np.int64) if same_bars else None
        values = self.model.predict(table, states, bars)
        return RatedPerformances(values, self.model.error, tuple(self.model.about["classes"]))

    def states(self, music: Sequence[Score]) -> Floats | None:
        """Frozen states that the committee reads [shape=(layers, m, 2D)]; None where it reads none."""
        if self.network is None:
            return None
        return state_moments(self.network, *music, layer=self.model.about.get("layer")).swapaxes(0, 1)


def _read(source: Any) -> Score:
    return source if isinstance(source, Score) else read_score(source)

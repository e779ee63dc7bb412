"""`ProfileModel`: how listeners heard a piano performance, from the playing alone.

A folder holds ``profile.npz`` (a committee as plain arrays,
`musicbert.evaluation.baselines.committee_file`), ``features.npz`` where that committee also reads states of a
network (the committee without them, for which reasons are given) and ``profile.json``: dimensions with both
poles, scores on music that training did not hold, errors for ranges, percentiles of the training
performances, and the distance from which on music is unlike them. Made by
``results/tools/profile_model.py``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.analysis.passages import passages, played
from musicbert.analysis.ranges import Ranges
from musicbert.arrays import Floats
from musicbert.atomic import read_json, write_text
from musicbert.errors import CheckpointError
from musicbert.evaluation.baselines.committee import Forest
from musicbert.evaluation.baselines.committee_file import RatingModel, load_rating_model
from musicbert.features import features
from musicbert.midi.score import Score

#: the model that comes with the package
SHIPPED = "profile-percepiano"
#: the committee, and the one that reasons are given for where the first reads states of a network
COMMITTEE, EXPLAINED = "profile.npz", "features.npz"
FORMAT = 1
#: coverage levels of ranges; nearest training performances whose distance counts
LEVELS, NEIGHBOURS = (0.8, 0.9), 5


def nearest(model: RatingModel, inputs: Floats) -> Floats:
    """Mean distance of items [shape=(m, k)] to their nearest training performances [shape=(m,)].

    Distances are root mean squares over standardised features.
    """
    known = np.asarray(model.parts[0][1].kernels.inputs, np.float64)[:, : inputs.shape[1]]
    here = model.scale.apply(inputs)
    squares = (here**2).sum(1)[:, None] + (known**2).sum(1) - 2 * here @ known.T
    closest = np.sort(np.maximum(squares, 0.0), axis=1)[:, :NEIGHBOURS]
    return np.asarray(np.sqrt(closest / inputs.shape[1]).mean(1))


@dataclass(frozen=True, eq=False)
class Rated:
    """Passages as rated: ``values`` [shape=(m, d), 0-1], ``distance`` to rated performances [shape=(m,)]."""

    values: Floats
    distance: Floats


class ProfileModel:
    """A profile model from its folder.

    ``names``, ``poles`` (low, high): of the dimensions; ``about``: what ``profile.json`` says.
    ``file``: of the committee. The committee, and the network whose states it reads, are opened when they are
    first used, on the CPU. Raises `CheckpointError` (``bad-config``); later also `DatasetError` (those of
    `load_rating_model`).
    """

    def __init__(self, folder: str | PathLike[str], file: str = COMMITTEE) -> None:
        self.folder, self.file = Path(folder), file
        self.about: dict[str, Any] = _read(self.folder / "profile.json")
        self.names: tuple[str, ...] = tuple(each["name"] for each in self.about["dimensions"])
        self.poles = tuple((each["low"], each["high"]) for each in self.about["dimensions"])
        self.ranges = Ranges.from_dict(self.about["ranges"])
        self.percentiles = np.asarray(self.about["percentiles"], np.float64)  # (101, d)

    @cached_property
    def committee(self) -> RatingModel:
        """The regressors."""
        return load_rating_model(self.folder / self.file)

    @cached_property
    def explained(self) -> "ProfileModel":
        """The model that reasons are given for: this one, or that of features where this one reads a network.

        How far the two are apart on music outside training: ``about["explained"]``.
        """
        return ProfileModel(self.folder, EXPLAINED) if self.about.get("explained") else self

    @cached_property
    def _states(self) -> Callable[[Sequence[Score]], Floats | None]:
        if not (name := self.committee.about["network"]):
            return lambda _: None
        from musicbert.predict.model import from_pretrained
        from musicbert.predict.ratings import RatingPredictor

        return RatingPredictor(self.committee, from_pretrained(name, device="cpu")).states

    def open(self) -> "ProfileModel":
        """Open the committees and the network now, and return the model."""
        _ = self.committee, self._states, self.explained.committee
        return self

    def rate(self, performances: Sequence[Score]) -> Rated:
        """Rate performances or passages, each as a whole; raises `MidiError` (``no-notes``)."""
        clocked = [played(score) for score in performances]
        memo: dict[bytes, dict[str, float]] = {}  # versions of one performance have much in common
        inputs = np.stack([features(score, memo) for score in clocked])
        values = self.committee.predict(inputs, self._states(clocked))
        return Rated(np.clip(values, 0.0, 1.0), nearest(self.committee, inputs))

    def scores(self, performances: Sequence[Score]) -> Floats:
        """Values of performances, means over their passages by their length [shape=(m, d), 0-1].

        Raises `MidiError` (``no-notes``).
        """
        cut = [passages(score) or [None] for score in performances]
        pieces = [
            played(score, part) for score, parts in zip(performances, cut, strict=True) for part in parts
        ]
        values = self.rate(pieces).values if pieces else np.zeros((0, len(self.names)))
        length = [1.0 if part is None else part.end - part.start for parts in cut for part in parts]
        owner = np.repeat(np.arange(len(cut)), list(map(len, cut)))
        share = (np.arange(len(cut))[:, None] == owner) * np.maximum(length, 1e-3)
        return np.asarray(share @ values / share.sum(1, keepdims=True))

    def spread(self, distance: Floats) -> Floats:
        """How much wider than at the median distance ranges are [shape=(m,)]."""
        return np.asarray(spread_at(distance, self.about["distance"]["median"]))

    def percentile(self, values: Floats) -> Floats:
        """Per cent of the rated performances that have lower values [shape=(..., d), 0-100]."""
        steps = np.linspace(0.0, 100.0, len(self.percentiles))
        result = np.empty(np.shape(values))
        for column in range(len(self.names)):
            result[..., column] = np.interp(values[..., column], self.percentiles[:, column], steps)
        return result


def spread_at(distance: Floats, median: float) -> Floats:
    """Half of the spread grows with the distance."""
    return np.asarray(0.5 + 0.5 * distance / median)


def find_profile(name: str | PathLike[str] = SHIPPED) -> Path | None:
    """Folder of a profile model by its path or name, or None."""
    package = Path(__file__).resolve().parents[1]
    places = [Path(name)]
    if len(Path(name).parts) == 1:
        places += [
            root / name for root in (Path("checkpoints"), package.parent / "checkpoints", package / "shipped")
        ]
    return next((place for place in places if (place / "profile.json").is_file()), None)


def load_profile_model(name: str | PathLike[str] = SHIPPED) -> ProfileModel:
    """Open a profile model by its folder, or by the name of one that comes with the package.

    Raises `CheckpointError` (``not-found``; ``bad-config``).
    """
    folder = find_profile(name)
    if folder is None:
        raise CheckpointError(
            "not-found", "There is no profile model (a folder with profile.json)", path=name
        )
    return ProfileModel(folder)


def save_profile_model(
    folder: str | PathLike[str],
    model: RatingModel,
    about: Mapping[str, Any],
    explained: RatingModel | None = None,
) -> None:
    """Write a fitted committee, the one that reasons are given for, and what is known of them."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    model.save(Path(folder) / COMMITTEE)
    if explained is not None:
        explained.save(Path(folder) / EXPLAINED)
    write_text(
        Path(folder) / "profile.json",
        json.dumps({"format": FORMAT, **about}, ensure_ascii=False, indent=1) + "\n",
    )


def thinned(model: RatingModel, trees: int) -> RatingModel:
    """Return a committee with the first trees of each forest."""
    parts = [
        (columns, replace(committee, forests=tuple(_first(forest, trees) for forest in committee.forests)))
        for columns, committee in model.parts
    ]
    return replace(model, parts=tuple(parts))


def one_layer(model: RatingModel) -> RatingModel:
    """Return a committee with that layer of the states alone which it reads; its number goes to ``about``."""
    layers = {committee.layer for _, committee in model.parts}
    if layers == {-1} or len(layers) > 1:
        return model
    (layer,) = layers
    parts = tuple((columns, replace(committee, layer=0)) for columns, committee in model.parts)
    scales = model.state_scales[layer : layer + 1]
    return replace(model, about={**model.about, "layer": layer + 1}, state_scales=scales, parts=parts)


def _first(forest: Forest, trees: int) -> Forest:
    stop = int(forest.starts[trees]) if trees < len(forest.starts) else len(forest.feature)
    nodes = {name: getattr(forest, name)[:stop] for name in ("feature", "threshold", "right")}
    return replace(forest, starts=forest.starts[:trees], leaf_of=forest.leaf_of[:trees], **nodes)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            "bad-config", f"Not the settings of a profile model: {error}", path=path
        ) from error

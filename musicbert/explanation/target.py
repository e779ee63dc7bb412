"""`Target`: what is explained, as named numbers of performances; adapters for each kind of model.

Legend: ``m`` performances, ``d`` dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from musicbert.analysis.model import ProfileModel, find_profile, load_profile_model
from musicbert.analysis.passages import Passage, passages, played
from musicbert.analysis.profile import make_profile
from musicbert.annotation.dimensions import RATING_SETS
from musicbert.arrays import Floats
from musicbert.errors import CheckpointError, ConfigError, MidiError
from musicbert.evaluation.baselines.committee_file import load_rating_model
from musicbert.midi import Score

if TYPE_CHECKING:  # torch and scikit-learn take seconds to import, and the profile does without
    from musicbert.predict import Model
    from musicbert.predict.ratings import RatingPredictor
    from musicbert.predict.tagger import TaggerModel
    from musicbert.weights import Head

Poles = tuple[tuple[str, str], ...]


@runtime_checkable
class Target(Protocol):
    """What is explained.

    ``names``: of the dimensions; ``poles``: words for a low and a high value of each, empty where unknown.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        ...

    @property
    def poles(self) -> Poles:
        """Words for a low and for a high value of each dimension; ``("", "")`` where unknown."""
        ...

    def scores(self, performances: Sequence[Score]) -> Floats:
        """Values of performances [shape=(m, d), float64], each independent of the others."""
        ...


class CallableTarget:
    """Any function of performances.

    ``function``: performances -> values [shape=(m, d)]; ``names``, ``poles``: of the dimensions.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Score]], ArrayLike],
        names: Sequence[str],
        poles: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self.function, self.names = function, tuple(names)
        self.poles: Poles = _poles(self.names, poles)

    def scores(self, performances: Sequence[Score]) -> Floats:
        """See `Target`. Raises `ValueError` for values of another shape."""
        if not performances:
            return np.zeros((0, len(self.names)))
        values = np.asarray(self.function(performances), np.float64)
        if values.shape != (len(performances), len(self.names)):
            raise ValueError(
                f"the function gave an array of shape {values.shape} for {len(performances)} performances "
                f"and {len(self.names)} names"
            )
        return values


class CommitteeTarget:
    """A saved committee of ratings.

    ``written``: the written music of the performance that is explained, for committees that read it.
    """

    def __init__(self, predictor: "RatingPredictor", *, written: Score | None = None) -> None:
        self.predictor, self.written = predictor, written
        about = predictor.model.about
        self.names = tuple(map(str, about["classes"]))
        known = {
            dimension.name: (dimension.low, dimension.high)
            for study in RATING_SETS.values()
            for dimension in study.columns["full"]
        }
        self.poles: Poles = _poles(
            self.names, about.get("poles") or [known.get(name, ("", "")) for name in self.names]
        )

    def scores(self, performances: Sequence[Score]) -> Floats:
        """See `Target`."""
        if not performances:
            return np.zeros((0, len(self.names)))
        written = None if self.written is None else [self.written] * len(performances)
        return self.predictor.rate(performances, scores=written).values


class ProfileTarget:
    """The profile of `musicbert analyse`: dimensions that are shown, for music that has a profile.

    Where the profile reads states of a network, this is its committee of features alone; ``apart``: root mean
    square of their difference on music outside training, by dimension (0-1; empty where they are the same).
    """

    def __init__(self, model: ProfileModel) -> None:
        self.model = model = model.explained
        self._shown = [k for k, each in enumerate(model.about["dimensions"]) if each["shown"]]
        self.names = tuple(model.names[k] for k in self._shown)
        self.poles: Poles = tuple(model.poles[k] for k in self._shown)
        self.apart: dict[str, float] = dict(model.about.get("explained") or {})

    def scores(self, performances: Sequence[Score]) -> Floats:
        """See `Target`; each performance is rated as one passage."""
        if not performances:
            return np.zeros((0, len(self.names)))
        return np.asarray(self.model.rate(performances).values[:, self._shown])

    def passages(self, score: Score) -> list[tuple[float, Score]]:
        """Passages whose mean is the profile, as music of their own, with their weights (sum 1).

        Raises `MidiError` (``no-profile``: why there is none).
        """
        return [(weight, played(score, part)) for weight, part in self.rated(score)]

    def rated(self, score: Score) -> list[tuple[float, Passage]]:
        """Passages whose mean is the profile, with their weights (sum 1).

        Raises `MidiError` (``no-profile``: why there is none).
        """
        profile, reasons = make_profile(score, self.model)
        if profile is None:
            raise MidiError(
                "no-profile",
                " ".join(reason.text for reason in reasons),
                hint="musicbert analyse says what else is known of it; --model explains another model",
            )
        rated = {(part.start_tick, part.notes): part for part in profile.parts if part.values is not None}
        found = []
        for part in passages(score):
            start = int(score.onset[part.notes].min())
            if (start, len(part.notes)) in rated:
                found.append((part.end - part.start, part))
        total = sum(weight for weight, _ in found)
        return [(weight / total, part) for weight, part in found]


class HeadTarget:
    """The scores of one sentence head of a MusicBERT, over all windows of a piece.

    ``head``: its name; needed where there are several.
    Raises `CheckpointError` (``no-head``: none, several, or not this one).
    """

    def __init__(self, model: "Model", head: str | None = None) -> None:
        heads = model.heads
        if head is None and len(heads) == 1:
            head = next(iter(heads))
        if head not in heads:
            raise CheckpointError(
                "no-head",
                f"It has no head {head!r}"
                if head
                else f"It has {len(heads) or 'no'} heads, of which one is explained",
                hint=f"choose one: {', '.join(heads)}"
                if heads
                else "fine-tune it first: see docs/finetuning.md",
            )
        self.model, self.head = model, head
        self.names, self.poles = _of_head(heads[head])

    def scores(self, performances: Sequence[Score]) -> Floats:
        """See `Target`."""
        if not performances:
            return np.zeros((0, len(self.names)))
        results = self.model.predict(list(performances), heads=[self.head])
        return np.stack([result[self.head].scores for result in results]).astype(np.float64)


class TaggerTarget:
    """What `musicbert finetune` trained on labels of pieces.

    Raises `CheckpointError` (``other-model``: it labels notes).
    """

    def __init__(self, model: "TaggerModel") -> None:
        if model.level == "note":
            raise CheckpointError(
                "other-model",
                f"It labels notes ({model.label}), and reasons are given for labels of pieces",
                hint="take a model of pieces, or a function of your own (CallableTarget)",
            )
        self.model = model
        names, self.poles = _of_head(model.head)
        self.names = tuple(model.classes) or names

    def scores(self, performances: Sequence[Score]) -> Floats:
        """See `Target`."""
        if not performances:
            return np.zeros((0, len(self.names)))
        return np.stack([each.scores for each in self.model.predict(performances)]).astype(np.float64)


def open_target(
    model: Any = None,
    *,
    head: str | None = None,
    written: Score | None = None,
    network: Any = None,
    device: str | None = None,
) -> Target:
    """Return a model as a `Target`.

    ``model``: None for the profile of `musicbert analyse`; a `Target`, a `ProfileModel`, a `RatingPredictor`,
    a `Model`, a `TaggerModel`; or a path: the folder of a profile, a saved committee (``.npz``), a folder
    that `musicbert finetune` wrote, a checkpoint or its name. ``head``: of a `Model` with several heads;
    ``written``: the written music, for committees; ``network``: whose states a committee reads (default: as
    the committee names it).
    Raises `CheckpointError` and `DatasetError` (those of the loaders and of the adapters), and `ConfigError`
    (``unused-option``: an argument that this kind of model does not use).
    """
    given = {"head": head, "written": written, "network": network, "device": device}
    if model is None or (isinstance(model, str | PathLike) and find_profile(model) is not None):
        model = load_profile_model() if model is None else load_profile_model(model)
    if isinstance(model, ProfileModel):
        _refuse(given, "the profile reads the performance alone")
        return ProfileTarget(model)
    if isinstance(model, Target):
        _refuse(given, "it is opened, and reads the performance alone")
        return model
    from musicbert.predict import Model, from_pretrained
    from musicbert.predict.ratings import RatingPredictor
    from musicbert.predict.tagger import TaggerModel, load_tagger_model
    from musicbert.weights.tagger_folder import is_tagger_folder

    if isinstance(model, str | PathLike):
        path = fspath(model)
        if path.endswith(".npz"):
            model = _open_committee(path, network, device)
            given["network"] = given["device"] = None
        else:
            load = load_tagger_model if is_tagger_folder(path) else from_pretrained
            model = load(path, device=device)
            given["device"] = None
    if isinstance(model, RatingPredictor):
        if "score" in model.model.about["inputs"]:
            given["written"] = None
        _refuse(given, "the committee reads no such thing")
        return CommitteeTarget(model, written=written)
    if isinstance(model, Model):
        given["head"] = None
        _refuse(given, "a MusicBERT reads the performance alone, where it is")
        return HeadTarget(model, head)
    _refuse(given, "this model has one head and reads the performance alone, where it is")
    if isinstance(model, TaggerModel):
        return TaggerTarget(model)
    raise CheckpointError(
        "no-head",
        f"{type(model).__name__} has no outputs to explain",
        hint="fine-tune it: see docs/finetuning.md",
    )


def _open_committee(path: str, network: Any, device: str | None) -> "RatingPredictor":
    """Open a committee with its network on a device."""
    from musicbert.predict.model import from_pretrained
    from musicbert.predict.ratings import RatingPredictor

    name = load_rating_model(path).about["network"]
    if not name and (network is not None or device is not None):
        raise ConfigError("unused-option", "network, device: the committee reads no network", path=path)
    if device is not None:
        network = from_pretrained(network or name, device=device)
    return RatingPredictor(path, network)


def _refuse(given: Mapping[str, Any], why: str) -> None:
    """Refuse what was given and would do nothing."""
    if unused := [name for name, value in given.items() if value is not None]:
        raise ConfigError("unused-option", f"{', '.join(unused)}: not used: {why}", hint="leave it out")


def _of_head(head: "Head") -> tuple[tuple[str, ...], Poles]:
    return head.all_names, _poles(head.all_names, head.poles or None)


def _poles(names: Sequence[str], poles: Sequence[Sequence[str]] | None) -> Poles:
    pairs = tuple((str(low), str(high)) for low, high in poles or [("", "")] * len(names))
    if len(pairs) != len(names):
        raise ValueError(f"{len(pairs)} pairs of poles for {len(names)} names")
    return pairs

"""Answers of a model of one's own: `musicbert finetune`, a checkpoint with heads, a saved committee."""

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from musicbert.analysis.profile import Dimension, Profile
from musicbert.annotation.dimensions import RATING_SETS
from musicbert.errors import CheckpointError
from musicbert.midi.score import Score

if TYPE_CHECKING:
    from musicbert.predict.prediction import TagResult

#: how far a range of a known error reaches, in root mean square errors: 80 % of a normal distribution
WITHIN = {0.8: 1.2816, 0.9: 1.6449}


def own_answers(
    score: Score, model: str | PathLike[str], *, coverage: float = 0.8, device: str | None = None
) -> tuple[Profile | None, dict[str, dict[str, float]]]:
    """Return the ratings of a piece as a profile, and other outputs by head and name.

    Ratings get the names, poles, scale and training range that the model knows. Of labels of notes the share
    of the notes is given that has each, and the mean of ratings of notes.
    Raises `CheckpointError` (``no-head``; those of the loaders) and `DatasetError`.
    """
    path = fspath(model)
    if path.endswith(".npz"):
        return _committee(score, path, coverage), {}
    from musicbert.weights.tagger_folder import is_tagger_folder

    if is_tagger_folder(path):
        from musicbert.predict.tagger import load_tagger_model

        tagger = load_tagger_model(path, device=device)
        results = tagger.predict_labels([score])[0]
        if tagger.level == "note":
            return _of_notes(path, tagger.heads, results)
        result = results[tagger.label]
        if tagger.kind == "regression":
            return _profile(path, {tagger.label: (tagger.head, result.scores.tolist())}), {}
        return None, {tagger.label: dict(zip(tagger.head.all_names, result.scores.tolist(), strict=True))}
    from musicbert.predict.model import from_pretrained

    network: Any = from_pretrained(model, device=device)
    if not network.heads:
        raise CheckpointError(
            "no-head",
            "It is only pre-trained and answers nothing",
            path=path,
            hint="fine-tune it: docs/finetuning.md",
        )
    ratings, outputs = {}, {}
    for name, prediction in network.predict(score).items():
        if prediction.head.kind == "regression" or prediction.head.scale or prediction.head.poles:
            ratings[name] = (prediction.head, prediction.scores.tolist())
        else:
            outputs[name] = prediction.as_dict()
    return (_profile(path, ratings) if ratings else None), outputs


def _of_notes(
    path: str, heads: dict[str, Any], results: dict[str, "TagResult"]
) -> tuple[Profile | None, dict[str, dict[str, float]]]:
    """Labels of notes over a piece: shares of the notes that the encoding keeps, means of ratings."""
    outputs, ratings = {}, {}
    for label, result in results.items():
        scores, head = np.asarray(result.scores)[result.known], heads[label]
        if result.kind == "regression":
            ratings[label] = (head, scores.mean(0).tolist())
            continue
        has = scores > 0.5 if result.kind == "multilabel" else np.eye(head.outputs)[scores.argmax(1)]
        outputs[f"{label} (share of {len(scores):,} notes)"] = dict(
            zip(head.all_names, has.mean(0).tolist(), strict=True)
        )
    if not ratings:
        return None, outputs
    return _profile(path, ratings, "Ratings are means over the notes."), outputs


def _profile(path: str, heads: dict[str, tuple[Any, list[float]]], *more: str) -> Profile:
    """Dimensions of heads that rate; ``more``: what else is to be said."""
    dimensions = []
    for label, (head, scores) in heads.items():
        for k, (name, value) in enumerate(zip(head.all_names, scores, strict=True)):
            low, high = head.poles[k] if head.poles else ("", "")
            trained = head.ranges[k] if head.ranges else None
            rating = head.rating(value) if head.scale else None
            area = label if len(heads) > 1 else ""
            dimensions.append(
                Dimension(
                    name=name,
                    area=area,
                    low=low or name,
                    high=high,
                    value=value,
                    rating=rating,
                    trained=trained,
                    scale=head.scale or None,
                )
            )
    scales = [head.scale for head, _ in heads.values()]
    scale = tuple(scales[0][:2]) if scales and scales[0] else None
    notes = (
        *more,
        "No range of the ratings is known: the model does not say how far it errs on music it does not know.",
    )
    return Profile(path, tuple(dimensions), scale=scale, meaning="", notes=notes)


def _committee(score: Score, path: str, coverage: float) -> Profile:
    """Dimensions of a saved committee, with ranges from its errors on held-out music where it knows them."""
    from musicbert.predict.ratings import RatingPredictor

    predictor = RatingPredictor(path)
    rated = predictor.rate([score])
    about = {each["name"]: each for each in predictor.model.about.get("dimensions") or ()}
    known = {each.name: each for study in RATING_SETS.values() for each in study.columns["full"]}
    dimensions = []
    for name, value, error in zip(
        rated.dimensions, rated.values[0].tolist(), rated.error.tolist(), strict=True
    ):
        if name in about:
            low, high = str(about[name]["low"]), str(about[name]["high"])
        else:
            low, high = (known[name].low, known[name].high) if name in known else (name, "")
        interval = None
        if np.isfinite(error):
            reach = WITHIN[coverage] * error
            interval = (max(value - reach, 0.0), min(value + reach, 1.0))
        dimensions.append(
            Dimension(
                name=name, area="", low=low, high=high, value=value, interval=interval, coverage=coverage
            )
        )
    notes = ["Ranges are from the root mean square error on held-out music, as if errors were normal."]
    if not np.isfinite(rated.error).any():
        notes = ["No range is known: the committee does not say how far it errs on music it does not know."]
    return Profile(path, tuple(dimensions), meaning="", notes=tuple(notes))

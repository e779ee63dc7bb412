"""A committee fitted on all rated performances, with all that a prediction needs, in one file of arrays.

The file is an ``.npz`` without pickled objects: arrays by the path of their field, and JSON text under
``about``. Nothing in it is executed. A prediction is equal to that of the model that was saved.
"""

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, fields, is_dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.committee import Committee, Forest, bar_means, fit_committee, leaves
from musicbert.evaluation.baselines.regressors import Examples, Fold, KernelSum, Scale

FORMAT = 1
#: arrays that follow from others: leaves and deviations of the training items
_COMPUTED = ("/leaf_of", "/levels/1/inputs")


@dataclass(frozen=True, eq=False)
class RatingModel:
    """A fitted row ``committee...`` (see `musicbert.evaluation.baselines.models`).

    ``about``, JSON-ready: ``row``, ``classes`` (names of dimensions), ``inputs``, ``network`` (name of the
    states, or ""), and what the writer adds. ``error`` [shape=(d,)]: root mean square error on
    music that training did not hold, NaN where unknown. ``parts``: dimensions with the same training items,
    with their committee.
    """

    about: Mapping[str, Any]
    scale: Scale
    state_scales: tuple[Scale, ...]
    parts: tuple[tuple[tuple[int, ...], Committee], ...]
    error: Floats

    def predict(
        self, inputs: Floats, states: Floats | None = None, bars: NDArray[Any] | None = None
    ) -> Floats:
        """Predict items [shape=(m, d), float64; NaN for dimensions without a label in training].

        ``inputs``: features and further inputs, NaN where unknown [shape=(m, k)]; ``states`` of all layers
        [shape=(L, m, j)]; ``bars``: what is played, where several items play the same.
        """
        features = self.scale.apply(inputs)
        if states is not None:
            states = np.stack([s.apply(x) for s, x in zip(self.state_scales, states, strict=True)])
        result = np.full((len(features), len(self.error)), np.nan)
        for columns, committee in self.parts:
            result[:, columns] = committee.predict(features, states, bars)
        return result

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, whole or not at all."""
        arrays = {"about": np.array(json.dumps({**self.about, "format": FORMAT})), "error": self.error}
        parts = {str(k): committee for k, (_, committee) in enumerate(self.parts)}
        columns = {str(k): np.array(columns) for k, (columns, _) in enumerate(self.parts)}
        for name, value in (
            ("scale", self.scale), ("states", self.state_scales), ("columns", columns), ("parts", parts)
        ):  # fmt: skip
            arrays |= {k: v for k, v in _flat(name, value).items() if not k.endswith(_COMPUTED)}
        write_npz(path, arrays)


def fit_rating_model(
    row: str,
    examples: Examples,
    *,
    seed: int = 0,
    error: Floats | None = None,
    memo: MutableMapping[str, Any] | None = None,
    **about: Any,
) -> RatingModel:
    """Fit a row ``committee...`` on all examples.

    ``seed``: of the trees; ``error``: see `RatingModel`; ``memo``: of fits of other rows on the same examples
    (`Fold`); ``about``: JSON-ready, for its ``about``.
    Raises `ValueError` (for another model, or unknown inputs).
    """
    name, more, network, levels = examples.row(row)
    if name != "committee" or examples.kind != "regression":
        raise ValueError(f"only committees of ratings are saved, not {row!r}")
    inputs = examples.inputs(more)
    scale = Scale.fit(inputs)
    scales = tuple(map(Scale.fit, examples.states[network])) if network else ()
    states = (
        np.stack([s.apply(x) for s, x in zip(scales, examples.states[network], strict=True)])
        if network
        else None
    )
    known, parts = np.isfinite(examples.target), []
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    fold = Fold(
        scale.apply(inputs), scale.apply(inputs), examples.groups, seed, 0, examples.means, examples.raters,
        states=None if states is None else (states, states),
        bars=(examples.identities["bars"],) * 2 if levels else None, memo={} if memo is None else memo,
    )  # fmt: skip
    for k, rows in enumerate(patterns.T):
        columns = np.flatnonzero(member == k)
        if rows.any():
            labels = examples.target[np.ix_(rows, columns)]
            parts.append((tuple(columns.tolist()), fit_committee(fold.part(rows, columns), labels)))
    content = {"row": row, "network": network, "inputs": more, "classes": list(examples.classes), **about}
    error = np.full(len(examples.classes), np.nan) if error is None else error
    return RatingModel(content, scale, scales, tuple(parts), error)


def load_rating_model(path: str | PathLike[str]) -> RatingModel:
    """Read a file of `RatingModel.save`.

    Raises `DatasetError` (``unreadable``: not such a file; ``not-found``).
    """
    try:
        arrays = read_npz(path)
        about = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']}, not {FORMAT}")
        tree = _nested(arrays)
        width = len(tree["scale"]["middle"])
        parts = [_committee(tree["parts"][k], width) for k in sorted(tree["parts"], key=int)]
        columns = [tuple(tree["columns"][k].tolist()) for k in sorted(tree["columns"], key=int)]
        scales = [Scale(**values) for _, values in sorted(tree.get("states", {}).items())]
        return RatingModel(
            about,
            Scale(**tree["scale"]),
            tuple(scales),
            tuple(zip(columns, parts, strict=True)),
            arrays["error"],
        )
    except FileNotFoundError as error:
        raise DatasetError("not-found", "There is no such file", path=path) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError("unreadable", f"Not a saved committee: {error}", path=path) from error


def _flat(name: str, value: Any) -> dict[str, NDArray[Any]]:
    """Arrays by the path of their field."""
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, tuple):
        value = {str(k): each for k, each in enumerate(value)}
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {k: v for key, each in value.items() for k, v in _flat(f"{name}/{key}", each).items()}
    return {name: np.asarray(value)}


def _nested(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = array
    return tree


def _committee(tree: Mapping[str, Any], width: int) -> Committee:
    kernels, bars = _kernel_sum(tree["kernels"]), tree.get("bars")
    levels = _in_order(tree.get("levels", {}))
    if levels:
        inputs = kernels.inputs.astype(np.float64)
        levels[1]["inputs"] = (inputs - bar_means(inputs, bars)).astype(np.float32)
    forests = []
    for arrays in _in_order(tree["forests"]):
        forest = Forest(**arrays, leaf_of=np.zeros((0, 0), np.uint16))
        forests.append(replace(forest, leaf_of=leaves(forest, kernels.inputs[:, :width])))
    return Committee(
        kernels=kernels,
        forests=tuple(forests),
        layer=int(tree["layer"]),
        share=float(tree["share"]),
        levels=tuple(map(_kernel_sum, levels)),
        bars=bars,
    )


def _kernel_sum(tree: Mapping[str, Any]) -> KernelSum:
    return KernelSum(**{**tree, "width": float(tree["width"])})


def _in_order(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [tree[key] for key in sorted(tree, key=int)]

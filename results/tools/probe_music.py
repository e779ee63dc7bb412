r"""Probe a frozen network on whole pieces, beside random weights and hand-made features, alone and averaged.

Example: python results/tools/probe_music.py topmagd_data_bin --output results/probes/genre

DATA is a labelled set of pieces: shards (``scripts/prepare_smc_benchmark.sh``, ``musicbert build``) or a
sentence data-bin with all its folds (``scripts/gen_genre.py --windows 4 --test-windows 4``). A piece is the
mean and the deviation over its notes of the states in the middle of the network, over all of its windows.
Probes are logistic regressions, one a class. ``... and features`` averages a probe with the ensemble of the
features; its weight is the one of 0, 1/4, ... 1 with the best score in three inner folds by groups.

What is predicted is kept without labels (``predictions.npz``); ``--again`` takes these from DATA and scores
it. Brackets: 95 % bootstrap intervals over groups; differences are paired.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from program import ROOT, make_parser, report_errors
from sklearn.model_selection import GroupKFold

from musicbert.arrays import Floats, Ints
from musicbert.atomic import read_json, write_text
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.labelled import SentenceBin, Shards, open_folds
from musicbert.corpus.labelled.token_bin import SPLIT
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.benchmark import PIECE_MODELS, features_of
from musicbert.evaluation.baselines.models import fit_outputs
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.baselines.sentences import feature_scores, logistic_scores, window_features
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.evaluation.predictions import (
    Predictions,
    kept,
    load_predictions,
    outputs_of,
    probabilities,
    save_predictions,
)  # fmt: skip
from musicbert.evaluation.reports.seen import parts_of, read_seen
from musicbert.evaluation.rows import draw_scores, metrics_of
from musicbert.evaluation.tables import dump, interval_cell, markdown_table, number_cell
from musicbert.provenance import provenance

__all__ = ["Music", "labelled", "markdown", "probe", "read_music", "score", "signed_cell", "vectors"]

METRICS = {"multilabel": "roc_auc_macro", "classes": "accuracy"}
TITLES = {"roc_auc_macro": "macro ROC-AUC", "accuracy": "accuracy, pieces"}
PROBES = ("pre-trained", "random weights")
FEATURES, PARTNER = "features: ", "features: ensemble"
BLENDS = {f"{name} and features": name for name in PROBES}
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: a row, and the one that is subtracted
DIFFERENCES = (
    PROBES,
    ("pre-trained", PARTNER),
    *((name, PARTNER) for name in BLENDS),
    tuple(BLENDS),
)
#: windows that are embedded between two savings of the cache
_CHUNK = 128


class Music:
    """Pieces of a labelled set: windows, features, labels, and which are learned from and tested by round."""

    def __init__(self, about: Predictions, windows: list[list[Ints]], features: Floats | None) -> None:
        self.about, self.windows = about, windows  # labels, with outputs of zero; rows of notes
        self.features = np.zeros((len(about), 0)) if features is None else np.nan_to_num(features)
        self.rounds: list[tuple[Ints, Ints]] = []


def read_music(path: Path, split: str = "clean", *, features: bool = True) -> Music:
    """Read a labelled set of pieces with one label; ``split``: of shards, by folds or parts."""
    folds = open_folds(path)
    first = next(iter(folds.values()))
    if isinstance(first, Shards):
        return _from_shards(first, split, features)
    if not all(isinstance(data, SentenceBin) for data in folds.values()):
        raise DatasetError("wrong-label", "these are no labels of pieces", path=path)
    return _from_bins(path, folds, features)


def _from_shards(data: Shards, split: str, features: bool) -> Music:
    places = data.split(split)
    chosen = [k for k, name in enumerate(data.names) if name in places]
    if not chosen:
        known = ", ".join(data.split_names)
        raise DatasetError("unknown-split", f"no piece is in {split!r}; there are {known}", path=data.path)
    column = next(iter(data.labels.values()))
    names, target = [data.names[k] for k in chosen], np.asarray(data.label(column.name))[chosen]
    groups = [data.groups[name] for name in names]
    about = _blank(column.name, column.kind, column.classes, names, groups, target)
    found = features_of(data) if features else None
    table = None if found is None else np.stack([found[name] for name in names])
    music = Music(about, [[data.rows(k)] for k in chosen], table)
    of = np.array([places[name] for name in names])
    numbers = sorted(set(of.tolist()))
    if all(place.isdecimal() for place in numbers):  # fold k is tested, fold k + 1 would select
        for at, fold in enumerate(numbers):
            out = (of == fold) | (of == numbers[(at + 1) % len(numbers)])
            music.rounds.append((np.flatnonzero(~out), np.flatnonzero(of == fold)))
    else:
        music.rounds.append((np.flatnonzero(of == "train"), np.flatnonzero(of == "test")))
    return music


def _from_bins(path: Path, folds: Mapping[str, Any], features: bool) -> Music:
    """Every piece is tested in one fold; its windows are those of that test part."""
    ledger = path / "ledger.jsonl"
    songs = {e.name: e.group for e in read_ledger(ledger) if e.group} if ledger.is_file() else {}
    names: list[str] = []
    windows, target, table, learned = [], [], [], []
    known: dict[bytes, Floats] = {}
    for data in folds.values():
        parts = np.array(list(data.split(SPLIT).values()))
        ids = np.array(data.ids or data.names)
        learned.append((ids[parts == "train"], ids[parts == "test"]))
        tested = np.flatnonzero(parts == "test")
        described = (
            window_features(data.path, "test", np.arange(len(tested)), known=known) if features else None
        )
        for name in dict.fromkeys(ids[tested].tolist()):
            here = np.flatnonzero(ids[tested] == name)
            names.append(name)
            windows.append([data.rows(int(tested[k])) for k in here])
            target.append(data.hot[tested[here[0]]].astype(np.float64))
            if described is not None:
                table.append(described[here].mean(axis=0))
    column = next(iter(folds.values())).labels["label"]
    at = {name: k for k, name in enumerate(names)}
    if lost := sorted({name for train, _ in learned for name in train.tolist()} - set(at)):
        raise DatasetError("no-fold", f"{lost[0]} is tested in no fold", path=path)
    labels = np.array(target) if column.kind == "multilabel" else np.argmax(target, axis=1)
    about = _blank(
        "label", column.kind, column.classes, names, [songs.get(name, name) for name in names], labels
    )
    music = Music(about, windows, np.array(table) if features else None)
    for parts in learned:
        train, test = (np.unique([at[name] for name in part.tolist()]) for part in parts)
        music.rounds.append((train, test))
    return music


def _blank(label: str, kind: Any, classes: Any, names: Any, groups: Any, target: Any) -> Predictions:
    outputs, texts = np.zeros((len(names), len(classes))), [np.array(x, np.str_) for x in (names, groups)]
    return Predictions(label, "sequence", kind, tuple(classes), *texts, target, outputs)


def vectors(model: Any, music: Music, cache: Path | None = None) -> Floats:
    """Mean and deviation of the middle states of each piece over its windows [shape=(n, 2D)].

    ``cache``: file of vectors by window, read and written.
    """
    known: dict[str, Floats] = read_npz(cache) if cache is not None and cache.is_file() else {}
    keys = [[sha256(rows.tobytes()).hexdigest() for rows in each] for each in music.windows]
    new = {
        key: rows
        for names, each in zip(keys, music.windows, strict=True)
        for key, rows in zip(names, each, strict=True)
        if key not in known
    }
    order = sorted(new, key=lambda key: len(new[key]))
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        middle = (model.config.layers + 1) // 2
        found = model.moments([new[key] for key in chunk], layer=middle)[:, 0]
        known |= dict(zip(chunk, found.astype(np.float32), strict=True))
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_npz(cache, known)
            print(f"{cache.stem}: {start + len(chunk)} of {len(order)} windows", file=sys.stderr, flush=True)
    return np.stack([np.mean([known[key] for key in each], axis=0, dtype=np.float64) for each in keys])


def probe(
    music: Music, states: Mapping[str, Floats]
) -> tuple[dict[str, Predictions], dict[str, list[float]]]:
    """Learn and test in every round; ``states``: vectors by the name of a probe (`PROBES`).

    Returns the predictions by row, and the weight of the probe in each round by blend.
    """
    about, tested = music.about, np.concatenate([test for _, test in music.rounds])
    chances: dict[str, list[Floats]] = {}
    weights: dict[str, list[float]] = {name: [] for name in BLENDS}
    for train, test in music.rounds:
        here = _chances(music, states, train, test)
        inner: list[dict[str, Floats]] = []
        order = []
        for first, second in GroupKFold(3).split(train, groups=about.groups[train]):
            inner.append(_chances(music, states, train[first], train[second], only=("ensemble",)))
            order.append(train[second])
        outside = {name: np.concatenate([part[name] for part in inner]) for name in inner[0]}
        for name, source in BLENDS.items():
            score = partial(_score, about, np.concatenate(order), outside[PARTNER], outside[source])
            weights[name].append(max(WEIGHTS, key=score))  # the smallest of the best
            here[name] = _mixed(here[PARTNER], here[source], weights[name][-1])
        for name, chance in here.items():
            chances.setdefault(name, []).append(chance)
    return {
        name: replace(_part(about, tested), outputs=outputs_of(np.concatenate(parts), about.kind))
        for name, parts in chances.items()
    }, weights


def _mixed(one: Floats, other: Floats, weight: float) -> Floats:
    return np.asarray((1 - weight) * one + weight * other)


def _score(about: Predictions, rows: Ints, one: Floats, other: Floats, weight: float) -> float:
    outputs = outputs_of(_mixed(one, other, weight), about.kind)
    return metrics_of(replace(_part(about, rows), outputs=outputs))[METRICS[about.kind]]


def _part(about: Predictions, rows: Ints) -> Predictions:
    names = ("ids", "groups", "target", "outputs")
    return replace(about, **{name: getattr(about, name)[rows] for name in names})


def _chances(
    music: Music, states: Mapping[str, Floats], train: Ints, test: Ints, only: tuple[str, ...] = ()
) -> dict[str, Floats]:
    """Probabilities of the classes of the tested pieces by row [shape=(m, C)]."""
    about = music.about
    hot = about.target if about.kind == "multilabel" else np.eye(len(about.classes))[about.target]
    labels, found = hot[train].astype(np.int64), {}
    if about.kind == "multilabel":
        found = feature_scores(music.features[train], labels, music.features[test])
    else:
        examples = Examples(
            about.label, about.kind, about.classes, music.features, about.target, about.groups, about.ids
        )
        for name in only or PIECE_MODELS:
            outputs = fit_outputs(name, examples, train, test)
            found[name.replace("_", " ")] = probabilities(outputs, "classes")
    rows = {FEATURES + name: chance for name, chance in found.items() if not only or name in only}
    for name, vector in states.items():
        chance = logistic_scores(vector[train], labels, vector[test])
        rows[name] = chance if about.kind == "multilabel" else chance / chance.sum(axis=1, keepdims=True)
    return rows


def score(found: Mapping[str, Predictions], seen: set[str], n_resamples: int = 1000) -> dict[str, Any]:
    """Score the rows and their differences over all pieces, seen and unseen ones."""
    first = next(iter(found.values()))
    metric = METRICS[first.kind]
    result: dict[str, Any] = {"metric": metric, "parts": {}}
    apart = {name: {"all": one, **parts_of(one, seen)} for name, one in found.items()}
    for part, one in next(iter(apart.values())).items():
        groups = len(np.unique(one.groups))
        weights = resample(groups, n_resamples=n_resamples, seed=0)
        draws = {name: draw_scores(each[part], weights)[metric] for name, each in apart.items()}
        result["parts"][part] = {
            "pieces": len(one),
            "groups": groups,
            "rows": {name: interval(values).as_dict() for name, values in draws.items()},
            "differences": [
                {"row": row, "minus": minus} | interval(draws[row] - draws[minus]).as_dict()
                for row, minus in DIFFERENCES
            ],
        }
        if len(one) == len(first) and part != "all":
            del result["parts"][part]  # nothing was seen
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """Return a result as tables, a column for each part of the pieces."""
    parts = result["parts"]
    heads = [f"{name} ({part['pieces']} pieces, {part['groups']} groups)" for name, part in parts.items()]
    every = parts["all"]
    rows = [[name, *(interval_cell(p["rows"][name]) for p in parts.values())] for name in every["rows"]]
    shown = [
        [f"{each['row']} minus {each['minus']}", *(signed_cell(p["differences"][k]) for p in parts.values())]
        for k, each in enumerate(every["differences"])
    ]
    lines = [f"# {result['title']}", "", result["about"], "", f"{TITLES[result['metric']]}:", ""]
    lines += [*markdown_table(["row", *heads], rows), "", "Differences on the same resamples:", ""]
    return "\n".join([*lines, *markdown_table(["difference", *heads], shown), ""])


def signed_cell(entry: Mapping[str, float | None]) -> str:
    """Return a difference with its interval, a dash for none."""
    return "–" if entry["value"] is None else "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**entry)


def main() -> int:
    """Parse the arguments, probe and report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("data", type=Path, help="labelled set of pieces")
    parser.add_argument("--model", default="musicbert-mini", help="network")
    parser.add_argument("--split", default="clean", help="split of shards")
    parser.add_argument("--seen", help="list of seen pieces (default: results/overlaps.json:MODEL)")
    parser.add_argument("--cache", type=Path, help="folder for vectors of windows, to continue after a stop")
    parser.add_argument("--again", action="store_true", help="score the kept predictions")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    return report_errors(lambda: _run(given))


def _run(given: argparse.Namespace) -> str:
    music = read_music(given.data, given.split, features=not given.again)
    path = given.output / "predictions.npz"
    if given.again:
        before = read_json(given.output / "probe.json")
        weights, learned = before["weights"], before["provenance"]
    else:
        found, weights = probe(music, _states(given, music))
        given.output.mkdir(parents=True, exist_ok=True)
        half = {name: kept(part) for name, part in found.items()}
        save_predictions(path, {n: replace(p, outputs=p.outputs.astype(np.float16)) for n, p in half.items()})
        learned = provenance(sys.argv, inputs={"predictions": path}, seed=0)
    seen = read_seen(given.seen or f"{ROOT / 'results' / 'overlaps.json'}:{given.model}")
    result = score(labelled(load_predictions(path), music.about.ids.tolist(), music.about.target), seen)
    shown = ", ".join(f"{name}: {'/'.join(number_cell(w, 2) for w in ws)}" for name, ws in weights.items())
    result |= {
        "model": given.model,
        "title": f"{given.output.absolute().name.capitalize()} of whole pieces by a frozen {given.model}",
        "about": f"Made by `results/tools/probe_music.py`. Weight of the probe by fold: {shown}.",
        "weights": weights,
        "provenance": learned,
    }
    write_text(given.output / "probe.json", dump(result))
    write_text(given.output / "probe.md", markdown(result))
    return markdown(result)


def labelled(
    found: Mapping[str, Predictions], names: Sequence[str], target: NDArray[Any]
) -> dict[str, Predictions]:
    """Return kept predictions with the labels of their pieces, of which `names` and `target` say them."""
    at = {name: k for k, name in enumerate(names)}
    result = {}
    for row, part in found.items():
        if lost := set(part.ids.tolist()) - set(at):
            raise DatasetError("no-match", f"the data lack {min(lost)}")
        rows = [at[item] for item in part.ids.tolist()]
        result[row] = replace(part, target=target[rows], outputs=part.outputs.astype(np.float64))
    return result


def _states(given: argparse.Namespace, music: Music) -> dict[str, Floats]:
    import musicbert
    from musicbert.predict.sentences.databin import random_twin

    states = {}
    model = musicbert.from_pretrained(given.model, device="cpu")
    for name in PROBES:
        if name == "random weights":
            model.module.load_state_dict(random_twin(model), strict=False)
        digest = sha256(b"".join(v.numpy().tobytes() for v in model.module.state_dict().values())).hexdigest()
        cache = None if given.cache is None else given.cache / f"{given.model}-{digest[:16]}.npz"
        states[name] = vectors(model, music, cache)
    return states


if __name__ == "__main__":
    sys.exit(main())

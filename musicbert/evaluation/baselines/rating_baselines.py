"""Baselines of a rating data set on its folds: label map and MIDI files in, one result file out.

The result holds the scores of each row (a baseline, or the average of several) on each split, the sizes of
the folds and how many test segments share their music with training. Baselines train on everything outside
the test (on the training part alone where the validation part of a fold is published with the split), select
inside it, and never see the test.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from musicbert.annotation.files import meta_path
from musicbert.annotation.folds import leaks
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.splits import Folds, make_folds
from musicbert.atomic import write_text
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.corpus.labelled.pieces import Kind
from musicbert.corpus.splits.fold_files import read_databin_folds, read_databin_groups, read_folds
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.committee_file import fit_rating_model
from musicbert.evaluation.baselines.models import ENSEMBLES, fit_predict
from musicbert.evaluation.baselines.rated_examples import (
    AGAINST_SCORE,
    Description,
    feature_table,
    load_examples,
    rater_means,
)
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.metrics.bootstrap import interval
from musicbert.evaluation.predictions import PERFORMER, RATINGS, Predictions, pool, save_predictions
from musicbert.evaluation.rows import Row, fair_groups, read_rows, score_row
from musicbert.evaluation.tables import baseline_tables, dump
from musicbert.features import FEATURES
from musicbert.features.against_score import SCORE_FEATURES
from musicbert.provenance import provenance
from musicbert.reuse import hash_of, made_from, read_record

#: look-ups of names, weakest first: who plays; which bars; both
LOOKUPS = ("lookup:performer", "lookup:bars", "lookup:performer+bars")
#: kind of label -> rows of features alone
ROWS: dict[Kind, tuple[str, ...]] = {
    "regression": ("ridge", "random_forest", "extra_trees", "svr"),
    "classes": ("majority", "logistic", "random_forest", "extra_trees", "svm"),
}
#: split -> (rule and options of ``make_folds``); any other name is a scheme of a fold file.
SPLITS: dict[str, dict[str, Any]] = {
    "segment": {"rule": "segment"},
    "segment_clean": {"rule": "segment_clean"},
    "content_8fold": {"rule": "k-fold", "n_folds": 8},
    "content_4fold": {"rule": "k-fold", "n_folds": 4},
    "random_10fold": {"rule": "random", "n_folds": 10},
    "leave_performer_out": {"rule": "performer"},
    "performer_12": {"rule": "performer", "performers": ("12",)},
}
#: decimals of kept predictions
DIGITS = 4
#: schemes of a fold file whose validation folds are published: training leaves them out
PUBLISHED_VALIDATION = ("performer_published", "composition_published_style")


def baseline_folds(
    split: str,
    ids: Sequence[str],
    *,
    folds_file: str | PathLike[str] | None = None,
    seed: int = 7,
    groups: Mapping[str, str] | None = None,
    players: Mapping[str, str] | None = None,
) -> Folds:
    """Return the folds of a split by name (a key of `SPLITS`, or a scheme of ``folds_file``).

    ``groups``, ``players``: as in `make_folds`.

    The name ``databin`` takes the folds of the data-bin that ``folds_file`` names.

    Raises `DatasetError` (``unknown-split`` for a scheme without a fold file, and what the splits raise).
    """
    if split in SPLITS:
        return make_folds(ids=ids, seed=seed, valid="none", groups=groups, players=players, **SPLITS[split])
    if folds_file is None:
        raise DatasetError(
            "unknown-split", f"there is no split {split!r}", hint=f"there are {', '.join(SPLITS)}"
        )
    if split == "databin":
        return {
            k: {"train": [*fold["train"], *fold["valid"]], "valid": [], "test": fold["test"]}
            for k, fold in read_databin_folds(folds_file).items()
        }
    valid = "groups" if split in PUBLISHED_VALIDATION else "none"
    return read_folds(f"{folds_file}:{split}", ids, seed=seed, valid=valid, groups=groups)


def default_rows(examples: Examples) -> tuple[str, ...]:
    """Return the rows of a label; those of further inputs only where the examples have these."""
    score = "score" in examples.more
    if examples.kind == "classes":
        return (*ROWS["classes"], "ensemble", *(["ensemble+score"] if score else []))
    further = ["committee+score"] if score else []
    further += ["committee+score+peers"] if "peers" in examples.more else []
    lookups = [
        row for row in LOOKUPS if {*row.removeprefix("lookup:").split("+")} <= set(examples.identities)
    ]
    base = "committee+score" if score else "committee"
    further += [f"{base}+{name}" for name in examples.states]
    if "score" in examples.more and examples.states:  # names of published segments tell what is played
        further += [f"{base}+levels", *(f"{base}+{name}+levels" for name in examples.states)]
    return ("mean", *lookups, *ROWS["regression"], "ensemble", "committee", *further)


@threadpool_limits.wrap(limits=1)  # small matrices: threads would spend their time waiting for each other
def run_baselines(
    examples: Examples,
    folds: Folds,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    n_resamples: int = 1000,
    save: str | PathLike[str] | None = None,
    keep: dict[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run baselines over folds and score them.

    Ids without an example are skipped, and so are examples that no fold names. ``names``: rows to run; by
    default `default_rows`; ``save``: folder for ``<row>/fold<k>/seed<seed>/test.npz``; ``progress``: called
    with a line after each row.
    Returns ``task``, ``folds`` (sizes and leaks) and ``rows`` (`musicbert.evaluation.rows`), JSON-ready.
    """
    index = {name: i for i, name in enumerate(examples.ids.tolist())}
    groups = dict(zip(examples.ids.tolist(), examples.groups.tolist(), strict=True))
    parts = {
        k: {part: np.array([index[n] for n in fold[part] if n in index], np.int64) for part in fold}
        for k, fold in folds.items()
    }
    rows: list[Row] = []
    done: dict[str, list[Predictions]] = {}
    choices: dict[str, dict[str, Any]] = {}
    memo: dict[str, Any] = {}
    for name in default_rows(examples) if names is None else names:
        members = [done.get(member) for member in ENSEMBLES[examples.kind]] if name == "ensemble" else []
        if members and all(members):
            done[name] = [pool(fold) for fold in zip(*members, strict=True)]  # type: ignore[arg-type]
        else:
            done[name] = [
                fit_predict(
                    name, examples, part["train"], part["test"], seed=seed, memo=memo,
                    log=choices.setdefault(name, {}).setdefault(k, {}).update,
                )
                for k, part in parts.items()
            ]  # fmt: skip
        if save is not None:
            for k, predictions in zip(parts, done[name], strict=True):
                folder = Path(save) / name.replace(":", "_") / f"fold{k}" / f"seed{seed}"
                save_predictions(folder / "test.npz", {examples.label: predictions})
        tested = fair_groups([dict(zip(parts, done[name], strict=True))])
        rows.append(score_row("baseline", tested, name=name, n_resamples=n_resamples, seed=seed))
        if keep is not None and (pooled := rows[-1].predictions) is not None:
            keep |= {"ids": pooled.ids, "groups": pooled.groups}  # no labels: not all may be passed on
            keep[f"row:{name}"] = np.round(pooled.outputs, DIGITS).astype(np.float32)
        if progress is not None:
            progress(f"{name}: {_headline(rows[-1])}")
    sizes = {}
    for k, fold in folds.items():
        named = {part: [name for name in fold[part] if name in index] for part in fold}
        shared = leaks(named, groups)["test"]
        sizes[k] = {"train": len(named["train"]), "test": len(named["test"])}
        sizes[k]["test_sharing_music_with_training"] = shared
    result = {"task": examples.kind, "folds": sizes, "rows": [row.as_dict() for row in rows]}
    chosen = {name: folds for name, folds in choices.items() if any(folds.values())}
    return result | ({"chosen": chosen, "differences": differences(rows, examples)} if chosen else {})


def differences(rows: Sequence[Row], examples: Examples) -> list[dict[str, Any]]:
    """Compare rows that have states with those that lack them or have others, on the same resamples.

    Returns ``row``, ``minus`` and the difference in R² with its interval.
    """
    known = {frozenset(row.name.split("+")): row for row in rows}
    networks = list(examples.states)
    result = []
    for names, row in known.items():
        lacking = [names - {name} for name in (*networks, "levels") if name in names]
        others = [
            (names - {a}) | {b} for k, a in enumerate(networks) if a in names for b in networks[k + 1 :]
        ]
        for other in (*lacking, *others):
            if other in known:
                drawn = row.draws["r2"] - known[other].draws["r2"]
                result.append({"row": row.name, "minus": known[other].name, "r2": interval(drawn).as_dict()})
    return result


def _headline(row: Row) -> str:
    """Return the main figure of a row in words."""
    metric = "r2" if "r2" in row.scores["pooled"] else "accuracy"
    folds = row.scores["mean_of_folds"][metric]["value"]
    return f"{metric} {row.value(metric):.3f}, mean of folds {np.nan if folds is None else folds:.3f}"


def set_record(
    labels: str | PathLike[str],
    midi: str | PathLike[str],
    splits: Sequence[str],
    *,
    folds_file: str | PathLike[str] | None = None,
    ratings: str | PathLike[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Record what the result of `run_set` with these options is made from (`musicbert.reuse.made_from`)."""
    settings = {name: options.get(name) for name in ("columns", "tasks", "rows", "n_resamples", "seed")}
    settings |= {"states": options["states"]} if "states" in options else {}
    inputs = {"--labels": labels, "side file of --labels": meta_path(labels), "--midi": midi}
    inputs |= {"--folds-file": folds_file, "--ratings": ratings}
    known = {name: path for name, path in inputs.items() if path is not None and Path(path).exists()}
    return made_from({"splits": splits, **settings}, {name: hash_of(path) for name, path in known.items()})


def run_set(
    labels: str | PathLike[str],
    midi: str | PathLike[str],
    splits: Sequence[str],
    output: str | PathLike[str],
    *,
    columns: str | None = None,
    tasks: Sequence[str] = ("regression",),
    rows: Sequence[str] | None = None,
    ratings: str | PathLike[str] | None = None,
    folds_file: str | PathLike[str] | None = None,
    about: str = "",
    predictions: str | PathLike[str] | None = None,
    cache: str | PathLike[str] | None = None,
    n_resamples: int = 1000,
    seed: int = 7,
    states: Mapping[str, Description] | None = None,
    extend: bool = False,
    model: str | PathLike[str] | None = None,
    command: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run baselines on several splits of one data set and write ``OUTPUT.json`` and ``OUTPUT.md``.

    The options are those of ``scripts/baselines_xai.py``; ``states``: name -> states of a network.
    ``model``: file for the last row, fitted on all segments; its errors are those on the first split.
    Predictions of all rows are kept in ``OUTPUT_<split>.npz`` (``<split>_performer`` of performers), rounded.
    Raises `MusicBertError` (what reading labels, MIDI files, ratings and folds raises; with ``extend`` also
    ``other-data`` where ``OUTPUT.json`` was made from other data).
    """
    before = read_record(f"{output}.json")
    if extend and (before is None or "provenance" not in before):
        raise DatasetError("no-results", "There is no earlier result to extend", path=f"{output}.json")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    say = progress or (lambda _: None)
    label_map = LabelMap.load(labels, columns=columns)
    if "databin" in splits and folds_file is not None:
        label_map = label_map.grouped_as(read_databin_groups(folds_file))
    table, bad = feature_table(midi, labels=label_map, cache=cache)
    scores = {}  # only names of published segments say which file is the score
    if label_map.groups is None:
        scores, _ = feature_table(midi, AGAINST_SCORE, cache=cache)
    tables = {
        name: (feature_table(midi, network, labels=label_map, cache=cache)[0], network.layers)
        for name, network in (states or {}).items()
    }
    by_label = load_examples(label_map, table, score_table=scores, states=tables)
    examples = by_label[RATINGS]
    if ratings is not None:
        by_label[RATINGS] = rater_means(examples, label_map, ratings)
    missing = [name for name in label_map.ids if name not in table]
    counts = f"{len(missing)} labels without MIDI, {len(bad)} unreadable files"
    say(f"{len(examples.ids)} labelled segments with MIDI, {counts}")
    result: dict[str, Any] = {
        "name": Path(output).name,
        "about": about,
        "kind": label_map.kind,
        "dimensions": [{"name": m.name, "low": m.low, "high": m.high} for m in label_map.dimensions],
        "classes": list(label_map.classes),
        "features": len(FEATURES),
        "features_against_score": len(SCORE_FEATURES) if "score" in examples.more else 0,
        "segments": len(examples.ids),
        **({"states": {name: network.layers for name, network in states.items()}} if states else {}),
        "labels_without_midi": len(missing),
        "splits": {},
    }
    for split in splits:
        given = (
            {}
            if label_map.groups is None
            else {"groups": label_map.group_of(), "players": label_map.performer_of}
        )
        folds = baseline_folds(split, examples.ids.tolist(), folds_file=folds_file, seed=seed, **given)
        for task in tasks:
            if task == "classes" and len(label_map.classes) < 2:
                say("no baselines of performers: the labels have one")
                continue
            say(f"{split} ({task})")
            regression = task == "regression"
            kept: dict[str, Any] = {}
            name = split if regression else f"{split}_performer"
            result["splits"][name] = run_baselines(
                by_label[RATINGS if regression else PERFORMER],
                folds,
                names=rows,
                seed=seed,
                n_resamples=n_resamples,
                save=None if predictions is None else Path(predictions) / split / task,
                keep=kept,
                progress=say,
            )
            file = Path(f"{output}_{name}.npz")
            write_npz(file, _with_earlier(kept, file) if extend else kept)
    if model is not None:
        first = read_rows(result["splits"][splits[0]]["rows"])[-1]
        error = np.sqrt([first.value(f"mse:{name}") for name in examples.classes])
        network = by_label[RATINGS].row(first.name)[2]
        fit_rating_model(
            first.name, by_label[RATINGS], seed=seed, error=error, split=splits[0],
            dimensions=result["dimensions"], states=states[network].key if states and network else "",
        ).save(model)  # fmt: skip
    inputs = {"labels": labels, "midi": midi}
    inputs |= {name: path for name, path in (("folds", folds_file), ("ratings", ratings)) if path is not None}
    configuration = {"splits": list(splits), "tasks": list(tasks), "resamples": n_resamples}
    result["provenance"] = provenance(command, inputs=inputs, seed=seed, configuration=configuration)
    networks = {"states": {name: each.key for name, each in states.items()}} if states else {}
    result["made_from"] = set_record(
        labels, midi, splits, folds_file=folds_file, ratings=ratings,
        columns=columns, tasks=tasks, rows=rows, n_resamples=n_resamples, seed=seed, **networks,
    )  # fmt: skip
    if extend:
        result = extended(before, result, output)
    write_text(f"{output}.json", dump(result))
    write_text(f"{output}.md", baseline_tables(result))
    return result


def _with_earlier(kept: dict[str, Any], file: Path) -> dict[str, Any]:
    """Put the rows that an earlier call kept of the same segments before those of this one."""
    try:
        earlier = read_npz(file)
    except (OSError, ValueError):
        return kept
    same = earlier.get("ids", np.zeros(0)).tolist() == kept["ids"].tolist()
    return {**earlier, **kept} if same else kept


def extended(before: dict[str, Any], now: dict[str, Any], path: str | PathLike[str]) -> dict[str, Any]:
    """Put rows and splits beside those of an earlier result; rows of the same name are replaced.

    ``earlier`` lists the provenance of what was kept. Raises `DatasetError` (``other-data``).
    """
    old, new = ({k: v["sha256"] for k, v in each["provenance"]["data"].items()} for each in (before, now))
    if changed := sorted(name for name in old.keys() & new.keys() if old[name] != new[name]):
        raise DatasetError(
            "other-data", f"The earlier result was made from other data: {', '.join(changed)}", path=path
        )
    splits = {**before["splits"]}
    for split, content in now["splits"].items():
        names = {row["name"] for row in content["rows"]}
        earlier = splits.get(split, {})
        rows = [row for row in earlier.get("rows", []) if row["name"] not in names] + content["rows"]
        splits[split] = {**earlier, **content, "rows": rows}
    provenances = [*before.get("earlier", []), before["provenance"]]
    return {**before, **now, "about": before["about"], "splits": splits, "earlier": provenances}

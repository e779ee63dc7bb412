"""Whether explanations of notes and bars are faithful: what is named first must matter most to the model.

Of held-out performances, notes are taken away (comprehensiveness) or everything else is (sufficiency), the
most relevant first, at 1, 5, 10, 20 and 50 % of the notes; the areas under the deletion and the insertion
curve go over the same shares. Each is compared with notes at random, the loudest notes, and notes in a row
that begin at random, under two replacements: the notes are hidden or removed (gone), and they are those of
the neutral performance (networks) or flat (other models; see `musicbert.explanation`). Values are in units of
the score, in the direction in which the performance departs from all notes replaced; intervals are over
groups of music. A method is offered under a replacement where both areas are better by their intervals than
those of random notes, notes in a row and the loudest notes: these lines are `--offered`, which the package
reads.

Several models, each with the performances that it was not trained on, make one result, such as the folds of
`explanation_models.py`. What is known of a performance is kept in `--parts`, so that a run that was stopped
goes on.

    python results/tools/explanations_faithful.py --model fold0/profile fold1/profile --ids fold0/test.id \
        fold1/test.id --midi segment_midi.zip --output results/explanations/profile --offered profile
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from program import ROOT, die, make_parser, need, say

from musicbert.annotation.names import content_group, performer_of
from musicbert.arrays import Bools, Floats
from musicbert.atomic import write_json, write_text
from musicbert.corpus.ratings.piece import neutral_clock
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.explanation import attention_rollout, note_reasons, occlude, open_target
from musicbert.explanation.networks import Network
from musicbert.explanation.notes import replaced
from musicbert.explanation.occlusion import By, flatten_notes, keep_notes
from musicbert.explanation.target import HeadTarget
from musicbert.midi import Score, read_score
from musicbert.provenance import provenance

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
#: orders that know nothing of the model
BLIND = ("random", "row", "loudest")
#: random orders of a performance
DRAWS = 3
OFFERED = ROOT / "musicbert" / "explanation" / "offered.json"


def main(arguments: list[str] | None = None) -> int:
    """Measure and write."""
    given = _parser().parse_args(arguments)
    if given.again is not None:
        _offer(given.offered, offered_of(json.loads(given.again.read_text(encoding="utf-8"))["scores"]))
        return 0
    if None in (given.model, given.midi, given.ids, given.output):
        die("--model, --midi, --ids and --output are needed")
    need(given.midi, "a zip of MIDI files")
    if len(given.model) != len(given.ids):
        die("--ids has the held-out performances of each --model, in its order")
    held_out = {name: k for k, ids in enumerate(given.ids) for name in ids.read_text().split()}
    names = _chosen([*held_out], given.pieces, np.random.default_rng(given.seed))
    names.sort(key=held_out.__getitem__)  # one model after the other
    weights = {f"model {k}": _weights(model) for k, model in enumerate(given.model)}
    made = provenance(
        [Path(sys.argv[0]).name, *(arguments or sys.argv[1:])],
        inputs={"midi": given.midi, **{f"ids {k}": path for k, path in enumerate(given.ids)}, **weights},
        seed=given.seed,
        configuration={"pieces": len(names), "dimensions": given.dimensions, "draws": DRAWS},
    )
    rows: list[dict[str, Any]] = []
    gaps: list[float] = []
    opened: dict[int, Any] = {}
    with zipfile.ZipFile(given.midi) as archive:
        members = {Path(name).stem: name for name in archive.namelist()}
        for number, name in enumerate(names):
            fold = held_out[name]
            about = {"commit": made["commit"], "model": made["data"][f"model {fold}"]["sha256"]}
            about |= {name: getattr(given, name) for name in ("seed", "dimensions", "steps", "phases")}
            kept = given.parts / f"{name}.json" if given.parts else None
            part = json.loads(kept.read_text()) if kept and kept.is_file() else {}
            if part.get("about") != about:
                if fold not in opened:
                    opened = {fold: _opened(given, fold)}
                score = neutral_clock(read_score(archive.read(members[name])))
                part = {"about": about, **_explained(opened[fold], score, name, given)}
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    write_json(kept, part)
            rows += part["rows"]
            gaps += part["gaps"]
            if number % 10 == 9:
                say(f"{number + 1} of {len(names)} performances")
    if not rows:
        die("no performance")
    result = {
        **_summary(rows, given.resamples),
        "completeness": {"largest": max(gaps), "below_1_percent": float(np.mean(np.array(gaps) < 0.01))}
        if gaps
        else None,
        "provenance": made,
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(given.output.with_suffix(".json"), result)
    write_text(given.output.with_suffix(".md"), _page(result))
    if given.offered:
        _offer(given.offered, result["offered"])
    return 0


def _offer(kind: str, offered: dict[str, list[str]]) -> None:
    known = json.loads(OFFERED.read_text(encoding="utf-8")) if OFFERED.is_file() else {}
    write_json(OFFERED, {**known, kind: offered})


def _chosen(ids: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Performances by pianists, of as many groups of music as there are, in turn."""
    queues: dict[str, list[str]] = {}
    for name in rng.permutation(sorted(ids)).tolist():
        if performer_of(name).startswith("Score"):  # rendered from notation: nobody played it
            continue
        queues.setdefault(content_group(name), []).append(name)
    turns = zip_longest(*queues.values())
    return [name for turn in turns for name in turn if name][:count]


def _opened(given: Any, fold: int) -> Any:
    target = open_target(str(given.model[fold]), head=given.head)
    if given.phases is not None and isinstance(target, HeadTarget):
        target.model._bundle = replace(target.model._bundle, phases=given.phases)
    return target


def _explained(target: Any, score: Score, name: str, given: Any) -> dict[str, Any]:
    """Rows of one performance, the same in any order of performances."""
    rng = np.random.default_rng([given.seed, crc32(name.encode())])
    outputs = sorted(rng.choice(len(target.names), given.dimensions, replace=False).tolist())
    about, gaps = {"piece": name, "group": content_group(name)}, list[float]()
    rows = [about | row for row in _measure(target, score, outputs, rng, given.steps, gaps)]
    return {"rows": rows, "gaps": gaps}


def _weights(model: Path) -> Path:
    inside = (model / name for name in ("model.safetensors", "profile.npz"))
    return next(filter(Path.is_file, inside)) if model.is_dir() else model


def _measure(
    target: Any, score: Score, outputs: list[int], rng: np.random.Generator, steps: int, gaps: list[float]
) -> Iterator[dict[str, Any]]:
    """Comprehensiveness and sufficiency of every order of the notes, for some outputs."""
    network = Network.of(target)
    n = len(score)
    whole = target.scores([score])[0]
    makers = _replacements(target, score)
    every = np.ones(n, bool)
    # without any note a committee has nothing to describe: its direction is that of the flat performance
    none = {
        name: target.scores([make(every)])[0]
        for name, make in makers.items()
        if network is not None or name != "gone"
    }
    relevance: dict[str, Floats] = {}  # method -> [notes, outputs]
    kinds: tuple[tuple[str, By], ...] = (("bars", "bar"), ("voices", "voice"))
    for title, by in kinds if network is not None else (*kinds, ("notes", "note")):
        parts = occlude(target, score, by)
        counted = np.bincount(parts.group_of[parts.group_of >= 0], minlength=len(parts.groups))
        for name, table in parts.effects.items():
            each = np.nan_to_num(table[:, outputs]) / counted[:, None]
            relevance[f"{title} {name}"] = np.where(parts.group_of[:, None] >= 0, each[parts.group_of], 0.0)
    if network is not None:
        reasons = note_reasons(target, score, outputs, steps=steps)
        for name in reasons[0].maps:
            values = np.zeros((n, len(outputs)))
            values[reasons[0].note_index] = np.stack([each.maps[name].notes for each in reasons], axis=1)
            relevance[f"notes {name}"] = values
            gaps.extend(each.maps[name].gap for each in reasons)
    shared = {"loudest": [score.velocity + rng.random(n)]}
    shared["random"] = [rng.random(n) for _ in range(DRAWS)]
    place = np.argsort(np.argsort(score.onset, kind="stable"))
    shared["row"] = [-((place - rng.integers(n)) % n).astype(float) for _ in range(DRAWS)]
    if isinstance(target, HeadTarget) and n + 2 <= target.model.window:
        piece = target.model.read(score)
        looks = np.zeros(n)
        looks[piece.note_index] = attention_rollout(target.model, piece)[1:-1, 1:-1].mean(axis=0)
        shared["attention"] = [looks]
    for replacement, make in makers.items():
        end = none.get(replacement, list(none.values())[-1])
        for column, output in enumerate(outputs):
            sign = 1.0 if whole[output] >= end[output] else -1.0
            orders = {name: [sign * values[:, column]] for name, values in relevance.items()}
            for method, ranks in (*orders.items(), *(shared.items() if column == 0 else ())):
                curves = [_curves(target, make, rank, every) for rank in ranks]  # (shares, 2, d) each
                gone, kept = np.mean(curves, axis=0).transpose(1, 0, 2)
                wanted = (
                    [(output, sign)]
                    if method in orders
                    else [(o, 1.0 if whole[o] >= end[o] else -1.0) for o in outputs]
                )
                for o, s in wanted:
                    yield {
                        "output": target.names[o],
                        "replacement": replacement,
                        "method": method,
                        "comprehensiveness": (s * (whole[o] - gone[:, o])).tolist(),
                        "sufficiency": (s * (whole[o] - kept[:, o])).tolist(),
                        "difference": float(s * (whole[o] - end[o])),
                    }


def _curves(target: Any, make: Callable[[Bools], Any], rank: Floats, every: Bools) -> Floats:
    """Scores without the first notes of an order, and with these alone [shape=(shares, 2, d)]."""
    order = np.argsort(-rank, kind="stable")
    music = []
    for share in SHARES:
        first = np.zeros(len(order), bool)
        first[order[: max(round(share * len(order)), 1)]] = True
        music += [make(first), make(~first & every)]
    return target.scores(music).reshape(len(SHARES), 2, -1)


def _replacements(target: Any, score: Score) -> dict[str, Callable[[Bools], Any]]:
    """Replacement -> function of the notes that are replaced."""
    network = Network.of(target)
    if network is None:
        return {
            "gone": lambda notes: keep_notes(score, ~notes),
            "flat": lambda notes: flatten_notes(score, notes, pedal=bool(notes.all())),
        }
    return replaced(network, score)


def _summary(rows: list[dict[str, Any]], resamples: int) -> dict[str, Any]:
    """Means over performances and outputs, and differences to random orders, over groups of music."""
    number, count = group_numbers([row["group"] for row in rows])
    weights = resample(count, n_resamples=resamples)
    table: dict[str, Any] = {}
    keys = {(row["piece"], row["output"]) for row in rows}
    values: dict[tuple[str, str], dict[tuple[str, str], tuple[Floats, int]]] = {}
    for row, group in zip(rows, number, strict=True):
        measures = _measures(row)
        of_method = values.setdefault((row["replacement"], row["method"]), {})
        of_method[row["piece"], row["output"]] = (measures, group)
    methods = sorted({method for _, method in values})
    for replacement in sorted({replacement for replacement, _ in values}):
        ordered = sorted(keys)
        blind = {name: np.stack([values[replacement, name][key][0] for key in ordered]) for name in BLIND}
        group = np.array([values[replacement, "random"][key][1] for key in ordered])
        for method in methods:
            found = np.stack([values[replacement, method][key][0] for key in ordered])
            entry: dict[str, Any] = {"mean": _intervals(found, group, weights)}
            for name in BLIND:
                if name != method:
                    entry[f"minus {name}"] = _intervals(found - blind[name], group, weights)
            table.setdefault(replacement, {})[method] = entry
    return {
        "performances": len({row["piece"] for row in rows}),
        "groups": count,
        "resamples": resamples,
        "shares": SHARES,
        "scores": table,
        "offered": offered_of(table),
    }


def offered_of(scores: dict[str, Any]) -> dict[str, list[str]]:
    """Replacements under which each method is better than all blind orders."""
    methods = sorted({method for found in scores.values() for method in found} - {*BLIND})
    return {
        method: [
            replacement
            for replacement, found in scores.items()
            if method in found and all(_better(found[method][f"minus {name}"]) for name in BLIND)
        ]
        for method in methods
    }


def _better(difference: dict[str, Any]) -> bool:
    """Whether both areas are better by their intervals (None: undefined)."""
    high, low = difference["deletion"]["high"], difference["insertion"]["low"]
    return high is not None and low is not None and high < 0 < low


def _measures(row: dict[str, Any]) -> Floats:
    """Comprehensiveness and sufficiency at each share, then the areas of deletion and insertion."""
    comprehensive, sufficient = np.array(row["comprehensiveness"]), np.array(row["sufficiency"])
    share = np.array([0.0, *SHARES, 1.0])
    span = row["difference"]
    deletion = np.concatenate([[span], span - comprehensive, [0.0]])
    insertion = np.concatenate([[0.0], span - sufficient, [span]])
    areas = [np.trapezoid(curve, share) for curve in (deletion, insertion)]
    return np.concatenate([comprehensive, sufficient, areas])


def _intervals(values: Floats, group: Any, weights: Floats) -> dict[str, Any]:
    """Mean of each measure with its interval."""
    total = np.zeros((weights.shape[1], values.shape[1]))
    np.add.at(total, group, values)
    size = np.bincount(group, minlength=weights.shape[1])
    draws = (weights @ total) / (weights @ size)[:, None]
    found = [interval(draws[:, k]).as_dict() for k in range(values.shape[1])]
    k = len(SHARES)
    return {
        "comprehensiveness": found[:k],
        "sufficiency": found[k : 2 * k],
        "deletion": found[2 * k],
        "insertion": found[2 * k + 1],
    }


def _page(result: dict[str, Any]) -> str:
    """Tables of the differences to random orders."""
    lines = [
        "# Faithfulness of explanations",
        "",
        f"{result['performances']} performances of {result['groups']} groups of music, none of them in the",
        "training of the model that is explained. Differences to other orders of the notes, with 95 %",
        "intervals over groups. Comprehensiveness and insertion are better above zero, sufficiency and",
        "deletion below. All in units of the score (0-1). Offered is what is better by both areas than",
        "random notes, notes in a row and the loudest notes.",
        "",
    ]
    for replacement, methods in result["scores"].items():
        lines += [
            f"## Replaced notes are {replacement}",
            "",
            "Areas, against each order that knows no model:",
            "",
        ]
        lines += ["| order | " + " | ".join(f"deletion, {b} | insertion, {b}" for b in BLIND) + " |"]
        lines += ["|" + "---|" * (1 + 2 * len(BLIND))]
        for method, entry in methods.items():
            if method not in BLIND:
                cells = [entry[f"minus {b}"][area] for b in BLIND for area in ("deletion", "insertion")]
                lines.append(f"| {method} | " + " | ".join(map(_cell, cells)) + " |")
        lines += ["", "Against a random order, all measures:", ""]
        heads = [f"{100 * share:g} %" for share in result["shares"]]
        titles = ["order", "deletion", "insertion", *(f"comp. {h}" for h in heads)]
        titles += [f"suff. {h}" for h in heads]
        lines += [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
        for method, entry in methods.items():
            if "minus random" not in entry:
                continue
            found = entry["minus random"]
            areas = [found["deletion"], found["insertion"]]
            cells = [*areas, *found["comprehensiveness"], *found["sufficiency"]]
            lines.append(f"| {method} | " + " | ".join(_cell(cell) for cell in cells) + " |")
        lines.append("")
    offered = (f"{method}: {', '.join(under) or 'no'}" for method, under in result["offered"].items())
    lines += ["Offered: " + "; ".join(offered), ""]
    if result["completeness"]:
        lines += [f"Largest completeness gap: {100 * result['completeness']['largest']:.2f} %.", ""]
    return "\n".join([*lines, f"`{result['provenance']['command']}`", ""])


def _cell(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return "undefined"
    return f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        nargs="+",
        help="folders of networks with a head or of profiles, or committees (.npz)",
    )
    add("--midi", type=Path, help="zip of performances")
    add("--ids", type=Path, nargs="+", help="names of each model's held-out performances")
    add("--again", type=Path, help="only write what a result (.json) says is --offered, by the present rule")
    add("--head", help="head of networks that have several")
    add("--phases", type=int, help="phases over which networks average (default: as they were trained)")
    add("--parts", type=Path, help="folder where what is known of each performance is kept")
    add("--output", type=Path, help="files to write, without their ending")
    add("--offered", default="", help="kind of target whose line in the package's offered.json is written")
    add("--pieces", type=int, default=40, help="performances, of as many groups of music as possible")
    add("--dimensions", type=int, default=2, help="outputs of each, drawn at random")
    add("--steps", type=int, default=16, help="first number of steps of integrated gradients")
    add("--resamples", type=int, default=2000, help="of the groups")
    add("--seed", type=int, default=0, help="of the choice and of random orders")
    return parser


if __name__ == "__main__":
    sys.exit(main())

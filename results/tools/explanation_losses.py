r"""How well measures of likeness tell real performances from changed ones: ROC, and ranges of real ones.

Example: python results/tools/explanation_losses.py --labels percepiano.json --midi \
    data/percepiano/segment_midi.zip --ratings data/percepiano/total.csv --output results/explanations/losses

Performances of PercePiano, from all groups of music in turn, are judged as played and with changes
(`CHANGES`): by the masked loss of each field alone and of position, duration and velocity hidden together, as
it was done before, by the distance to the nearest rated performances of other music, and by the unevenness of
the tempo. For each measure and change: the area under the ROC curve (0.5 is chance; below, changed music has
the lower values), with a 95 % bootstrap interval over groups of music, and the share of changed music that is
let through by the range (`RANKS`, `ENDS`) of real performances of all other groups.

Writes OUTPUT.json and OUTPUT.md, and --package, the file that the package reads: the ranges of the measures
that are used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from explanation_factors import part, read_examples
from program import make_parser, report_errors, say
from threadpoolctl import threadpool_limits

from musicbert.analysis.model import NEIGHBOURS
from musicbert.analysis.passages import played
from musicbert.annotation.names import parse_segment, segment_id
from musicbert.arrays import Floats, Ints
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.archive import MidiSource
from musicbert.evaluation.baselines.rated_examples import SCORE
from musicbert.evaluation.baselines.regressors import Examples, Scale
from musicbert.evaluation.tables import markdown_table
from musicbert.explanation.plausibility import NETWORK, masked_loss, unevenness
from musicbert.explanation.playing_factors import FACTORS, with_strengths
from musicbert.features import features
from musicbert.midi import Score, read_score
from musicbert.predict.model import from_pretrained
from musicbert.provenance import provenance

SEED, RESAMPLES = 7, 500
#: per cent of real performances below the ends of a range, and of an interval
RANKS = (2.5, 97.5)
#: measure -> other ends: nothing is too near to rated performances or too uneven, but more even than the most
#: even of them is unlike them all
ENDS = {"distance": (None, 97.5), "unevenness": (0.0, None)}
#: what stands for no end: no music comes near to it
NO_END = (0.0, 10.0)
#: changes whose music is judged, too
CHANGES: dict[str, dict[str, float]] = {
    "all factors neutral": dict.fromkeys(FACTORS, 0.0),
    "dynamics and voicing neutral": {"dynamics": 0.0, "voicing": 0.0},
    "dynamics and voicing doubled": {"dynamics": 2.0, "voicing": 2.0},
    "timing neutral": {"timing": 0.0},
    "timing doubled": {"timing": 2.0},
    "pedal taken away": {"pedal": 0.0},
}
TOGETHER = ("position", "duration", "velocity")
MEASURES = ("position loss", "duration loss", "velocity loss", "loss of all three", "distance", "unevenness")
#: what refuses a change in the package, and the columns of several together
USED, EARLIER, ALL = ("velocity loss", "distance", "unevenness"), "the first two", "all that are used"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--labels", type=Path, required=True, help="label map of map_midi_to_label.py")
    add("--midi", type=Path, required=True, help="zip archive or folder")
    add("--ratings", type=Path, required=True, help="table of ratings")
    add("--performances", type=int, default=100, help="how many are judged")
    add("--cache", type=Path, help="folder where features are kept between runs")
    add("--output", type=Path, required=True, help="result without its suffix")
    add("--package", type=Path, help="file of the package (musicbert/explanation/losses.json)")
    add("--parts", type=Path, help="folder of parts, with which a run that was stopped goes on")
    add("--parts-of", metavar="COMMIT", help="whose parts are taken: for other ranges of the same measures")
    return report_errors(partial(_measure, parser.parse_args(arguments), list(arguments or sys.argv[1:])))


def _choose(examples: Examples, count: int) -> Ints:
    """Performances (no renderings of the score), from all groups of music in turn."""
    rng, turn, ranked = np.random.default_rng(SEED), dict[str, int](), []
    for k in rng.permutation(len(examples.ids)).tolist():
        if not parse_segment(str(examples.ids[k])).performer.startswith(SCORE):
            group = str(examples.groups[k])
            turn[group] = turn.get(group, -1) + 1
            ranked.append((turn[group], k))
    return np.array([k for _, k in sorted(ranked)[:count]], np.int64)


def _judged(score: Score, network: Any, others: Floats) -> list[float]:
    """All measures of a performance; ``others``: features of rated performances of other music."""
    losses = [masked_loss(score, network, fields=(field,)) for field in TOGETHER]
    scale = Scale.fit(others)
    apart = scale.apply(others) - scale.apply(features(played(score))[None])
    distance = np.sort(np.sqrt((apart**2).mean(1)))[:NEIGHBOURS].mean()
    return [*losses, masked_loss(score, network, fields=TOGETHER), float(distance), unevenness(score)]


def _ends(real: Floats) -> Floats:
    """Range of each measure [shape=(2, measures)] over real performances [shape=(m, measures)]."""
    found = [
        [
            none if rank is None else np.percentile(column, rank)
            for rank, none in zip(ranks, NO_END, strict=True)
        ]
        for column, ranks in zip(real.T, (ENDS.get(name, RANKS) for name in MEASURES), strict=True)
    ]
    return np.array(found).T


def _let_through(real: Floats, changed: Floats, groups: Sequence[str]) -> dict[str, float]:
    """Shares within the range of the real performances of all other groups, by measure and for those used."""
    at, inside = np.asarray(groups), np.zeros(changed.shape, bool)
    for group in np.unique(at):
        low, high = _ends(real[at != group])
        inside[at == group] = (low <= changed[at == group]) & (changed[at == group] <= high)
    used = inside[:, [MEASURES.index(name) for name in USED]]
    several = {EARLIER: float(used[:, :2].all(1).mean()), ALL: float(used.all(1).mean())}
    return {**dict(zip(MEASURES, inside.mean(0).tolist(), strict=True)), **several}


def area(real: Floats, changed: Floats) -> float:
    """Area under the ROC curve: how often a changed performance has the higher value; ties count half."""
    apart = changed[:, None] - real
    return float((apart > 0).mean() + 0.5 * (apart == 0).mean())


def _areas(real: Floats, changed: Floats, groups: Sequence[str]) -> dict[str, dict[str, float]]:
    """Areas under the ROC curve of each measure, with intervals over groups."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(SEED)
    drawn = [rng.integers(0, len(names), len(names)) for _ in range(RESAMPLES)]
    rows = [np.arange(len(real)), *(np.concatenate([np.flatnonzero(member == g) for g in d]) for d in drawn)]
    result = {}
    for k, name in enumerate(MEASURES):
        areas = [area(real[at, k], changed[at, k]) for at in rows]
        low, high = np.percentile(areas[1:], RANKS).tolist()
        result[name] = {"value": float(areas[0]), "low": low, "high": high}
    return result


@threadpool_limits.wrap(limits=1)
def _measure(options: Any, arguments: list[str]) -> str:
    examples, network = read_examples(options), from_pretrained(NETWORK, device="cpu")
    chosen = _choose(examples, options.performances)
    groups = examples.groups[chosen].astype(str).tolist()
    found = []
    with MidiSource(options.midi) as source:
        files = {segment_id(member.name): member for member in source.members}
        for done, (k, group) in enumerate(zip(chosen.tolist(), groups, strict=True), start=1):
            name = str(examples.ids[k])

            def judged(name: str = name, group: str = group) -> Floats:
                score = read_score(source.read(files[name]), name=name)
                others = examples.features[examples.groups != group]
                versions = [score, *(with_strengths(score, each) for each in CHANGES.values())]
                return np.array([_judged(each, network, others) for each in versions])

            found.append(part(options, f"losses {name}", judged))
            if done % 20 == 0:
                say(f"{done} of {len(chosen)} performances")
    table = np.array(found)  # (m, 1 + changes, measures)
    real = table[:, 0]
    low, high = _ends(real).round(4)
    ranges = {name: [float(a), float(b)] for name, a, b in zip(MEASURES, low, high, strict=True)}
    inputs = {"labels": options.labels, "midi": options.midi, "ratings": options.ratings}
    command = ["python", "results/tools/explanation_losses.py", *arguments]
    result = {
        "about": provenance(command, inputs=inputs, seed=SEED),
        "performances": len(chosen),
        "groups": len(set(groups)),
        "real": ranges,
        "changes": {
            name: {
                "area": _areas(real, table[:, k], groups),
                "let through": _let_through(real, table[:, k], groups),
            }
            for k, name in enumerate(CHANGES, start=1)
        },
        "real let through": _let_through(real, real, groups),
    }
    write_json(options.output.with_suffix(".json"), result)
    text = page(result)
    write_text(options.output.with_suffix(".md"), text)
    if options.package is not None:
        write_json(options.package, {name: ranges[name] for name in USED})
    return text


def page(result: Mapping[str, Any]) -> str:
    """Tables of the result."""
    areas = [
        [change, *(f"{a['value']:.2f} [{a['low']:.2f}, {a['high']:.2f}]" for a in each["area"].values())]
        for change, each in result["changes"].items()
    ]
    shares = {change: each["let through"] for change, each in result["changes"].items()}
    rows = [
        [change, *(f"{100 * each[name]:.0f} %" for name in (*MEASURES, EARLIER, ALL))]
        for change, each in {"as played": result["real let through"], **shares}.items()
    ]
    ends = [[name, f"{low:.2f} to {high:.2f}"] for name, (low, high) in result["real"].items()]
    return "\n".join(
        [
            "# Are changed performances like real ones?", "",
            f"{result['performances']} performances of PercePiano from {result['groups']} groups of music, "
            f"as played and changed. Made by `{result['about']['command']}`.", "",
            "Area under the ROC curve (95 % bootstrap intervals over groups of music); far from 0.5 tells "
            "changed from real:", "", *markdown_table(["change", *MEASURES], areas), "",
            "Share within the range of real performances of other groups of music. The range is their middle "
            "95 %; of the distance it has no lower end, and of the unevenness it is what is not below all of "
            "them. "
            f"A change is refused by {', '.join(USED[:-1])} and {USED[-1]}:", "",
            *markdown_table(["music", *MEASURES, EARLIER, ALL], rows), "",
            "Range of real performances:", "", *markdown_table(["measure", "range"], ends), "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

r"""Masked losses of real performances: the range in which changed music has to be.

Example: python results/tools/explanation_losses.py --data data --output results/explanations/losses

The folder of --data holds percepiano/segment_midi.zip. Writes OUTPUT.json: percentiles of the loss
(`musicbert.explanation.plausibility`) over --performances of PercePiano's performances, and how many of the
same performances are in the range of the middle 95 % after a change (all factors neutral; pedal taken away;
velocities spread twice as far). --package: the file that the package reads.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from program import make_parser, report_errors

from musicbert.annotation.names import parse_segment, segment_id
from musicbert.atomic import write_json
from musicbert.corpus.files.archive import MidiSource
from musicbert.evaluation.baselines.rated_examples import SCORE
from musicbert.explanation.plausibility import NETWORK, masked_loss
from musicbert.explanation.playing_factors import FACTORS, with_strengths
from musicbert.midi import read_score
from musicbert.predict.model import from_pretrained
from musicbert.provenance import provenance

RANKS = (2.5, 50, 97.5)
#: changes whose music is judged, too
CHANGES = {
    "all factors neutral": dict.fromkeys(FACTORS, 0.0),
    "pedal taken away": {"pedal": 0.0},
    "dynamics and voicing doubled": {"dynamics": 2.0, "voicing": 2.0},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of data sets")
    add("--performances", type=int, default=120, help="how many, drawn at random")
    add("--output", type=Path, required=True, help="result without its suffix")
    add("--package", type=Path, help="file of the package (musicbert/explanation/losses.json)")
    return report_errors(partial(_measure, parser.parse_args(arguments), list(arguments or sys.argv[1:])))


def _measure(options: Any, arguments: list[str]) -> str:
    archive = options.data / "percepiano" / "segment_midi.zip"
    network = from_pretrained(NETWORK, device="cpu")
    losses: dict[str, list[float]] = {"real": [], **{name: [] for name in CHANGES}}
    with MidiSource(archive) as source:
        played = [
            member
            for member in source.members
            if not parse_segment(segment_id(member.name)).performer.startswith(SCORE)
        ]
        drawn = np.random.default_rng(0).permutation(len(played))[: options.performances]
        for done, k in enumerate(drawn.tolist()):
            score = read_score(source.read(played[k]), name=played[k].path)
            losses["real"].append(masked_loss(score, network))
            if done % 4 == 0:
                for name, strengths in CHANGES.items():
                    losses[name].append(masked_loss(with_strengths(score, strengths), network))
    low, middle, high = np.percentile(losses["real"], RANKS).round(4).tolist()
    inside = {name: float(np.mean([low <= x <= high for x in losses[name]])) for name in CHANGES}
    command = ["python", "results/tools/explanation_losses.py", *arguments]
    result = {
        "about": provenance(command, inputs={"midi": archive}, seed=0),
        "performances": len(losses["real"]),
        "loss": {"2.5": low, "50": middle, "97.5": high},
        "changed performances": len(losses["pedal taken away"]),
        "share of them in the range": inside,
    }
    write_json(options.output.with_suffix(".json"), result)
    if options.package is not None:
        write_json(options.package, {"real": [low, high]})
    return f"masked loss {low:.2f} to {high:.2f}, median {middle:.2f}; in the range when changed: {inside}"


if __name__ == "__main__":
    sys.exit(main())

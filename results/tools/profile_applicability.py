r"""Measures of rated performances and of other music, and what of it gets a profile or a reason why not.

Example: python results/tools/profile_applicability.py --rated data/percepiano/segment_midi.zip \
    --music data/pretrain_small --output results/profile/applicability.json

``--music`` is a folder with a folder a collection; ``--sample`` files of each are read. Scores of ASAP count
as a collection of their own, and so do the written scores among the rated files.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from program import make_parser, report_errors

from musicbert.analysis import load_profile_model
from musicbert.analysis.applicability import measures
from musicbert.analysis.profile import make_profile
from musicbert.atomic import write_text
from musicbert.corpus.files.archive import MIDI_SUFFIXES, MidiSource
from musicbert.errors import MidiError
from musicbert.evaluation.tables import dump
from musicbert.midi import Score, read_score
from musicbert.provenance import provenance

#: percentiles that are told of each measure
PERCENTILES = (0, 1, 5, 50, 95, 99, 100)


def collections(rated: Path, music: Path, sample: int) -> Iterator[tuple[str, list[Score]]]:
    """Names of collections with their music; files that cannot be read are left out."""
    with MidiSource(rated) as source:
        for name, wanted in (("rated performances", False), ("rated renderings of scores", True)):
            members = [each for each in source.members if ("_Score" in each.name) == wanted]
            yield name, [read_score(source.read(each), name=each.path) for each in members]
    for folder in sorted(path for path in music.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES)
        parts = {folder.name: files}
        if folder.name == "asap":
            parts = {
                "asap, performances": [path for path in files if "score" not in path.name],
                "asap, scores": [path for path in files if "score" in path.name],
            }
        for name, paths in parts.items():
            drawn = random.Random(0).sample(paths, min(sample, len(paths)))
            yield name, [score for path in drawn if (score := _readable(path)) is not None]


def _readable(path: Path) -> Score | None:
    try:
        return read_score(path)
    except MidiError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--rated", type=Path, required=True, help="zip archive of the rated files")
    add("--music", type=Path, required=True, help="folder with a folder a collection")
    add("--sample", type=int, default=40, help="files of each collection")
    add("--output", type=Path, required=True, help=".json")
    return report_errors(partial(_make, parser.parse_args(arguments), list(arguments or sys.argv[1:])))


def _make(options: Any, arguments: list[str]) -> str:
    model = load_profile_model()
    result: dict[str, Any] = {}
    for name, scores in collections(options.rated, options.music, options.sample):
        known = [measures(score) for score in scores]
        drawn = random.Random(0).sample(scores, min(options.sample, len(scores)))
        answers = [make_profile(score, model) for score in drawn]
        codes = [",".join(reason.code for reason in reasons) or "profile" for _, reasons in answers]
        result[name] = {
            "files": len(scores),
            "answers": dict(Counter(codes).most_common()),
            "left_out_of_profiles": float(np.mean([_left_out(each) for each, _ in answers if each] or [0.0])),
            "measures": {
                key: np.percentile([each[key] for each in known], PERCENTILES).round(4).tolist()
                for key in known[0]
            },
        }
    record = provenance(
        ["python", "results/tools/profile_applicability.py", *arguments],
        inputs={"rated": options.rated}, seed=0, configuration={"percentiles": list(PERCENTILES)},
    )  # fmt: skip
    write_text(options.output, dump({"collections": result, "provenance": record}))
    return str(options.output)


def _left_out(profile: Any) -> float:
    """Share of the passages of a profile that were not rated."""
    return float(np.mean([part.values is None for part in profile.parts]))


if __name__ == "__main__":
    sys.exit(main())

r"""Scores of next and acc apart for songs that a pre-training has seen and for those that it has not.

Example: python scripts/eval_nsp_seen.py results/downstream/next next_data_bin \
    --songs context_next/songs.txt --midi lmd_a lmd_b --ledger chosen/choice.jsonl

RESULTS is what scripts/eval_nsp.py wrote (its .npz files); seen.json and seen.md go there.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.atomic import write_json, write_text
from musicbert.errors import DatasetError, MusicBertError


def main() -> int:
    """Parse the arguments, score, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder with the predictions")
    parser.add_argument("data", type=Path, help="data-bin, such as next_data_bin")
    parser.add_argument("--songs", type=Path, required=True, help="songs.txt of the PiRhDy files")
    parser.add_argument(
        "--midi", type=Path, nargs="+", required=True, help="folders with the songs' MIDI files"
    )
    parser.add_argument(
        "--ledger", type=Path, required=True, help="choice.jsonl of the pre-training's pieces"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (%(default)s)")
    given = parser.parse_args()

    from pair_songs import read_songs, seen_queries

    from musicbert.evaluation.baselines.pairs import pair_baselines
    from musicbert.evaluation.metrics.bootstrap import resample
    from musicbert.evaluation.metrics.ranking import ranking_scores
    from musicbert.provenance import provenance

    try:
        songs = read_songs(given.songs)
        midi = {path.stem: path for folder in given.midi for path in folder.rglob("*.mid")}
        lines = map(json.loads, given.ledger.read_text(encoding="utf-8").splitlines())
        seen = {Path(line["file"]).stem for line in lines if line["reason"] is None}
        queries = seen_queries(given.data, songs, midi, seen)
        files = sorted(given.results.glob("*.npz"))
        if not files:
            raise DatasetError("not-found", "There are no predictions", path=given.results)
        with np.load(files[0], allow_pickle=False) as first:
            labels, of_query = first["labels"], first["queries"]
        scores = dict(pair_baselines(given.data, "test"))
        for path in files:
            with np.load(path, allow_pickle=False) as found:
                scores[path.stem] = found["probability"]
    except (MusicBertError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows: dict[str, dict[str, dict[str, float]]] = {}
    queries = {name: chosen for name, chosen in queries.items() if len(chosen)}
    for name, chosen in queries.items():
        pairs = np.isin(of_query, np.unique(of_query)[chosen])
        weights = resample(len(chosen), n_resamples=given.resamples, seed=0)
        for row, values in scores.items():
            interval = ranking_scores(values[pairs], labels[pairs], of_query[pairs], weights=weights)["map"]
            rows.setdefault(row, {})[name] = interval.as_dict()
    counts = {name: len(chosen) for name, chosen in queries.items()}
    songs_seen = sum(name in seen for name in songs)
    record = {
        "songs": {"test": len(songs), "seen": songs_seen},
        "queries": counts,
        "map": rows,
        "provenance": provenance(sys.argv, inputs={"songs": given.songs, "ledger": given.ledger}, seed=0),
    }
    write_json(given.results / "seen.json", record)
    text = [
        f"# {given.data.name}: songs of the test part that the pre-training has seen",
        "",
        f"{songs_seen} of {len(songs)} songs are among its pieces (as music, without labels). Mean average",
        "precision, brackets: 95 % bootstrap interval over queries. `unknown`: queries whose song is one of",
        "several.",
        "",
        "| row | " + " | ".join(f"{name} ({count})" for name, count in counts.items()) + " |",
        "|---" * (1 + len(counts)) + "|",
    ]
    for row, found in rows.items():
        cells = [f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" for each in found.values()]
        text.append(f"| {row} | " + " | ".join(cells) + " |")
    write_text(given.results / "seen.md", "\n".join([*text, ""]))
    print("\n".join(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())

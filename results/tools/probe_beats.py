r"""Probe a frozen network on beats: test pieces that its pre-training has seen, and the others.

Example: python results/tools/probe_beats.py pm2s --model m2bert-mini --output results/downstream/beats_seen

A logistic regression on the states of notes (last layer), of the network and of one of random weights, learns
from ``--train`` performances of PM2S's training part; the threshold is that of the best F1 on them. Its
classes on the test pieces are kept (``predictions.npz``) and scored apart (``probe.json``, ``probe.md``);
``--again`` scores kept ones. Brackets: 95 % bootstrap intervals over pieces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from program import ROOT, make_parser, report_errors

from musicbert.atomic import write_json, write_text
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers import read
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.evaluation.predictions import Predictions, load_predictions, save_predictions
from musicbert.evaluation.reports.seen import parts_of, read_seen
from musicbert.evaluation.rows import draw_scores
from musicbert.evaluation.tables import interval_cell, markdown_table
from musicbert.provenance import provenance

__all__ = ["probe_pieces", "probe_text", "score_probe"]

LABELS = ("beat", "downbeat")
ROWS = ("always", "random weights", "pre-trained")
_ON = 2


def _states(model: Any, pieces: Sequence[LabelledPiece]) -> list[tuple[Any, Any]]:
    """States and notes of the rows of each piece."""
    found = []
    for piece in pieces:
        read_piece = model.read(piece.notes)
        found.append((model.embed(read_piece, level="note"), read_piece.note_index))
    return found


def probe_pieces(
    model: Any, train: Sequence[LabelledPiece], test: Sequence[LabelledPiece], *, seed: int = 0
) -> dict[str, Predictions]:
    """Learn from some pieces and predict others: ``<label>, <row>`` -> predictions."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import precision_recall_curve
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from musicbert.predict.sentences.databin import random_twin

    results = {}
    for row in ROWS:
        if row == "random weights":
            weights = {name: value.clone() for name, value in model.module.state_dict().items()}
            model.module.load_state_dict(random_twin(model, seed=seed), strict=False)
        elif row == "pre-trained":
            model.module.load_state_dict(weights)
        states = {} if row == "always" else {"train": _states(model, train), "test": _states(model, test)}
        index = [model.read(piece.notes).note_index for piece in test]
        for label in LABELS:
            truth = np.concatenate([piece.labels[label][at] for piece, at in zip(test, index, strict=True)])
            on = np.ones(len(truth), bool)
            if states:
                known = [
                    piece.labels[label][at] for piece, (_, at) in zip(train, states["train"], strict=True)
                ]
                target = np.concatenate(known) == _ON
                learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
                learner.fit(np.concatenate([each for each, _ in states["train"]]), target)
                shown = learner.predict_proba(np.concatenate([each for each, _ in states["train"]]))[:, 1]
                precision, recall, edges = precision_recall_curve(target, shown)
                f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
                guess = learner.predict_proba(np.concatenate([each for each, _ in states["test"]]))[:, 1]
                on = guess >= edges[min(int(f1.argmax()), len(edges) - 1)]
            names = np.array([piece.name for piece in test])
            results[f"{label}, {row}"] = Predictions(
                label, "note", "classes", ("none", f"no {label}", label), names, names, truth.astype(np.int8),
                np.eye(3, dtype=np.int8)[np.where(on, _ON, 1)],
                offsets=np.concatenate([[0], np.cumsum([len(at) for at in index])]),
            )  # fmt: skip
    return results


def score_probe(
    found: dict[str, Predictions], seen: set[str], n_resamples: int = 1000
) -> list[dict[str, Any]]:
    """Score F1 of each row, and of the pre-trained minus the random one, on seen and unseen pieces."""
    rows: list[dict[str, Any]] = []
    for label in LABELS:
        draws: dict[tuple[str, str], Any] = {}
        for row in ROWS:
            for part, mine in parts_of(found[f"{label}, {row}"], seen).items():
                weights = resample(len(mine), n_resamples=n_resamples, seed=0)
                draws[row, part] = draw_scores(mine, weights)[f"f1:{label}"]
                rows.append({"label": label, "row": row, "part": part, "pieces": len(mine)})
                rows[-1] |= interval(draws[row, part]).as_dict()
        for part in dict.fromkeys(part for _, part in draws):
            gain = interval(draws["pre-trained", part] - draws["random weights", part]).as_dict()
            rows.append({"label": label, "row": "gain", "part": part} | gain)
    return rows


def probe_text(rows: Sequence[dict[str, Any]], about: str) -> str:
    """Return the table in Markdown."""
    parts = list(dict.fromkeys(row["part"] for row in rows))
    counts = {row["part"]: row["pieces"] for row in rows if "pieces" in row}
    lines = []
    for label in LABELS:
        for name in (*ROWS, "gain"):
            cells = {
                row["part"]: interval_cell(row) for row in rows if (row["label"], row["row"]) == (label, name)
            }
            lines.append([label, name, *(cells[part] for part in parts)])
    head = ["F1 of", "row", *(f"{part} ({counts[part]} pieces)" for part in parts)]
    title = "# Beats and downbeats: test pieces that the pre-training has seen as music, and the others"
    return "\n".join([title, "", about, "", *markdown_table(head, lines), ""])


def main() -> int:
    """Parse the arguments, probe and report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("data", type=Path, help="PM2S's features (a folder or an archive)")
    parser.add_argument("--model", default="m2bert-mini", help="network")
    parser.add_argument("--seen", help="list of seen pieces (results/overlaps.json:MODEL)")
    parser.add_argument("--train", type=int, default=60, help="performances to learn from")
    parser.add_argument("--again", action="store_true", help="score the kept predictions")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    return report_errors(lambda: _probe(given))


def _probe(given: argparse.Namespace) -> str:
    seen = read_seen(given.seen or f"{ROOT / 'results' / 'overlaps.json'}:{given.model}")
    kept = given.output / "predictions.npz"
    if given.again:
        found = load_predictions(kept)
    else:
        import musicbert

        parts: dict[str, list[LabelledPiece]] = {"train": [], "valid": [], "test": []}
        for piece in read("pm2s", given.data):
            if "clean" in piece.splits:
                parts[piece.splits["clean"]].append(piece)
        chosen = np.random.default_rng(0).permutation(len(parts["train"]))[: given.train]
        train = [parts["train"][number] for number in sorted(chosen.tolist())]
        found = probe_pieces(musicbert.from_pretrained(given.model), train, parts["test"])
        save_predictions(kept, found)
    rows = score_probe(found, seen)
    made_by = provenance(sys.argv, inputs={"predictions": kept}, seed=0)
    write_json(given.output / "probe.json", {"model": given.model, "rows": rows, "provenance": made_by})
    about = (
        f"Logistic regression on frozen states of notes of `{given.model}` (last layer) and of random\n"
        f"weights, learned from {given.train} training performances of PM2S. Test: 29 CPM originals.\n"
        "`gain`: pre-trained minus random weights, on the same resamples of pieces. Made by\n"
        "`results/tools/probe_beats.py`, which scores `predictions.npz` again with `--again`."
    )
    text = probe_text(rows, about)
    write_text(given.output / "probe.md", text)
    return text


if __name__ == "__main__":
    sys.exit(main())

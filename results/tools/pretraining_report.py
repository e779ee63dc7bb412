r"""Write the report of a pre-training from its log: report.json, about.md (for a model card) and curves.png.

Example: python results/tools/pretraining_report.py --log checkpoints/mlm/train.log \
    --corpus data_bin/build.json --hardware "one NVIDIA H100" --notes notes.md \
    --out results/pretraining/musicbert-mini

Everything is read from the log of fairseq-train (``--log-format json``) and from the ``build.json`` of the
corpus; nothing is typed by hand but what the caller says about the hardware and the data's licences.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from program import make_parser, report_errors
from training_effort import notes_seen, training_seconds
from training_speed import SIZES, SteadySpeed, model_utilisation, steady_speed

from musicbert import viz
from musicbert.atomic import write_json, write_text
from musicbert.errors import DatasetError
from musicbert.evaluation.training_log import Curves
from musicbert.provenance import provenance

__all__ = ["about_text", "pretraining_report", "read_log"]

#: options of fairseq-train that make the recipe
RECIPE = (
    *("arch", *SIZES, "layout", "encoding", "objective", "aux", "crop", "noise_prob", "noise_radius"),
    *("mask_strategy", "mask_prob", "random_tokens", "sample_break_mode", "performance_input"),
    *("dropout", "optimizer", "adam_betas", "adam_eps", "weight_decay", "clip_norm", "lr", "lr_scheduler"),
    *("warmup_updates", "total_num_update", "max_update", "batch_size", "update_freq", "autocast_bf16"),
    *("bf16", "fp16", "compile", "half_sums", "seed"),
)

#: quantities that are drawn
SHOWN = ("loss", "accuracy", "accuracy_all", "performance_loss", "roll")


def read_log(path: Path) -> dict[str, Any]:
    """Read options, curves and summary of a log, packed (``.xz``) or not.

    Returns
    -------
    ``options`` (of `RECIPE`), ``curves`` (quantity -> part -> [(update, value)]), ``part`` (valid, or
    train where there is no valid part), ``final`` (last value of each quantity of that part), ``updates``,
    ``epochs``, ``seconds`` (of all processes of a resumed run), ``notes`` (seen in all; None where the log
    does not say), ``steady`` (see `steady_speed`; None where the log does not say), and of the last epoch
    ``rows_of_a_batch`` and ``tokens_of_a_batch``

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-log`` where no epoch was finished.
    """
    if not path.is_file():
        raise DatasetError("not-found", "There is no such log", path=path)
    content = path.read_bytes()
    lines = (lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8").splitlines()
    options: dict[str, str] = {}
    for line in lines:
        _, marker, body = line.partition("| fairseq_cli.train | {'_name'")
        if marker:
            options = _options("{'_name'" + body)
            break
    curves = _curves(lines)
    summaries = [json.loads(line[line.index("{") :]) for line in lines if "| INFO | train | {" in line]
    if not summaries:
        raise DatasetError("bad-log", "No epoch of a training was finished here", path=path)
    last = summaries[-1]
    part = "valid" if any("valid" in parts for parts in curves.values()) else "train"
    final = {quantity: parts[part][-1][1] for quantity, parts in sorted(curves.items()) if part in parts}
    return {
        "options": options,
        "curves": curves,
        "part": part,
        "final": final,
        "updates": int(last["train_num_updates"]),
        "seconds": training_seconds(lines),
        "notes": _notes(options, curves),
        "steady": _steady(options, lines),
        "rows_of_a_batch": float(last["train_bsz"]),
        "tokens_of_a_batch": float(last.get("train_wpb", 0)),
        "epochs": int(last["epoch"]),
    }


def _notes(options: Mapping[str, str], curves: Curves) -> float | None:
    if "crop" in options:  # rows of notes, octuples too
        return notes_seen(curves, octuples=False)
    # in the other forms of MusicBERT, the tokens of a note differ in number
    return notes_seen(curves, octuples=True) if options.get("encoding", "octuple") == "octuple" else None


def _steady(options: Mapping[str, str], lines: list[str]) -> SteadySpeed | None:
    if "crop" not in options and options.get("encoding", "octuple") != "octuple":
        return None
    return steady_speed(lines, octuples="crop" not in options)


def _curves(lines: list[str]) -> Curves:
    """Curves over updates, which go on within an epoch where it is validated more than once."""
    curves: Curves = {}
    for line in lines:
        match = re.search(r"(?:\| |INFO:)(train|valid)(?: \| |:)(\{.*\})\s*$", line)
        if match is None:
            continue
        part, body = match[1], json.loads(match[2])
        update = float(body[f"{part}_num_updates"])
        for name, value in body.items():
            quantity = name.removeprefix(f"{part}_")
            if quantity != name and quantity != "num_updates":
                points = curves.setdefault(quantity, {}).setdefault(part, [])
                points[:] = [point for point in points if point[0] != update] + [(update, float(value))]
    return curves


def _options(text: str) -> dict[str, str]:
    """Pick the recipe out of fairseq's dump of its configuration, as text."""
    picked = {}
    for name in RECIPE:
        match = re.search(rf"\b{name}(?:': |=)(?:{{'_name': )?('[^']*'|\[[^\]]*\]|\([^)]*\)|[^,)}}]+)", text)
        if match and match[1] != "None":
            picked[name] = match[1].strip("'")
    if "arch" not in picked and (match := re.search(r"'model': \{'_name': '([^']+)'", text)):
        picked = {"arch": match[1], **picked}
    return picked


def about_text(report: Mapping[str, Any]) -> str:
    """Return the part of a model card that says how the weights came about, in Markdown."""
    run, corpus = report["run"], report["corpus"]
    lines = [
        "## Pre-training",
        "",
        "| | |",
        "|---|---|",
        f"| pieces, sequences, notes | {corpus['files']:,}, {corpus['sequences']:,}, {corpus['notes']:,} |",
        f"| updates, epochs | {run['updates']:,}, {run['epochs']} |",
        f"| notes seen | {report['notes_seen']:,} |",
        f"| time | {run['seconds']:.0f} s on {report['hardware']} ({report['notes_a_second']:,} notes/s) |",
    ]
    if speed := report.get("speed"):
        steady = f"{speed['steady_notes_a_second']:,} notes/s"
        if "utilisation" in speed:
            ceiling = speed["ceiling_tflops"]
            steady += f", {speed['utilisation']:.1%} of the {ceiling:,.0f} TFLOP/s of a large matrix product"
        if speed.get("least_gib_free") is not None:
            steady += f"; the training's tensors leave {speed['least_gib_free']:.0f} GiB of the GPU"
        lines.append(f"| between validations | {steady} |")
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in run["options"].items()]
    accuracy = {q: v for q, v in run["final"].items() if q.startswith("accuracy_")}
    if accuracy:
        tokens = "disturbed" if run["options"].get("objective") == "denoise" else "masked"
        lines += ["", f"Accuracy on {tokens} tokens, {run['part']} part, per cent:", ""]
        names = [name.removeprefix("accuracy_").replace("_", " ") for name in accuracy]
        lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        lines += ["| " + " | ".join(f"{value:.1f}" for value in accuracy.values()) + " |"]
    if "loss" in run["final"] and "objective" not in run["options"]:
        lines += ["", f"Loss: {run['final']['loss']:.3f} bits a masked token ({run['part']} part)."]
    lines += ["", "## Data and limits", "", report["notes"].strip(), ""]
    return "\n".join(lines)


def _speed(steady: SteadySpeed, options: Mapping[str, str], ceiling: float | None) -> dict[str, Any]:
    speed: dict[str, Any] = {
        "steady_notes_a_second": round(steady.notes_a_second),
        "updates_a_second": steady.updates_a_second,
        "notes_of_a_row": round(steady.notes_of_a_row, 1),
        "least_gib_free": steady.least_gib_free,
    }
    share = model_utilisation(steady, options, ceiling * 1e12) if ceiling else None
    return speed if share is None else {**speed, "utilisation": round(share, 4), "ceiling_tflops": ceiling}


def pretraining_report(
    log: Path,
    corpus: Path,
    out: Path,
    *,
    hardware: str,
    notes: str,
    made_by: Mapping[str, Any],
    ceiling: float | None = None,
) -> dict[str, Any]:
    """Write ``report.json``, ``about.md`` and ``curves.png`` into a folder.

    Parameters
    ----------
    log
        Log of fairseq-train.
    corpus
        ``build.json`` that `musicbert build` wrote beside the data.
    out
        Folder to write.
    hardware
        What it ran on.
    notes
        Sources, licences and limits, in Markdown.
    made_by
        See `musicbert.provenance.provenance`.
    ceiling
        TFLOP/s of the largest matrix product on that hardware, summed over its GPUs, for the utilisation.

    Raises
    ------
    DatasetError
        As `read_log`; ``bad-corpus`` where ``build.json`` does not count the train part.
    """
    run = read_log(log)
    try:
        counted = json.loads(corpus.read_text(encoding="utf-8"))["splits"]["train"]
        size = {name: int(counted[name]) for name in ("files", "sequences", "notes")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError("bad-corpus", "It does not count the train part", path=corpus) from error
    if run["notes"] is None:  # rows of the usual length
        seen = round(run["updates"] * run["rows_of_a_batch"] * size["notes"] / size["sequences"])
    else:
        seen = round(run["notes"])
    steady = run.pop("steady")
    report = {
        "run": run,
        "corpus": size,
        "notes_seen": seen,
        "notes_a_second": round(seen / run["seconds"]) if run["seconds"] else 0,
        **({"speed": _speed(steady, run["options"], ceiling)} if steady else {}),
        "hardware": hardware,
        "notes": notes,
        "provenance": dict(made_by),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "report.json", report)
    write_text(out / "about.md", about_text(report))
    shown = {q: p for q, p in run["curves"].items() if q in SHOWN}
    viz.curves_plot(shown, out / "curves.png", title=f"{out.name}: pre-training", unit="update")
    return report


def main() -> int:
    """Parse the arguments and write the report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("--log", type=Path, required=True, help="log of fairseq-train, also packed (.xz)")
    parser.add_argument("--corpus", type=Path, required=True, help="build.json of the corpus")
    parser.add_argument("--hardware", required=True, help="what it ran on")
    parser.add_argument("--notes", type=Path, required=True, help="Markdown: sources, licences, limits")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--ceiling",
        type=float,
        help="TFLOP/s of a large matrix product there, summed over the GPUs (benchmarks/pretrain_step.py)",
    )
    given = parser.parse_args()

    def report() -> str:
        inputs = {"log": given.log, "corpus": given.corpus}
        command = ["python", "results/tools/pretraining_report.py", *sys.argv[1:]]
        report = pretraining_report(
            given.log,
            given.corpus,
            given.out,
            hardware=given.hardware,
            notes=given.notes.read_text(encoding="utf-8"),
            made_by=provenance(command, inputs=inputs, seed=0),
            ceiling=given.ceiling,
        )
        return f"{report['notes_seen']:,} notes seen, {report['notes_a_second']:,} a second: {given.out}"

    return report_errors(report)


if __name__ == "__main__":
    sys.exit(main())

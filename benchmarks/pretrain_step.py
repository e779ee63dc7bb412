"""Speed of masked-LM training: step time, notes a second, model FLOPs utilisation and memory.

    python benchmarks/pretrain_step.py --arch base --batch 16 --precision autocast --compile --workers 8
    python benchmarks/pretrain_step.py --sweep small base --write benchmarks/pretrain_step_<hardware>.md
    python benchmarks/pretrain_step.py --arch base --batch 32 --workers -1 --profile profile.md \\
        --settings padded:autocast:eager:0.1 stream:autocast:compiled:0.1 stream:bf16:compiled:0:64

Runs on whatever device torch finds and needs torch, NumPy and this package, no fairseq. A step is forward,
loss, backward and optimiser. Rows measured for each setting:

``resident``
    one batch that is on the device already: the speed of the model.
``loader``
    batches masked on the fly by ``--workers`` processes, put into pinned memory and copied: what training
    sees. ``--data PREFIX`` takes binarised pieces (``PREFIX.bin``, ``PREFIX.idx``), else pieces are made.

``--settings`` names the settings one by one, layout:precision:eager|compiled:attention dropout[:batch].
``--profile FILE`` runs a few more resident steps under torch's profiler and writes where their time goes, by
kind of kernel. Files are written after each setting: what is stopped keeps what it measured.

Utilisation is model FLOPs / time / ceiling, both of dense matrix products; which are counted is said in
:mod:`musicbert.flops`.

``ceiling`` is what one large product reaches on this device in the same precision, measured; padding is no
work that is needed, so only real notes count.
"""

from __future__ import annotations

import argparse
import itertools
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from step_checks import OLD_FORMS, check_attention, check_layouts, measure_loader
from step_data import Blocks, made_pieces, stored_pieces
from step_profile import profile_lines
from step_trainer import Setting, measure, measured_ceiling, measured_cells

from musicbert.atomic import write_json, write_text
from musicbert.config import PRESETS

LAYOUTS = ("padded", "stream")
PRECISIONS = ("float32", "autocast", "bf16")


def table(results: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| arch | batch | precision | layout | attention dropout | compiled | source | ms a step | notes/s "
        "| TFLOP/s | utilisation | GiB |",
        "|---|---:|---|---|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        start = (
            f"| {r['arch']} | {r['batch']} x {r['notes']} | {r['precision']} | {r['layout']}"
            f"{', pieces apart' if r['separate'] else ''} | {r['attention_dropout']} | "
            f"{'yes' if r['compile'] else 'no'} | "
        )
        lines += [start + cells for cells in measured_cells(r)]
    return lines


def setting_changes(text: str) -> dict[str, Any]:
    """Changes that an item of ``--settings`` asks for."""
    layout, precision, how, dropout, *batch = text.split(":")
    if layout not in LAYOUTS or precision not in PRECISIONS or how not in ("eager", "compiled") or batch[1:]:
        raise ValueError(text)
    found = {"layout": layout, "precision": precision, "compile": how == "compiled"}
    return {**found, "attention_dropout": float(dropout), **({"batch": int(batch[0])} if batch else {})}


def settings_of(options: argparse.Namespace) -> list[Setting]:
    def one(arch: str, **changes: Any) -> Setting:
        values = {
            "arch": arch, "batch": options.batch, "notes": options.notes, "precision": options.precision,
            "layout": options.layout, "separate": options.separate, "compile": options.compile,
            "attention_dropout": options.attention_dropout, "down_form": options.down_form,
        }  # fmt: skip
        return Setting(**{**values, **changes})

    if options.settings:
        return [one(options.arch, **changes) for changes in options.settings]
    if not options.sweep:
        return [one(options.arch)]
    found = []
    for arch in options.sweep:
        every = itertools.product(LAYOUTS, ("autocast", "bf16"), (False, True))
        found += [one(arch, layout=kind, precision=form, compile=yes) for kind, form, yes in every]
        found.append(one(arch, layout="stream", precision="bf16", compile=True, attention_dropout=0.0))
        found.append(one(arch, layout="stream", precision="bf16", compile=True, separate=True))
    return found


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", default="small", choices=sorted(PRESETS))
    parser.add_argument("--batch", type=int, default=16, help="blocks of a step")
    parser.add_argument("--notes", type=int, default=1023, help="most notes of a block, specials included")
    parser.add_argument("--precision", default="autocast", choices=PRECISIONS)
    parser.add_argument("--layout", default="padded", choices=LAYOUTS)
    parser.add_argument("--separate", action="store_true", help="pieces of a block apart (with stream)")
    parser.add_argument("--attention-dropout", type=float, default=0.1)
    parser.add_argument("--down-form", default="auto", choices=["auto", "direct", "table", "present"])
    parser.add_argument("--compile", action="store_true", help="torch.compile of the blocks")
    parser.add_argument("--sweep", nargs="+", choices=sorted(PRESETS), help="all settings, for these sizes")
    parser.add_argument(
        "--settings", nargs="+", type=setting_changes, metavar="SETTING",
        help="these settings: layout:precision:eager|compiled:attention dropout[:batch]",
    )  # fmt: skip
    parser.add_argument(
        "--without", nargs="+", choices=sorted(OLD_FORMS), default=[],
        help="leave out these changes of the model, to measure what they give",
    )  # fmt: skip
    parser.add_argument("--data", help="prefix of binarised pieces, such as lmd_data_bin/train")
    parser.add_argument("--pieces", type=int, default=2000, help="pieces to make or to read")
    parser.add_argument("--workers", type=int, default=4, help="loading processes; -1: no loader row")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=6)
    parser.add_argument("--sync", action="store_true", help="wait for the device after each step")
    parser.add_argument("--device", help="cpu, cuda, ... (default: what torch finds)")
    parser.add_argument("--threads", type=int, default=0, help="threads of a CPU run (default: torch's)")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    parser.add_argument("--profile", type=Path, help="Markdown file: time of each setting by kind of kernel")
    parser.add_argument("--profile-steps", type=int, default=5, help="resident steps that are profiled")
    parser.add_argument("--trace", type=Path, help="folder for the traces of --profile")
    return parser


def save(options: argparse.Namespace, summary: dict[str, Any]) -> None:
    """Write the files that were asked for, with what there is so far."""
    results, name = summary["results"], summary["device"]
    where = f"{summary['date']}, {name}, torch {summary['torch']}, Python {summary['python']}."
    if summary["without"]:
        where += f" Without {', '.join(summary['without'])}."
    if options.json:
        write_json(options.json, summary)
    ceilings = ", ".join(f"{kind} {value:.0f} TFLOP/s" for kind, value in summary["ceiling_tflops"].items())
    if options.write:
        lines = [
            "# Speed of masked-LM training",
            "",
            where,
            "Made by `python benchmarks/pretrain_step.py`, which says what is counted. Ceiling (one large",
            f"matrix product): {ceilings}.",
            f"One process masks and collates {summary['loader_notes_per_second_per_process']:,.0f} notes/s. "
            "Padded against stream, float32:",
            f"largest difference of loss and gradients {summary['layout_difference']:.1e}.",
            "",
            *table(results),
            "",
        ]
        write_text(options.write, "\n".join(lines))
    if options.profile:
        lines = ["# Where a masked-LM step spends its time", "", where, f"Ceiling: {ceilings}.", ""]
        lines += [line for result in results if "profile" in result for line in profile_lines(result)]
        write_text(options.profile, "\n".join(lines))


def main(arguments_given: list[str] | None = None) -> None:
    options = arguments().parse_args(arguments_given)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, Python {platform.python_version()}", flush=True)
    for change in options.without:
        setattr(*OLD_FORMS[change])
    difference = check_layouts(device)
    print(f"padded against stream: largest difference of loss and gradient {difference:.2e}", flush=True)
    attention = None
    try:
        attention = check_attention(device)
        text = "{:.1e}, gradient {:.1e}".format(*attention)
    except RuntimeError as error:  # said, and the padded settings are measured
        text = f"{type(error).__name__}: {str(error)[:300]}"
    print(f"attention of a stream against one call a sequence, bfloat16: {text}", flush=True)
    pieces = stored_pieces(options.data, options.pieces) if options.data else made_pieces(options.pieces)
    one_core = measure_loader(Blocks(pieces, options.batch, options.notes, options.layout, False))
    print(f"one process masks and collates {one_core:,.0f} notes/s", flush=True)
    ceilings: dict[str, float] = {}
    results: list[dict[str, Any]] = []
    summary = {
        "device": name, "torch": torch.__version__, "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "ceiling_tflops": ceilings,
        "loader_notes_per_second_per_process": one_core, "layout_difference": difference,
        "attention_difference": attention, "without": options.without, "results": results,
    }  # fmt: skip
    if options.trace:
        options.trace.mkdir(parents=True, exist_ok=True)
    for number, setting in enumerate(settings_of(options)):
        kind = "float32" if setting.precision == "float32" else "bfloat16"
        if kind not in ceilings:
            ceilings[kind] = measured_ceiling(device, getattr(torch, kind)) / 1e12
            print(f"ceiling, {kind}: {ceilings[kind]:.1f} TFLOP/s", flush=True)
        data = Blocks(pieces, setting.batch, setting.notes, setting.layout, setting.separate)
        try:
            result = measure(
                setting, device, data, ceilings[kind] * 1e12,
                steps=options.steps, warmup=options.warmup, workers=options.workers, sync=options.sync,
                profiled=options.profile_steps if options.profile else 0,
                trace=options.trace / f"{number}.json" if options.trace else None,
            )  # fmt: skip
            results.append(result)
            print("\n".join(table([result])[2:]), flush=True)
            save(options, summary)
        except (RuntimeError, NotImplementedError) as error:  # out of memory, or a kernel that is not there
            print(f"{setting}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch.compiler.reset()


if __name__ == "__main__":
    main()

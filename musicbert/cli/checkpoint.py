"""`musicbert checkpoint`: look at, convert and verify checkpoints."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = "Look at, convert and verify checkpoints. Nothing inside a checkpoint is ever run."
EPILOG = """examples:
  musicbert checkpoint info checkpoint_last_musicbert_small.pt
  musicbert checkpoint verify checkpoint_last_musicbert_small.pt
  musicbert checkpoint convert checkpoint_last_musicbert_small.pt checkpoints/musicbert_small
  musicbert checkpoint convert checkpoints/mine mine.pt
  musicbert checkpoint convert checkpoints/mine mine_hf --to hugging-face

exit status: 0 done, or it agrees; 1 it differs from the expected numbers; 2 bad usage or input."""
CONVERT = """examples:
  musicbert checkpoint convert checkpoint_best.pt checkpoints/mine --labels data_bin/0/label/classes.json
  musicbert checkpoint convert checkpoints/mine mine.pt"""
VERIFY = """examples:
  musicbert checkpoint verify checkpoint_last_musicbert_base.pt
  musicbert checkpoint verify mine.pt --record mine_numbers.npz
  musicbert checkpoint verify copy_of_mine --expected mine_numbers.npz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert checkpoint`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    source = "checkpoint file in any container, folder, or name"

    def action(name: str, text: str, examples: str | None = None) -> argparse.ArgumentParser:
        made = actions.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("checkpoint", metavar="FILE", help=source)
        return made

    info = action("info", "Say what a checkpoint holds: architecture, heads, what can be loaded.")
    info.add_argument("--json", action="store_true", help="as JSON")
    convert = action("convert", "Write a checkpoint in another format, bit for bit.", CONVERT)
    convert.add_argument("target", metavar="TARGET", type=Path, help="folder, or file that ends in .pt")
    convert.add_argument(
        "--to",
        choices=("folder", "fairseq", "hugging-face"),
        help="format; fairseq for a target that ends in .pt, else folder, if missing",
    )
    convert.add_argument("--labels", metavar="JSON", help="classes.json that names the outputs of the heads")
    convert.add_argument("--overwrite", action="store_true", help="replace the target")
    verify = action("verify", "Compare the numbers that a checkpoint gives with expected ones.", VERIFY)
    verify.add_argument("--expected", metavar="NPZ", help="recorded numbers (the published checkpoints')")
    verify.add_argument("--record", metavar="NPZ", help="write its numbers instead of comparing")


def run(options: argparse.Namespace) -> int:
    """Do what is asked; return the exit status."""
    from musicbert.weights import load_folder, read_bundle, record, resolve, save_fairseq, save_folder, verify
    from musicbert.weights.download import sha256_of
    from musicbert.weights.folder import Layout

    path = resolve(options.checkpoint)
    labels = getattr(options, "labels", None)
    bundle = load_folder(path, labels=labels) if path.is_dir() else read_bundle(path, labels=labels)
    if options.action == "info":
        _info(bundle, as_json=options.json)
        return 0
    if options.action == "convert":
        if path.is_file() and "sha256" not in bundle.origin:
            bundle = replace(bundle, origin={**bundle.origin, "sha256": sha256_of(path)})
        to = options.to or ("fairseq" if options.target.suffix == ".pt" else "folder")
        if to == "fairseq":
            save_fairseq(bundle, options.target, overwrite=options.overwrite)
        else:
            layout: Layout = "musicbert" if to == "folder" else "hugging-face"
            save_folder(bundle, options.target, layout=layout, overwrite=options.overwrite)
        print(f"{len(bundle.weights)} tensors written to {options.target}")
        return 0
    if options.record is not None:
        print(f"numbers written to {record(bundle, options.record)}")
        return 0
    result = verify(bundle, options.expected)
    print(f"{options.checkpoint}: {result}")
    return 0 if result.passed else 1


def _info(bundle: object, *, as_json: bool) -> None:
    """Print what a checkpoint holds."""
    import json

    from musicbert.weights import Bundle, build_model

    assert isinstance(bundle, Bundle)
    _, report = build_model(bundle)
    count = sum(value.numel() for value in bundle.weights.values())
    if as_json:
        told = {**bundle.settings(), "parameters": count, "load": asdict(report)}
        json.dump(told, sys.stdout, indent=2)
        print()
        return
    for name, value in {**asdict(bundle.config), "parameters": count, "pooling": bundle.pooling}.items():
        print(f"{name:24} {value}")
    for head in bundle.heads:
        named = f": {', '.join(head.names)}" if head.names else ""
        print(f"head {head.name:19} {head.kind}, {head.outputs} outputs, {head.activation}{named}")
    for name, value in bundle.origin.items():
        print(f"origin {name:17} {value}")
    print(f"{'load':24} {report}")

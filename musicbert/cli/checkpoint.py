"""`musicbert checkpoint`: inspect, convert and verify checkpoints."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from musicbert.cli.inputs import add_action
from musicbert.command_line import refuse_unused

if TYPE_CHECKING:
    from musicbert.weights import Bundle
    from musicbert.weights.folder import Layout


DESCRIPTION = "Inspect, convert and verify checkpoints. Code inside a checkpoint is never run."
EPILOG = """examples:
  musicbert checkpoint info checkpoint_last_musicbert_small.pt
  musicbert checkpoint verify checkpoint_last_musicbert_small.pt
  musicbert checkpoint convert checkpoint_last_musicbert_small.pt checkpoints/musicbert_small
  musicbert checkpoint convert checkpoints/mine mine.pt
  musicbert checkpoint convert checkpoints/mine mine_hf --to hugging-face

exit status: 0 done, or the outputs agree; 1 they differ from the recorded ones; 2 bad usage or input."""
INFO = """examples:
  musicbert checkpoint info checkpoint_last_musicbert_small.pt
  musicbert checkpoint info checkpoints/mine --json"""
CONVERT = """examples:
  musicbert checkpoint convert checkpoint_best.pt checkpoints/mine --labels data_bin/0/label/classes.json
  musicbert checkpoint convert checkpoints/mine mine.pt
  musicbert checkpoint convert model_best.ckpt checkpoints/m2bert --float16
  musicbert checkpoint convert checkpoints/m2bert mine.ckpt
  musicbert checkpoint convert runs/model classifier --to hugging-face
  musicbert checkpoint convert rnbert.pt keys --to tagger"""
VERIFY = """examples:
  musicbert checkpoint verify checkpoint_last_musicbert_base.pt
  musicbert checkpoint verify mine.pt --record mine_numbers.npz
  musicbert checkpoint verify copy_of_mine --expected mine_numbers.npz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert checkpoint`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, examples: str) -> argparse.ArgumentParser:
        parser = add_action(actions, name, text, examples=examples)
        parser.add_argument(
            "checkpoint", metavar="FILE", help="checkpoint file in any container, folder, or name"
        )
        return parser

    info = action("info", "Show the contents of a checkpoint: architecture, heads, what can be loaded.", INFO)
    info.add_argument("--json", action="store_true", help="as JSON")
    convert = action("convert", "Write a checkpoint in another format, bit for bit.", CONVERT)
    add = convert.add_argument
    add("target", metavar="TARGET", type=Path, help="folder, or file that ends in .pt (M2BERT: also .ckpt)")
    add(
        "--to",
        choices=("folder", "fairseq", "hugging-face", "m2bert", "tagger"),
        help="format (by the suffix of the target: .pt fairseq, .ckpt m2bert, else folder; tagger: the heads "
        "of notes of a .pt with its encoder)",
    )
    add("--float16", action="store_true", help="half the size, rounded")
    add("--labels", metavar="JSON", help="classes.json that names the outputs of the heads")
    add("--about", metavar="MD", type=Path, help="Markdown to put into the model card (folders)")
    add("--overwrite", action="store_true", help="replace the target")
    verify = action("verify", "Compare the outputs of a checkpoint with recorded ones.", VERIFY)
    verify.add_argument(
        "--expected", metavar="NPZ", help="recorded outputs (those of the published checkpoints)"
    )
    verify.add_argument("--record", metavar="NPZ", help="record the outputs instead of comparing")


def run(options: argparse.Namespace) -> int:
    """Run the action; return the exit status."""
    from musicbert.atomic import write_text
    from musicbert.errors import CheckpointError
    from musicbert.weights import read_bundle, record, resolve, verify
    from musicbert.weights.download import sha256_of
    from musicbert.weights.tagger_folder import is_tagger_folder

    if options.action == "convert" and _format(options) not in ("folder", "hugging-face"):
        refuse_unused(options, ["about"], f"with --to {_format(options)}: only folders have a model card")
    if options.action == "verify" and options.record is not None:
        refuse_unused(options, ["expected"], "with --record")
    path = resolve(options.checkpoint)
    if is_tagger_folder(path) or (options.action == "convert" and _format(options) == "tagger"):
        return _tagger(options, path)
    bundle = read_bundle(path, labels=getattr(options, "labels", None))
    if options.action == "info":
        _info(bundle, as_json=options.json)
        return 0
    if options.action == "convert":
        if path.is_file() and "sha256" not in bundle.origin:
            bundle = replace(bundle, origin={**bundle.origin, "sha256": sha256_of(path)})
        if options.float16:
            bundle = bundle.half()
        if options.about is not None and not options.about.is_file():
            raise CheckpointError("not-found", "The text does not exist", path=options.about)
        _convert(bundle, options.target, _format(options), overwrite=options.overwrite)
        if options.about is not None:
            card = options.target / "README.md"
            about = options.about.read_text(encoding="utf-8")
            write_text(card, f"{card.read_text(encoding='utf-8')}\n{about}")
        print(f"{len(bundle.weights)} tensors written to {options.target}")
        return 0
    if options.record is not None:
        print(f"numbers written to {record(bundle, options.record)}")
        return 0
    result = verify(bundle, options.expected)
    print(f"{options.checkpoint}: {result}")
    return 0 if result.passed else 1


def _tagger(options: argparse.Namespace, path: Path) -> int:
    """Show or convert a fine-tuned model; return the exit status."""
    import json

    from musicbert.weights.classifier_export import save_classifier_folder
    from musicbert.weights.tagger_folder import load_tagger_folder, output_of, save_tagger_folder, tasks_of

    tagger, settings = load_tagger_folder(path)
    if options.action == "convert":
        what, to = "of a fine-tuned model of notes or pieces", _format(options)
        refuse_unused(options, ["labels", "about", "float16"], what)
        if to not in ("folder", "tagger", "hugging-face"):
            raise ValueError(f"there is no format {to} {what}: choose folder or hugging-face")
        save = save_classifier_folder if to == "hugging-face" else save_tagger_folder
        save(options.target, tagger.state_dict(), settings, overwrite=options.overwrite)
        print(f"{len(tagger.state_dict())} tensors written to {options.target}")
        return 0
    if options.action == "verify":
        raise ValueError(
            "numbers are recorded of pre-trained models, not of fine-tuned ones of notes or pieces"
        )
    if options.json:
        print(json.dumps(settings, indent=2))
        return 0
    for name, value in {**settings["architecture"], **settings["head"], "codec": settings["codec"]}.items():
        print(f"{name:24} {value}")
    for head, task in zip(map(output_of, tasks_of(settings)), tasks_of(settings), strict=True):
        print(f"label {head.name:18} {task['kind']} of a {task['level']}: {', '.join(head.shown_names())}")
    for name, value in (settings.get("origin") or {}).items():
        print(f"origin {name:17} {value}")
    return 0


def _format(options: argparse.Namespace) -> str:
    """The requested format, or that of the target's suffix."""
    by_suffix = {".pt": "fairseq", ".ckpt": "m2bert"}
    return options.to or by_suffix.get(options.target.suffix, "folder")


def _convert(bundle: Bundle, target: Path, to: str, *, overwrite: bool) -> None:
    """Write a checkpoint in a format."""
    from musicbert import weights

    if to == "fairseq":
        weights.save_fairseq(bundle, target, overwrite=overwrite)
    elif to == "m2bert":
        weights.save_ckpt(bundle, target, overwrite=overwrite)
    else:
        layout: Layout = "musicbert" if to == "folder" else "hugging-face"
        weights.save_folder(bundle, target, layout=layout, overwrite=overwrite)


def _info(bundle: Bundle, *, as_json: bool) -> None:
    """Print what a checkpoint holds."""
    import json

    from musicbert import weights

    report = weights.build_model(bundle)[1]
    musicbert = bundle.family.name == "musicbert"
    more = {"pooling": bundle.pooling} if musicbert else {"encoding": bundle.columns.encoding}
    count = sum(value.numel() for value in bundle.weights.values())
    if as_json:
        json.dump({**bundle.settings(), "parameters": count, "load": asdict(report)}, sys.stdout, indent=2)
        print()
        return
    for name, value in {**asdict(bundle.config), "parameters": count, **more}.items():
        print(f"{name:24} {value}")
    for head in bundle.heads:
        named = f": {', '.join(head.shown_names())}" if head.names else ""
        print(f"head {head.name:19} {head.kind}, {head.outputs} outputs, {head.activation}{named}")
    for name, value in bundle.origin.items():
        print(f"origin {name:17} {value}")
    print(f"{'load':24} {report}")

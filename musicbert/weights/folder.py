"""The folder format: ``config.json``, ``model.safetensors``, ``vocab.json`` and a model card ``README.md``.

Everything is data: no pickle. Tensors have the names of their family and are written bit for bit as they are;
``vocab.json`` maps tokens to ids; ``config.json`` is described in :mod:`musicbert.weights.bundle`. With
``layout="hugging-face"`` names and ``config.json`` of a MusicBERT are those of musicbert_hf
(:mod:`musicbert.weights.families.hugging_face`); what the heads mean stays in ``heads.json``.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch

from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.folders import build_directory
from musicbert.encoding.performance import KNOWN_INPUTS, SCORE_INPUTS
from musicbert.errors import CheckpointError
from musicbert.weights.bundle import Bundle
from musicbert.weights.families.hugging_face import hugging_face_config, to_hugging_face

Layout = Literal["musicbert", "hugging-face"]
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_folder(
    bundle: Bundle, folder: str | PathLike[str], *, layout: Layout = "musicbert", overwrite: bool = False
) -> Path:
    """Write a checkpoint as a new or empty folder, whole or not at all.

    ``layout``: ``musicbert``, or ``hugging-face`` for musicbert_hf. ``overwrite`` replaces such a folder,
    never one that holds something else.
    Raises `DatasetError` (those of :func:`~musicbert.corpus.files.folders.build_directory`) and
    `CheckpointError` (``not-exportable``).
    """
    weights, files = bundle.weights, {CONFIG: bundle.settings()}
    if layout == "hugging-face":
        if bundle.family.name != "musicbert":
            message = f"A model of the family {bundle.family.name} has no layout {layout!r}"
            raise CheckpointError("not-exportable", message, path=folder)
        if bundle.heads and (bundle.pooling, bundle.phases) != ("first", 1):
            message = (
                f"Its heads read {bundle.pooling} in {bundle.phases} phase(s), which {layout} cannot say"
            )
            raise CheckpointError("not-exportable", message, path=folder, hint="keep it in the folder format")
        weights, files = to_hugging_face(bundle.weights), {CONFIG: hugging_face_config(bundle.config)}
        if bundle.heads:
            files["heads.json"] = [asdict(head) for head in bundle.heads]
    files |= {"vocab.json": bundle.vocabulary(), "README.md": model_card(bundle, layout)}
    return write_folder(folder, weights, files, overwrite=overwrite, recognise=_is_ours)


def write_folder(
    folder: str | PathLike[str],
    weights: Mapping[str, torch.Tensor],
    files: Mapping[str, Any],
    *,
    overwrite: bool,
    recognise: Callable[[Path], bool],
) -> Path:
    """Write tensors as ``model.safetensors`` with files of text (strings) or JSON beside them.

    Tensors that share memory, which safetensors refuses, become two equal ones.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    seen: set[int] = set()
    separate = {}
    for name, value in weights.items():
        address = value.untyped_storage().data_ptr()
        separate[name] = value.detach().clone() if address in seen else value.detach().contiguous()
        seen.add(address)
    with build_directory(folder, overwrite=overwrite, recognise=recognise) as partial:
        try:
            save_file(separate, partial / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # it says errors of the disk in words only
            message = f"The weights cannot be written: {error}"
            raise CheckpointError("cannot-write", message, path=folder, hint="is the disk full?") from error
        for name, content in files.items():
            write = write_text if isinstance(content, str) else write_json
            write(partial / name, content)
        mode = (partial / next(iter(files))).stat().st_mode
        (partial / WEIGHTS).chmod(mode)  # safetensors makes it private
    return Path(folder)


def _is_ours(folder: Path) -> bool:
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def _inputs(count: int) -> str:
    score = (
        f" ({', '.join(SCORE_INPUTS)} among them)"
        if KNOWN_INPUTS.get(count, ())[-1:] == SCORE_INPUTS[-1:]
        else ""
    )
    return f"{count}{score}" if count else "none"


def model_card(bundle: Bundle, layout: Layout) -> str:
    """Model card in Markdown: what it is, how to use it, what its heads give, where it comes from."""
    config: Any = bundle.config
    family, columns = bundle.family, bundle.columns
    parameters = sum(value.numel() for value in bundle.weights.values())
    sizes = (config.layers, config.width, config.ffn_width, config.heads)
    table = {
        "layers, width, feed-forward, heads": ", ".join(map(str, sizes)),
        "parameters": f"{parameters:,}",
    }
    use = ['notes = model.embed("piece.mid", level="note")']
    heads = []
    if family.name == "musicbert":
        table |= {
            "positions": config.max_positions,
            "epsilon of LayerNorm": f"{config.norm_eps:g}",
            "performance inputs": _inputs(config.performance_features),
            "sentence heads read": bundle.pooling,
            "phases of the clock": bundle.phases,
            "layout": layout,
        }
        use = ['vector = model.embed("piece.mid")']
        use += ['scores = model.predict("piece.mid")'] if bundle.heads else []
        heads = ["## Heads", ""]
        heads += [] if bundle.heads else ["Only the masked-language-model head."]
        for head in bundle.heads:
            named = f": {', '.join(head.shown_names())}" if head.names else ""
            heads.append(f"- `{head.name}` ({head.kind}, {head.activation}), {head.outputs} outputs{named}")
        heads.append("")
    else:
        table = {"encoding": f"{columns.encoding}: {', '.join(columns.names)}", **table}
        if family.name == "midibert":
            table["longest input"] = f"{config.max_positions} notes"
        else:
            table["piano-roll outputs"] = config.roll_outputs or "none"
    table |= {f"{name} of origin": f"`{value}`" for name, value in bundle.origin.items()}
    tags = "musicbert, octuple-midi" if family.name == "musicbert" else family.name
    lines = ["---", "library_name: musicbert", f"tags: [music, midi, symbolic-music, {tags}]", "---", ""]
    lines += [f"# {family.title}", "", family.about, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in table.items()]
    lines += ["", *heads, "## Use", "", "```python", "import musicbert", ""]
    lines += ['model = musicbert.from_pretrained("this/folder")', *use, "```", ""]
    if family.name == "musicbert":
        lines += ["The language-model head is not tied to the token embedding.", ""]
    return "\n".join(lines)

"""Model card of a folder with an M2BERT or a MidiBERT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from musicbert.config import MidiBertConfig

if TYPE_CHECKING:
    from musicbert.weights.m2bert.folder import M2BertBundle

__all__ = ["model_card"]


def model_card(bundle: M2BertBundle) -> str:
    """Model card in Markdown."""
    config = bundle.config
    sizes = ", ".join(map(str, (config.layers, config.width, config.ffn_width, config.heads)))
    count = sum(value.numel() for value in bundle.weights.values())
    if bundle.model_type == "midibert":
        title = "A MidiBERT model"
        about = "MidiBERT (BERT blocks with relative positions over the columns of a note)"
    else:
        title = "An M2BERT model"
        about = (
            "M2BERT (ModernBERT blocks over the columns of a note, pre-trained by token denoising and "
            "piano-roll prediction)"
        )
    lines = [
        "---",
        "library_name: musicbert",
        f"tags: [music, midi, symbolic-music, {bundle.model_type}]",
        "---",
        "",
        f"# {title}",
        "",
        f"{about} in the layout of the package `musicbert`.",
        "",
        "| | |",
        "|---|---|",
        f"| encoding | {bundle.columns.encoding}: {', '.join(bundle.columns.names)} |",
        f"| layers, width, feed-forward, heads | {sizes} |",
        f"| parameters | {count:,} |",
        f"| longest input | {config.max_positions} notes |"
        if isinstance(config, MidiBertConfig)
        else f"| piano-roll outputs | {config.roll_outputs or 'none'} |",
        *(f"| {name} of origin | `{value}` |" for name, value in bundle.origin.items()),
        "",
        "## Use",
        "",
        "```python",
        "import musicbert",
        "",
        'model = musicbert.from_pretrained("this/folder")',
        'notes = model.embed("piece.mid", level="note")',
        "```",
        "",
    ]
    return "\n".join(lines)

"""The model card that lies beside converted weights."""

from __future__ import annotations

from musicbert.weights.bundle import Bundle

__all__ = ["model_card"]


def model_card(bundle: Bundle, layout: str) -> str:
    """Write a model card in Markdown: what it is, how to use it, what its heads give, where it comes from.

    Parameters
    ----------
    bundle
        The checkpoint.
    layout
        ``musicbert`` or ``hugging-face``.
    """
    config = bundle.config
    parameters = sum(value.numel() for value in bundle.weights.values())
    sizes = (config.layers, config.width, config.ffn_width, config.heads)
    lines = [
        "---",
        "library_name: musicbert",
        "tags: [music, midi, symbolic-music, musicbert, octuple-midi]",
        "---",
        "",
        "# A MusicBERT model",
        "",
        "MusicBERT (Zeng et al. 2021, <https://arxiv.org/abs/2106.05630>) reads symbolic music in the",
        "OctupleMIDI encoding: eight tokens a note.",
        "",
        "| | |",
        "|---|---|",
        f"| layers, width, feed-forward, heads | {', '.join(map(str, sizes))} |",
        f"| parameters | {parameters:,} |",
        f"| positions | {config.max_positions} |",
        f"| performance inputs | {config.performance_features or 'none'} |",
        f"| sentence heads read | {bundle.pooling} |",
        f"| layout | {layout} |",
    ]
    lines += [f"| {name} of origin | `{value}` |" for name, value in bundle.origin.items()]
    lines += ["", "## Heads", ""]
    if not bundle.heads:
        lines.append("Only the masked-language-model head.")
    for head in bundle.heads:
        named = f": {', '.join(head.names)}" if head.names else ""
        lines.append(f"- `{head.name}` ({head.kind}, {head.activation}), {head.outputs} outputs{named}")
    lines += ["", "## Use", "", "```python", "import musicbert", ""]
    lines += ['model = musicbert.from_pretrained("this/folder")', 'vector = model.embed("piece.mid")']
    if bundle.heads:
        lines.append('scores = model.predict("piece.mid")')
    lines += ["```", "", "The language-model head is not tied to the token embedding.", ""]
    return "\n".join(lines)

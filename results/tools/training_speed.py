"""How fast a training went between its validations, and how much of the device's arithmetic it needed.

Read from fairseq's lines within epochs (``train_inner``). Verified in
``tests/results_tools/test_training_speed.py``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from training_effort import SPECIAL_ROWS, STATE

from musicbert.config import M2BertConfig, ModelConfig
from musicbert.encoding.vocabulary import N_FIELDS
from musicbert.flops import m2bert_flops, musicbert_flops
from musicbert.objectives.note_fields import CP
from musicbert.objectives.pianoroll import roll_size

__all__ = ["SIZES", "SteadySpeed", "model_utilisation", "steady_speed"]

#: options of the networks and what the configurations call them (the last one: M2BERT's alone)
SIZES = {
    "encoder_layers": "layers",
    "encoder_embed_dim": "width",
    "encoder_ffn_embed_dim": "ffn_width",
    "encoder_attention_heads": "heads",
    "field_embed_dim": "embedding_width",
}


@dataclass(frozen=True)
class SteadySpeed:
    """Speed between validations, checkpoints and starts.

    Attributes
    ----------
    notes_a_second, updates_a_second
        Medians over the lines of the log within epochs.
    notes_of_a_row
        Mean length of a sequence, padding left out.
    rows
        Of an update, in all processes.
    least_gib_free
        Memory of the GPU less the most that tensors of the training took; None where the log does not say.
        What other processes take, or torch keeps in reserve, is not in it.
    """

    notes_a_second: float
    updates_a_second: float
    notes_of_a_row: float
    rows: float
    least_gib_free: float | None


def steady_speed(lines: Iterable[str], *, octuples: bool) -> SteadySpeed | None:
    """Return the speed that a training had while it trained.

    Parameters
    ----------
    lines
        Log of fairseq-train with ``--log-format json``.
    octuples
        As for `notes_seen`.

    Returns
    -------
    None where the log has no lines within epochs, or no rows in them.
    """
    updates, words, rows, free = [], [], [], []
    for line in lines:
        if "train_inner" not in line or not (state := STATE.search(line)):
            continue
        try:
            body = json.loads(state[1])
        except ValueError:  # a process was killed while it wrote, and the next one wrote on
            continue
        if all(name in body for name in ("ups", "wpb", "bsz")):
            updates.append(float(body["ups"]))
            words.append(float(body["wpb"]))
            rows.append(float(body["bsz"]))
        if "gb_free" in body:
            free.append(float(body["gb_free"]))
    if not updates or not sum(rows):
        return None
    notes = [w / N_FIELDS - SPECIAL_ROWS * n if octuples else w for w, n in zip(words, rows, strict=True)]
    return SteadySpeed(
        statistics.median(n * rate for n, rate in zip(notes, updates, strict=True)),
        statistics.median(updates),
        sum(notes) / sum(rows),
        statistics.fmean(rows),
        min(free, default=None),
    )


def model_utilisation(speed: SteadySpeed, options: Mapping[str, str], ceiling: float) -> float | None:
    """Share of a device's arithmetic that a training needed (see `musicbert.flops`), in 0-1.

    All sequences count as if they were of the mean length: a little less than was needed.

    Parameters
    ----------
    speed
        Of the training.
    options
        Of fairseq-train: ``arch`` and the sizes of the network, ``objective``, ``aux``, ``encoding``,
        ``noise_prob``, ``mask_prob``.
    ceiling
        FLOP/s of the largest matrix product, over all devices.

    Returns
    -------
    None for networks and encodings that are not counted.
    """
    arch, encoding = options.get("arch", ""), options.get("encoding", "octuple")
    sizes = {ours: int(options[theirs]) for theirs, ours in SIZES.items() if theirs in options}
    lengths = [round(speed.notes_of_a_row)] * round(speed.rows)
    if arch.startswith("m2bert") and encoding == "cp" and len(sizes) == len(SIZES):
        aux = options.get("aux", "none")
        roll = 0 if aux == "none" else roll_size(chroma=aux == "pianoroll")
        config = M2BertConfig(**sizes, field_sizes=CP.sizes, field_pads=CP.pads, roll_outputs=roll)
        share = float(options["noise_prob" if options.get("objective") == "denoise" else "mask_prob"])
        needed = m2bert_flops(config, lengths, share * sum(lengths))
    elif arch.startswith("musicbert") and encoding == "octuple" and len(sizes) == len(SIZES) - 1:
        if "objective" in options:  # masked as cells, by another head
            return None
        tokens = float(options["mask_prob"]) * N_FIELDS * sum(lengths)
        needed = musicbert_flops(ModelConfig(**sizes), lengths, tokens)
    else:
        return None
    return needed / sum(lengths) * speed.notes_a_second / ceiling

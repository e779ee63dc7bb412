"""How long a training takes on a CPU: the arithmetic of all its updates, counted before it begins."""

import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from musicbert.atomic import read_json
from musicbert.config import M2BERT_PRESETS, PRESETS
from musicbert.flops import m2bert_flops, musicbert_flops

#: share of the speed of a large matrix product that a training step reaches on a CPU
UTILISATION = 0.5
#: tokens of a note in a data-bin
_FIELDS = 8
#: shares of tokens, or of notes, that are predicted in pre-training, as published
_MASKED, _NOISY = 0.15, 0.3
#: notes of a piece for one crop an epoch (M2BERT)
_NOTES_OF_CROP = 512
#: head of a fairseq index (magic, version, type, number of sequences), and the most sequences that are read
_INDEX, _MOST = struct.Struct("<9sQBQ"), 1 << 24


def training_flops(words: Sequence[str], data: str, rows: int) -> float:
    """Operations of a command of fairseq-train; 0 if its data or its length cannot be told.

    ``rows``: rows of an update (windows, or several pieces in a row); ``data``: the first folder counts.
    """
    given = dict(pairwise(words))
    lengths = _notes(Path(data.partition(os.pathsep)[0]))
    if not lengths:
        return 0.0
    crop, packed = "--crop" in given, given.get("--sample-break-mode") == "complete"
    positions = given.get("--tokens-per-sample", given.get("--max-positions", "8192"))
    longest = int(given["--crop"]) if crop else int(positions) // _FIELDS
    repeated = [-(-notes // _NOTES_OF_CROP) if crop else 1 for notes in lengths]
    total = sum(min(notes, longest) * times for notes, times in zip(lengths, repeated, strict=True))
    all_rows = -(-sum(lengths) // longest) if packed else sum(repeated)
    rows = min(rows, all_rows)
    notes = [(sum(lengths) if packed else total) // all_rows] * rows
    updates = int(given.get("--max-update", 0)) or int(given.get("--max-epoch", 0)) * -(-all_rows // rows)
    family, _, size = given["--arch"].rpartition("_")
    sizes = {
        "layers": given.get("--encoder-layers"),
        "width": given.get("--encoder-embed-dim"),
        "ffn_width": given.get("--encoder-ffn-embed-dim"),
    }
    changes: Any = {name: int(value) for name, value in sizes.items() if value}
    if family == "m2bert":
        config = M2BERT_PRESETS.get(size, M2BERT_PRESETS["base"])
        return updates * m2bert_flops(replace(config, **changes), notes, _NOISY * sum(notes))
    masked = _MASKED * _FIELDS * sum(notes) if crop or "--mask-strategy" in given else 0.0
    return updates * musicbert_flops(replace(PRESETS.get(size, PRESETS["base"]), **changes), notes, masked)


def _notes(folder: Path) -> list[int]:
    """Notes of each piece of the training part."""
    index = next(
        (path for path in (folder / "train.idx", folder / "input0" / "train.idx") if path.is_file()), None
    )
    if index is None:
        return []
    meta = folder / "meta.json"
    fields = len(read_json(meta)["fields"]) if meta.is_file() else _FIELDS
    with index.open("rb") as file:
        count = _INDEX.unpack(file.read(_INDEX.size))[3]
        if os.fstat(file.fileno()).st_size != _INDEX.size + 12 * count or count > _MOST:
            return []  # the training says what is wrong
        lengths = array("i")
        lengths.fromfile(file, count)
    return [length // fields for length in lengths]

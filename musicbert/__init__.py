"""musicbert: understanding symbolic music with MusicBERT (OctupleMIDI, bar-level masking).

Importing this package is light: neither torch nor fairseq is loaded until something needs it. When fairseq
is already running (``fairseq-train --user-dir musicbert``), the plug-in registers its tasks, models and
criterions.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from musicbert.analysis import Analysis, Layers, analyse, music_layers
    from musicbert.encoding import decode, encode, get_codec
    from musicbert.errors import CheckpointError, DatasetError, MidiError, MusicBertError, RatingError
    from musicbert.explanation import Explanation, explain
    from musicbert.midi import Score, read_score
    from musicbert.predict import FillOptions, Model, MusicBert, from_pretrained
    from musicbert.remixing import remix
    from musicbert.similarity import Index, index_folder, open_index
    from musicbert.sound import render

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "CheckpointError",
    "DatasetError",
    "Explanation",
    "FillOptions",
    "Index",
    "Layers",
    "MidiError",
    "Model",
    "MusicBert",
    "MusicBertError",
    "RatingError",
    "Score",
    "__version__",
    "analyse",
    "decode",
    "encode",
    "explain",
    "from_pretrained",
    "get_codec",
    "index_folder",
    "music_layers",
    "open_index",
    "read_score",
    "remix",
    "render",
]

#: public name -> module that holds it (loaded on first use)
_PUBLIC = {
    name: f"musicbert.{module}"
    for module, names in {
        "analysis": ("Analysis", "Layers", "analyse", "music_layers"),
        "encoding": ("decode", "encode", "get_codec"),
        "errors": ("CheckpointError", "DatasetError", "MidiError", "MusicBertError", "RatingError"),
        "explanation": ("Explanation", "explain"),
        "midi": ("Score", "read_score"),
        "predict": ("FillOptions", "Model", "MusicBert", "from_pretrained"),
        "sound": ("render",),
        "similarity": ("Index", "index_folder", "open_index"),
        "remixing": ("remix",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if "fairseq" in sys.modules:  # imported as fairseq's user directory
    from musicbert import fairseq_plugin  # noqa: F401

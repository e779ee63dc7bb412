"""Why a model answers as it does: factors of the playing, notes, and what would change the answer.

A model is seen as a `Target`: performances in, one number a dimension out. So everything here works for a
committee of features, a network, or any function.
"""

import importlib
from typing import TYPE_CHECKING, Any

from musicbert.explanation.factors import FactorEffects, factor_effects
from musicbert.explanation.playing_factors import FACTORS, neutral, with_strengths
from musicbert.explanation.properties import PropertyEffects, property_effects, reads_features
from musicbert.explanation.reasons import PARTS, Explanation, explain
from musicbert.explanation.target import (
    CallableTarget,
    CommitteeTarget,
    HeadTarget,
    ProfileTarget,
    TaggerTarget,
    Target,
    open_target,
)

if TYPE_CHECKING:
    from musicbert.explanation.notes import NoteReasons, note_reasons
    from musicbert.explanation.occlusion import Occlusion, occlude
    from musicbert.explanation.passages import Passages
    from musicbert.explanation.rollout import attention_rollout

__all__ = [
    "FACTORS",
    "PARTS",
    "CallableTarget",
    "CommitteeTarget",
    "Explanation",
    "FactorEffects",
    "HeadTarget",
    "NoteReasons",
    "Occlusion",
    "Passages",
    "ProfileTarget",
    "PropertyEffects",
    "TaggerTarget",
    "Target",
    "attention_rollout",
    "explain",
    "factor_effects",
    "neutral",
    "note_reasons",
    "occlude",
    "open_target",
    "property_effects",
    "reads_features",
    "with_strengths",
]

#: public name -> module that holds it and needs torch (loaded on first use)
_WITH_TORCH = {
    "NoteReasons": "notes",
    "Occlusion": "occlusion",
    "Passages": "passages",
    "attention_rollout": "rollout",
    "note_reasons": "notes",
    "occlude": "occlusion",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)

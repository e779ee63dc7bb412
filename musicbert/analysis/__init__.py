"""One piece of music answered: how its playing is heard, and its melody, chords, keys and beats.

`analyse` is the way in. `ProfileModel` rates performances; what has no profile has reasons
(`musicbert.analysis.applicability`).
"""

from musicbert.analysis.analysis import Analysis, analyse
from musicbert.analysis.applicability import Reason
from musicbert.analysis.layers import Layers, music_layers
from musicbert.analysis.model import ProfileModel, load_profile_model
from musicbert.analysis.profile import Dimension, Profile

__all__ = [
    "Analysis",
    "Dimension",
    "Layers",
    "Profile",
    "ProfileModel",
    "Reason",
    "analyse",
    "load_profile_model",
    "music_layers",
]

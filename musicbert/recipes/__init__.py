"""Recipes of training: one frozen dataclass each, with the published hyper-parameters as defaults.

`options` turns the fields of a recipe into a command line, `command` spells the call of fairseq-train, and
`training` runs it. ``musicbert train`` and the scripts in ``scripts/`` use the table `RECIPES`. No torch and
no fairseq here.
"""

from musicbert.recipes.base import Recipe
from musicbert.recipes.pretraining import M2Bert, MusicBert
from musicbert.recipes.ratings import (
    Contrastive,
    Performer,
    PerformerOnly,
    PerformerTuning,
    RatingsAndPerformer,
    Regression,
)
from musicbert.recipes.sentences import Genre, Pairs

__all__ = ["RECIPES", "Recipe"]

#: name -> recipe, in the order of the help
RECIPES: dict[str, type[Recipe]] = {
    "musicbert": MusicBert,
    "m2bert": M2Bert,
    "contrastive": Contrastive,
    "performer-contrastive": PerformerTuning,
    "performer-only": PerformerOnly,
    "performer": Performer,
    "regression": Regression,
    "reg-cls": RatingsAndPerformer,
    "pairs": Pairs,
    "genre": Genre,
}

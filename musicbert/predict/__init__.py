"""Using a model on music: embeddings, predictions of the heads, and masked notes filled in."""

from musicbert.predict.masked_notes import Filled, FillOptions, choose_mask, replace_programs
from musicbert.predict.model import M2BertModel, Model, from_pretrained
from musicbert.predict.pieces import Piece, read_piece
from musicbert.predict.prediction import Prediction, TagResult
from musicbert.predict.tagger import TaggerModel, load_tagger_model
from musicbert.predict.windows import Window, cover

#: `Model` under the name of the published model (`musicbert.model.MusicBert` is the network in it)
MusicBert = Model

__all__ = [
    "FillOptions",
    "Filled",
    "M2BertModel",
    "Model",
    "MusicBert",
    "Piece",
    "Prediction",
    "TagResult",
    "TaggerModel",
    "Window",
    "choose_mask",
    "cover",
    "from_pretrained",
    "load_tagger_model",
    "read_piece",
    "replace_programs",
]

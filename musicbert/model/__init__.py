"""The models, in plain torch: they see no file, no label name and no MIDI."""

from musicbert.model.encoder import EncoderOutput, OctupleEncoder
from musicbert.model.heads import LMHead, SentenceHead
from musicbert.model.musicbert import MusicBert, Pooling

__all__ = ["EncoderOutput", "LMHead", "MusicBert", "OctupleEncoder", "Pooling", "SentenceHead"]

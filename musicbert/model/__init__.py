"""The models, in plain torch: they see no file, no label name and no MIDI."""

from musicbert.model.backbones.encoder import EncoderOutput, OctupleEncoder
from musicbert.model.backbones.musicbert import MusicBert, Pooling
from musicbert.model.heads.sentence import LMHead, SentenceHead

__all__ = ["EncoderOutput", "LMHead", "MusicBert", "OctupleEncoder", "Pooling", "SentenceHead"]

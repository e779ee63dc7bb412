"""The backbones as fairseq models, with their flags and architectures."""

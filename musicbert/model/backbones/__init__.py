"""Networks that turn notes into hidden states: MusicBERT, M2BERT and MidiBERT."""

"""Heads on hidden states: masked LM, sentences, notes, pieces, ratings; `tagger.py`: a backbone with one."""

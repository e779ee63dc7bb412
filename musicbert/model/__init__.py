"""The models, in plain torch: they see no file, no label name and no MIDI."""

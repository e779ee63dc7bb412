"""Genre (TOP-MAGD) and style (MASD) of Lakh MIDI files: labels, folds, and what upstream trains on."""

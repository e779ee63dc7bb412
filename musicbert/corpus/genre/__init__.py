"""Genre (TOP-MAGD) and style (MASD) of Lakh MIDI files: labels, folds, and the set that upstream trains on."""

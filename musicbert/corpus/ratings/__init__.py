"""From a label map and MIDI files to the raw data set of rated performances, as gen_xai.py writes it."""

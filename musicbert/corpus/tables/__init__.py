"""Tables of labels that users bring, with the MIDI files they are about."""

"""Pairs of phrases: melody completion (``next``) and accompaniment suggestion (``acc``).

``pirhdy``: the files of PiRhDy that MusicBERT was scored on; ``phrases`` and ``generate``: the same two tasks
from any folder of MIDI files with a melody and an accompaniment; ``rawset``: what both write.
"""

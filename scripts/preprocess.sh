#!/usr/bin/env bash
# A zip (or tar, or folder) of MIDI files to text for fairseq-preprocess, as MusicBERT's `python preprocess.py`.
#
#   bash scripts/preprocess.sh DATASET OUTPUT [options of musicbert build]
#
# OUTPUT gets dict.txt, midi_train.txt, midi_valid.txt and midi_test.txt. Near-duplicates are divided by file, as
# published. --format bin writes what fairseq-preprocess would make of the text, in one step.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
shows_help 2 "$@"
exec "$PYTHON" -m musicbert build "$1" --output "$2" --format text --ignore-near-duplicates "${@:3}"

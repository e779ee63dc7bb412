#!/usr/bin/env bash
# A zip of MIDI files -> text for fairseq-preprocess, as upstream's `python preprocess.py`: what it asked for are
# arguments here. Everything else is `musicbert build --help`.
#
#   bash scripts/preprocess.sh DATASET OUTPUT [options of musicbert build]
#
# DATASET is a zip (or tar, or folder), OUTPUT the folder of dict.txt, midi_train.txt, midi_valid.txt and
# midi_test.txt, <prefix>_data_raw for upstream's binarize_pretrain.sh. Near-duplicates are divided as upstream
# divides them, by file. --format bin writes what fairseq-preprocess would make of the text, in one step.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"
[[ -x "$PYTHON" ]] || PYTHON=python3

case "${1:-}" in
    "" | -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        [[ -n "${1:-}" ]] && exit 0 || exit 2
        ;;
esac
[[ -n "${2:-}" && "$2" != -* ]] || {
    echo "error: say where to write: preprocess.sh DATASET OUTPUT" >&2
    exit 2
}
dataset="$1" output="$2"
shift 2
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m musicbert.cli.build "$dataset" --output "$output" \
    --format text --ignore-near-duplicates "$@"

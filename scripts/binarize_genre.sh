#!/usr/bin/env bash
# Binarise the genre or style data, every fold: SUBSET_data_raw -> SUBSET_data_bin, through fairseq-preprocess.
#
#   bash scripts/binarize_genre.sh topmagd|masd [--raw DIR] [--bin DIR] [--workers N] [--direct] [--overwrite]
#
# Runs from any directory; paths are relative to the current one. --direct writes the same bytes without fairseq.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"
[[ -x "$PYTHON" ]] || PYTHON=python3
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m musicbert.corpus.bins.binarize --kind sentences "$@"

#!/usr/bin/env bash
# Binarise the phrase pairs of a task: TASK_data_raw -> TASK_data_bin, through fairseq-preprocess.
#
#   bash scripts/binarize_nsp.sh next|acc [--raw DIR] [--bin DIR] [--workers N] [--direct] [--overwrite]
#
# Runs from any directory; paths are relative to the current one. --direct writes the same bytes without fairseq.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"
[[ -x "$PYTHON" ]] || PYTHON=python3
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m musicbert.corpus.bins.binarize --kind sentences "$@"

#!/usr/bin/env bash
# Binarise the rating data set: PREFIX_data_raw_apex_reg_cls -> PREFIX_data_bin_apex_reg_cls, every fold of it,
# through fairseq-preprocess.
#
#   bash scripts/binarize_xai.sh xai [--raw DIR] [--bin DIR] [--workers N] [--python PYTHON] [--direct] [--overwrite]
#
# Runs from any directory; paths are relative to the current one. --direct writes the same bytes without starting
# fairseq once a fold.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"
[[ -x "$PYTHON" ]] || PYTHON=python3

arguments=()
while (($#)); do
    case "$1" in
        --python)
            PYTHON="${2:?--python needs a value}"
            shift 2
            ;;
        --python=*)
            PYTHON="${1#*=}"
            shift
            ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done

command -v "$PYTHON" >/dev/null || {
    echo "error: no Python at '$PYTHON' (run \`make venv\` in $ROOT, or pass --python PYTHON)" >&2
    exit 2
}
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$PYTHON" -m musicbert.corpus.bins.binarize ${arguments[@]+"${arguments[@]}"}

#!/usr/bin/env bash
# MusicBERT's four downstream tasks on real data: results/tools/run_downstream.py (--help).
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/results/tools/run_downstream.py" "$@"

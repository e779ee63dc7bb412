#!/usr/bin/env bash
# The main job on real data, from labels to reports: results/tools/run_xai.py (--help).
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/results/tools/run_xai.py" "$@"

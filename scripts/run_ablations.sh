#!/usr/bin/env bash
# The papers' ablations: results/tools/run_ablations.py (--help).
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/results/tools/run_ablations.py" "$@"

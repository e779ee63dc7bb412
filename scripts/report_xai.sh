#!/usr/bin/env bash
# Reports of everything that scripts/run_xai.sh trained: results/tools/report_xai_all.py (--help).
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/results/tools/report_xai_all.py" "$@"

#!/usr/bin/env bash
# The papers' ablations: results/tools/run_ablations.py (--help).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" "$root/results/tools/run_ablations.py" "$@"

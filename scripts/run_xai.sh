#!/usr/bin/env bash
# The main job on real data, from labels to reports: results/tools/run_xai.py (--help).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" "$root/results/tools/run_xai.py" "$@"

#!/usr/bin/env bash
# MusicBERT's four downstream tasks on real data: results/tools/run_downstream.py (--help).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" "$root/results/tools/run_downstream.py" "$@"

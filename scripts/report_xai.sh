#!/usr/bin/env bash
# Reports of everything that scripts/run_xai.sh trained: results/tools/report_xai_all.py (--help).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
[ -x "$python" ] || python=python
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" "$root/results/tools/report_xai_all.py" "$@"

#!/usr/bin/env bash
# The main job on made data (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/scripts/demo.py" "$@"

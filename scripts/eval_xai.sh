#!/usr/bin/env bash
# Evaluate a fine-tuned checkpoint (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/scripts/evaluate_checkpoint.py" "$@"

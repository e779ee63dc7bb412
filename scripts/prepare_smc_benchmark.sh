#!/usr/bin/env bash
# The data of M2BERT's benchmark become folders of shards (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/scripts/prepare_benchmark.py" "$@"

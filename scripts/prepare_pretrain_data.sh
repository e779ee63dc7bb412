#!/usr/bin/env bash
# The corpora of M2BERT's pre-training become one data set (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" "$ROOT/scripts/prepare_pretrain_data.py" "$@"

#!/usr/bin/env bash
# Melody completion and accompaniment, train_nsp.sh next|acc [WEIGHTS]: musicbert train pairs (see --help)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert train pairs "$@"

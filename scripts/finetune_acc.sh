#!/usr/bin/env bash
# Accompaniment suggestion: musicbert train pairs acc (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert train pairs acc "$@"

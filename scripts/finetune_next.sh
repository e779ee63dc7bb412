#!/usr/bin/env bash
# Melody completion: musicbert train pairs next (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert train pairs next "$@"

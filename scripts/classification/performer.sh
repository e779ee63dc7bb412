#!/usr/bin/env bash
# Performers with the task of the ratings: musicbert train performer (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train performer "$@"

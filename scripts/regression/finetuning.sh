#!/usr/bin/env bash
# Regression of the ratings: musicbert train regression (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train regression "$@"

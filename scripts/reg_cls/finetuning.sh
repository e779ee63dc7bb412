#!/usr/bin/env bash
# Ratings and performer with one model: musicbert train reg-cls (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train reg-cls "$@"

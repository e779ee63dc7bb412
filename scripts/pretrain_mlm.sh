#!/usr/bin/env bash
# The former name of scripts/pretrain/musicbert.sh: musicbert train musicbert (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert train musicbert "$@"

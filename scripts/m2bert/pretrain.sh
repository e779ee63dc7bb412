#!/usr/bin/env bash
# Pre-training of M2BERT: musicbert train m2bert (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train m2bert "$@"

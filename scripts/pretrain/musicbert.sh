#!/usr/bin/env bash
# Masked-LM pre-training of MusicBERT: musicbert train musicbert (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train musicbert "$@"

#!/usr/bin/env bash
# Contrastive pre-training: musicbert train contrastive (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train contrastive "$@"

#!/usr/bin/env bash
# Performers, from a contrastive checkpoint: musicbert train performer-contrastive (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train performer-contrastive "$@"

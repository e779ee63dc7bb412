#!/usr/bin/env bash
# Performers without contrastive pre-training: musicbert train performer-only (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
exec "$PYTHON" -m musicbert train performer-only "$@"

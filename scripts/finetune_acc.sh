#!/usr/bin/env bash
# Accompaniment suggestion: train_nsp.sh acc.
exec bash "$(dirname "${BASH_SOURCE[0]}")/train_nsp.sh" acc "$@"

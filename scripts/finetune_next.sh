#!/usr/bin/env bash
# Melody completion: train_nsp.sh next.
exec bash "$(dirname "${BASH_SOURCE[0]}")/train_nsp.sh" next "$@"

#!/usr/bin/env bash
# The former name of scripts/pretrain/musicbert.sh.
exec bash "$(dirname "${BASH_SOURCE[0]}")/pretrain/musicbert.sh" "$@"

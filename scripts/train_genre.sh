#!/usr/bin/env bash
# Genre and style, train_genre.sh topmagd|masd [CLASSES FOLD WEIGHTS]: musicbert train genre (see --help)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert train genre "$@"

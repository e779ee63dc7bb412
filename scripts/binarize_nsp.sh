#!/usr/bin/env bash
# Binarise pairs of phrases, TASK_data_raw, for fairseq-train (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert.corpus.labelled.binarize --kind sentences "$@"

#!/usr/bin/env bash
# Binarise the rating data set, PREFIX_data_raw_apex_reg_cls, for fairseq-train (--help lists the options)
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$PYTHON" -m musicbert.corpus.labelled.binarize "$@"

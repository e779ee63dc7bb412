#!/usr/bin/env bash
# M2BERT's benchmark on a checkpoint: every task whose data are there, and one table.
#
#   bash scripts/finetune_m2bert.sh CKPT NOTE_DATA SEQ_DATA [options of musicbert benchmark]
#
# CKPT is a checkpoint of M2BERT or MusicBERT, a name, or scratch:ARCH. NOTE_DATA and SEQ_DATA are the folders note/ and
# seq/ of scripts/prepare_smc_benchmark.sh, or - for none. Results go to results_smc/<name of CKPT>/ or to --output.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
shows_help 3 "$@"
exec "$PYTHON" -m musicbert benchmark "$1" --note-data "$2" --seq-data "$3" "${@:4}"

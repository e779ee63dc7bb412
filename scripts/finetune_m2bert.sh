#!/usr/bin/env bash
# M2BERT's benchmark on a checkpoint: every task whose data are there, and one table.
#
#   bash scripts/finetune_m2bert.sh CKPT NOTE_DATA SEQ_DATA [options of musicbert benchmark]
#
# CKPT is a checkpoint of M2BERT or MusicBERT (a published model_best.ckpt too), a name, or scratch:ARCH; NOTE_DATA and
# SEQ_DATA are the folders note/ and seq/ that scripts/prepare_smc_benchmark.sh writes (either may be -). Results go to
# results_smc/<name of CKPT>/ unless --output says otherwise. Every hyper-parameter is a flag with its published value
# as default: see musicbert benchmark --help.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"

case "${1:-}" in
    "" | -h | --help)
        sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        [[ -n "${1:-}" ]] && exit 0 || exit 2
        ;;
esac
[[ $# -ge 3 ]] || die "say what on what: finetune_m2bert.sh CKPT NOTE_DATA SEQ_DATA (a folder may be -)"
checkpoint="$1" data=()
[[ "$2" == - ]] || data+=(--note-data "$2")
[[ "$3" == - ]] || data+=(--seq-data "$3")
shift 3
name="$(basename "${checkpoint#scratch:}")"
output=(--output "results_smc/${name%.*}")
for word in "$@"; do
    case "$word" in --output | --output=* | -o) output=() ;; esac
done
PYTHON="${PYTHON:-$(tool python)}"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m musicbert benchmark "$checkpoint" ${data[@]+"${data[@]}"} ${output[@]+"${output[@]}"} "$@"

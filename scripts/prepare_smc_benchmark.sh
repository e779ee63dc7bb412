#!/usr/bin/env bash
# The data of M2BERT's benchmark become folders of shards, for scripts/finetune_m2bert.sh.
#
#   bash scripts/prepare_smc_benchmark.sh SMC OUT [OPTIONS]
#
# SMC is the published benchmark (a folder with downstream_note/ and downstream_seq/ of .npy files, or X and y files
# as upstream's fine-tuning reads them), or - for none. OUT gets note/<source>/ and seq/<source>/. What was stopped
# goes on when the same command is given again; what is complete is left alone.
#
#   --source NAME=PATH[#FOLDER]  a data set in its own published layout, folder or archive (may be repeated):
#                                asap, augmentednet, bps_motif, emopia, orchestra, pianist8, pm2s, pop909,
#                                tagtraum, tnua; docs/benchmark.md says what each is
#   --codec NAME                 cp (for M2BERT), cp-m2bert or octuple (for MusicBERT) (cp)
#   --compatible                 notes as published, faults included
#   --npy                        write upstream's X and y files too, OUT/npy/
#   --overwrite                  replace what is there
#   --python PYTHON              interpreter of the environment
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"

case "${1:-}" in
    "" | -h | --help)
        sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        [[ -n "${1:-}" ]] && exit 0 || exit 2
        ;;
esac
[[ $# -ge 2 ]] || die "say where: prepare_smc_benchmark.sh SMC OUT (SMC may be -)"
given=("$1" "$2")
shift 2
while [[ $# -gt 0 ]]; do
    case "$1" in
        --python) PYTHON="${2:?--python needs a path}" && shift 2 ;;
        *) given+=("$1") && shift ;;
    esac
done
exec "${PYTHON:-$(tool python)}" "$ROOT/scripts/prepare_benchmark.py" "${given[@]}"

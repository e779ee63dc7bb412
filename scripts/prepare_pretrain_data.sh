#!/usr/bin/env bash
# The corpora of M2BERT's pre-training become one data set of compound words.
#
#   bash scripts/prepare_pretrain_data.sh DATASET_DIR LMD_DIR OUT [OPTIONS]
#
# DATASET_DIR holds any of asap-dataset/, Pop1K7/, POP909/ (or pop909_processed/), Pianist8/ and EMOPIA_1.0/, as
# they were published; LMD_DIR is the Lakh MIDI data set (lmd_matched), or - for none. OUT gets lists/ (the files
# of each corpus), pop909_processed/ (POP909 on the grid of its beats), left_out.jsonl and data/, which
# scripts/m2bert/pretrain.sh --data takes. What was stopped goes on when the same command is given again.
#
#   --exclude-tests     leave out what the benchmark's tasks validate or test on (the published data do not)
#   --tests DIR         leave out files with the content of one in DIR, too (may be repeated)
#   --all-asap          the scores of all pieces of ASAP, not only the 65 published ones
#   --encoding NAME     cp (mended), cp-m2bert (as published) or octuple (cp)
#   --workers N         processes (1)
#   --python PYTHON     interpreter of the environment
#   -- OPTIONS          further options of musicbert build, such as --overwrite
#
# As published: only pieces with one time signature event, 4/4 (not asked of octuples); 85 of 100 pieces for
# training, 15 for validation. Unlike there, exact duplicates are left out and versions of one song kept together.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"

case "${1:-}" in
    "" | -h | --help)
        sed -n '2,23s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        [[ -n "${1:-}" ]] && exit 0 || exit 2
        ;;
esac
[[ $# -ge 3 ]] || die "say where: prepare_pretrain_data.sh DATASET_DIR LMD_DIR OUT (LMD_DIR may be -)"
data_sets="$1" lmd="$2" out="$3"
shift 3
encoding=cp workers=1 lists=() build=()
while [[ $# -gt 0 ]]; do
    case "$1" in
        --exclude-tests | --all-asap) lists+=("$1") && shift ;;
        --tests) lists+=("$1" "${2:?--tests needs a folder}") && shift 2 ;;
        --encoding) encoding="${2:?--encoding needs a name}" && shift 2 ;;
        --workers) workers="${2:?--workers needs a number}" && shift 2 ;;
        --python) PYTHON="${2:?--python needs a path}" && shift 2 ;;
        --) shift && build+=("$@") && break ;;
        *) die "unknown option $1 (see --help; options of musicbert build go after --)" ;;
    esac
done
PYTHON="${PYTHON:-$(tool python)}"
[[ "$encoding" == octuple ]] || build=(--metres one-4/4 ${build[@]+"${build[@]}"})
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

"$PYTHON" "$ROOT/scripts/list_pretrain_data.py" "$data_sets" "$lmd" "$out" ${lists[@]+"${lists[@]}"}
sources=()
for list in asap pop1k7 pop909 pianist8 emopia lmd; do
    [[ -s "$out/lists/$list.txt" ]] && sources+=("$out/lists/$list.txt")
done
[[ ${#sources[@]} -gt 0 ]] || die "no file is left to pre-train on"
"$PYTHON" -m musicbert.cli.build "${sources[@]}" --output "$out/data" --encoding "$encoding" \
    --shares 85 15 0 --workers "$workers" --max-failure-rate 1 ${build[@]+"${build[@]}"}

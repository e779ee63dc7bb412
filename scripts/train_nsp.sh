#!/usr/bin/env bash
# Melody completion (next) and accompaniment suggestion (acc), with the published recipe.
source "$(dirname "${BASH_SOURCE[0]}")/sentence_lib.sh"
ABOUT="Train on pairs of phrases: bash train_nsp.sh next|acc [WEIGHTS] [OPTIONS]. Data: TASK_data_bin, which
scripts/gen_nsp.py and scripts/binarize_nsp.sh make. The checkpoint with the best accuracy on the validation part is
checkpoint_best.pt (the published recipe does not validate: add -- --disable-validation)."
task=
case ${1:-} in
    next | acc)
        task=$1
        shift
        ;;
    --help | -h) ;;
    *) die "say which task: train_nsp.sh next|acc (see --help)" ;;
esac
option data "" "binarised pairs (default: TASK_data_bin)"
sentence_options 250000 50000 0.1
case ${1:-} in
    "" | -*) ;;
    *)
        init=$1
        shift
        ;;
esac
parse "$@"

data=${data:-${task}_data_bin}
need_dir "$data/input0" "make it with scripts/gen_nsp.py and scripts/binarize_nsp.sh"
initial_weights
base=${save_dir:-checkpoints/nsp_${task}_$arch}
for seed in $seeds; do
    train_sentences "$data" "$base/seed$seed" octuple_sentence_prediction "${task}_head" accuracy
done
all_finished
say "score with: python scripts/eval_nsp.py $base $data"

#!/usr/bin/env bash
# Genre (topmagd) and style (masd), with the published recipe, all folds.
source "$(dirname "${BASH_SOURCE[0]}")/sentence_lib.sh"
ABOUT="Train on genres or styles: bash train_genre.sh topmagd|masd [CLASSES FOLD WEIGHTS] [OPTIONS]. Data:
SUBSET_data_bin, which scripts/gen_genre.py and scripts/binarize_genre.sh make. The checkpoint with the best
f1_score_micro of the whole validation part is checkpoint_best.pt."
subset=
case ${1:-} in
    --help | -h) ;;
    "" | -*) die "say which set: train_genre.sh topmagd|masd (see --help)" ;;
    *)
        subset=$1
        shift
        ;;
esac
option data "" "binarised set (default: SUBSET_data_bin)"
option fold all "fold, several with blanks between, or all"
option metric f1_score_micro "score that selects: {f1_score,roc_auc_score}_{micro,macro,weighted,samples}"
sentence_options 20000 4000 0.01
classes=
case ${1:-} in # as published: train_genre.sh SUBSET CLASSES FOLD WEIGHTS
    [0-9]*)
        classes=$1 fold=${2:?say which fold} init=${3:?say which weights}
        shift 3
        ;;
esac
parse "$@"

data=${data:-${subset}_data_bin}
need_dir "$data" "make it with scripts/gen_genre.py and scripts/binarize_genre.sh"
initial_weights
if [ "$fold" = all ]; then
    fold=
    for each in "$data"/*/input0; do
        [ -d "$each" ] || die "$data has no folds"
        fold="$fold $(basename "$(dirname "$each")")"
    done
fi
[ -z "$classes" ] || EXTRA+=(--num-classes "$classes")
base=${save_dir:-checkpoints/genre_${subset}_$arch}
for each in $fold; do
    need_dir "$data/$each/input0" "there is no such fold"
    for seed in $seeds; do
        train_sentences "$data/$each" "$base/fold$each/seed$seed" sentence_prediction_multilabel \
            "${subset}_head" "$metric"
    done
done
all_finished
say "score with: python scripts/eval_genre.py $base $data"

#!/usr/bin/env bash
# Evaluate a fine-tuned checkpoint: predictions, scores beside the baselines, pictures.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="Evaluation of a fine-tuned checkpoint on one part of the data set: predictions, table, pictures."
option checkpoint "" "fine-tuned checkpoint (required)"
option data xai_data_bin_apex_reg_cls "binarised data set"
option fold 0 "fold of the data set"
option split test "train, valid or test"
option output "" "folder for the results (default: eval/ beside the checkpoint)"
option labels midi_label_map_apex_reg_cls.json "label map that the data set was made from"
option midi "" "zip or folder of the performances: adds baselines on hand-made features, and the hybrid"
option baselines "" "where the baselines' result is kept, without its suffix (default: in the output)"
option reliability "" "reliability.csv of map_midi_to_label.py --reliability: adds the noise ceiling"
parse "$@"

[ -n "$checkpoint" ] || die "--checkpoint is missing (see --help)"
need_file "$checkpoint" "train first, with scripts/regression/finetuning.sh for example"
need_dir "$data/$fold/input0" "make it with scripts/binarize_xai.sh"
out=${output:-$(dirname "$checkpoint")/eval}
evaluate_checkpoint "$checkpoint" "$data/$fold" "$split" "$out"

#!/usr/bin/env bash
# Masked-LM pre-training by bars, with the published recipe.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="Masked-LM pre-training (bar masking). Data: a folder with dict.txt, train and valid, as
musicbert build or fairseq-preprocess makes it; input0 of a rated data-bin works too."
option data "" "binarised pieces (required)"
option save-dir "" "where checkpoints and logs go (default: checkpoints/mlm_ARCH)"
option arch musicbert_base "musicbert_{tiny,mini,small,medium,base,large}"
option updates 125000 "updates in all"
option warmup 25000 "updates of rising learning rate"
option lr 5e-4 "peak learning rate"
option effective-batch 256 "rows of one update, over all devices and accumulation"
option batch 4 "rows of one forward pass on one device"
option tokens 8192 "most tokens of a row"
option break-mode complete "complete: several pieces a row (published); eos: one piece a row"
option mask-strategy bar "element, compound, bar, or a mixture such as bar+compound"
option dropout 0.1 "dropout"
option seed 7 "seed"
option num-workers 1 "data loading processes"
option save-every 1000 "updates between checkpoints and validations"
option init "" "go on from these weights (a fresh optimizer)"
switch performance-input "add pedal and timing to every note"
switch cpu "train on the CPU even where there is a GPU"
switch fp16 "half precision (GPU)"
switch bf16 "bfloat16"
switch resume "go on from the last checkpoint of the save directory"
switch bar "a progress bar in place of the log, which is in train.log anyway"
parse "$@"

[ -n "$data" ] || die "--data is missing (see --help)"
need_file "$data/dict.txt" "make a data-bin with: musicbert build MIDI --output FOLDER"
out=${save_dir:-checkpoints/mlm_$arch}
patience=-1 validate_every=$save_every small_checkpoints=
flags=(--task octuple_masked_lm --criterion octuple_masked_lm --arch "$arch")
[ -z "$init" ] || { need_file "$init" "these weights were to start from" && flags+=(--init-from "$init"); }
[ -z "$performance_input" ] || flags+=(--performance-input)
train "$data" "$out" "$effective_batch" "$batch" "${flags[@]}" \
    --mask-strategy "$mask_strategy" --sample-break-mode "$break_mode" --tokens-per-sample "$tokens" \
    --dropout "$dropout" --attention-dropout "$dropout" \
    --lr "$lr" --lr-scheduler polynomial_decay --warmup-updates "$warmup" \
    --total-num-update "$updates" --max-update "$updates" \
    --save-interval-updates "$save_every" --keep-interval-updates 1

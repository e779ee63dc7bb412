#!/usr/bin/env bash
# Masked-LM pre-training of MusicBERT, with the published recipe.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Masked-LM pre-training of MusicBERT with the published recipe. Data: a folder as musicbert build or
fairseq-preprocess makes it (dict.txt, train, valid; or shard0, shard1, ...); input0 of a rated data-bin works too."
place prefix "data: PREFIX_data_bin, or a folder"
place size "tiny, mini, small, medium, base (default) or large"
option data "" "data folder, in place of PREFIX; several joined with colons take turns by epoch"
option save-dir "" "where checkpoints and logs go (default: checkpoints/mlm_ARCH)"
option arch "" "--arch of fairseq-train (default: musicbert_SIZE)"
option updates 125000 "updates in all"
option warmup 25000 "updates of rising learning rate"
option lr 5e-4 "peak learning rate"
option effective-batch 256 "rows of one update, over all processes and accumulation"
option batch 4 "rows of one forward pass in one process"
option tokens 8192 "rows stay below this number of tokens"
option break-mode complete "complete: several pieces a row (published); eos: one piece a row"
option layout padded "padded, or stream: no padding, faster on a GPU"
option encoding octuple "octuple, or cp, remi (ablation)"
option crop-length "" "most notes of a piece (cp: rows, remi: tokens)"
option mask-strategy bar "element, compound, bar, or a mixture such as bar+compound"
option random-tokens any "random tokens: any of the vocabulary (published), or of the same field"
option dropout 0.1 "dropout"
option seed 7 "seed"
option num-workers 2 "data loading processes of each process"
option save-every 1000 "updates between checkpoints and validations"
option optimizer adam "adam, or fused_adamw: one kernel for all parameters"
option init "" "go on from these weights (a fresh optimizer)"
distributed_options
switch separate-pieces "pieces of a row do not see each other; positions and mask groups of their own"
switch group-per-piece "pieces of a row do not share mask groups"
switch no-compound "every token is a position (ablation)"
switch performance-input "add pedal and timing to every note"
switch cpu "train on the CPU even where there is a GPU"
switch fp16 "half precision (GPU)"
switch bf16 "bfloat16 (weights too; the optimizer keeps float32 copies)"
switch autocast-bf16 "bfloat16 products, float32 weights"
switch compile "torch.compile of the blocks"
switch resume "go on from the last checkpoint of the save directory"
switch dry-run "print the command and stop"
switch bar "a progress bar in place of the log, which is in train.log anyway"
parse "$@"

arch=${arch:-musicbert_${size:-base}}
if [ -z "$data" ]; then
    [ -n "$prefix" ] || die "--data is missing, or PREFIX (see --help)"
    data=${prefix}_data_bin
    [ -d "$data" ] || [ ! -d "$prefix" ] || data=$prefix
fi
# shards of a large corpus: an epoch each
if [ -f "$data/shard0/dict.txt" ]; then
    folder=$data data=$data/shard0 shard=1
    while [ -d "$folder/shard$shard" ]; do
        data+=:$folder/shard$shard
        shard=$((shard + 1))
    done
fi
need_file "${data%%:*}/dict.txt" "make a data-bin with: musicbert build MIDI --output FOLDER"
out=${save_dir:-checkpoints/mlm_$arch}
patience=-1 validate_every=$save_every small_checkpoints=
flags=(--task octuple_masked_lm --criterion octuple_masked_lm --arch "$arch" --encoding "$encoding")
[ -z "$init" ] || { find_weights "$init" "these weights were to start from" && flags+=(--init-from "$WEIGHTS"); }
[ -z "$crop_length" ] || flags+=(--crop-length "$crop_length")
for name in separate-pieces group-per-piece no-compound performance-input autocast-bf16 compile; do
    variable=${name//-/_}
    [ -z "${!variable}" ] || flags+=("--$name")
done
# the published table of positions, or a longer one
[ "$tokens" -le 8192 ] || flags+=(--max-positions "$tokens")
case $optimizer in
    adam | fused_adamw) OPTIMIZER[1]=$optimizer ;;
    *) die "--optimizer is adam or fused_adamw, not $optimizer (fairseq's others go after --)" ;;
esac
train "$data" "$out" "$effective_batch" "$batch" "${flags[@]}" \
    --mask-strategy "$mask_strategy" --random-tokens "$random_tokens" \
    --sample-break-mode "$break_mode" --tokens-per-sample "$tokens" --layout "$layout" \
    --dropout "$dropout" --attention-dropout "$dropout" \
    --lr "$lr" --lr-scheduler polynomial_decay --warmup-updates "$warmup" \
    --total-num-update "$updates" --max-update "$updates"

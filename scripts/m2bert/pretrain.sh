#!/usr/bin/env bash
# Pre-training of M2BERT, with the published recipe.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Pre-training of M2BERT: token denoising and piano-roll prediction on compound words. Data: a folder with
meta.json, train and valid, as musicbert build --encoding cp makes it (with --encoding octuple, a folder as
musicbert build makes it). Any objective goes with any encoding and any architecture, m2bert_* or musicbert_*."
option data "" "folder of pieces (required); several joined with colons take turns by epoch"
option save-dir "" "where checkpoints and logs go (default: checkpoints/ARCH_ENCODING_OBJECTIVE)"
option arch m2bert_base "m2bert_{tiny,mini,small,base} or musicbert_{tiny,...,large}"
option encoding cp "cp or octuple"
option objective denoise "denoise, or mask (MidiBERT: --mask-strategy midibert; MusicBERT: bar)"
option aux pianoroll "pianoroll, pianoroll_nochroma or none"
option crop 1024 "notes of a crop"
option noise-prob 0.3 "share of notes that are disturbed"
option noise-radius 4,12,12 "half-widths of position, pitch, duration[, velocity]"
option mask-strategy bar "element, compound, bar, midibert, or a mixture such as bar+compound"
option mask-prob 0.15 "share of cells that are masked"
option epochs 150 "epochs at most (with --full: 25, where the published run was stopped)"
option updates 0 "updates at most (0: as many as the epochs have)"
option patience 30 "stop after so many validations without a better accuracy (-1: never)"
option optimizer stable_adamw "stable_adamw, or adam"
option lr 2e-5 "learning rate"
option lr-scheduler fixed "fixed (published), or polynomial_decay or cosine, which need --updates"
option warmup 0 "updates of rising learning rate"
option betas 0.9,0.99 "decay rates of the optimizer's moments"
option eps 1e-8 "term of the optimizer against division by zero"
option weight-decay 0.01 "weight decay"
option clip-norm 3.0 "clip the norm of the gradient"
option effective-batch 12 "crops of one update, over all processes and accumulation"
option batch 12 "crops of one forward pass in one process"
option dropout 0.1 "dropout, of attention too"
option roll-weight 1 "weight of the piano roll in the loss"
option seed 7 "seed"
option num-workers 4 "data loading processes of each process"
option validate-every 0 "updates between validations (0: after each epoch)"
distributed_options
option init "" "go on from these weights (a fresh optimizer), a published model_best.ckpt too"
switch full "the recipe for the full data: 25 epochs"
switch noise-symmetric "include the upper end of the noise (published: left out)"
switch cpu "train on the CPU even where there is a GPU"
switch fp16 "half precision (GPU)"
switch bf16 "mixed precision in bfloat16 (autocast: weights stay float32)"
switch compile "torch.compile of the blocks (m2bert_*, musicbert_*): a slow start, then faster on a GPU"
switch half-sums "with --bf16: keep the sums over the blocks in bfloat16 too, faster on a GPU (m2bert_*)"
switch dry-run "print the command and stop"
switch resume "go on from the last checkpoint of the save directory"
switch bar "a progress bar in place of the log, which is in train.log anyway (needs --updates)"
switch small-checkpoints "store no optimizer states: a third of the size, but the run cannot be resumed"
parse "$@"

[ -n "$data" ] || die "--data is missing (see --help)"
# shards of a large corpus: an epoch each
if [ -d "$data/shard0" ]; then
    folder=$data data=$data/shard0 shard=1
    while [ -d "$folder/shard$shard" ]; do
        data+=:$folder/shard$shard
        shard=$((shard + 1))
    done
fi
first=${data%%:*}
if [ "$encoding" = cp ]; then
    need_file "$first/meta.json" "make it with: musicbert build MIDI --encoding cp --output FOLDER"
elif [ ! -f "$first/meta.json" ]; then
    need_file "$first/dict.txt" "make it with: musicbert build MIDI --output FOLDER"
fi
[ -z "$bar" ] || [ "$updates" -gt 0 ] || die "--bar needs --updates"
out=${save_dir:-checkpoints/${arch}_${encoding}_$objective}
[ -z "$full" ] || [ "$epochs" != 150 ] || epochs=25
flags=(--task music_pretrain --criterion compound_token --arch "$arch" --max-epoch "$epochs")
[ -z "$init" ] || { find_weights "$init" "these weights were to start from" && flags+=(--init-from "$WEIGHTS"); }
[ -z "$noise_symmetric" ] || flags+=(--noise-symmetric)
if [ -n "$half_sums" ]; then
    [[ $arch = m2bert* ]] || die "--half-sums is for m2bert_*, not $arch"
    [ -n "$bf16" ] || die "--half-sums needs --bf16"
    flags+=(--half-sums)
fi
[ -z "$bf16" ] || { flags+=(--autocast-bf16) && bf16=; }
[ -z "$compile" ] || flags+=(--compile)
[ -z "$fp16" ] || flags+=(--fp16-no-flatten-grads)
[ "$updates" -eq 0 ] || flags+=(--max-update "$updates")
case $lr_scheduler in
    fixed) flags+=(--lr-scheduler fixed --warmup-updates "$warmup") ;;
    polynomial_decay | cosine)
        [ "$updates" -gt 0 ] || die "--lr-scheduler $lr_scheduler needs --updates"
        flags+=(--lr-scheduler "$lr_scheduler" --warmup-updates "$warmup")
        if [ "$lr_scheduler" = cosine ]; then
            flags+=(--max-update "$updates")
        else
            flags+=(--total-num-update "$updates")
        fi
        ;;
    *) die "--lr-scheduler is fixed, polynomial_decay or cosine, not $lr_scheduler" ;;
esac
case $optimizer in
    stable_adamw) OPTIMIZER=(--optimizer stable_adamw --stable-adamw-betas "($betas)" --stable-adamw-eps "$eps") ;;
    adam) OPTIMIZER=(--optimizer adam --adam-betas "($betas)" --adam-eps "$eps") ;;
    *) die "--optimizer is stable_adamw or adam, not $optimizer (fairseq's others go after --)" ;;
esac
OPTIMIZER+=(--weight-decay "$weight_decay" --clip-norm "$clip_norm")
train "$data" "$out" "$effective_batch" "$batch" "${flags[@]}" \
    --encoding "$encoding" --objective "$objective" --aux "$aux" --crop "$crop" \
    --noise-prob "$noise_prob" --noise-radius "$noise_radius" \
    --mask-strategy "$mask_strategy" --mask-prob "$mask_prob" \
    --dropout "$dropout" --attention-dropout "$dropout" --lr "$lr" --roll-weight "$roll_weight" \
    --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric

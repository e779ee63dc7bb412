# Shared by the recipes of the sentence tasks (next, acc, genre, style): options and the call of fairseq-train.
# Source it; it sources lib.sh.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# sentence_options UPDATES WARMUP WEIGHT_DECAY: the published values of a task are its defaults
sentence_options() {
    option save-dir "" "where checkpoints and logs go (default: checkpoints/ and the name of the run)"
    option updates "$1" "updates in all"
    option warmup "$2" "updates of rising learning rate"
    option weight-decay "$3" "weight decay"
    option batch 4 "sequences of one forward pass on one device"
    option max-tokens "" "most tokens of one forward pass (default: --max-positions for each sequence of the batch)"
    option encoding octuple "octuple, or cp, remi (ablation; weights that were pre-trained with the same)"
    option max-positions 8192 "longest sequence in tokens (remi: positions); the rest is cut off"
    switch from-scratch "train without pre-trained weights"
    switch resume "go on from the last checkpoint of the save directory; runs that are done are passed over"
    switch small-checkpoints "store no optimizer states: a third of the size, but the run cannot be resumed"
    shared_sentence_options
}

# shared_sentence_options: those that do not depend on the task
shared_sentence_options() {
    option init checkpoints/checkpoint_last_musicbert_base.pt "pre-trained weights: a file, a folder or a name"
    option arch "" "musicbert_{tiny,mini,small,medium,base,large} (default: what the weights' name says, or base)"
    option lr 5e-5 "peak learning rate"
    option effective-batch 64 "sequences of one update, over all devices and accumulation"
    option dropout 0.1 "dropout of hidden states"
    option attention-dropout 0.1 "dropout of attention"
    option pooling first "what the head reads: first (published) or mean"
    option seeds 7 "seeds, one run each"
    option validate-every 0 "updates between validations (0: after each epoch)"
    option patience -1 "stop after so many validations without a better score (-1: never)"
    option num-workers 0 "data loading processes"
    switch cpu "train on the CPU even where there is a GPU"
    switch fp16 "half precision (GPU)"
    switch bf16 "bfloat16 (on a GPU the weights too; on a CPU the products alone)"
    switch autocast-bf16 "bfloat16 products, float32 weights, on a GPU too"
    switch bar "a progress bar in place of the log, which is in train.log anyway"
}

# runs that were begun and cannot be resumed
UNFINISHED=()

# train_sentences DATA SAVE_DIR TASK HEAD METRIC
train_sentences() {
    local folder=$1 out=$2 kind=$3 head=$4 metric=$5
    [ -z "$autocast_bf16" ] || [ -z "$bf16$fp16" ] || die "--autocast-bf16, --bf16 and --fp16: choose one"
    if [ -n "$resume" ] && [ -f "$out/done" ]; then
        say "$out is done"
        return
    fi
    if [ -n "$resume" ] && [ -n "$small_checkpoints" ] && [ -f "$out/checkpoint_last.pt" ]; then
        say "$out was begun and cannot be resumed, small checkpoints have no optimizer states: passed over"
        UNFINISHED+=("$out")
        return
    fi
    # the own names of the tasks: fairseq's sentence_prediction is another one without --user-dir
    train "$folder" "$out" "$effective_batch" "$batch" --task "$kind" \
        --criterion "${kind#octuple_}" --arch "$arch" ${INIT[@]+"${INIT[@]}"} --classification-head-name "$head" \
        --pooling "$pooling" --init-token 0 --separator-token 2 --encoding "$encoding" \
        --max-positions "$max_positions" --shorten-method truncate \
        --max-tokens "${max_tokens:-$((max_positions * batch))}" \
        --dropout "$dropout" --attention-dropout "$attention_dropout" ${autocast_bf16:+--autocast-bf16} \
        --weight-decay "$weight_decay" --lr "$lr" --lr-scheduler polynomial_decay --warmup-updates "$warmup" \
        --total-num-update "$updates" --max-update "$updates" \
        --best-checkpoint-metric "$metric" --maximize-best-checkpoint-metric
    : > "$out/done"
}

# all_finished: an error where runs were passed over
all_finished() {
    [ ${#UNFINISHED[@]} -eq 0 ] ||
        die "not finished: ${UNFINISHED[*]}. Remove them to begin them anew, or leave --small-checkpoints out where they have optimizer states"
}

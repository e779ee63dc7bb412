# Shared by all recipes: options, the environment, devices, and one way to call fairseq-train. Source it.
#
# A recipe declares its options with their published defaults, then parses:
#
#   source ".../lib.sh"
#   option updates 7000 "updates in all"
#   switch performance-input "add pedal and timing to every note"
#   parse "$@"
#
# Each option `some-name` becomes the variable `some_name`. What follows `--` goes to fairseq-train as it is.
# Paths are relative to the directory the recipe is called from. Works with bash 3.2 and later.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OPTIONS=()
SWITCHES=()
PLACES=()
EXTRA=()
# optimizer of every recipe that names no other
OPTIMIZER=(--optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --weight-decay 0.01 --clip-norm 0.0)
ABOUT=${ABOUT:-}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

say() { printf '== %s\n' "$*"; }

# option NAME DEFAULT HELP
option() {
    printf -v "${1//-/_}" '%s' "$2"
    OPTIONS+=("$1|$2|$3")
}

# switch NAME HELP: off unless named
switch() {
    printf -v "${1//-/_}" '%s' ""
    SWITCHES+=("$1|$2")
}

# place NAME HELP: an argument without a dash, which may be left out
place() {
    printf -v "${1//-/_}" '%s' ""
    PLACES+=("$1|$2")
}

usage() {
    printf 'usage: bash %s' "$0"
    printf ' [%s]' ${PLACES[@]+"${PLACES[@]%%|*}"} OPTIONS
    printf ' [-- FAIRSEQ OPTIONS]\n\n%s\n\n' "$ABOUT"
    local entry name rest
    for entry in ${PLACES[@]+"${PLACES[@]}"}; do
        printf '  %-26s %s\n' "${entry%%|*}" "${entry#*|}"
    done
    for entry in ${OPTIONS[@]+"${OPTIONS[@]}"}; do
        name=${entry%%|*}
        rest=${entry#*|}
        printf '  --%-24s %s' "$name VALUE" "${rest#*|}"
        [ -z "${rest%%|*}" ] || printf ' (default: %s)' "${rest%%|*}"
        printf '\n'
    done
    for entry in ${SWITCHES[@]+"${SWITCHES[@]}"}; do
        printf '  --%-24s %s\n' "${entry%%|*}" "${entry#*|}"
    done
    printf '  --%-24s %s\n' help "this text"
}

_known() { # _known NAME ENTRY...
    local name=$1 entry
    shift
    for entry in "$@"; do
        [ "${entry%%|*}" = "$name" ] && return 0
    done
    return 1
}

parse() {
    local name given=0
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help)
                usage
                exit 0
                ;;
            --)
                shift
                EXTRA=("$@")
                return 0
                ;;
            --*=*)
                name=${1%%=*}
                name=${name#--}
                _known "$name" ${OPTIONS[@]+"${OPTIONS[@]}"} || die "unknown option --$name (see --help)"
                printf -v "${name//-/_}" '%s' "${1#*=}"
                shift
                ;;
            --*)
                name=${1#--}
                if _known "$name" ${SWITCHES[@]+"${SWITCHES[@]}"}; then
                    printf -v "${name//-/_}" '%s' 1
                    shift
                elif _known "$name" ${OPTIONS[@]+"${OPTIONS[@]}"}; then
                    [ $# -ge 2 ] || die "--$name needs a value"
                    printf -v "${name//-/_}" '%s' "$2"
                    shift 2
                else
                    die "unknown option --$name (see --help; fairseq's own go after --)"
                fi
                ;;
            *)
                [ "$given" -lt ${#PLACES[@]} ] || die "unexpected argument '$1' (see --help)"
                name=${PLACES[$given]%%|*}
                printf -v "${name//-/_}" '%s' "$1"
                given=$((given + 1))
                shift
                ;;
        esac
    done
}

# The environment's program: the checkout's .venv if it has one, else what PATH gives.
tool() {
    if [ -x "$ROOT/.venv/bin/$1" ]; then
        printf '%s' "$ROOT/.venv/bin/$1"
    else
        command -v "$1" || die "$1 is not installed: run 'make venv' in $ROOT"
    fi
}

need_file() { [ -f "$1" ] || die "$1 is missing: $2"; }
need_dir() { [ -d "$1" ] || die "$1 is missing: $2"; }

# Sets GPUS to the number of GPUs that torch sees; 0 where none is to be used.
count_gpus() {
    GPUS=0
    [ -z "${cpu:-}" ] || return 0
    GPUS=$("$(tool python)" -c 'import torch; print(torch.cuda.device_count())')
}

# Options of every recipe that trains on rated segments.
training_options() {
    option data xai_data_bin_apex_reg_cls "binarised data set (scripts/binarize_xai.sh makes it)"
    option fold 0 "fold of the data set"
    option save-dir "" "where checkpoints and logs go (default: checkpoints/ and the name of the run)"
    option seed 7 "seed"
    option patience -1 "stop after so many validations without a better score (-1: never)"
    option validate-every 0 "updates between validations (0: after each epoch)"
    option num-workers 0 "data loading processes"
    option max-tokens "" "most tokens of one forward pass (default: 8192 for each piece of the batch)"
    switch cpu "train on the CPU even where there is a GPU"
    switch fp16 "half precision (GPU)"
    switch bf16 "bfloat16"
    switch resume "go on from the last checkpoint of the save directory"
    switch bar "a progress bar in place of the log, which is in train.log anyway"
    switch small-checkpoints "store no optimizer states: a third of the size, but the run cannot be resumed"
}

# Sets INIT: how the weights begin; and arch, where it was left open, from their name.
initial_weights() {
    arch_of_weights
    if [ -n "${from_scratch:-}" ]; then
        INIT=()
        say "training from scratch"
    else
        find_weights "$init" "give pre-trained weights with --init, or say --from-scratch"
        INIT=(--init-from "$WEIGHTS")
        say "starting from $WEIGHTS"
    fi
}

# Sets arch, where it was left open, from the weights' name (checkpoint_last_musicbert_small.pt, musicbert-mini).
arch_of_weights() {
    [ -z "$arch" ] || return 0
    arch=musicbert_base
    if [[ $(basename "$init") =~ musicbert[-_](tiny|mini|small|medium|base|large) ]]; then
        arch=musicbert_${BASH_REMATCH[1]}
    fi
}

# find_weights NAME NEXT_STEP: sets WEIGHTS to a checkpoint file, a folder of weights, or weights that come with the
# project (musicbert-mini)
find_weights() {
    WEIGHTS=$1
    [ -e "$1" ] || [ ! -d "$ROOT/checkpoints/$1" ] || WEIGHTS=$ROOT/checkpoints/$1
    [ -f "$WEIGHTS/config.json" ] || need_file "$WEIGHTS" "$2"
}

# Options of recipes for several machines. Without them a recipe uses all GPUs of this one.
distributed_options() {
    option processes "" "processes on each machine (default: one a GPU; on a CPU one)"
    option nodes "" "machines (default: those of the SLURM job step, or 1)"
    option node-rank "" "number of this machine, from 0 (default: SLURM's)"
    option master "" "HOST:PORT of machine 0, the same on all (default: SLURM's first host, port 29500)"
}

# Sets PROCESSES (of all machines) and LAUNCH (what runs fairseq-train in them).
plan_processes() {
    local here=${processes:-} machines=${nodes:-} rank=${node_rank:-} head=${master:-}
    count_gpus
    if [ -n "$cpu" ] || [ "$GPUS" -eq 0 ]; then
        here=${here:-1}
        export CUDA_VISIBLE_DEVICES=
    else
        here=${here:-$GPUS}
        [ "$here" -le "$GPUS" ] || die "--processes $here, but there are $GPUS GPUs"
    fi
    # srun with one task a machine says how many there are and which this is
    if [ -z "$machines" ] && [ -n "${SLURM_STEP_NUM_NODES:-}" ] && [ "${SLURM_STEP_NUM_TASKS:-1}" -gt 1 ]; then
        [ "$SLURM_STEP_NUM_TASKS" -eq "$SLURM_STEP_NUM_NODES" ] || die "start one task a machine: srun --ntasks-per-node 1"
        machines=$SLURM_STEP_NUM_NODES
        rank=${rank:-$SLURM_NODEID}
        head=${head:-$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n 1):29500}
    fi
    machines=${machines:-1}
    PROCESSES=$((here * machines))
    LAUNCH=("$(tool python)" -m musicbert.fairseq_plugin.launch)
    export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
    if [ "$machines" -gt 1 ]; then
        [ -n "$rank" ] && [ -n "$head" ] || die "--nodes $machines needs --node-rank and --master HOST:PORT"
        LAUNCH=("$(tool torchrun)" --nnodes "$machines" --node-rank "$rank" --nproc-per-node "$here"
            --master-addr "${head%:*}" --master-port "${head##*:}" -m musicbert.fairseq_plugin.launch)
    elif [ "$here" -gt 1 ]; then
        LAUNCH=("$(tool torchrun)" --standalone --nproc-per-node "$here" -m musicbert.fairseq_plugin.launch)
    fi
}

# Only a folder of its own: no checkpoint that another program wrote, or that was downloaded, is in reach.
check_save_dir() {
    local out=$1 word file
    for word in ${EXTRA[@]+"${EXTRA[@]}"}; do
        case $word in # fairseq takes the beginning of an option for the option
            --save-d*) die "say --save-dir before the --, to the recipe" ;;
            --checkpoint-s[!h]*) die "--checkpoint-suffix changes what is loaded too: use --save-dir" ;;
        esac
    done
    if [ ! -f "$out/train.log" ]; then
        for file in "$out"/*.pt; do
            [ ! -e "$file" ] || die "$out holds $(basename "$file"), which this recipe did not write: choose another --save-dir"
        done
    elif [ -f "$out/checkpoint_last.pt" ] && [ -z "$resume" ]; then
        die "$out already holds checkpoints: add --resume to go on, or choose another --save-dir"
    fi
    [ -z "$resume" ] || [ -f "$out/checkpoint_last.pt" ] || say "$out: nothing to resume yet, a fresh start"
}

# train DATA SAVE_DIR EFFECTIVE_BATCH BATCH FAIRSEQ-OPTIONS...: the flags that all recipes share.
train() {
    local data_dir=$1 out=$2 effective=$3 batch=$4 update_freq
    shift 4
    local device=()
    plan_processes
    if [ -n "$cpu" ] || [ "$GPUS" -eq 0 ]; then
        device=(--cpu)
        [ -z "$fp16" ] || die "--fp16 needs a GPU; --bf16 works on a CPU"
        [ -z "$bf16" ] || device+=(--autocast-bf16) # fairseq's --bf16 would ask for a TPU
    else
        [ -z "$fp16" ] || device=(--fp16)
        [ -z "$bf16" ] || device=(--bf16)
    fi
    update_freq=$((effective / batch / PROCESSES))
    [ "$update_freq" -ge 1 ] || update_freq=1
    [ $((update_freq * batch * PROCESSES)) -eq "$effective" ] ||
        say "effective batch $((update_freq * batch * PROCESSES)), not $effective: $PROCESSES process(es) of $batch"
    check_save_dir "$out"
    if [ -n "$small_checkpoints" ]; then
        # a run that is not begun yet needs none
        [ -z "$resume" ] || [ ! -f "$out/checkpoint_last.pt" ] ||
            die "$out: --resume needs optimizer states: leave --small-checkpoints out"
        device+=(--no-save-optimizer-state)
    fi
    # fairseq keeps what is best within an epoch only where it saves there, too
    [ "$validate_every" -eq 0 ] || device+=(--validate-interval-updates "$validate_every"
        --save-interval-updates "$validate_every" --keep-interval-updates 1)
    say "fairseq-train into $out: $PROCESSES process(es), batch $batch x $update_freq"
    local command=("${LAUNCH[@]}" "$data_dir" --user-dir "$ROOT/musicbert"
        --save-dir "$out" --tensorboard-logdir "$out/tensorboard" --log-format json --log-interval 10
        "${OPTIMIZER[@]}"
        --batch-size "$batch" --update-freq "$update_freq" --required-batch-size-multiple 1
        --seed "$seed" --num-workers "$num_workers" --patience "$patience" --no-epoch-checkpoints
        "${device[@]+"${device[@]}"}" "$@" ${EXTRA[@]+"${EXTRA[@]}"})
    if [ -n "${dry_run:-}" ]; then
        printf '%q ' "${command[@]}"
        printf '\n'
        return
    fi
    mkdir -p "$out"
    "${command[@]}" 2>&1 | tee -a "$out/train.log" | show_log
    rm -f "$out"/checkpoint_[0-9]*_[0-9]*.pt # the last one of them is checkpoint_last.pt
}

# The log as it is, or as a progress bar
show_log() {
    if [ -n "$bar" ]; then "$(tool python)" "$ROOT/scripts/progress.py" --updates "$updates"; else cat; fi
}

# Options of the recipes of the task xai: rating_options LR
rating_options() {
    training_options
    option arch "" "musicbert_{tiny,mini,small,medium,base,large} (default: what the weights' name says, or base)"
    option init checkpoints/checkpoint_last_musicbert_base.pt "pre-trained weights: a file, a folder or a name"
    option updates 7000 "updates in all"
    option warmup 300 "updates of rising learning rate"
    option lr "$1" "peak learning rate"
    option effective-batch 32 "pieces of one update, over all devices and accumulation"
    option batch 4 "pieces of one forward pass on one device"
    option dropout 0.1 "dropout of hidden states"
    option attention-dropout 0.1 "dropout of attention"
    option pooling first "what the heads read: first (published) or mean"
    option augment "" "changes of the training pieces, such as transpose=3,bar,phase=8,drop=0.1"
    switch performance-input "add pedal and timing to every note"
    switch compat "behave as the published code, faults included"
    switch from-scratch "train without pre-trained weights"
}

# train_rating SAVE_DIR FAIRSEQ-OPTIONS...
train_rating() {
    local out=$1 flags=()
    shift
    need_dir "$data/$fold/input0" "make it with scripts/binarize_xai.sh"
    [ -z "$performance_input" ] || flags+=(--performance-input)
    [ -z "$compat" ] || flags+=(--compat)
    [ -z "$augment" ] || flags+=(--augment "$augment")
    train "$data/$fold" "$out" "$effective_batch" "$batch" --task xai --arch "$arch" \
        ${INIT[@]+"${INIT[@]}"} ${flags[@]+"${flags[@]}"} --pooling "$pooling" \
        --init-token 0 --separator-token 2 --max-positions 8192 --max-tokens "${max_tokens:-$((8192 * batch))}" \
        --dropout "$dropout" --attention-dropout "$attention_dropout" \
        --lr "$lr" --lr-scheduler polynomial_decay --warmup-updates "$warmup" \
        --total-num-update "$updates" --max-update "$updates" "$@"
}

# Options of the recipes of the task xai_pretrain_task: contrastive_options UPDATES WARMUP LR
contrastive_options() {
    training_options
    option arch xai_pretrain_arch "xai_pretrain_arch (base) or xai_pretrain_{tiny,mini,small,medium,base,large}"
    option init checkpoints/checkpoint_last_musicbert_base.pt "pre-trained weights: a file, a folder or a name"
    option updates "$1" "updates in all"
    option warmup "$2" "updates of rising learning rate"
    option lr "$3" "peak learning rate"
    option lr-period 800 "updates of one period of the cosine"
    option effective-batch 64 "pieces of one update, over all devices and accumulation"
    option batch 64 "pieces of one forward pass on one device"
    option dropout 0.1 "dropout"
    switch performance-input "add pedal and timing to every note"
    switch compat "behave as the published code, faults included"
    switch from-scratch "train without pre-trained weights"
}

# train_contrastive SAVE_DIR FAIRSEQ-OPTIONS...
train_contrastive() {
    local out=$1 flags=()
    shift
    need_dir "$data/$fold/input0" "make it with scripts/binarize_xai.sh"
    [ -z "$performance_input" ] || flags+=(--performance-input)
    [ -z "$compat" ] || flags+=(--compat)
    [ -z "$from_scratch" ] || flags+=(--from-scratch)
    train "$data/$fold" "$out" "$effective_batch" "$batch" --task xai_pretrain_task --arch "$arch" \
        ${INIT[@]+"${INIT[@]}"} ${flags[@]+"${flags[@]}"} \
        --init-token 0 --separator-token 2 --max-positions 8192 --max-tokens "${max_tokens:-$((8192 * batch))}" \
        --dropout "$dropout" --attention-dropout "$dropout" \
        --lr "$lr" --lr-scheduler cosine --warmup-updates "$warmup" --warmup-init-lr 1e-5 --min-lr 1e-5 \
        --lr-period-updates "$lr_period" --lr-shrink 0.9 --max-update "$updates" "$@"
}

# evaluate_checkpoint CHECKPOINT FOLD_FOLDER PART OUT: predictions, then a report for each task of the checkpoint.
# Reads the options labels, midi and reliability of eval_xai.sh.
evaluate_checkpoint() {
    local checkpoint=$1 folder=$2 part=$3 out=$4 task python extra=() each
    python=$(tool python)
    local run="$out/runs/fold$(basename "$folder")/seed0"
    [ -z "$midi" ] || [ "$part" = test ] || die "--midi adds baselines on the test part: leave it out with --split $part"
    need_file "$labels" "label map that the data set was made from (--labels)"
    for each in train "$part"; do
        "$python" "$ROOT/scripts/eval_xai.py" "$checkpoint" "$folder" --split "$each" --output "$run/$each.npz"
    done
    [ "$part" = test ] || cp "$run/$part.npz" "$run/test.npz"
    [ ! -f "$(dirname "$checkpoint")/train.log" ] || cp "$(dirname "$checkpoint")/train.log" "$run/train.log"
    [ -z "$reliability" ] || extra+=(--ceiling "$reliability")
    if [ -n "$midi" ]; then
        if [ ! -f "${baselines:-$out/baselines}.json" ]; then
            "$python" "$ROOT/scripts/baselines_xai.py" --labels "$labels" --midi "$midi" --split databin \
                --folds-file "$folder" --task regression classes --output "${baselines:-$out/baselines}"
        fi
        extra+=(--midi "$midi")
    fi
    for task in $("$python" -c 'import sys, numpy
keys = numpy.load(sys.argv[1]).files
print(*[name for name, key in (("regression", "regression"), ("classes", "class_logits")) if key in keys])' "$run/test.npz"); do
        local beside=()
        [ -z "$midi" ] || beside=(--baselines "${baselines:-$out/baselines}.json" --split databin)
        "$python" "$ROOT/scripts/report_xai.py" --runs "$out/runs" --labels "$labels" --task "$task" \
            --name "$(basename "$(dirname "$checkpoint")"), $task" --out "$out/$task" \
            ${beside[@]+"${beside[@]}"} ${extra[@]+"${extra[@]}"} > /dev/null
        say "$out/$task/report.md"
    done
}

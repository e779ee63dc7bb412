#!/usr/bin/env bash
# The papers' ablations: variants of pre-training, each fine-tuned on the same tasks, and a report beside no pre-training.
# Every step that is done already is skipped, so an interrupted run goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="Ablations: every variant is pre-trained on as many rows of as many notes, fine-tuned on M2BERT's tasks, and set
beside the same network without pre-training (docs/ablations.md). A variant is NAME, NAME@UPDATES (pre-trained for so
many updates) or NAME%SHARE (fine-tuned on SHARE per cent of the labels), also NAME@UPDATES%SHARE; names:
  scratch-octuple scratch-cp             no pre-training
  bar compound element                   masked octuples (scripts/pretrain/musicbert.sh)
  octuple-bar octuple-denoise[-roll]     MusicBERT with M2BERT's objectives (scripts/m2bert/pretrain.sh)
  cp-denoise[-roll[-nochroma]]           M2BERT
  cp-mask cp-bar                         M2BERT with MidiBERT's and MusicBERT's masks
What follows -- goes to musicbert benchmark, that is, to the fine-tuning."
option octuple "" "octuples for pre-training, as musicbert build makes them"
option cp "" "compound words for pre-training (musicbert build --encoding cp)"
option tasks-octuple "" "folder of note/ and seq/ (scripts/prepare_smc_benchmark.sh --codec octuple)"
option tasks-cp "" "folder of note/ and seq/ of compound words"
option output runs_ablations "folder for everything that is made"
option results results/ablations "folder for the report"
option size mini "size of both networks: tiny, mini, small or base"
option variants "scratch-octuple scratch-cp bar compound element octuple-denoise octuple-denoise-roll cp-denoise \
cp-denoise-roll cp-denoise-roll-nochroma cp-mask cp-bar" "variants"
option updates 2000 "updates of pre-training"
option batch 48 "rows of an update of pre-training"
option crop 512 "notes of a row"
option lr 1e-3 "peak learning rate of pre-training; it falls to zero"
option warmup "" "updates of rising learning rate (default: 10 % of the updates)"
option clip-norm 1 "clip the norm of the gradient in pre-training (without it MusicBERT's post-norm blocks may stop learning)"
option pretrain-seed 7 "seed of pre-training"
option tasks "" "tasks such as 'ME VE VF' (default: all whose data are there)"
option splits clean "splits of the tasks"
option seeds "1 2 3" "seeds of fine-tuning"
option only-folds "" "folds of cross-validations to run (default: all)"
option finetune-updates 300 "updates of fine-tuning, whatever the size of the training part"
option finetune-batch 12 "windows of an update of fine-tuning"
option window 512 "notes of a window of fine-tuning"
option finetune-lr 5e-4 "peak learning rate of fine-tuning; it falls to zero"
option scratch-lr "" "the same without pre-training (default: --finetune-lr)"
option jobs 1 "processes at a time"
option stages "pretrain finetune report" "what to do"
option hardware "" "what it runs on, for the report (default: the name of the GPU)"
switch cpu "leave the GPU alone"
switch bf16 "multiply in bfloat16"
switch dry-run "print the commands and stop"
parse "$@"

does() { [[ " $stages " == *" $1 "* ]]; }
python=$(tool python)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
[[ $jobs =~ ^[1-9][0-9]*$ ]] || die "--jobs is at least 1"
cores=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > jobs ? cores / jobs : 1))} # the processes share the cores
failed=() RUNNING=()

# variant_of VARIANT: sets NAME, UPDATES and SHARE (empty: all labels)
variant_of() {
    local rest=${1%%%*}
    NAME=${rest%%@*} UPDATES=$updates SHARE=
    [ "$rest" = "$NAME" ] || UPDATES=${rest#*@}
    [ "$1" = "$rest" ] || SHARE=${1#*%}
    [[ $UPDATES =~ ^[1-9][0-9]*$ ]] || die "variant $1: updates are a whole number, not '$UPDATES'"
    [[ $SHARE =~ ^([1-9][0-9]?)?$ ]] || die "variant $1: a share of labels is 1 to 99 per cent, not '$SHARE'"
}

# recipe_of NAME: sets ENCODING, PROGRAM (empty: no pre-training) and FLAGS
recipe_of() {
    ENCODING=${1%%-*} PROGRAM=m2bert/pretrain.sh FLAGS=(--objective denoise --aux none)
    case $1 in
        scratch-octuple | scratch-cp) ENCODING=${1#scratch-} PROGRAM='' FLAGS=() ;;
        bar | compound | element) ENCODING=octuple PROGRAM=pretrain/musicbert.sh FLAGS=(--mask-strategy "$1") ;;
        octuple-bar | cp-bar) FLAGS=(--objective mask --mask-strategy bar --aux none) ;;
        cp-mask) FLAGS=(--objective mask --mask-strategy midibert --aux none) ;;
        octuple-denoise | cp-denoise) ;;
        octuple-denoise-roll | cp-denoise-roll) FLAGS=(--objective denoise --aux pianoroll) ;;
        cp-denoise-roll-nochroma) FLAGS=(--objective denoise --aux pianoroll_nochroma) ;;
        *) die "unknown variant $1 (see --help)" ;;
    esac
    if [ "$ENCODING" = octuple ]; then ARCH=musicbert_$size; else ARCH=m2bert_$size; fi
}

# pretraining_of VARIANT: sets START (a checkpoint, or scratch:ARCH), FOLDER and COMMAND (of its pre-training)
pretraining_of() {
    local data rise every
    variant_of "$1"
    recipe_of "$NAME"
    START=scratch:$ARCH FOLDER='' COMMAND=()
    [ -n "$PROGRAM" ] || return 0
    FOLDER=$output/pretrain/$NAME@$UPDATES START=$output/pretrain/$NAME@$UPDATES/checkpoint_last.pt
    if [ "$ENCODING" = octuple ]; then data=$octuple; else data=$cp; fi
    rise=${warmup:-$((UPDATES / 10))} every=$(((UPDATES + 3) / 4))
    COMMAND=(bash "$ROOT/scripts/$PROGRAM" --data "$data" --save-dir "$FOLDER" --arch "$ARCH" "${FLAGS[@]}"
        --updates "$UPDATES" --warmup "$rise" --lr "$lr" --effective-batch "$batch" --batch "$batch"
        --dropout 0 --seed "$pretrain_seed" --num-workers 1 --processes 1 ${cpu:+--cpu})
    if [ "$PROGRAM" = pretrain/musicbert.sh ]; then
        # one sequence a row, and of it `crop` notes
        local tokens=$(((crop + 3) * 8))
        COMMAND+=(--break-mode eos --crop-length "$crop" --tokens "$((tokens > 8192 ? tokens : 8192))"
            --optimizer fused_adamw --save-every "$every" ${bf16:+--autocast-bf16})
    else
        COMMAND+=(--encoding "$ENCODING" --crop "$crop" --epochs 1000000 --patience -1
            --lr-scheduler polynomial_decay --validate-every "$every" ${bf16:+--bf16})
    fi
}

# finetuning_of VARIANT WORKERS: sets FOLDER and COMMAND of its fine-tuning
finetuning_of() {
    local data rate=$finetune_lr each
    pretraining_of "$1"
    if [ "$ENCODING" = octuple ]; then data=$tasks_octuple; else data=$tasks_cp; fi
    [ -n "$PROGRAM" ] || rate=${scratch_lr:-$finetune_lr}
    FOLDER=$output/finetune/$1
    COMMAND=("$python" -m musicbert benchmark "$START" --output "$FOLDER" --workers "$2" --quiet --no-baselines)
    [ ! -d "$data/note" ] || COMMAND+=(--note-data "$data/note")
    [ ! -d "$data/seq" ] || COMMAND+=(--seq-data "$data/seq")
    for each in tasks splits seeds only-folds; do
        local words=${each//-/_}
        # shellcheck disable=SC2206 # a list of words
        [ -z "${!words}" ] || COMMAND+=("--$each" ${!words})
    done
    # epochs without end: the number of updates is the same for any number of labels
    COMMAND+=(--epochs 1000000 --max-updates "$finetune_updates" --batch "$finetune_batch" --window "$window"
        --learning-rate "$rate" --schedule linear --warmup 0.06 --clip 1 ${cpu:+--cpu} ${bf16:+--bf16}
        ${SHARE:+--train-share "0.$(printf %02d "$SHARE")"} ${EXTRA[@]+"${EXTRA[@]}"})
}

# keep_scores FOLDER: musicbert benchmark writes a table of the tasks of this call alone, the report reads all tables
keep_scores() {
    local number=1
    [ -f "$1/scores.json" ] || return 0
    while [ -f "$1/scores-$number.json" ]; do number=$((number + 1)); done
    mv "$1/scores.json" "$1/scores-$number.json"
}

# what has begun ends with this program
stop() {
    local each
    trap - INT TERM HUP
    for each in $(jobs -rp); do kill -TERM -- "-$each" 2> /dev/null || true; done
    say "stopped; the same command goes on"
    exit 130
}

# start WHAT LOG [DONE]: runs COMMAND in the background, as soon as a process may be started; DONE is a file that is
# made when it has ended well
start() {
    if [ -n "$dry_run" ]; then
        printf '%q ' "${COMMAND[@]}"
        printf '\n'
        return 0
    fi
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do sleep 0.3; done
    local what=$1 log=$2 mark=${3:-} command=("${COMMAND[@]}")
    mkdir -p "$(dirname "$log")"
    (
        SECONDS=0 status=0
        "${command[@]}" > "$log" 2>&1 < /dev/null || status=$?
        if [ "$status" -eq 0 ]; then
            [ -z "$mark" ] || : > "$mark"
            say "$what: done in $SECONDS s"
        else
            say "$what: exit status $status after $SECONDS s, see $log: $(grep . "$log" | tail -n 1 | cut -c 1-200)"
        fi
        exit "$status"
    ) &
    RUNNING+=("$! $what")
}

# waits for everything that was started
finish() {
    local each
    for each in ${RUNNING[@]+"${RUNNING[@]}"}; do
        wait "${each%% *}" || failed+=("${each#* }")
    done
    RUNNING=()
}

# claim: stops where the folder of pretraining_of holds a pre-training with other settings
claim() {
    local setting="$PROGRAM $ARCH ${FLAGS[*]} updates=$UPDATES batch=$batch crop=$crop lr=$lr"
    setting+=" warmup=${warmup:-10%} clip-norm=$clip_norm seed=$pretrain_seed"
    mkdir -p "$FOLDER"
    [ -f "$FOLDER/setting" ] || printf '%s\n' "$setting" > "$FOLDER/setting"
    [ "$(cat "$FOLDER/setting")" = "$setting" ] ||
        die "$FOLDER was made with another setting ($(cat "$FOLDER/setting")): choose another --output"
}

# pretrain VARIANT: starts its pre-training, goes on with it, or does nothing where it is done
pretrain() {
    pretraining_of "$1"
    [ -n "$PROGRAM" ] || return 0
    [[ " ${planned[*]-} " != *" $FOLDER "* ]] || return 0 # several shares of labels, one pre-training
    planned+=("$FOLDER")
    if [ -z "$dry_run" ]; then
        if [ -f "$FOLDER/done" ]; then
            say "$NAME@$UPDATES: pre-trained already"
            return 0
        fi
        [ ! -f "$FOLDER/checkpoint_last.pt" ] || COMMAND+=(--resume)
    fi
    # an epoch of few rows is no reason to validate and to save
    COMMAND+=(-- --validate-interval 1000000 --save-interval 1000000 --clip-norm "$clip_norm")
    start "$NAME@$UPDATES, pre-training" "$output/logs/pretrain-$NAME@$UPDATES.log" "$FOLDER/done"
}

planned=() count=0
for variant in $variants; do
    pretraining_of "$variant"
    count=$((count + 1))
    if [ "$ENCODING" = octuple ]; then tasks_here=$tasks_octuple data=$octuple; else tasks_here=$tasks_cp data=$cp; fi
    if does pretrain && [ -n "$PROGRAM" ]; then
        [ -n "$data" ] || die "$variant needs --$ENCODING (see --help)"
        need_dir "$data" "musicbert build --encoding $ENCODING makes it"
        [ -n "$dry_run" ] || claim
    fi
    if does finetune; then
        [ -n "$tasks_here" ] || die "$variant needs --tasks-$ENCODING (see --help)"
        need_dir "$tasks_here" "scripts/prepare_smc_benchmark.sh - FOLDER --codec $ENCODING makes it"
    fi
done
[ "$count" -gt 0 ] || does report || die "--variants names none (see --help)"
set -m # a process group for each job, which can be stopped as a whole
trap stop INT TERM HUP

if does pretrain; then
    for variant in $variants; do pretrain "$variant"; done
    finish
fi
if does finetune; then
    for variant in $variants; do
        finetuning_of "$variant" "$((jobs > count ? jobs / count : 1))"
        if [ -n "$PROGRAM" ] && [ -z "$dry_run" ] && [ ! -f "${START%/*}/done" ]; then
            say "$variant: not fine-tuned, its pre-training is not done"
            failed+=("$variant, fine-tuning")
            continue
        fi
        if [ -z "$dry_run" ] && [ -n "$PROGRAM" ]; then
            mkdir -p "$FOLDER" # the report asks which pre-training it was
            printf '%s\n' "$NAME@$UPDATES" > "$FOLDER/pretraining"
        fi
        [ -n "$dry_run" ] || keep_scores "$FOLDER"
        start "$variant, fine-tuning" "$output/logs/finetune-$variant.log"
    done
    finish
fi
if does report; then
    if [ -z "$hardware" ] && [ -z "$cpu" ]; then
        hardware=$("$python" -c 'import torch
print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU")')
    fi
    COMMAND=("$python" "$ROOT/results/tools/report_ablations.py" "$output" --out "$results" --hardware "${hardware:-CPU}")
    if [ -n "$dry_run" ]; then
        printf '%q ' "${COMMAND[@]}"
        printf '\n'
    else
        "${COMMAND[@]}" || failed+=("report")
    fi
fi
for each in ${failed[@]+"${failed[@]}"}; do printf 'failed: %s\n' "$each" >&2; done
[ ${#failed[@]} -eq 0 ]

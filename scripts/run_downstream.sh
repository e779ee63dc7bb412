#!/usr/bin/env bash
# MusicBERT's four downstream tasks on real data: data sets, training on every fold with several seeds and starts, scores.
# Every step that is done already is skipped, so an interrupted run goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/sentence_lib.sh"
ABOUT="MusicBERT's four downstream tasks. DIR holds the unpacked sources: PiRhDy/dataset/context_{next,acc}/, a folder of
MIDI files with melodies (--midi), midi_genre_map.json and lmd_full/; a task whose source is missing is passed over."
option sources "" "folder of the sources (required)"
option midi "" "MIDI files with a melody, for next_midi and acc_midi (default: DIR/midi)"
option output runs_downstream "folder for everything that is made"
option results results/downstream "folder for the scores"
option tasks "next acc next_midi acc_midi topmagd masd" "tasks"
option starts "scratch init" "scratch: random weights; init: the weights of --init"
option pair-updates 250000 "updates of next and acc"
option genre-updates 20000 "updates of genre and style"
option pair-batch 16 "pairs of one forward pass"
option genre-batch 4 "windows of one forward pass"
option folds all "folds of genre and style"
option workers 2 "processes that make the data"
shared_sentence_options
parse "$@"

[ -n "$sources" ] || die "--sources is missing (see --help)"
need_dir "$sources" "it holds the sources"
python=$(tool python)
midi=${midi:-$sources/midi}
mkdir -p "$output" "$results"
arch_of_weights

# source_of TASK: what its data are made from
source_of() {
    case $1 in
        next | acc) echo "$sources/PiRhDy/dataset" ;;
        *_midi) echo "$midi" ;;
        *) echo "$sources/midi_genre_map.json" ;;
    esac
}

make_data() { # TASK
    local bin="$output/$1_data_bin" raw="$output/$1_data_raw"
    [ ! -d "$bin" ] || return 0
    say "data of $1"
    case $1 in
        topmagd | masd)
            "$python" "$ROOT/scripts/gen_genre.py" "$1" --map "$(source_of "$1")" --midi "$sources/lmd_full" \
                --output "$bin" --format bin --workers "$workers"
            return
            ;;
        *_midi) set -- "${1%_midi}" --midi "$(source_of "$1")" ;;
        *) set -- "$1" --pirhdy "$(source_of "$1")" ;;
    esac
    "$python" "$ROOT/scripts/gen_nsp.py" "$@" --output "$raw" --overwrite --workers "$workers"
    bash "$ROOT/scripts/binarize_nsp.sh" "$1" --raw "$raw" --bin "$bin" --direct
    rm -r "$raw"
}

for task in $tasks; do
    if [ ! -e "$(source_of "$task")" ]; then
        say "$task is passed over: there is no $(source_of "$task")"
        continue
    fi
    make_data "$task"
    runs=()
    for start in $starts; do
        case $task in
            next* | acc*)
                recipe=(train_nsp.sh "${task%_midi}" --updates "$pair_updates" --warmup "$((pair_updates / 5))"
                    --weight-decay 0.1 --batch "$pair_batch")
                ;;
            *)
                recipe=(train_genre.sh "$task" --updates "$genre_updates" --warmup "$((genre_updates / 5))"
                    --weight-decay 0.01 --batch "$genre_batch" --fold "$folds")
                ;;
        esac
        more=(--resume)
        for each in cpu fp16 bf16 bar; do
            [ -z "${!each}" ] || more+=("--$each")
        done
        [ -z "$autocast_bf16" ] || more+=(--autocast-bf16)
        if [ "$start" = scratch ]; then more+=(--from-scratch); else more+=(--init "$init"); fi
        folder="$output/$task/${arch#musicbert_}-$start"
        bash "$ROOT/scripts/${recipe[0]}" "${recipe[@]:1}" --data "$output/${task}_data_bin" --save-dir "$folder" \
            --arch "$arch" --lr "$lr" --effective-batch "$effective_batch" --dropout "$dropout" \
            --attention-dropout "$attention_dropout" --pooling "$pooling" --seeds "$seeds" --patience "$patience" \
            --validate-every "$validate_every" --num-workers "$num_workers" "${more[@]}" \
            ${EXTRA[@]+-- "${EXTRA[@]}"}
        runs+=("$folder")
    done
    case $task in
        next* | acc*) score=eval_nsp.py ;;
        *) score=eval_genre.py ;;
    esac
    "$python" "$ROOT/scripts/$score" ${runs[@]+"${runs[@]}"} "$output/${task}_data_bin" --output "$results/$task" \
        ${cpu:+--device cpu}
done

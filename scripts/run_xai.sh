#!/usr/bin/env bash
# The whole main job on real data: labels, data sets, baselines, training on every fold with several seeds, report.
# Every step that is done already is skipped, so an interrupted run goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="The main job on real data. DIR holds xai/{total.csv,segmented_midi.zip} and
percepiano/{total.csv,segment_midi.zip,folds.json}; either may be missing."
option data "" "folder of the data (required)"
option output runs "folder for everything that is made"
option results results "folder for the reports"
option arch musicbert_tiny "musicbert_{tiny,mini,small,medium,base,large}"
option seeds "1 2 3" "seeds"
option variants "published plain performance" "see docs/training.md"
option starts "scratch mlm" "scratch: random weights; mlm: after masked-LM pre-training (needs --corpus or --init);
own, mlm+own: the same, and then masked-LM on the training pieces of the fold itself"
option stages "prepare train report" "what to do; train alone needs no original data, plan only writes the file plan"
option splits "" "data sets and splits, such as 'xai:content_8fold percepiano:composition_strict4' (default: all)"
option corpus "" "folder or zip of MIDI for the masked-LM pre-training"
option init "" "masked-LM weights, instead of --corpus"
option init-performance "" "masked-LM weights of a model with performance inputs, for that variant (default: --init)"
option mlm-updates 3000 "updates of the masked-LM pre-training"
option updates 450 "updates of one training"
option lr 1e-3 "peak learning rate"
option batch 32 "pieces of one update"
option cls-weight 1 "weight of the performer's class beside 5 of the ratings"
option augment "transpose=3,phase=8,bar,drop=0.1" "changes of training pieces, but for the published variant"
option own-updates 300 "updates of the masked-LM on the fold's own pieces"
option workers 2 "trainings at a time, each with one thread"
option device cpu "cpu or gpu (all trainings share the one GPU)"
option parts "test" "parts to predict; the hybrids of the report need 'test train'"
parse "$@"

does() { [[ " $stages " == *" $1 "* ]]; }
if does prepare || does report; then
    [ -n "$data" ] || die "--data is missing (see --help)"
    need_dir "$data" "it holds xai/ and percepiano/"
fi
case $device in
    cpu) on=(--cpu) ;;
    gpu) on=() ;;
    *) die "unknown --device $device (cpu or gpu)" ;;
esac
python=$(tool python)
mkdir -p "$output" "$results"
# what is done already is skipped, so one output folder belongs to one setting
setting="arch=$arch updates=$updates lr=$lr batch=$batch augment=$augment"
[ "$cls_weight" = 1 ] || setting+=" cls-weight=$cls_weight"
[ -f "$output/setting" ] || printf '%s\n' "$setting" > "$output/setting"
[ "$(cat "$output/setting")" = "$setting" ] || die "$output holds runs of another setting ($(cat "$output/setting")): choose another --output"

ALL_SPLITS="xai:segment xai:segment_clean xai:content_8fold xai_centred:content_8fold
xai_mnskim:content_8fold xai_mnskim_mean:content_8fold
percepiano:performer_published percepiano:composition_strict4 percepiano:content_4fold percepiano:performer_cv"
splits=${splits:-$ALL_SPLITS}

# folder of the original data of a set
source_of() { case $1 in xai*) echo "$data/xai" ;; *) echo "$data/percepiano" ;; esac; }
midi_of() { case $1 in xai*) echo "$data/xai/segmented_midi.zip" ;; *) echo "$data/percepiano/segment_midi.zip" ;; esac; }

make_labels() { # SET
    local labels="$output/labels/$1.json" flags
    [ -f "$labels" ] && return
    case $1 in
        xai) flags=(--label apex --columns published) ;;
        xai_centred) flags=(--label mean --columns published --zeros cell --center-raters) ;;
        xai_mnskim) flags=(--label apex --columns mnskim) ;;
        xai_mnskim_mean) flags=(--label mean --columns mnskim) ;;
        percepiano) flags=(--label mean) ;;
        *) die "unknown set $1" ;;
    esac
    say "labels of $1"
    mkdir -p "$output/labels"
    "$python" "$ROOT/map_midi_to_label.py" --csv "$(source_of "$1")/total.csv" --output "$labels" \
        --reliability "$output/reliability/$1" "${flags[@]}"
}

make_databin() { # SET SPLIT
    local raw="$output/raw/$1_$2" bin="$output/bin/$1_$2" flags
    [ -d "$bin" ] && return
    case $2 in
        segment) flags=(--split segment --valid none) ;;
        segment_clean) flags=(--split segment-clean --valid none) ;;
        content_8fold) flags=(--split k-fold --folds 8 --valid none) ;;
        content_4fold) flags=(--split k-fold --folds 4 --valid none) ;;
        performer_published) flags=(--folds-file "$data/percepiano/folds.json:$2") ;; # its validation is published
        *) flags=(--folds-file "$data/percepiano/folds.json:$2" --valid none) ;;
    esac
    say "data set $1, $2"
    mkdir -p "$output/raw" "$output/bin"
    "$python" "$ROOT/gen_xai.py" --labels "$output/labels/$1.json" --midi "$(midi_of "$1")" --output "$raw" \
        --overwrite --performance-input --neutralise-tempo-metre "${flags[@]}"
    bash "$ROOT/scripts/binarize_xai.sh" "$1" --raw "$raw" --bin "$bin" --direct
}

make_baselines() { # SET SPLIT...
    local set=$1 file="$results/baselines_$1" folds=()
    shift
    [ -f "$file.json" ] && return
    say "baselines of $set"
    [ "$set" != percepiano ] || folds=(--folds-file "$data/percepiano/folds.json")
    "$python" "$ROOT/scripts/baselines_xai.py" --labels "$output/labels/$set.json" --midi "$(midi_of "$set")" \
        --split "$@" --task regression classes --output "$file" --cache "$output/features" \
        --predictions "$output/baselines/$set" --ratings "$(source_of "$set")/total.csv" \
        ${folds[@]+"${folds[@]}"}
}

pretrain() { # masked-LM weights in $output/mlm/checkpoint_best.pt
    local bin="$output/mlm_bin" out="$output/mlm" flags=()
    [ -f "$out/done" ] && return
    [ -e "$corpus" ] || die "--starts mlm needs --corpus (MIDI files) or --init (weights)"
    [ -d "$bin" ] || "$python" -m musicbert build "$corpus" --output "$bin" --shares 98 2 0 --workers "$workers" \
        --window 512 --overlap 1 --exclude '(?i)d960|d935|op142|woo80' --max-failure-rate 1
    [ ! -f "$out/checkpoint_last.pt" ] || flags=(--resume)
    bash "$ROOT/scripts/pretrain_mlm.sh" --data "$bin" --save-dir "$out" --arch "$arch" --updates "$mlm_updates" \
        --warmup 200 --lr 1.5e-3 --effective-batch 8 --batch 8 --break-mode eos --dropout 0 --save-every 500 \
        ${flags[@]+"${flags[@]}"} -- --random-tokens field
    touch "$out/done"
}

# options of fairseq-train that start VARIANT as START says, in INIT; masked-LM on the fold's pieces in BEFORE
weights_of() { # VARIANT START
    local file="" own=(--task octuple_masked_lm --criterion octuple_masked_lm --arch "$arch" --sample-break-mode eos
        --dropout 0 --random-tokens field --batch-size 16 --optimizer fused_adamw --adam-betas "'(0.9, 0.98)'"
        --adam-eps 1e-6 --clip-norm 1.0 --lr 5e-4 --lr-scheduler polynomial_decay --warmup-updates 30
        --total-num-update "$own_updates" --max-update "$own_updates" --disable-validation --save-interval 1000
        ${on[@]+"${on[@]}"})
    INIT=() BEFORE=()
    case $2 in
        scratch | own) ;;
        mlm | mlm+own)
            file=$init
            [ "$1" = performance ] && [ -n "$init_performance" ] && file=$init_performance
            if [ -z "$file" ]; then
                pretrain
                file="$output/mlm/checkpoint_best.pt"
            fi
            find_weights "$file" "these are the masked-LM weights of $1"
            INIT=(--init-from "$(cd "$(dirname "$WEIGHTS")" && pwd)/$(basename "$WEIGHTS")")
            ;;
        *) die "unknown start $2 (scratch, mlm, own, mlm+own)" ;;
    esac
    case $2 in *own)
        [ "$1" != performance ] || own+=(--performance-input)
        BEFORE=(--before "${own[*]} ${INIT[*]-}")
        INIT=()
        ;;
    esac
}

if does prepare; then
    for set in xai xai_centred xai_mnskim xai_mnskim_mean percepiano; do
        wanted=$(for each in $splits; do case $each in "$set":*) echo "${each#*:}" ;; esac; done)
        [ -n "$wanted" ] || continue
        [ -d "$(source_of "$set")" ] || { say "$(source_of "$set") is not there: $set is left out" && continue; }
        make_labels "$set"
        for split in $wanted; do make_databin "$set" "$split"; done
        # shellcheck disable=SC2086
        make_baselines "$set" $wanted
    done
fi

plan_all() { # one line an experiment: all of them share the workers
    local variant start each bin flags
    for variant in $variants; do
        case $variant in
            published) flags=(--pooling first) ;;
            plain) flags=(--pooling mean --augment "$augment") ;;
            performance) flags=(--pooling mean --augment "$augment" --performance-input) ;;
            *) die "unknown variant $variant" ;;
        esac
        for start in $starts; do
            weights_of "$variant" "$start"
            for each in $splits; do
                bin="$output/bin/${each%%:*}_${each#*:}"
                [ -d "$bin" ] || continue
                # shellcheck disable=SC2086
                printf '%q ' --data "$bin" --output "$output/trained/${each%%:*}/${each#*:}/$variant-$start" \
                    --seeds $seeds --parts $parts ${BEFORE[@]+"${BEFORE[@]}"} -- \
                    --task xai --criterion M2PFnP_xai --arch "$arch" \
                    --classification-head-name performer --regression-head-name ratings \
                    --reg-weight 5 --cls-weight "$cls_weight" --dropout 0.1 --attention-dropout 0 \
                    --optimizer fused_adamw --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --weight-decay 0.01 --clip-norm 1.0 \
                    --lr "$lr" --lr-scheduler polynomial_decay --warmup-updates $((updates / 10)) \
                    --total-num-update "$updates" --max-update "$updates" --batch-size "$batch" \
                    --disable-validation --save-interval 1000 ${on[@]+"${on[@]}"} "${flags[@]}" ${INIT[@]+"${INIT[@]}"}
                echo
            done
        done
    done
}

if does plan || does train; then plan_all > "$output/plan"; fi
if does train; then
    "$python" "$ROOT/scripts/run_experiments.py" --plan "$output/plan" --workers "$workers"
fi
if does report; then
    bash "$ROOT/scripts/report_xai.sh" --runs "$output" --data "$data" --results "$results"
fi

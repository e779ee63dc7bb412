#!/usr/bin/env bash
# Reports of everything that scripts/run_xai.sh trained, and the tables of the README.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="Reports of everything that scripts/run_xai.sh trained: scores beside the baselines and the ceiling."
option runs runs "folder that run_xai.sh made"
option data "" "folder of the data, for the hybrid of embeddings and features (default: no hybrid)"
option results results "folder for the reports"
switch pictures "keep the pictures"
parse "$@"

need_dir "$runs/trained" "run scripts/run_xai.sh first"
python=$(tool python)
for folder in "$runs"/trained/*/*/*/; do
    folder=${folder%/}
    variant=${folder##*/}
    rest=${folder%/*}
    split=${rest##*/}
    rest=${rest%/*}
    set=${rest##*/}
    ls "$folder"/*/*/run.json > /dev/null 2>&1 || continue
    kind=mean
    [ "$set" != xai ] || kind=apex
    midi=()
    case $set in
        xai*) [ ! -f "$data/xai/segmented_midi.zip" ] || midi=(--midi "$data/xai/segmented_midi.zip") ;;
        *) [ ! -f "$data/percepiano/segment_midi.zip" ] || midi=(--midi "$data/percepiano/segment_midi.zip") ;;
    esac
    for task in regression classes; do
        out="$results/$set/$split/$variant/$task"
        say "$out"
        "$python" "$ROOT/scripts/report_xai.py" --runs "$folder" --labels "$runs/labels/$set.json" --task "$task" \
            --name "$set, $split: $variant, $task" --out "$out" --baselines "$results/baselines_$set.json" \
            --split "$split" --ceiling "$runs/reliability/$set/reliability.csv" --kind "$kind" \
            --cache "$runs/features" ${midi[@]+"${midi[@]}"} > /dev/null
        [ -n "$pictures" ] || rm -f "$out"/*.png
    done
done
"$python" "$ROOT/scripts/readme_tables.py" --results "$results" --readme "$ROOT/README.md"

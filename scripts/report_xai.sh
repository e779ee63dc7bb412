#!/usr/bin/env bash
# Reports of everything that scripts/run_xai.sh trained, and the tables of the README.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="Reports of everything that scripts/run_xai.sh trained: scores beside the baselines and the ceiling."
option runs runs "folder that run_xai.sh made"
option data "" "folder of the data, for the hybrid of embeddings and features (default: no hybrid)"
option results results "folder for the reports"
switch pictures "keep the pictures"
switch again "also those whose report is there already"
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
    folds=$(find "$runs/bin/${set}_$split" -mindepth 1 -maxdepth 1 -type d | wc -l)
    done=$(find "$folder" -name run.json | wc -l)
    seeds=$(find "$folder" -path '*/seed*' -prune -name 'seed*' | sed 's|.*/||' | sort -u | wc -l)
    if [ "$done" -eq 0 ] || [ "$done" -lt $((folds * seeds)) ]; then
        say "$set, $split, $variant: $done of $((folds * seeds)) runs are done, no report yet"
        continue
    fi
    kind=mean
    case $set in xai | xai_mnskim) kind=apex ;; esac
    midi=()
    case $set in
        xai*) [ ! -f "$data/xai/segmented_midi.zip" ] || midi=(--midi "$data/xai/segmented_midi.zip") ;;
        *) [ ! -f "$data/percepiano/segment_midi.zip" ] || midi=(--midi "$data/percepiano/segment_midi.zip") ;;
    esac
    for task in regression classes; do
        out="$results/$set/$split/$variant/$task"
        [ ! -f "$out/report.json" ] || [ -n "$again" ] || continue
        beside=(--baselines "$results/baselines_$set.json" --split "$split")
        row=$split
        [ "$task" = regression ] || row=${split}_performer
        grep -q "\"$row\"" "$results/baselines_$set.json" || beside=()
        kept="$runs/baselines/$set"
        if [ ${#beside[@]} -gt 0 ] && [ -d "$kept/$split/$task" ]; then beside+=(--baseline-predictions "$kept"); fi
        say "$out"
        "$python" "$ROOT/scripts/report_xai.py" --runs "$folder" --labels "$runs/labels/$set.json" --task "$task" \
            --name "$set, $split: $variant, $task" --out "$out" ${beside[@]+"${beside[@]}"} \
            --ceiling "$runs/reliability/$set/reliability.csv" --kind "$kind" \
            --cache "$runs/features" ${midi[@]+"${midi[@]}"} > /dev/null
        [ -n "$pictures" ] || rm -f "$out"/*.png
    done
done
"$python" "$ROOT/results/tools/readme_tables.py" --results "$results" --readme "$ROOT/README.md"

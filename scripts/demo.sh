#!/usr/bin/env bash
# The main job on made data, from ratings and MIDI to a table and pictures, in minutes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ABOUT="The main job on made data: labels, data set, pre-training, fine-tuning, evaluation."
option output demo "folder for everything that is made"
option seed 7 "seed"
option updates 150 "updates of each fine-tuning"
parse "$@"

python=$(tool python)
marker=.made-by-demo
if [ -n "$(ls -A "$output" 2> /dev/null)" ] && [ ! -f "$output/$marker" ]; then
    die "$output holds something else than an earlier demo: choose another --output"
fi
rm -rf "$output"
mkdir -p "$output"
cd "$output"
touch "$marker"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
quiet=(--cpu --seed "$seed" --bar)
tiny=(--lr 1e-3 --warmup 20 --batch 32 --validate-every 25)

say "1/8 performances and simulated raters"
"$python" "$ROOT/scripts/make_demo_data.py" --output data --seed "$seed"
say "2/8 ratings to labels, and how far the raters agree"
"$python" "$ROOT/map_midi_to_label.py" --label mean --output midi_label_map_apex_reg_cls.json --reliability reliability
say "3/8 labels and MIDI to a data set"
"$python" "$ROOT/gen_xai.py" --midi data/segment_midi.zip --folds-file data/test.id --performance-input
bash "$ROOT/scripts/binarize_xai.sh" xai
data=xai_data_bin_apex_reg_cls
say "4/8 masked-LM pre-training"
bash "$ROOT/scripts/pretrain_mlm.sh" --data "$data/0/input0" --save-dir checkpoints/mlm --arch musicbert_tiny \
    --updates 120 --warmup 20 --lr 1e-3 --effective-batch 32 --batch 32 --break-mode eos --save-every 60 \
    "${quiet[@]}"
mlm=checkpoints/mlm/checkpoint_best.pt
say "5/8 contrastive pre-training, and the performers from it"
bash "$ROOT/scripts/classification/pretrain.sh" --data "$data" --init "$mlm" --arch xai_pretrain_tiny \
    --save-dir checkpoints/contrastive --updates 60 "${tiny[@]}" "${quiet[@]}"
bash "$ROOT/scripts/classification/finetuning.sh" --data "$data" --arch xai_pretrain_tiny \
    --init checkpoints/contrastive/checkpoint_best.pt --save-dir checkpoints/performers \
    --updates "$updates" "${tiny[@]}" "${quiet[@]}"
say "6/8 regression of the ratings: the published variant"
bash "$ROOT/scripts/regression/finetuning.sh" --data "$data" --init "$mlm" --arch musicbert_tiny \
    --effective-batch 32 --save-dir checkpoints/plain --updates "$updates" "${tiny[@]}" "${quiet[@]}"
say "7/8 ratings and performers at once, with pedal and timing"
bash "$ROOT/scripts/reg_cls/finetuning.sh" --data "$data" --init "$mlm" --arch musicbert_tiny \
    --effective-batch 32 --save-dir checkpoints/performance --performance-input --pooling mean --reg-weight 5 \
    --updates "$updates" "${tiny[@]}" "${quiet[@]}"
say "8/8 evaluation beside the baselines"
for run in performers plain performance; do
    bash "$ROOT/scripts/eval_xai.sh" --checkpoint "checkpoints/$run/checkpoint_best.pt" --data "$data" \
        --output "evaluation/$run" --midi data/segment_midi.zip --baselines evaluation/baselines \
        --reliability reliability/reliability.csv
done
say "done: tables and pictures are in $output/evaluation/*/*/"
sed -n '/^|/p' evaluation/performance/regression/report.md | head -20

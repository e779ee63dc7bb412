#!/usr/bin/env bash
# Regression of the ratings (criterion M2PF_xai, or M2PF_xai_adv with --adversarial).
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Fine-tuning of the regression of all rated dimensions (M2PF_xai)."
rating_options 1e-5
switch adversarial "virtual adversarial training (M2PF_xai_adv)"
parse "$@"

criterion=M2PF_xai
[ -z "$adversarial" ] || criterion=M2PF_xai_adv
initial_weights
out=${save_dir:-checkpoints/xai_${criterion%_xai*}${adversarial:+_adv}_${lr}_${arch}}
train_rating "$out" --criterion "$criterion" --classification-head-name xai_head \
    --best-checkpoint-metric R2 --maximize-best-checkpoint-metric

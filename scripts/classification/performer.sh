#!/usr/bin/env bash
# Performer classification with the plain task (criterion M2P_xai).
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Fine-tuning of the performer classification with the plain task (M2P_xai)."
rating_options 1e-4
parse "$@"

initial_weights
out=${save_dir:-checkpoints/xai_M2P_${lr}_${arch}}
train_rating "$out" --criterion M2P_xai --classification-head-name xai_head \
    --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric

#!/usr/bin/env bash
# Performer classification, from a contrastive checkpoint.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Fine-tuning of the performer classification, from what classification/pretrain.sh made."
option loss xai_pretrain_loss "loss of the pre-training; names the checkpoint where --init does not"
contrastive_options 5000 300 5e-5
init=
parse "$@"

init=${init:-checkpoints/xai_${loss}_${lr}_${arch#xai_pretrain_}/checkpoint_best.pt}
initial_weights
out=${save_dir:-checkpoints/xai_finetuning_${loss}_${lr}_${arch#xai_pretrain_}}
train_contrastive "$out" --criterion xai_finetuning_loss --is-fine-tuning \
    --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric

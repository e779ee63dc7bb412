#!/usr/bin/env bash
# Performer classification without contrastive pre-training: the comparison for finetuning.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Fine-tuning of the performer classification straight from plain MusicBERT weights."
contrastive_options 5000 300 5e-5
parse "$@"

initial_weights
out=${save_dir:-checkpoints/xai_finetuning_no_pretrain_${lr}_${arch#xai_pretrain_}}
train_contrastive "$out" --criterion xai_finetuning_loss --is-fine-tuning \
    --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric

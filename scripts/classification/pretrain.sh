#!/usr/bin/env bash
# Contrastive pre-training: a performance's vector meets the vector of its ratings.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Contrastive pre-training of music against ratings, from plain MusicBERT weights."
option loss xai_pretrain_loss "xai_pretrain_loss, or with _unimodal, _ntxent, _unimodal_ntxent"
contrastive_options 300 100 5e-5
parse "$@"

case $loss in
    xai_pretrain_loss | xai_pretrain_loss_unimodal | xai_pretrain_loss_ntxent | xai_pretrain_loss_unimodal_ntxent) ;;
    *) die "--loss $loss is none of xai_pretrain_loss[_unimodal][_ntxent]" ;;
esac
initial_weights
out=${save_dir:-checkpoints/xai_${loss}_${lr}_${arch#xai_pretrain_}}
train_contrastive "$out" --criterion "$loss" --best-checkpoint-metric loss

#!/usr/bin/env bash
# Ratings and performer at once (criterion M2PFnP_xai).
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ABOUT="Fine-tuning of ratings and performer with one model (M2PFnP_xai)."
rating_options 1e-4
option metric R2 "what the best checkpoint is chosen by, on the validation set: R2 or accuracy"
option cls-weight 1.0 "weight of the performer's cross entropy"
option reg-weight 1.0 "weight of the ratings' squared error"
parse "$@"

initial_weights
out=${save_dir:-checkpoints/xai_M2PFnP_${lr}_${arch}}
train_rating "$out" --criterion M2PFnP_xai --cls-weight "$cls_weight" --reg-weight "$reg_weight" \
    --classification-head-name xai_M2PFnP_cls --regression-head-name xai_M2PFnP_res \
    --best-checkpoint-metric "$metric" --maximize-best-checkpoint-metric

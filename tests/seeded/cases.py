"""Every training recipe at a tiny size: data and options.

Names that end in "unshuffled" or "one piece" are of runs whose examples are in an order that does not
depend on how the project draws random orders.
"""

__all__ = ["ADAM", "CASES", "RUN", "TUNING"]

#: options of every case, which its own may override
RUN = (
    "--max-update 4 --batch-size 12 --required-batch-size-multiple 1 --seed 7 --lr 1e-3 --lr-scheduler fixed "
    "--weight-decay 0.01 --clip-norm 0.0 --dropout 0.1 --attention-dropout 0.1 --encoder-layers 1 "
    "--encoder-embed-dim 16 --encoder-ffn-embed-dim 32 --encoder-attention-heads 2 --num-workers 0 "
    "--no-epoch-checkpoints --cpu --log-format json --log-interval 1"
)
#: of cases that name no optimizer
ADAM = "--optimizer adam --adam-betas (0.9,0.98) --adam-eps 1e-6"

PUBLISHED = "--init-token 0 --separator-token 2 --shorten-method truncate --max-positions 8192"
AUGMENT = "--augment transpose=4,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"
RATING = f"--task xai --arch musicbert_tiny --classification-head-name xai_head {PUBLISHED} --criterion"
BOTH = f"{RATING} M2PFnP_xai --regression-head-name xai_res"
COMPAT = "--compat --no-shuffle --regression-target"
CONTRAST = f"--task xai_pretrain_task --arch xai_pretrain_tiny {PUBLISHED} --criterion"
CONTRAST_TUNING = f"{CONTRAST} xai_finetuning_loss --is-fine-tuning"

RATINGS = {
    "M2P_xai": f"{RATING} M2P_xai --num-cls-classes 4",
    "M2P_xai, compat": f"{RATING} M2P_xai {COMPAT}",
    "M2P_xai, unshuffled": f"{RATING} M2P_xai --no-shuffle",
    "M2PF_xai": f"{RATING} M2PF_xai --num-cls-classes 3",
    "M2PF_xai, compat": f"{RATING} M2PF_xai {COMPAT}",
    "M2PF_xai, from M2P_xai": f"{RATING} M2PF_xai --init-from {{M2P_xai}}",
    "M2PF_xai, unshuffled": f"{RATING} M2PF_xai --no-shuffle",
    "M2PFnP_xai": f"{BOTH} --num-cls-classes 4 --num-reg-classes 3",
    "M2PFnP_xai, compat": f"{BOTH} {COMPAT}",
    "M2PFnP_xai, accumulated, unshuffled": f"{BOTH} --no-shuffle --update-freq 2",
    "M2PFnP_xai, performance input, unshuffled": f"{BOTH} --no-shuffle --performance-input",
    "M2PFnP_xai, augment, unshuffled": f"{BOTH} --no-shuffle --performance-input {AUGMENT}",
    "M2PFnP_xai, mean, unshuffled": f"{BOTH} --no-shuffle --pooling mean",
    "M2PFnP_xai, mean, performance input, augment": f"{BOTH} --pooling mean --performance-input {AUGMENT}",
    "M2PFnP_xai, random crop, unshuffled": (
        f"{BOTH} --no-shuffle --shorten-method random_crop --max-positions 160"
    ),
    "M2PF_xai_adv": f"{RATING} M2PF_xai_adv",
    "M2PF_xai_adv, compat": f"{RATING} M2PF_xai_adv {COMPAT}",
    "M2PF_xai_adv, unshuffled": f"{RATING} M2PF_xai_adv --no-shuffle",
    **{
        f"xai_pretrain_loss{form}{name}": f"{CONTRAST} xai_pretrain_loss{form} {more}"
        for form in ("", "_unimodal", "_ntxent", "_unimodal_ntxent")
        for name, more in (
            ("", "--num-cls-classes 4"),
            (", compat", "--compat"),
            (", unshuffled", "--no-shuffle"),
        )
    },
    "xai_finetuning_loss": f"{CONTRAST_TUNING} --init-from {{xai_pretrain_loss}}",
    "xai_finetuning_loss, compat": (
        f"{CONTRAST_TUNING} --compat --no-shuffle --init-from {{xai_pretrain_loss, compat}}"
    ),
    "xai_finetuning_loss, from M2P_xai": f"{CONTRAST_TUNING} --init-from {{M2P_xai}}",
    "xai_finetuning_loss, from scratch, unshuffled": (
        f"{CONTRAST_TUNING} --from-scratch --performance-input --no-shuffle"
    ),
}

SENTENCE = f"--arch musicbert_tiny {PUBLISHED} --lr 1e-2 --criterion"
PAIRS = f"{SENTENCE} sentence_prediction --classification-head-name next_head --batch-size 24 --task"
OCTUPLES = f"{PAIRS} octuple_sentence_prediction"
MULTILABEL = "sentence_prediction_multilabel"
GENRES = f"{SENTENCE} {MULTILABEL} --task {MULTILABEL} --classification-head-name topmagd_head"

SENTENCES = {
    "next": ("pairs", OCTUPLES),
    "next, mean, unshuffled": ("pairs", f"{OCTUPLES} --pooling mean --no-shuffle"),
    "next, cp": ("pairs", f"{OCTUPLES} --encoding cp"),
    "next, remi": ("pairs", f"{OCTUPLES} --encoding remi --max-positions 512"),
    "next, truncated": ("pairs", f"{OCTUPLES} --max-positions 160"),
    "next, from pre-training": ("pairs", f"{OCTUPLES} --max-positions 2048 --init-from {{masked_lm}}"),
    "sentence_prediction": ("pairs", f"{PAIRS} sentence_prediction --num-classes 2"),
    "sentence_prediction, regression": (
        "values",
        f"{PAIRS} sentence_prediction --regression-target --num-classes 1",
    ),
    "octuple_sentence_prediction, regression, unshuffled": (
        "values",
        f"{OCTUPLES} --regression-target --num-classes 1 --no-shuffle",
    ),
    "genre": ("genres", GENRES),
    "genre, mean, unshuffled": ("genres", f"{GENRES} --shorten-method none --no-shuffle --pooling mean"),
    "genre, random crop": ("genres", f"{GENRES} --shorten-method random_crop --max-positions 160"),
    "genre, random crop, remi": (
        "genres",
        f"{GENRES} --shorten-method random_crop --max-positions 100 --encoding remi",
    ),
    "genre, more classes": ("genres", f"{GENRES} --num-classes 13"),
}

TAGS = "--criterion music_tagging --window 40 --overlap 10 --max-positions 1024 --task"
PIECES, NOTES = f"{TAGS} music_sequence_tagging --arch", f"{TAGS} music_note_tagging --arch"
WHOLE = "--overlap 0 --window 100"
DECAY = "--optimizer layerwise_adamw --layer-decay 0.8 --encoder-layers 2"

TAGGING = {
    "pieces, first": ("classes octuple", f"{PIECES} musicbert_tiny --class-weights balanced"),
    "pieces, mean, augment": (
        "classes octuple",
        f"{PIECES} musicbert_tiny --tag-head mean --performance-input --random-shift --mix-layers {AUGMENT}",
    ),
    "pieces, attention": (
        "classes octuple",
        f"{PIECES} musicbert_tiny --tag-head attention --head-inner 8 --label-smoothing 0.1",
    ),
    "pieces, one piece": (
        "one of classes octuple",
        f"{PIECES} musicbert_tiny --tag-head attention {WHOLE} --class-weights sqrt",
    ),
    "pieces, augment, one piece": (
        "one of classes octuple",
        f"{PIECES} musicbert_tiny --tag-head mean {WHOLE} --performance-input {AUGMENT}",
    ),
    "pieces, layer decay": ("classes octuple", f"{PIECES} musicbert_tiny {DECAY} --freeze-layers 1"),
    "pieces, multilabel": (
        "multilabel octuple",
        f"{PIECES} musicbert_tiny --tag-head mean --metric macro_f1",
    ),
    "pieces, multilabel, balanced": (
        "multilabel octuple",
        f"{PIECES} musicbert_tiny --tag-head attention --class-weights balanced --random-shift",
    ),
    "pieces, multilabel, one piece": ("one of multilabel octuple", f"{PIECES} musicbert_tiny {WHOLE}"),
    "pieces, regression": ("regression cp", f"{PIECES} m2bert_tiny --tag-head attention --metric pearson"),
    "pieces, regression, one piece": (
        "one of regression cp",
        f"{PIECES} m2bert_tiny --tag-head mean {WHOLE}",
    ),
    "pieces, m2bert, first": ("classes cp", f"{PIECES} m2bert_tiny --tag-head first --mix-layers"),
    "pieces, m2bert, mean": (
        "classes cp",
        f"{PIECES} m2bert_tiny --tag-head mean --windows first --class-weights sqrt --metric f1:low",
    ),
    "pieces, m2bert, attention": (
        "classes cp",
        f"{PIECES} m2bert_tiny --tag-head attention --attend-padding --random-shift {DECAY} --decay-all",
    ),
    "pieces, m2bert, one piece": ("one of classes cp", f"{PIECES} m2bert_tiny --tag-head first {WHOLE}"),
    "pieces, midibert": ("classes cp", f"{PIECES} midibert_base --tag-head attention --max-distance 64"),
    "notes, m2bert": ("note classes cp", f"{NOTES} m2bert_tiny --class-weights balanced"),
    "notes, m2bert, shift": (
        "note classes cp",
        f"{NOTES} m2bert_tiny --random-shift --ignore-classes 2 --layer 0",
    ),
    "notes, m2bert, one piece": ("one of note classes cp", f"{NOTES} m2bert_tiny {WHOLE}"),
    "notes, augment": (
        "note classes octuple",
        f"{NOTES} musicbert_tiny --augment transpose=4,bar,drop=0.2 --random-shift --head-inner 8",
    ),
    "notes, augment, one piece": (
        "one of note classes octuple",
        f"{NOTES} musicbert_tiny {WHOLE} --augment transpose=4,bar,drop=0.2",
    ),
    "notes, multilabel": ("note multilabel octuple", f"{NOTES} musicbert_tiny --class-weights sqrt"),
    "notes, regression": ("note regression octuple", f"{NOTES} musicbert_tiny --mix-layers"),
    "notes, regression, one piece": ("one of note regression octuple", f"{NOTES} musicbert_tiny {WHOLE}"),
}

MASKED = "--tokens-per-sample 2048 --max-positions 2048 --arch musicbert_tiny --batch-size 3 --task"
EOS = "--sample-break-mode eos --batch-size 16"
MUSICBERT = f"{MASKED} octuple_masked_lm --criterion octuple_masked_lm"
PRETRAIN = (
    "--task music_pretrain --criterion compound_token --crop 24 --optimizer stable_adamw --clip-norm 3.0 "
    "--batch-size 60 --encoder-layers 2 --encoding"
)
CP, OCTUPLE = f"{PRETRAIN} cp --arch", f"{PRETRAIN} octuple --arch"

PRETRAINING = {
    "octuple_masked_lm, padded": ("octuple", f"{MUSICBERT} --sample-break-mode complete --layout padded"),
    "octuple_masked_lm, stream": ("octuple", f"{MUSICBERT} --layout stream --mask-strategy bar+compound"),
    "octuple_masked_lm, pieces apart": (
        "octuple",
        f"{MUSICBERT} --separate-pieces --optimizer fused_adamw --adam-betas (0.9,0.98)",
    ),
    "octuple_masked_lm, eos": (
        "octuple",
        f"{MUSICBERT} {EOS} --mask-strategy element --random-tokens field --group-per-piece",
    ),
    "octuple_masked_lm, performance input": (
        "octuple",
        f"{MUSICBERT} {EOS} --performance-input --mask-strategy compound",
    ),
    "octuple_masked_lm, performance input, stream": (
        "octuple",
        f"{MUSICBERT} --layout stream --performance-input",
    ),
    "octuple_masked_lm, cp": ("octuple", f"{MUSICBERT} --encoding cp --batch-size 6"),
    "octuple_masked_lm, remi": ("octuple", f"{MUSICBERT} --encoding remi --crop-length 300"),
    "octuple_masked_lm, no compound": (
        "octuple",
        f"{MUSICBERT} --no-compound --crop-length 40 --mask-strategy element {EOS}",
    ),
    "masked_lm": (
        "octuple",
        f"{MASKED} masked_lm --criterion masked_lm --sample-break-mode complete "
        "--required-batch-size-multiple 8",
    ),
    "music_pretrain, m2bert, denoise": ("cp", f"{CP} m2bert_tiny --objective denoise --aux pianoroll"),
    "music_pretrain, m2bert, mask": ("cp", f"{CP} m2bert_tiny --objective mask --aux none"),
    "music_pretrain, m2bert, midibert": (
        "cp",
        f"{CP} m2bert_tiny --objective mask --mask-strategy midibert --crop 60",
    ),
    "music_pretrain, m2bert, octuple": (
        "octuple",
        f"{OCTUPLE} m2bert_tiny --noise-radius 4,12,12,3 --noise-symmetric --aux pianoroll_nochroma",
    ),
    "music_pretrain, musicbert, denoise": ("octuple", f"{OCTUPLE} musicbert_tiny --aux pianoroll"),
    "music_pretrain, musicbert, cp": (
        "cp",
        f"{CP} musicbert_tiny --objective mask --mask-strategy element+compound --aux none",
    ),
}

#: name -> data, options of fairseq-train; `{NAME}` is the last checkpoint of that case
CASES = {
    **{name: ("ratings", options) for name, options in RATINGS.items()},
    **SENTENCES,
    **TAGGING,
    **PRETRAINING,
}

SPLIT = "--split split --no-final --no-report"
#: name -> table, model, options of `musicbert finetune`; the shards that it writes are data of `TAGGING`
TUNING = {
    "classes octuple": ("classes.csv", "musicbert_tiny", "--folds 2 --performance-input --epochs 3"),
    "note classes cp": ("note_classes.csv", "m2bert_tiny", "--folds 2 --class-weights balanced --no-final"),
    "classes cp": (
        "classes.csv",
        "m2bert_tiny",
        "--folds 2 --only-folds 1 --no-final --no-report --published",
    ),
    "multilabel octuple": ("multilabel.jsonl", "musicbert_tiny", SPLIT),
    "regression cp": ("regression.csv", "m2bert_tiny", SPLIT),
    "note classes octuple": (
        "note_classes.csv",
        "musicbert_tiny",
        "--folds 2 --only-folds 0 --no-final --no-report",
    ),
    "note regression octuple": ("note_regression.csv", "musicbert_tiny", SPLIT),
}

"""Who is trained, validated and tested on: folds, splits of pieces, groups of pieces that share music."""

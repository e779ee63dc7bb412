"""Baselines without a neural network, fitted on the same training parts as the networks.

`models` is the table of models by kind of label and name, with one fit over `examples`; `regressors` holds
the models of ratings. Examples come from rated segments (`segments`; `runs` scores them on folds) and from
any labelled set, pieces or notes (`labelled`). Beside them: MusicBERT's four tasks (`sentences`) and rules on
the notes of the benchmark's pieces (`benchmark`).
"""

"""Baselines of MusicBERT's four tasks: scores of pairs and of labels without a network.

``next`` and ``acc``, the score of a pair:

===================  =======================================================================
``pitch classes``    cosine of the two phrases' pitch classes: the same key
``velocity``         minus the distance of their mean velocities: the same loudness
``register``         minus the distance of their mean pitches
``logistic``         logistic regression on `musicbert.evaluation.baselines.pair_features`
``boosting``         gradient-boosted trees on the same
``second only``      the same trees on the second phrase alone: a control
===================  =======================================================================

What belongs together cannot be told from the second phrase alone: where the control is above chance, the
false candidates give themselves away.

Genre and style, the score of a label of a window:

===============  ==========================================================================
``majority``     1 for the most frequent label of training, else 0
``frequency``    share of the training pieces that have it
``logistic``     logistic regression on `window_features`, one a label
``extra trees``  500 extremely randomised trees on the same, all labels at once
``svm``          support vectors with an RBF kernel on the same, one model a label
``ensemble``     mean of the last three
===============  ==========================================================================

They are fitted on the training part (the first window of each piece), with settings that were fixed
beforehand.
"""

from hashlib import sha256
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from musicbert.arrays import Bools, Floats, Ints
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.encoding import decode
from musicbert.encoding.vocabulary import FIELD_SIZES
from musicbert.errors import MidiError
from musicbert.evaluation.baselines.models import fit_columns, support
from musicbert.evaluation.baselines.pair_features import PAIR_FEATURES, pair_features
from musicbert.evaluation.baselines.regressors import standardise
from musicbert.features import FEATURES, features

#: training pairs that the fitted baselines see, at most
MAX_PAIRS = 100_000
TREES = 500
BAR, POSITION, PROGRAM, PITCH, DURATION, VELOCITY, METRE, TEMPO = range(8)
DRUMS = 128
#: codes of the time signatures that occur (2/4, 3/4, 4/4, 6/8, 12/8); the others are left out
_METRES = (7, 8, 9, 19, 25)


def pair_baselines(folder: str | PathLike[str], part: str = "test", *, seed: int = 0) -> dict[str, Floats]:
    """Score every pair of a part with each baseline: name -> [shape=(n,)], the higher the better.

    Raises `DatasetError` (those of `read_part` and `pair_features`).
    """
    about, training = SentenceBin(folder, parts=[part]), SentenceBin(folder, parts=["train"])
    here, train = pair_features(about), pair_features(training)
    labels = training.hot[:, training.classes.index("1")]
    if len(train) > MAX_PAIRS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(train), MAX_PAIRS, replace=False))
        train, labels = train[chosen], labels[chosen]
    column = {name: here[:, at] for at, name in enumerate(PAIR_FEATURES)}
    scores = {
        "pitch classes": column["pitch classes: cosine"],
        "velocity": -column["distance: mean velocity"],
        "register": -column["distance: mean pitch"],
    }
    if labels.any() and not labels.all():
        inputs, tested = standardise(train, here)
        logistic = LogisticRegression(C=0.3, max_iter=2000).fit(inputs, labels)
        scores["logistic"] = logistic.decision_function(tested)
        alone = np.array([name.startswith("second:") for name in PAIR_FEATURES])
        for name, columns in (("boosting", np.ones_like(alone)), ("second only", alone)):
            trees = HistGradientBoostingClassifier(
                max_iter=200, learning_rate=0.1, early_stopping=False, random_state=seed
            ).fit(train[:, columns], labels)
            scores[name] = trees.decision_function(here[:, columns])
    return scores


def first_windows(about: SentenceBin) -> Ints:
    """Return the first sequence of each piece, ascending."""
    if about.ids is None:
        return np.arange(len(about))
    return np.sort(np.unique(np.array(about.ids), return_index=True)[1])


def mean_over_windows(about: SentenceBin, scores: Floats) -> tuple[list[str], Bools, Floats]:
    """Average scores over the windows of each piece, in the order of first occurrence.

    Returns the ids, the labels [shape=(pieces, C)] and the scores [shape=(pieces, C)].
    """
    ids = about.ids or [str(at) for at in range(len(about))]
    _, first, piece = np.unique(np.array(ids), return_index=True, return_inverse=True)
    total = np.zeros((len(first), scores.shape[1]))
    np.add.at(total, piece, scores)
    average = total / np.bincount(piece)[:, None]
    order = np.argsort(first, kind="stable")
    return [ids[at] for at in first[order]], about.hot[first[order]], average[order]


def logistic_scores(train: Floats, labels: NDArray[np.int64], here: Floats) -> Floats:
    """Fit a logistic regression a label on standardised features; labels that never vary keep their share.

    ``train``, ``here``: features [shape=(n, k)] and [shape=(m, k)]; ``labels`` [shape=(n, C), 0 or 1].
    Returns [shape=(m, C), float64, 0-1].
    """
    inputs, tested = standardise(train, here)
    return fit_columns(lambda: LogisticRegression(C=0.01, max_iter=2000), inputs, labels, tested)


def genre_baselines(
    folder: str | PathLike[str],
    part: str = "test",
    *,
    seed: int = 0,
    known: dict[bytes, Floats] | None = None,
) -> dict[str, Floats]:
    """Score every sequence of a part of one fold with each baseline: name -> [shape=(n, C), 0-1].

    ``seed``: of the trees; ``known``: see `window_features`.
    """
    training, about = SentenceBin(folder, parts=["train"]), SentenceBin(folder, parts=[part])
    chosen = first_windows(training)
    labels = training.hot[chosen].astype(np.int64)
    train = window_features(folder, "train", chosen, known=known)
    here = window_features(folder, part, np.arange(len(about)), known=known)
    frequency = labels.mean(axis=0)
    majority = (np.arange(len(frequency)) == frequency.argmax()).astype(float)
    return {
        "majority": np.tile(majority, (len(here), 1)),
        "frequency": np.tile(frequency, (len(here), 1)),
        **feature_scores(train, labels, here, seed=seed),
    }


def feature_scores(
    train: Floats, labels: NDArray[np.int64], here: Floats, *, seed: int = 0
) -> dict[str, Floats]:
    """Score labels with each model of features, and with the mean of the three: name -> [shape=(m, C), 0-1].

    The parameters are those of `logistic_scores`; ``seed``: of the trees.
    """
    trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, n_jobs=1, random_state=seed)
    chance = trees.fit(train, labels).predict_proba(here)
    # a label that never, or always, occurs in training has one column
    columns = [
        p[:, 1] if p.shape[1] > 1 else np.full(len(here), labels[:, c].mean()) for c, p in enumerate(chance)
    ]
    inputs, tested = standardise(train, here)
    models = {
        "logistic": logistic_scores(train, labels, here),
        "extra trees": np.stack(columns, axis=1),
        "svm": fit_columns(lambda: support(inputs.shape[1]), inputs, labels, tested),
    }
    return models | {"ensemble": np.mean(list(models.values()), axis=0)}


def window_features(
    folder: str | PathLike[str], part: str, chosen: Ints, *, known: dict[bytes, Floats] | None = None
) -> Floats:
    """Describe some sequences (ascending numbers) of a part of one fold [shape=(n, k), float64, finite].

    Instruments (share of the notes and presence of each program), drum sounds, metre, tempo, note lengths,
    density, register, loudness, pitch classes and onsets in the bar; beside them `musicbert.features` of the
    decoded window (zero where there is no pitched note).

    ``known``: features by window, looked up and filled: folds share their windows.
    """
    known = {} if known is None else known
    table: list[Floats] = []
    for rows in map(SentenceBin(folder, parts=[part]).rows, chosen.tolist()):
        key = sha256(rows.tobytes()).digest()
        if key not in known:
            known[key] = _describe(rows)
        table.append(known[key])
    return np.stack(table) if table else np.zeros((0, 0))


def _shares(values: Ints, size: int) -> Floats:
    return np.bincount(values, minlength=size)[:size] / max(len(values), 1)


def _spread(values: Ints) -> list[float]:
    if len(values) == 0:
        return [0.0] * 5
    return [float(values.mean()), float(values.std()), *np.percentile(values, [10, 50, 90]).tolist()]


def _describe(rows: Ints) -> Floats:
    drums = rows[:, PROGRAM] == DRUMS
    tuned = rows[~drums]
    programs = _shares(rows[:, PROGRAM], FIELD_SIZES[2])
    bars = int(rows[-1, BAR] - rows[0, BAR]) + 1 if len(rows) else 1
    metre = [float((rows[:, METRE] == code).mean()) if len(rows) else 0.0 for code in _METRES]
    chords = len(np.unique(tuned[:, [BAR, POSITION]], axis=0)) if len(tuned) else 0
    try:
        playing = features(decode(rows)) if len(tuned) else np.zeros(len(FEATURES))
    except MidiError:  # nothing that lasts
        playing = np.zeros(len(FEATURES))
    parts = [
        programs,
        (programs > 0).astype(float),
        [float((programs > 0).sum())],
        _shares(rows[drums, PITCH] - DRUMS, 128)[27:88],  # General MIDI percussion keys
        metre,
        _spread(rows[:, TEMPO]),
        _spread(tuned[:, DURATION]),
        _spread(tuned[:, PITCH]),
        _spread(rows[:, VELOCITY]),
        _shares(tuned[:, PITCH] % 12, 12),
        _shares(rows[:, POSITION] // 4, 32),
        [len(rows) / bars, len(tuned) / max(chords, 1), float(np.log(bars))],
        playing,
    ]
    return np.nan_to_num(np.concatenate([np.asarray(part, np.float64) for part in parts]))

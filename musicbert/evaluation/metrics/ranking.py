"""Ranking of candidates: MAP, HITS@k and recall@k over queries.

A query has candidates with a score (the higher the better) and a label (1 true, 0 false). They are put in
order of falling score; among equal scores the false ones come first, so a model that says the same of all is
not rewarded. Each metric has one value a query, and its mean over the queries is the result:

=============  ====================================================================================
name           value of a query with m true candidates
=============  ====================================================================================
``map``        mean over the true candidates of the precision at their place (average precision)
``hits@k``     1 where a true candidate is among the first k, else 0
``recall@k``   share of the true candidates that are among the first k
=============  ====================================================================================

MusicBERT publishes ``recall@k`` under the name HITS@k: with 3 true candidates its HITS@1 is at most 1/3. The
two agree where every query has one. NaN for a query without a true candidate. `chance` is the mean of each
metric over all orders.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Floats, Ints
from musicbert.evaluation.metrics.bootstrap import Draws, divide, resample

#: k of the published table and of the published program.
PLACES = (1, 5, 10, 15, 20, 25)


def metric_names(places: Sequence[int] = PLACES) -> list[str]:
    """Return the names of the metrics, in their order."""
    return ["map", *(f"hits@{k}" for k in places), *(f"recall@{k}" for k in places)]


def ranks_of_true(scores: ArrayLike, labels: ArrayLike, queries: ArrayLike) -> dict[int, Ints]:
    """Return the places of the true candidates of each query, from 1, ascending.

    Raises `ValueError` (for lengths that differ, or a score that is no number).
    """
    score, true, query = np.asarray(scores, float), np.asarray(labels) > 0, np.asarray(queries)
    if not len(score) == len(true) == len(query):
        raise ValueError(f"{len(score)} scores, {len(true)} labels and {len(query)} queries")
    if not np.isfinite(score).all():
        raise ValueError("a score is NaN or infinite")
    order = np.lexsort((true, -score, query))
    query, true = query[order], true[order]
    starts = np.flatnonzero(np.concatenate([[True], query[1:] != query[:-1]])) if len(query) else []
    ends = [*starts[1:], len(query)]
    return {
        int(query[begin]): 1 + np.flatnonzero(true[begin:end])
        for begin, end in zip(starts, ends, strict=True)
    }


def per_query(
    scores: ArrayLike, labels: ArrayLike, queries: ArrayLike, *, places: Sequence[int] = PLACES
) -> Floats:
    """Return the `metric_names` of every query [shape=(queries, metrics)], queries ascending."""
    rows = []
    for ranks in ranks_of_true(scores, labels, queries).values():
        if len(ranks) == 0:
            rows.append([np.nan] * (1 + 2 * len(places)))
            continue
        hits = [int((ranks <= k).sum()) for k in places]
        precision = float((np.arange(1, len(ranks) + 1) / ranks).mean())
        rows.append([precision, *(float(n > 0) for n in hits), *(n / len(ranks) for n in hits)])
    return np.array(rows, np.float64).reshape(-1, 1 + 2 * len(places))


def ranking_draws(
    scores: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike,
    *,
    places: Sequence[int] = PLACES,
    weights: Floats | None = None,
) -> Draws:
    """Return every metric, the mean over queries, on all queries and on resamples of them."""
    table = per_query(scores, labels, queries, places=places)
    weights = resample(len(table)) if weights is None else weights
    known = np.isfinite(table)
    values = divide(weights @ np.where(known, table, 0.0), weights @ known)
    return dict(zip(metric_names(places), values.T, strict=True))


def chance(labels: ArrayLike, queries: ArrayLike, *, places: Sequence[int] = PLACES) -> dict[str, float]:
    """Return what candidates in random order score on average.

    With n candidates, m of them true: recall@k is k / n, hits@k is 1 - C(n - m, k) / C(n, k), and the
    expected average precision is (1 / n) times the sum over places i of (1 + (i - 1)(m - 1) / (n - 1)) / i.
    """
    _, query = np.unique(np.asarray(queries), return_inverse=True)
    sizes = np.stack([np.bincount(query), np.bincount(query, weights=np.asarray(labels) > 0)], axis=1)
    kinds, counts = np.unique(sizes[sizes[:, 1] > 0].astype(int), axis=0, return_counts=True)
    rows = []
    for n, m in kinds.tolist():
        place = np.arange(1, n + 1)
        precision = ((1 + (place - 1) * (m - 1) / max(n - 1, 1)) / place).sum() / n
        hits = [1 - comb(n - m, min(k, n)) / comb(n, min(k, n)) for k in places]
        rows.append([precision, *hits, *(min(k, n) / n for k in places)])
    values = (
        np.average(np.array(rows), axis=0, weights=counts) if rows else np.full(1 + 2 * len(places), np.nan)
    )
    return dict(zip(metric_names(places), values.tolist(), strict=True))

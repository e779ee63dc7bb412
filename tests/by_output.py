"""Metrics of a regression by output, for tests of single outputs."""

import numpy as np

from musicbert.evaluation.metrics.regression import REGRESSION, regression_draws


def regression(labels, predictions):
    """Return every metric of each output: name -> [shape=(d,)]."""
    names = [str(output) for output in range(np.shape(labels)[1])]
    draws = regression_draws(labels, predictions, names)
    return {
        metric: np.array([draws[f"{metric}:{name}" if len(names) > 1 else metric][0] for name in names])
        for metric in REGRESSION
    }

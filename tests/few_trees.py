"""Forests of few trees, for tests that read what becomes of predictions, and not how good they are."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Forests have a tenth of their trees in the tests of a file that imports this."""
    from musicbert.evaluation.baselines import models, regressors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regressors, "TREES", 30)
        patch.setattr(models, "MORE_TREES", 50)
        yield

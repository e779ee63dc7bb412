"""Forests of few trees, for tests that read what becomes of predictions, and not how good they are."""

import pytest
from warm_python import FEW_TREES, fewer_trees


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Forests have a tenth of their trees in the tests of a file that imports this, and in their programs."""
    with pytest.MonkeyPatch.context() as patch:
        fewer_trees(patch.setattr)
        patch.setenv(FEW_TREES, "1")
        yield

"""Tests of the plug-in log as fairseq does, into meters that belong to the whole process."""

import pytest
from fairseq.logging import metrics


@pytest.fixture(autouse=True)
def fresh_meters():
    """No meters of an earlier test: a derived meter of the same name would refuse values."""
    metrics.reset()

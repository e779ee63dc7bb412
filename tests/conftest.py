"""Fixtures shared by all tests: the shared data beside the checkout, where it is there."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items):
    """Skip tests marked ``shared`` with their reason where the shared folder is missing."""
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="needs the shared data folder beside the checkout"))


@pytest.fixture(scope="session")
def shared():
    """Folder of the shared data (use with ``@pytest.mark.shared``)."""
    return SHARED


@pytest.fixture(scope="session")
def fixtures():
    """Folder of the small files that belong to the tests."""
    return ROOT / "tests" / "fixtures"


@pytest.fixture(scope="session")
def root():
    """Top of the checkout."""
    return ROOT

"""The way back from REMI-like tokens, which only tests need."""

import numpy as np
import pytest

from musicbert.encoding.views import cp_to_octuples, field_of_tokens
from musicbert.encoding.vocabulary import UNK

#: fields that begin a row: bar, position, program, pitch
HEADS = (0, 1, 2, 3)


@pytest.fixture(scope="session")
def remi_to_octuples():
    """Collect the tokens of each note again: the inverse of `octuples_to_remi`."""

    def collect(tokens):
        flat = np.asarray(tokens, np.int64).reshape(-1)
        field = field_of_tokens(flat)
        first = np.isin(field, HEADS)
        rows = np.full((int(first.sum()), 8), UNK, np.int64)
        rows[np.cumsum(first) - 1, field] = flat
        return cp_to_octuples(rows)

    return collect

"""Work over processes: in order, and one clear error where a process dies."""

import os
import signal

import pytest

from musicbert.corpus.files.parallel import ordered_map
from musicbert.errors import DatasetError


def die_at(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


@pytest.mark.parametrize("work", [range(5, 7), range(40)])
def test_a_worker_that_dies_is_one_clear_error(work):
    with pytest.raises(DatasetError) as caught:
        list(ordered_map(die_at, work, workers=2))
    assert caught.value.reason == "worker-died"
    assert list(ordered_map(die_at, range(5), workers=2)) == [0, -1, -2, -3, -4]

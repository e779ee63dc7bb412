"""Options of fine-tuning that would train nothing are refused."""

import pytest

from musicbert.errors import ConfigError
from musicbert.recipes.finetuning import FineTuning


@pytest.mark.parametrize("share", [-0.1, 1.5, 30])
def test_a_warm_up_that_is_no_share_of_the_updates_is_refused(share):
    """A number of updates would be longer than the training, whose rate then stays near zero."""
    with pytest.raises(ConfigError, match="share of the updates"):
        FineTuning(warmup=share)
    assert FineTuning(warmup=1.0).warmup == 1.0

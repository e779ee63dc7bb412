"""What errors say in one line."""

import pytest

from musicbert.errors import first_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n one \n"), "one"),
        (ValueError(), "ValueError"),
        (OSError("\n"), "OSError"),
    ],
)
def test_first_line_of_any_error(error, said):
    assert first_line(error) == said

import pytest

from musicbert.annotation.dimensions import (
    PERCEPIANO,
    PERCEPIANO_REVERSED,
    RATING_SETS,
    XAI,
    resolve_columns,
    unnamed,
)
from musicbert.errors import RatingError


def test_sizes_and_uniqueness():
    sizes = {name: len(dims) for name, dims in RATING_SETS["xai"].columns.items()}
    assert sizes == {"published": 25, "snu": 25, "mnskim": 25, "full": 28, "rm-bad": 18, "percepiano": 19}
    for dims in (XAI, PERCEPIANO):
        assert len({d.column for d in dims}) == len({d.name for d in dims}) == len(dims)
        assert all(d.low and d.high and d.low != d.high for d in dims)


def test_the_two_published_sets_differ_as_specified():
    published, mnskim = (set(RATING_SETS["xai"].columns[name]) for name in ("published", "mnskim"))
    assert {d.name for d in published - mnskim} == {"Regular beat change"}
    assert {d.name for d in mnskim - published} == {"Stable beat"}


def test_percepiano_turns_exactly_the_reversed_questions_round():
    """The low pole of an XAI question is PercePiano's high pole where the question was reversed."""
    for ours, theirs in zip(RATING_SETS["xai"].columns["percepiano"], PERCEPIANO, strict=True):
        mine = {word.strip("()") for word in (ours.low + " " + ours.high).split()}
        assert mine & {word.strip("()") for word in (theirs.low + " " + theirs.high).split()}
        first, last = theirs.low.split()[0], ours.low.split()[0]
        assert (first == last) != (theirs.column in PERCEPIANO_REVERSED), (ours, theirs)


def test_own_lists_take_columns_short_names_and_names_in_any_case():
    chosen = resolve_columns("Question_2_1_1, 6_1_1,high energy")
    assert [d.name for d in chosen] == ["Long", "Fast paced", "HIgh Energy"]
    assert resolve_columns(["Saturated (wet)"])[0].column == "Question_3_1_1"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [("nonsense", "unknown-column"), ("Soft,2_9_9", "unknown-column"), ("Soft,soft", "duplicate-column"),
     (",", "empty-list"), ([], "empty-list")],
)  # fmt: skip
def test_bad_lists(columns, reason):
    with pytest.raises(RatingError) as caught:
        resolve_columns(columns)
    assert caught.value.reason == reason
    assert caught.value.hint


def test_questions_belong_to_their_table():
    with pytest.raises(RatingError, match="unknown-column"):
        resolve_columns("mnskim", "percepiano")


def test_placeholders():
    assert [d.name for d in unnamed(2)] == ["dimension 0", "dimension 1"]

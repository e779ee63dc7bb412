"""Near-duplicates: versions of a tune share a group, other tunes do not, whatever the order of files."""

import numpy as np
import pytest

from musicbert.corpus.splits.near_duplicates import HASHES, NO_SIGNATURE, Groups, join_similar, signature


def tune(seed, notes=300):
    rng = np.random.default_rng(seed)
    pitch = rng.integers(45, 80, notes)
    onset = np.cumsum(rng.integers(4, 20, notes))
    return onset, np.zeros(notes, np.int64), pitch


def groups_of(signatures, members=None):
    groups = Groups(len(signatures))
    join_similar(np.stack(signatures), np.arange(len(signatures)) if members is None else members, groups)
    return groups.roots()


@pytest.mark.parametrize(
    "change",
    [
        lambda o, g, p: (o, g, p + 5),
        lambda o, g, p: (o * 2, g, p),
        lambda o, g, p: (o, g + 40, p),
        lambda o, g, p: (o[20:], g[20:], p[20:]),
        lambda o, g, p: (np.repeat(o, 2), np.repeat(g, 2), np.stack([p - 12, p], axis=1).reshape(-1)),
    ],
    ids=["transposed", "slower", "other instrument", "beginning cut", "chords below"],
)
def test_versions_are_one_group(change):
    onset, program, pitch = tune(1)
    assert (groups_of([signature(*tune(1)), signature(*change(onset, program, pitch))]) == 0).all()


def test_percussion_does_not_count():
    onset, program, pitch = tune(2)
    twice = np.repeat(onset, 2)
    mixed = np.stack([program, np.full(len(program), 128)], axis=1).reshape(-1)
    both = np.stack([pitch, pitch + 100], axis=1).reshape(-1)
    assert np.array_equal(signature(twice, mixed, both), signature(onset, program, pitch))


def test_other_tunes_are_other_groups():
    signatures = [signature(*tune(seed)) for seed in range(60)]
    assert np.array_equal(groups_of(signatures), np.arange(60))


def test_share_of_equal_minima_estimates_the_jaccard_index():
    onset, program, pitch = tune(3, 2000)
    part = signature(onset[:1000], program[:1000], pitch[:1000])
    share = (part == signature(onset, program, pitch)).mean()
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / HASHES)


def test_order_of_the_files_changes_nothing():
    rng = np.random.default_rng(0)
    signatures = [signature(*tune(seed // 3)[:2], tune(seed // 3)[2] + seed % 3) for seed in range(30)]
    expected = [seed // 3 for seed in range(30)]
    for _ in range(3):
        order = rng.permutation(30)
        roots = groups_of([signatures[at] for at in order])
        found = np.array([expected[order[root]] for root in roots])
        assert np.array_equal(found, np.array(expected)[order])


@pytest.mark.parametrize("notes", [0, 1, 5, 12])
def test_short_pieces_have_no_signature(notes):
    onset, program, pitch = tune(4)
    assert np.array_equal(signature(onset[:notes], program[:notes], pitch[:notes]), NO_SIGNATURE)


def test_pieces_that_are_not_members_stay_alone():
    signatures = [signature(*tune(1)), signature(*tune(1)), NO_SIGNATURE, NO_SIGNATURE]
    assert groups_of(signatures, np.array([0, 1])).tolist() == [0, 0, 2, 3]
    assert groups_of(signatures, np.array([], np.int64)).tolist() == [0, 1, 2, 3]

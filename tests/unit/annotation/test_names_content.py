from musicbert.annotation.names import (
    EIGHT_BAR_PARTS,
    LITERAL_REPEATS,
    content_group,
    content_groups,
    is_test_segment,
)


def name(movement, bars, number, performer="4"):
    return f"Schubert_D960_{movement}_{bars}bars_{performer}_{number:02d}"


def all_regions():
    for movement, parts in EIGHT_BAR_PARTS.items():
        yield from (name(movement, 16, n) for n in parts)
        yield from (name(movement, 8, n) for inside in parts.values() for n in inside)


def test_sixteen_groups():
    groups = content_groups(all_regions())
    assert len(set(groups.values())) == 16
    assert len({g for g in groups.values() if "mv2" in g}) == 9


def test_the_groups_of_the_scherzo():
    groups = {}
    for n in range(1, 38):
        groups.setdefault(content_group(name("mv3", 8, n)), set()).add(n)
    assert sorted(map(sorted, groups.values())) == [
        [1, 2, 27, 28],
        [3, 4, 12, 13, 29, 30],
        [5, 6, 14, 15, 31, 32],
        [7, 8, 16, 17, 33, 34],
        [9, 10, 11, 18, 19, 20, 35, 36, 37],
        [21, 22],
        [23, 24, 25, 26],
    ]


def test_every_8_bar_segment_lies_in_exactly_one_16_bar_segment():
    for movement, count in (("mv2", 17), ("mv3", 37)):
        inside = [n for parts in EIGHT_BAR_PARTS[movement].values() for n in parts]
        assert inside == list(range(1, count + 1))


def test_parts_and_repeats_stay_together_whoever_plays():
    for movement, parts in EIGHT_BAR_PARTS.items():
        for whole, inside in parts.items():
            assert {content_group(name(movement, 8, n, "Score")) for n in inside} == {
                content_group(name(movement, 16, whole))
            }
        for again in LITERAL_REPEATS[movement]:
            assert len({content_group(name(movement, 8, n)) for n in again}) == 1


def test_other_music_is_grouped_by_region():
    assert content_group("Beethoven_WoO80_var4_8bars_22_3") == content_group(
        "Beethoven_WoO80_var4_8bars_Score_3"
    )
    assert content_group("Beethoven_WoO80_var4_8bars_22_3") != content_group(
        "Beethoven_WoO80_var5_8bars_22_3"
    )
    assert content_group("Schubert_D935_no.3_4bars_2_1.mid") == "Schubert_D935_no.3_4bars_1"
    assert content_group(name("mv2", 8, 99)) == "Schubert_D960_mv2_8bars_99"  # not a number that is known
    assert content_group(name("mv4", 8, 1)) == "Schubert_D960_mv4_8bars_1"


def test_copies_belong_to_their_original():
    assert content_group("Schubert_D960_mv2_8bars_8_03(1).mid") == content_group(
        "Schubert_D960_mv2_8bars_1_04"
    )


def test_published_test_segments():
    tested = {n for n in all_regions() if is_test_segment(n)}
    assert tested == {
        *(name("mv3", 8, n) for n in (5, 6, 19, 20)), *(name("mv3", 16, n) for n in (3, 10)),
        *(name("mv2", 8, n) for n in (13, 14)), name("mv2", 16, 7),
    }  # fmt: skip
    assert not is_test_segment("Schubert_D935_mv3_8bars_4_05")

import numpy as np
import pytest

from musicbert.annotation.dimensions import XAI, resolve_columns
from musicbert.annotation.table import read_ratings
from musicbert.errors import RatingError

NAME = "Schubert_D960_mv2_8bars_4_01.wav"


def fails(path, reason, **options):
    with pytest.raises(RatingError) as caught:
        read_ratings(path, **options)
    assert caught.value.reason == reason
    assert caught.value.path == str(path)
    return caught.value


def test_reads_quoted_line_breaks_and_keeps_what_the_cells_say(small_table):
    table = read_ratings(small_table)
    assert (table.format, len(table), len(table.dimensions)) == ("xai", 5, 28)
    assert table.segments == (
        "Schubert_D960_mv2_8bars_4_01",
        "Schubert_D960_mv2_8bars_Score_01",
        "Schubert_D960_mv3_8bars_4_02",
    )
    assert table.segment_of.tolist() == [0, 0, 1, 1, 2]
    assert [table.users[u] for u in table.user_of] == ["1", "2", "1", "2", "3"]
    row = dict(zip((d.column for d in XAI), table.ratings[3].tolist(), strict=True))
    assert np.isnan(row["Question_1_3_1"])
    assert (row["Question_2_1_1"], row["Question_6_1_1"], row["Question_9_1_1"]) == (0.0, 5.0, 4.0)


def test_a_byte_order_mark_and_crlf_do_not_matter(small_table):
    expected = read_ratings(small_table)
    small_table.write_bytes(b"\xef\xbb\xbf" + small_table.read_bytes())
    np.testing.assert_array_equal(read_ratings(small_table).ratings, expected.ratings)


def test_percepiano_is_told_by_its_header_and_ignores_its_free_text_question(percepiano_table):
    table = read_ratings(percepiano_table)
    assert (table.format, len(table), len(table.dimensions)) == ("percepiano", 8, 19)
    assert len(table.segments) == 3
    assert np.nanmax(table.ratings) == 8


def test_missing_file(tmp_path):
    assert "data/total.csv" in str(fails(tmp_path / "none.csv", "not-found").hint)


@pytest.mark.parametrize("content", [b"", b"  \n\n", b"user,dataID,filename,Question_1_1_1\n"])
def test_empty_file(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    fails(path, "empty-file")


@pytest.mark.parametrize(
    "header",
    ["a,b,c", "user,filename,Question_1_1_1", "user,dataID,filename,message",
     "user,dataID,filename,Question_1_1_1,Question_1_1_1"],
)  # fmt: skip
def test_wrong_columns(tmp_path, header):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n" + ",".join(["1"] * len(header.split(","))) + "\n")
    fails(path, "wrong-columns")


def test_a_column_that_is_needed_and_missing_is_named(write_table):
    path = write_table([(1, 1, NAME, 3)], drop=("Question_6_1_1",))
    assert "--preset xai" in fails(path, "wrong-columns").hint  # not told by some of its columns
    table = read_ratings(path, preset="xai")
    with pytest.raises(RatingError, match=r"Question_6_1_1.*wrong-columns"):
        table.columns(resolve_columns("published"))


@pytest.mark.parametrize("bad", ["8", "-1", "0.5", "7.01", "inf", "1e9"])
def test_out_of_range(write_table, bad):
    error = fails(write_table([(1, 1, NAME, 3), (1, 2, NAME, {"2_1_1": bad})]), "out-of-range")
    assert "Question_2_1_1" in error.message
    assert "line" in error.message


@pytest.mark.parametrize("bad", ["five", "nan", "3,5", "??", "0_4"])
def test_not_a_number(write_table, bad):
    assert "Question_2_1_1" in fails(write_table([(1, 1, NAME, {"2_1_1": bad})]), "not-a-number").message


def test_duplicates(write_table):
    same = [(1, 1, NAME, 3), (1, 1, NAME, 3), (2, 1, NAME, 3)]
    path = write_table(same)
    assert "user 1, dataID 1" in fails(path, "duplicate-rating").message
    assert len(read_ratings(path, duplicates="keep")) == 3
    dropped = read_ratings(path, duplicates="drop")
    assert (len(dropped), dropped.dropped_duplicates) == (2, 1)
    path = write_table([(1, 1, NAME, 3), (1, 1, NAME, 4)])
    fails(path, "conflicting-duplicates", duplicates="drop")


def test_a_recording_has_one_name(write_table):
    other = NAME.replace("_01", "_02")
    assert other != NAME
    message = fails(
        write_table([(1, 7, NAME, 3), (2, 8, NAME, 3), (2, 7, other, 4)]), "contradiction"
    ).message
    assert "dataID 7" in message
    assert f"{NAME.removesuffix('.wav')} in line 3" in message
    assert f"{other.removesuffix('.wav')} in line 7" in message


def test_percepiano_keeps_its_copies_unless_told(percepiano_table):
    assert read_ratings(percepiano_table, duplicates="drop").dropped_duplicates == 1
    fails(percepiano_table, "duplicate-rating", duplicates="error")


def test_bad_names_are_found_with_their_line(write_table):
    error = fails(write_table([(1, 1, NAME, 3), (1, 2, "song.wav", 3)]), "bad-name")
    assert "line" in error.message


@pytest.mark.parametrize(
    "content",
    [b'user,dataID,filename,Question_1_1_1\n1,2,"x_8bars_1_1.wav,3\n', b"\xff\xfe\x00u",
     b"user,dataID,filename,Question_1_1_1\n1,2,x_8bars_1_1.wav,3,4\n", b"PK\x03\x04\x00\x00\x81\x82"],
)  # fmt: skip
def test_damaged(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    fails(path, "damaged")


def test_a_folder_is_no_table(tmp_path):
    fails(tmp_path, "not-found")

"""Tables of ratings of any study: layouts, scales, survey tools, and what is refused."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from musicbert.annotation.cells import read_table
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.labels import make_labels
from musicbert.annotation.names import piece_id
from musicbert.annotation.reliability import reliability_table
from musicbert.annotation.selection import LabelOptions
from musicbert.annotation.study.answers import StudyOptions
from musicbert.annotation.study.read import read_study
from musicbert.errors import MusicBertError

DIMENSIONS = "- {column: q1, name: Expressive, low: stiff, high: expressive}\n- {column: q2, high: fast}\n"
WIDE = [["rater", "file", "q1", "q2"], ["a", "x.wav", 1, 9], ["a", "y.mid", 5, 3], ["b", "x", 3, ""]]


def cells(table):
    """Ratings by rater, piece and dimension."""
    found = {}
    for row, user, segment in zip(table.ratings, table.user_of, table.segment_of, strict=True):
        for value, dimension in zip(row.tolist(), table.dimensions, strict=True):
            if value == value:
                found[table.users[user], table.segments[segment], dimension.name] = value
    return found


def refused(read, reason, *words):
    with pytest.raises(MusicBertError) as caught:
        read()
    assert caught.value.reason == reason, caught.value
    for word in words:
        assert word in str(caught.value)


LONG = [
    ["rater", "file", "what", "value"],
    *(
        [rater, file, what, value]
        for rater, file, *values in WIDE[1:]
        for what, value in zip(("q1", "q2"), values, strict=True)
    ),
]
COLUMNS = {"rater": "rater", "file": "file"}


def survey(form):
    names = [form.format(piece=p, dimension=d) for p in ("x", "y") for d in ("q1", "q2")]
    return [["who", *names], ["a", 1, 9, 5, 3], ["b", 3, "", "", ""]]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (WIDE, COLUMNS),
        (LONG, {**COLUMNS, "dimension": "what", "value": "value"}),
        *(
            (survey(form), {"rater": "who"})
            for form in (
                "{piece}_{dimension}",
                "{dimension}_{piece}",
                "{piece}[{dimension}]",
                "{piece} [{dimension}]",
                "{dimension}.{piece}",
                "{piece} - {dimension}",
                "{piece}: {dimension}",
                "{dimension}[{piece}]",
            )
        ),
        (
            survey("How is {piece}.mp3? - {dimension}"),
            {"rater": "who", "pattern": "How is {piece}? - {dimension}"},
        ),
    ],
)
def test_layouts_hold_the_same_ratings(study, rows, options, known):
    given = {"dimensions": DIMENSIONS} if known else {}
    if not known and "file" not in options:
        given = {"columns": ("q1", "q2")}
    table = study(rows, **options, **given)
    first, second = ("Expressive", "q2") if known else ("q1", "q2")
    assert cells(table) == {
        ("a", "x", first): 1,
        ("a", "x", second): 9,
        ("a", "y", first): 5,
        ("a", "y", second): 3,
        ("b", "x", first): 3,
    }
    poles = ["stiff – expressive", "not fast – fast"] if known else ["low q1 – high q1", "low q2 – high q2"]
    assert [each.poles for each in table.dimensions] == poles


@pytest.mark.parametrize(("separator", "suffix"), [(";", "csv"), ("\t", "tsv"), ("\t", "csv"), (",", "csv")])
def test_separators(study, separator, suffix):
    assert len(cells(study(WIDE, **COLUMNS, name=f"t.{suffix}", separator=separator))) == 5


@pytest.mark.parametrize("suffix", ["xlsx", "parquet", "jsonl"])
def test_other_kinds_of_files(tmp_path, suffix):
    frame = pd.DataFrame(WIDE[1:], columns=WIDE[0]).replace("", None).astype({"q1": float, "q2": float})
    path = tmp_path / f"t.{suffix}"
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        (frame.to_excel if suffix == "xlsx" else frame.to_parquet)(path, index=False)
    assert len(cells(read_study(path, StudyOptions((1, 9), **COLUMNS)))) == 5


@pytest.mark.parametrize(
    ("scale", "given", "labels"),
    [
        ((1, 9), [1, 5, 9], [0, 0.5, 1]),
        ((0, 100), [0, 25, 100], [0, 0.25, 1]),
        ((-3, 3), [-3, 0, 3], [0, 0.5, 1]),
        ((1, 5), [1, 3.7, 5], [0, 0.675, 1]),
    ],
)
@pytest.mark.parametrize("kind", ["mean", "median", "apex"])
def test_labels_span_the_scale(study, tmp_path, scale, given, labels, kind):
    rows = [["rater", "file", "q"], *([r, f"p{k}", v] for k, v in enumerate(given) for r in "ab")]
    made, _ = make_labels(study(rows, scale=scale, **COLUMNS), LabelOptions(label=kind, zeros="cell"))
    np.testing.assert_allclose(made.values[:, 0], labels)
    made.save(tmp_path / "labels.json")
    again = LabelMap.load(tmp_path / "labels.json")
    assert again.meta() == made.meta()
    assert f"{scale[1]:g}" in made.meta()["scale"]
    assert StudyOptions(**again.source["study"]).scale == list(scale)
    assert again.group_of() == {"p0": "p0", "p1": "p1", "p2": "p2"}


def test_reversed_items_are_turned_and_said(study):
    dims = "- {column: q1, low: stiff, high: free, reversed: yes}\n- {column: q2, name: Pace, reversed: no}\n"
    table = study(WIDE, **COLUMNS, dimensions=dims)
    assert cells(table)["a", "x", "q1"] == 9
    assert "turned round: q1" in table.notes
    assert "on a scale from 1 to 9: q1 (stiff – free; rated 1 to 5), Pace (" in " ".join(table.notes)


@pytest.mark.parametrize(
    ("cell", "reason", "hint"),
    [
        ("10", "out-of-range", "--missing-values 10"),
        ("0", "out-of-range", "--missing-values"),
        ("k.A.", "not-a-number", "--missing-values"),
        ("7 - very much", "not-a-number", "leading-number"),
        ("3,5", "not-a-number", "decimal-comma"),
        ("50%", "not-a-number", "percent"),
        ("1_0", "not-a-number", "--ignore"),
        ("7-8", "not-a-number", ""),
        ("inf", "not-a-number", ""),
        ("strongly agree", "not-a-number", "--answers"),
    ],
)
def test_cells_that_are_no_ratings_are_named(study, cell, reason, hint):
    rows = [*WIDE, ["b", "y", 4, cell]]
    refused(lambda: study(rows, **COLUMNS), reason, "line 5", "q2", repr(cell), hint)


@pytest.mark.parametrize(
    ("cell", "value", "options"),
    [
        ("99", None, {"missing": ("99",)}),
        ("99.0", None, {"missing": ("99",)}),
        ("k.A.", None, {"missing": ("k.A.",)}),
        ("7 - very much", 7, {"numbers": ("leading-number",)}),
        ("1 (not at all)", 1, {"numbers": ("leading-number",)}),
        ("3,5", 3.5, {"numbers": ("decimal-comma",)}),
        ("5 %", 5, {"numbers": ("percent",)}),
        ("Strongly agree", 9, {"answers": {"strongly agree": 9.0}}),
        ("NA", None, {}),
        (" 4.0 ", 4, {}),
    ],
)
def test_what_is_asked_for_is_read(study, cell, value, options):
    table = study([*WIDE, ["b", "y", 4, cell]], **COLUMNS, **options)
    assert cells(table).get(("b", "y", "q2")) == value


@pytest.mark.parametrize("number", [0.0, 10.0, float("nan")])
def test_answers_in_words_are_on_the_scale(study, number):
    answers = {"strongly agree": number}
    refused(lambda: study(WIDE, **COLUMNS, answers=answers), "bad-option", "'strongly agree'", "1..9")


def test_a_string_of_json_lines_may_hold_any_line_separator(tmp_path):
    name = "a\u2028b\x85c"
    lines = [json.dumps({"file": each, "q1": 3}, ensure_ascii=False) for each in (name, "d")]
    (tmp_path / "t.jsonl").write_text("\r\n".join(lines) + "\n", encoding="utf-8")
    assert read_table(tmp_path / "t.jsonl")["file"].tolist() == [name, "d"]


def test_repeated_ratings_follow_the_rule(study):
    same, other = [*WIDE, ["a", "x", 1, 9]], [*WIDE, ["a", "x.mid", 2, 9]]
    refused(lambda: study(same, **COLUMNS), "duplicate-rating", "lines 2 and 5")
    refused(lambda: study(other, **COLUMNS, duplicates="drop"), "conflicting-duplicates", "lines 2 and 5")
    assert len(study(same, **COLUMNS, duplicates="drop")) == 3
    kept = study(other, **COLUMNS, duplicates="keep")
    assert len(kept) == 4
    assert any("1 ratings of a piece by a rater who had rated it before" in note for note in kept.notes)
    labels, _ = make_labels(kept, LabelOptions(label="mean", zeros="cell"))
    assert labels.n_raters[0, 0] == 3


def qualtrics(rows):
    names = rows[0]
    return [
        names,
        [f"text of {name}" for name in names],
        [json.dumps({"ImportId": name}) for name in names],
        *rows[1:],
    ]


def test_qualtrics_loops_previews_and_timers(study):
    names = [f"{loop}_Q3_{item}" for loop in (1, 2) for item in (1, 2)]
    head = ["Status", "Finished", "ResponseId", "1_Q9_Page Submit", *names, "attention_1"]
    rows = [
        head,
        ["IP Address", "True", "R1", "3.2", 1, 9, 5, 3, 4],
        ["Survey Preview", "1", "R2", "1", 1, 1, 1, 1, 4],
        ["0", "0", "R3", "1", 3, "", "", "", 2],
        ["1", "1", "R4", "1", 3, 3, 3, 3, 2],
    ]
    dims = "- {column: Q3_1, name: Expressive}\n- {column: Q3_2, name: Fast}\n"
    pieces = "piece,file\n1,x.mid\n2,y.mid\n"
    table = study(qualtrics(rows), dimensions=dims, pieces=pieces)
    assert table.users == ("R1", "R3")
    assert cells(table)["R1", "y", "Fast"] == 3
    said = " / ".join(table.notes)
    for part in (
        "Qualtrics",
        "'ResponseId'",
        "Status is 'survey preview'",
        "Status is '1'",
        "attention_1",
        "1 rows are unfinished",
    ):
        assert part in said
    assert len(study(qualtrics(rows), dimensions=dims, pieces=pieces, keep_tests=True).users) == 4


def test_question_text_can_name_the_columns(study):
    rows = [["id", "Q1_1", "Q1_2"], ["Response", "x: fast", "y: fast"], ["r1", 4, 5]]
    table = study(rows, rater="Response", header_rows=2, names_row=2, pattern="{piece}: {dimension}")
    assert cells(table) == {("r1", "x", "fast"): 4, ("r1", "y", "fast"): 5}


def test_a_second_row_of_labels_is_an_error_that_says_so(study):
    rows = [
        ["CASE", "MODE", "A1_01", "A2_01"],
        ["Interview", "Mode", "fast", "fast"],
        ["7", "interview", 3, 4],
        ["8", "pretest", 3, 4],
    ]
    dims = "- {column: '01', name: Fast}"
    refused(lambda: study(rows, rater="CASE", dimensions=dims), "not-a-number", "line 2")
    table = study(rows, rater="CASE", dimensions=dims, header_rows=2)
    assert cells(table) == {("7", "A1", "Fast"): 3, ("7", "A2", "Fast"): 4}
    assert "MODE is 'pretest'" in " ".join(table.notes)


def test_names_that_can_be_cut_in_two_ways_need_a_pattern(study):
    rows = [["who", "1_1", "1_2", "2_1", "2_2"], ["a", 1, 2, 3, 4]]
    dims = "- {column: 1, name: One}\n- {column: 2, name: Two}\n"
    refused(lambda: study(rows, rater="who", dimensions=dims), "ambiguous-columns", "'1_2'", "--pattern")
    table = study(rows, rater="who", dimensions=dims, pattern="{dimension}_{piece}")
    assert cells(table)["a", "2", "One"] == 2
    refused(lambda: study(rows, rater="who"), "ambiguous-columns", "--dimensions")
    rows = [["who", "a_b_c"], ["r", 1]]
    refused(lambda: study(rows, rater="who", pattern="{piece}_{dimension}"), "ambiguous-columns", "a_b_c")
    pieces = {"pieces": "file,piece\nx.mid,a\ny.mid,a_b\n", "pattern": "{piece}_{dimension}"}
    refused(lambda: study(rows, rater="who", **pieces), "ambiguous-columns", "a_b_c")
    pieces |= {"dimensions": "- {column: b_c}\n- {column: c}\n"}
    refused(lambda: study(rows, rater="who", **pieces), "ambiguous-columns", "a_b_c")
    refused(lambda: study(rows, rater="who", pattern="{piece}_x"), "bad-pattern")
    refused(lambda: study(rows, rater="who", pattern="{piece}/{dimension}"), "bad-pattern")


def test_nothing_is_guessed(study):
    refused(lambda: study(WIDE), "ambiguous-layout", "--rater-column")
    refused(lambda: study(WIDE, **COLUMNS, layout="survey"), "ambiguous-layout")
    refused(lambda: study(WIDE, rater="nobody", file="file"), "missing-column", "nobody")
    refused(lambda: study(WIDE, **COLUMNS, dimensions="- {column: q9}"), "missing-column", "q9")
    refused(lambda: study(WIDE, **COLUMNS, scale=(9, 1)), "bad-option")
    rows = [[*WIDE[0], "gender"], *([*row, "f"] for row in WIDE[1:])]
    refused(lambda: study(rows, **COLUMNS), "not-a-number", "gender", "--ignore")
    assert len(study(rows, **COLUMNS, ignore=("gender",)).dimensions) == 2
    table = study(rows, **COLUMNS, dimensions=DIMENSIONS)
    assert "left out: gender" in " ".join(table.notes)
    refused(lambda: study([*WIDE, ["", "x", 1, 2]], **COLUMNS), "no-rater", "line 5")
    refused(lambda: study([*WIDE, ["b", "", 1, 2]], **COLUMNS), "no-piece", "line 5")
    assert len(study([*WIDE, ["", "", "", ""], ["c", "", "", ""]], **COLUMNS)) == 3
    long = [*LONG, ["a", "x", "attention", 3]]
    columns = {**COLUMNS, "dimension": "what", "value": "value", "dimensions": DIMENSIONS}
    refused(lambda: study(long, **columns), "unknown-dimension", "attention", "line 8")
    assert len(cells(study(long, **columns, ignore=("attention",)))) == 5
    refused(lambda: study([WIDE[0], ["a", "x", "", ""]], **COLUMNS), "no-ratings")


def test_names_and_options_that_do_nothing_are_refused(study):
    for options in ({"ignore": ("gendre",)}, {"drop_raters": ("z",)}):
        refused(lambda options=options: study(WIDE, **COLUMNS, **options), "unknown-name")
    refused(lambda: study(WIDE, **COLUMNS, pattern="{piece}_{dimension}"), "bad-option")
    rows = survey("{piece}_{dimension}")
    table = study(rows, rater="who", dimensions=DIMENSIONS, ignore=("y",), drop_raters=("b",))
    assert set(cells(table)) == {("a", "x", "Expressive"), ("a", "x", "q2")}
    pieces = "piece,file\nx,one.mid\ny,two.mid\nz,three.mid\n"
    table = study(rows, rater="who", dimensions=DIMENSIONS, pieces=pieces)
    assert any("1 pieces of" in note and "three" in note for note in table.notes)


def test_a_quote_that_is_never_closed_is_damage(study, tmp_path):
    (tmp_path / "q.csv").write_text('rater,file,q1\na,x,1\nb,"x,2\nc,x,3\n')
    refused(lambda: read_study(tmp_path / "q.csv", StudyOptions((1, 9), **COLUMNS)), "bad-table")


@pytest.mark.parametrize("name", ["id", "class", "performer"])
def test_dimensions_called_like_other_columns(study, tmp_path, name):
    rows = [["rater", "file", name], ["a", "x", 3], ["a", "y", 4]]
    made, _ = make_labels(study(rows, **COLUMNS), LabelOptions(label="mean", zeros="cell"))
    made.save(tmp_path / "l.json")
    assert LabelMap.load(tmp_path / "l.json").values.tolist() == made.values.tolist()
    refused(lambda: made.save(tmp_path / "l.csv"), "duplicate-column", name)


def test_one_row_a_piece_is_a_mean_without_raters(study):
    rows = [["file", "q1"], ["x", 3.25], ["y", 4.5]]
    table = study(rows, file="file")
    assert cells(table) == {("mean", "x", "q1"): 3.25, ("mean", "y", "q1"): 4.5}
    refused(lambda: study([*rows, ["x", 4]], file="file"), "duplicate-rating", "stands twice")


def test_raters_who_always_answer_the_same_are_named_and_can_be_left_out(study):
    rows = [
        ["rater", "file", "q"],
        *([r, f"p{k}", 5 if r == "flat" else k + 1] for r in ("flat", "b") for k in range(8)),
    ]
    table = study(rows, **COLUMNS)
    assert any("flat answered 5 to all 8 questions" in note for note in table.notes)
    assert study(rows, **COLUMNS, drop_raters=("flat",)).users == ("b",)


def test_groups_and_performers_are_columns_of_the_ratings_or_of_the_pieces(study, tmp_path):
    rows = [[*WIDE[0], "work", "who"], *([*row, "op. 1", "Ann"] for row in WIDE[1:])]
    table = study(rows, **COLUMNS, groups=("work",), performer="who")
    assert table.groups == {"work": {"x": "op. 1", "y": "op. 1"}}
    assert table.performers == {"x": "Ann", "y": "Ann"}
    labels, _ = make_labels(table, LabelOptions(label="mean", zeros="cell"))
    assert (labels.classes, labels.performer_of) == (("Ann",), {"x": "Ann", "y": "Ann"})
    refused(lambda: labels.group_of("city"), "missing-column", "city")
    rows[1][4] = "op. 2"
    mixed = lambda: study(rows, **COLUMNS, groups=("work",), performer="who")  # noqa: E731
    refused(mixed, "conflicting-group", "line 4", "op. 2")
    pieces = "file,piece,work,key\na/one.mid,x,op. 1,C\na/two.mid,y,,D\n"
    rows = [WIDE[0], ["a", "x", 1, 2], ["a", "y", 3, 4]]
    table = study(rows, **COLUMNS, groups=("work", "key"), pieces=pieces)
    assert table.groups == {"work": {"a/one": "op. 1", "a/two": "a/two"}, "key": {"a/one": "C", "a/two": "D"}}
    assert "1 pieces have no 'work'" in " ".join(table.notes)
    refused(lambda: study(rows, **COLUMNS, pieces="file\nz\n"), "unknown-piece", "'x'")
    refused(lambda: study(rows, **COLUMNS, pieces="file,piece\nz,x\nz,x\n"), "duplicate-piece", "'x'")
    again = "file,piece\none,x\none,y\n"  # played twice
    refused(lambda: study(rows, **COLUMNS, pieces=again), "duplicate-rating", "'one'")
    assert study(rows, **COLUMNS, pieces=again, duplicates="keep").segments == ("one",)
    refused(lambda: study(rows, **COLUMNS, performer="work", pieces=pieces), "no-performer", "a/two")


def test_reliability_carries_the_names(study):
    rng = np.random.default_rng(0)
    true = rng.integers(2, 9, 12)
    rows = [
        ["rater", "file", "q1", "q2"],
        *(
            [r, f"p{k}", int(np.clip(true[k] + rng.integers(-1, 2), 1, 9)), 5]
            for k, r in itertools.product(range(12), "abcd")
        ),
    ]
    found = reliability_table(study(rows, **COLUMNS, dimensions=DIMENSIONS))
    assert list(found.index) == ["Expressive", "q2"]
    assert (found["low_pole"].iloc[0], found["high_pole"].iloc[0]) == ("stiff", "expressive")
    assert found["ceiling_mean"].iloc[0] > 0.8


def test_names_of_pieces():
    assert piece_id("C:\\stimuli\\Song no. 1.WAV") == "C:/stimuli/Song no. 1"
    assert piece_id("./a/b.mid") == "a/b"
    assert piece_id("op. 12") == "op. 12"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda meta: meta["groups"]["file"].pop("x"), "wrong-length"),
        (lambda meta: meta["groups"]["file"].update(x=3), "damaged"),
        (lambda meta: meta["source"].update(scale=["1", "9"]), "damaged"),
        (lambda meta: meta["source"].update(scale=[1]), "damaged"),
        (lambda meta: meta.update(groups=[1]), "damaged"),
    ],
)
def test_damaged_side_files(study, tmp_path, change, reason):
    labels, _ = make_labels(study(WIDE, **COLUMNS), LabelOptions(label="mean", zeros="cell"))
    labels.save(tmp_path / "l.json")
    side = tmp_path / "l.meta.json"
    meta = json.loads(side.read_text())
    change(meta)
    side.write_text(json.dumps(meta))
    refused(lambda: LabelMap.load(tmp_path / "l.json"), reason)


def test_a_map_without_its_side_file_has_no_published_names(tmp_path):
    (tmp_path / "l.json").write_text(json.dumps({f"song {k}": [0.5] * 25 + [0] for k in range(3)}))
    names = {dimension.name for dimension in LabelMap.load(tmp_path / "l.json").dimensions}
    assert names == {f"dimension {k}" for k in range(25)}
    published = {f"Schubert_D960_mv3_8bars_Score_{k:02d}": [0.5] * 25 + [0] for k in range(1, 4)}
    (tmp_path / "p.json").write_text(json.dumps(published))
    assert LabelMap.load(tmp_path / "p.json").dimensions[0].name == "Regular beat change"

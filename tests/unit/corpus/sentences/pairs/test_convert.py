"""PiRhDy's files to a raw set: upstream's order and text, a validation part, damaged lines, workers."""

import importlib.util
import json
from pathlib import Path

import pytest

from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.sentences.pairs.chords import load_chords
from musicbert.corpus.sentences.pairs.convert import ConvertOptions, convert
from musicbert.corpus.sentences.pairs.pirhdy import pair_rows, parse_block
from musicbert.encoding import dictionary_text, encoding_to_str
from musicbert.errors import DatasetError

_spec = importlib.util.spec_from_file_location("pirhdy_lines", Path(__file__).with_name("pirhdy_lines.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pirhdy")
    made.made_file(folder / "train", 30, candidates=4, positives=2, seed=1)
    made.made_file(folder / "test", 3, candidates=50, seed=2)
    return folder


def run(source, output, **options):
    task = options.pop("task", "next")
    return convert(source / "train", source / "test", output, ConvertOptions(task, **options))


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize("task", ["next", "acc"])
def test_without_validation_every_line_is_there_in_order(source, tmp_path, task):
    report = run(source, tmp_path / "raw", task=task, valid_share=0)
    assert report.parts["train"] == {"pairs": 120, "true": 60, "queries": 30}
    assert report.parts["test"] == {"pairs": 150, "true": 3, "queries": 3}
    assert not (tmp_path / "raw" / "valid.txt").exists()
    for part in ("train", "test"):
        raw = (source / part).read_bytes().splitlines()
        block = parse_block(0, raw)
        rows, firsts = pair_rows(block.features, task, load_chords())
        assert lines(tmp_path / "raw" / f"{part}.txt") == [encoding_to_str(each) for each in rows]
        assert lines(tmp_path / "raw" / f"{part}.label") == [line.split(b",")[-1].decode() for line in raw]
        assert lines(tmp_path / "raw" / f"{part}.first") == [str(each) for each in firsts]
    assert (tmp_path / "raw" / "dict.txt").read_text() == dictionary_text()
    assert lines(tmp_path / "raw" / "test.group") == [str(number // 50) for number in range(150)]


def test_validation_is_cut_between_queries_and_shares_none(source, tmp_path):
    report = run(source, tmp_path / "raw", valid_share=0.21)  # 25 lines: the cut falls into a query
    assert report.parts["valid"]["pairs"] == 24
    assert report.parts["train"]["pairs"] == 96
    whole = run(source, tmp_path / "whole", valid_share=0)
    assert whole.parts["train"]["pairs"] == 120
    train, valid = (lines(tmp_path / "raw" / f"{part}.txt") for part in ("train", "valid"))
    assert train + valid == lines(tmp_path / "whole" / "train.txt")


def test_training_pairs_of_a_validation_query_are_left_out(source, tmp_path):
    content = (source / "train").read_bytes().splitlines(keepends=True)
    (tmp_path / "train").write_bytes(
        b"".join(content[:4] + content[-4:] + content[4:])
    )  # the last query early
    (tmp_path / "test").write_bytes((source / "test").read_bytes())
    report = run(tmp_path, tmp_path / "raw", valid_share=0.1)
    assert report.left_out == {"query-in-valid": 4}
    names = [each.name for each in read_ledger(tmp_path / "raw" / "ledger.jsonl")]
    assert names == ["train:5", "train:6", "train:7", "train:8"]


def test_damage_costs_a_line_of_training_and_a_group_of_the_test(source, tmp_path):
    for part, number in (("train", 10), ("test", 60)):
        content = (source / part).read_bytes().splitlines(keepends=True)
        content[number] = b"1,2,3\n"
        (tmp_path / part).write_bytes(b"".join(content))
    report = run(tmp_path, tmp_path / "raw", valid_share=0)
    assert report.parts["train"]["pairs"] == 119
    assert report.parts["test"] == {"pairs": 100, "true": 2, "queries": 2}
    assert report.left_out == {"bad-line": 2, "bad-group": 1}
    assert lines(tmp_path / "raw" / "test.group") == ["0"] * 50 + ["2"] * 50
    reasons = {each.name: each.outcome for each in read_ledger(tmp_path / "raw" / "ledger.jsonl")}
    assert reasons == {"train:11": "bad-line", "test:61": "bad-line", "test:51": "bad-group"}


def test_a_block_without_a_good_line_is_left_out(source, tmp_path):
    (tmp_path / "test").write_bytes((source / "test").read_bytes())
    (tmp_path / "train").write_bytes((source / "train").read_bytes() + b"1,2,3\n" * 1000)  # 500 lines a block
    report = run(tmp_path, tmp_path / "raw", valid_share=0)
    assert report.parts["train"]["pairs"] == 120
    assert report.left_out == {"bad-line": 1000}


def test_draws_are_of_pairs_of_lines_and_whole_groups_and_repeat(source, tmp_path):
    for name in ("one", "two"):
        report = run(source, tmp_path / name, valid_share=0, samples=7, test_groups=2)
    assert report.parts["train"]["pairs"] == 14
    assert report.parts["test"]["queries"] == 2
    assert (tmp_path / "one" / "train.txt").read_bytes() == (tmp_path / "two" / "train.txt").read_bytes()
    other = run(source, tmp_path / "three", valid_share=0, samples=7, seed=8)
    assert other.parts["train"]["pairs"] == 14
    assert (tmp_path / "one" / "train.txt").read_bytes() != (tmp_path / "three" / "train.txt").read_bytes()


def test_test_queries_that_were_trained_on_are_counted(source, tmp_path):
    (tmp_path / "train").write_bytes((source / "test").read_bytes()[:-1])  # the last line has no line end
    (tmp_path / "test").write_bytes((source / "test").read_bytes())
    report = run(tmp_path, tmp_path / "raw", valid_share=0)
    assert report.parts["train"]["pairs"] == 150
    assert report.shared_queries == 3
    assert json.loads((tmp_path / "raw" / "about.json").read_text())["shared_queries"] == 3


def test_workers_change_nothing(source, tmp_path):
    for workers in (1, 2):
        run(source, tmp_path / str(workers), workers=workers)
    for path in sorted((tmp_path / "1").iterdir()):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name


def test_an_empty_part_and_a_missing_file_are_errors_and_leave_nothing(source, tmp_path):
    (tmp_path / "train").write_bytes((source / "train").read_bytes())
    (tmp_path / "test").write_bytes(b"")
    with pytest.raises(DatasetError, match="empty-split"):
        run(tmp_path, tmp_path / "raw")
    (tmp_path / "test").unlink()
    with pytest.raises(DatasetError, match="not-found"):
        run(tmp_path, tmp_path / "raw")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train"]

"""A report of ratings stands only beside baselines of the same labels and MIDI files."""

import json

import pytest

from musicbert.errors import DatasetError, MusicBertError
from musicbert.evaluation.baselines.rating_baselines import set_record
from musicbert.evaluation.reports.ratings import report_set


def test_baselines_of_other_files_are_refused(tmp_path):
    labels, midi, result = tmp_path / "labels.json", tmp_path / "midi", tmp_path / "baselines.json"
    labels.write_text("{}")
    midi.mkdir()
    (midi / "a.mid").write_bytes(b"1")
    record = set_record(labels, midi, ["databin"], tasks=["regression"], n_resamples=10, seed=7)
    result.write_text(json.dumps({"splits": {"databin": {"rows": []}}, "made_from": record}))

    def report(expected):
        options = {"runs": tmp_path / "runs", "out": tmp_path / "out", "baselines": result}
        with pytest.raises(MusicBertError) as caught:
            report_set(labels=labels, midi=midi, split="databin", **options)
        assert (caught.value.reason == "other-data") == expected

    report(False)  # what is missing are the runs
    (midi / "a.mid").write_bytes(b"2")
    report(True)
    assert record != set_record(labels, midi, ["databin"], tasks=["regression"], n_resamples=10, seed=7)
    (midi / "a.mid").write_bytes(b"1")
    labels.write_text("{ }")
    with pytest.raises(DatasetError, match="other labels"):
        report_set(labels=labels, runs=tmp_path, out=tmp_path, baselines=result, split="databin", midi=midi)


@pytest.mark.parametrize(
    "changes", [{"seed": 8}, {"n_resamples": 11}, {"tasks": ["classes"]}, {"rows": ["mean"]}]
)
def test_a_result_of_other_options_is_another(tmp_path, changes):
    (tmp_path / "labels.json").write_text("{}")
    options = {"tasks": ["regression"], "n_resamples": 10, "seed": 7}
    first = set_record(tmp_path / "labels.json", tmp_path, ["databin"], **options)
    assert first == set_record(tmp_path / "labels.json", tmp_path, ["databin"], **options)
    assert first != set_record(tmp_path / "labels.json", tmp_path, ["databin"], **options | changes)

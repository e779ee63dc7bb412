"""Every training recipe at a tiny size logs and scores what it did (see tests/record_seeded_training.py)."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
# CPUs differ in the last digits, since they add up in different orders; `--check` counts every digit
TOLERANCE = 2e-3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # fairseq 0.12 is older than torch and NumPy
]

spec = importlib.util.spec_from_file_location("record_seeded_training", TESTS / "record_seeded_training.py")
seeded = importlib.util.module_from_spec(spec)
spec.loader.exec_module(seeded)


@pytest.fixture(scope="module")
def known():
    return json.loads(seeded.FIXTURE.read_text())["cases"]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    return seeded.Recorder(tmp_path_factory.mktemp("seeded"))


def test_every_case_is_in_the_file(known):
    assert sorted(known) == sorted(seeded.CASE_NAMES)


@pytest.mark.parametrize("name", seeded.CASE_NAMES)
def test_a_recipe_gives_what_it_gave(name, known, recorder):
    log, _ = recorder.record(name)
    found = seeded.differences(known[name], log, relative=TOLERANCE)
    assert not found, "\n".join(found)


def test_what_differs_is_told(known):
    log = copy.deepcopy(known["M2P_xai"])
    assert seeded.differences(known["M2P_xai"], log, relative=TOLERANCE) == []
    line = log["train_inner"][1]
    line["loss"] = f"{1.005 * float(line['loss']):.5f}"
    del line["gnorm"]
    told = seeded.differences(known["M2P_xai"], log, relative=TOLERANCE)
    assert [text.split(" was ")[0] for text in told] == ["train_inner 1: loss", "train_inner 1: gnorm"]
    del log["train_inner"][1]
    assert seeded.differences(known["M2P_xai"], log, relative=TOLERANCE)

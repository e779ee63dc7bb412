"""The table of the twelve tasks."""

import pytest

from musicbert.corpus.readers import BENCHMARK, SOURCES, get_task
from musicbert.corpus.readers.tasks import OBJECTIVES, TEXTURES

#: M2BERT's benchmark: outputs of the head, level, folds, seeds
EXPECTED = {
    "SGC": (5, "sequence", 0, 1), "BP": (3, "note", 0, 1), "DBP": (3, "note", 0, 1), "CR": (36, "note", 0, 2),
    "LK": (38, "note", 0, 2), "ME": (4, "note", 0, 2), "VE": (7, "note", 0, 2), "OTC": (8, "note", 0, 2),
    "PS": (8, "sequence", 5, 2), "ER": (4, "sequence", 5, 2), "VF": (241, "note", 0, 4),
    "MNID": (3, "note", 5, 2),
}  # fmt: skip


def test_twelve_tasks_with_their_published_sizes():
    found = {
        name: (len(row.task.classes), row.task.level, row.folds, len(row.task.seeds))
        for name, row in BENCHMARK.items()
    }
    assert found == EXPECTED
    assert all(row.source in SOURCES for row in BENCHMARK.values())
    assert all(len(set(row.task.classes)) == len(row.task.classes) for row in BENCHMARK.values())


def test_means_of_the_published_rows():
    means = [sum(row.published[k] for row in BENCHMARK.values()) / 12 for k in range(len(OBJECTIVES))]
    assert [round(mean, 4) for mean in means] == [0.7109, 0.7144, 0.7161]


def test_labels_of_music_theory():
    roots, keys = get_task("CR").task.classes, get_task("LK").task.classes
    assert [roots[n] for n in (1, 14, 15, 24, 35)] == ["C", "D-", "E--", "C-", "A##"]
    assert [keys[n] for n in (1, 10, 26, 37)] == ["b", "C", "e", "F-"]
    assert TEXTURES[0] == "none"
    assert TEXTURES[6] == "melody+rhythm"


def test_names_of_either_kind():
    assert get_task("dbp") is get_task("DbP") is get_task("downbeat")
    with pytest.raises(ValueError, match="violin_all"):
        get_task("fingering")


def test_every_leak_is_said():
    leaking = {name for name, row in BENCHMARK.items() if row.task.splits["published"]}
    assert leaking == {"SGC", "BP", "DBP", "ME", "VE", "PS", "ER"}
    assert not any(row.task.splits["clean"] for row in BENCHMARK.values())

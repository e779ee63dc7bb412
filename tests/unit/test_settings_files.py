"""Any JSON value anywhere in a file of settings is used, or is one documented error.

``config.json`` and ``tagger.json`` are in ``tests/unit/weights/test_checks.py``.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

from musicbert.annotation.dimensions import Dimension
from musicbert.annotation.label_map import LabelMap, meta_path, read_label_map
from musicbert.atomic import MAX_MANIFEST, check_types, parse_json, read_json
from musicbert.corpus.bins.rows_bin import RowsBin, write_rows_bin
from musicbert.corpus.labelled.rating_bin import read_classes
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.labelled.shards import Shards
from musicbert.errors import MusicBertError
from musicbert.evaluation.predictions import Predictions, save_predictions
from musicbert.evaluation.run_files import read_experiment
from musicbert.fairseq_plugin.labels.taggers import read_split
from musicbert.remixing.folder import _figures
from musicbert.similarity import index_folder, open_index
from musicbert.weights.names import resolve
from musicbert.weights.output_names import read_labels
from tests.unit.corpus.labelled.test_shards import LOUD, MOOD, piece

LABELS = {"classes": ["a", "b"], "dimensions": [{"name": "Soft", "low": "Soft", "high": "Loud"}]}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 10**30, 1e308, "", "..", "a\0b", "../x", "/etc/passwd", "${oc.env:HOME}"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


def manifest(folder):
    write_shards([piece(0), piece(1)], "octuple", folder, [LOUD, MOOD], with_features=True)

    def use():
        shards = Shards(folder)
        for name in shards.labels:
            shards.label(name)
        return shards.features(), [shards.rows(k) for k in range(len(shards))]

    return folder / "manifest.json", use


def rows_meta(folder):
    write_rows_bin({"train": [np.zeros((3, 4), np.int64)]}, folder, "cp")
    return folder / "meta.json", lambda: RowsBin(folder, "train").rows(0)


def classes(folder):
    file = folder / "classes.json"
    file.write_text(json.dumps(LABELS))
    return file, lambda: (read_classes(file), read_labels(file))


def split(folder):
    file = folder / "split.json"
    file.write_text(json.dumps({"train": ["a"], "valid": ["b"], "test": ["c"]}))
    return file, lambda: read_split(file, SimpleNamespace(index={"a": 0, "b": 1, "c": 2}))


def experiment(folder):
    task = {"name": "mood", "label": "mood", "level": "sequence", "kind": "classes", "classes": ["a", "b"],
            "metric": "accuracy", "ignore": [], "splits": {}, "seeds": [1]}  # fmt: skip
    record = {"task": task, "leaks": {"0": {}}, "seeds": [1], "data": {"codec": "octuple"}}
    (folder / "task.json").write_text(json.dumps(record))
    names = np.array(["x", "y"], np.str_)
    part = Predictions(
        "mood", "sequence", "classes", ("a", "b"), names, names, np.array([0, 1]), np.eye(2, dtype=np.float32)
    )
    save_predictions(folder / "fold0" / "seed1" / "test.npz", {"mood": part})
    (folder / "fold0" / "seed1" / "run.json").write_text(json.dumps({"parameters": 1, "seconds": 2.0}))
    return folder / "task.json", lambda: read_experiment(folder)


def run(folder):
    experiment(folder)
    return folder / "fold0" / "seed1" / "run.json", lambda: read_experiment(folder)


def sources(folder):
    entry = {"file": "x.pt", "url": None, "sha256": None, "page": "a page"}
    (folder / "sources.json").write_text(json.dumps({"x": entry}))
    return folder / "sources.json", lambda: resolve("x", folders=[folder], cache=folder)


def side_file(folder):
    path = folder / "map.json"
    LabelMap(
        ids=("x",), values=np.array([[0.5]]), dimensions=(Dimension("Soft", "Soft", "Loud"),),
        classes=("a",), class_of=np.array([0]), kind="mean",
    ).save(path)  # fmt: skip
    return meta_path(path), lambda: read_label_map(path)


def index(folder):
    shutil.copy(Path(__file__).parents[1] / "fixtures" / "musicbert" / "s01_basic_4_4.mid", folder / "a.mid")
    index_folder(folder, folder / "index", progress=False)
    return folder / "index" / "index.json", lambda: len(open_index(folder / "index"))


def remix(folder):
    figures = {"version": 1, "seed": 0, "notes": 2, "changed": 1, "likelihood": -1.5, "original": -1.0}
    file = folder / "version-1.json"
    file.write_text(json.dumps({**figures, "file": "version-1.mid"}))
    return file, lambda: _figures(file)["likelihood"] + 1


FILES = [manifest, rows_meta, classes, split, experiment, run, sources, side_file, index, remix]


def places(content, above=()):
    """Paths to all values."""
    yield above
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(value, (*above, key))


def changed(content, path, value):
    if not path:
        return value
    content[path[0]] = changed(content[path[0]], path[1:], value)
    return content


@pytest.fixture(params=FILES, ids=lambda make: make.__name__)
def settings_file(request, tmp_path):
    return request.param(tmp_path)


@options(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_is_used_or_refused(settings_file, data):
    file, use = settings_file
    before = file.read_text(encoding="utf-8")
    content = json.loads(before)
    path = data.draw(st.sampled_from(list(places(content))))
    file.write_text(json.dumps(changed(content, path, data.draw(VALUES))), encoding="utf-8")
    try:
        use()
    except MusicBertError:
        pass
    finally:
        file.write_text(before, encoding="utf-8")


@pytest.mark.parametrize("text", ["[" * 200_000, "Infinity", "[NaN]", "1e400", "", "\xff", '{"a":'])
def test_text_that_is_no_json_is_refused(settings_file, text):
    file, use = settings_file
    before = file.read_bytes()
    file.write_bytes(text.encode("latin1"))
    with pytest.raises(MusicBertError):
        use()
    file.write_bytes(before)


def test_size_and_types(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1, "b": true}')
    assert read_json(tmp_path / "a.json") == {"a": 1, "b": True}
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_json(tmp_path / "a.json", most=4)
    check_types({"a": 1}, a=int)


@pytest.mark.parametrize("value", ["[]", "{}", "1", '""'])
def test_values_that_take_much_memory_are_refused_before_they_are_made(value):
    """Of 40 MB, where the values would take a gigabyte."""
    text = f"[{','.join([value] * 14_000_000)}]"
    with pytest.raises(ValueError, match="do not fit into 1000000000 bytes of memory"):
        parse_json(text if value == "1" else text.encode(), most=MAX_MANIFEST)
    pieces = [
        {"name": f"p{k}", "group": f"g{k}", "hash": "0" * 64, "splits": {"a": "train"}}
        for k in range(100_000)
    ]
    assert parse_json(json.dumps(pieces), most=MAX_MANIFEST) == pieces


def test_types():
    for wrong in ({"a": True}, {}, [], {"a": "1"}):
        with pytest.raises(ValueError, match=r"a is|not a JSON object"):
            check_types(wrong, a=int)


@pytest.mark.parametrize("data", [None, {}, {"codec": 1}])
def test_an_experiment_that_does_not_name_its_encoding_is_refused(tmp_path, data):
    file, read = experiment(tmp_path)
    assert read().record["data"] == {"codec": "octuple"}
    record = json.loads(file.read_text()) | {"data": data}
    file.write_text(json.dumps(record))
    with pytest.raises(MusicBertError, match="cannot be read"):
        read()

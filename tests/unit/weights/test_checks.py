"""Settings, shapes or tensors that do not fit give one `CheckpointError`, and no model."""

import json
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.weights import build_model, load_model, read_bundle, resolve, save_folder
from musicbert.weights.tagger_folder import load_tagger_folder
from tests.unit.weights.test_tagger_folder import make

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=64)
TABLE = "encoder.sentence_encoder.embed_positions.weight"


def weights():
    torch.manual_seed(0)
    model = MusicBert(CONFIG)
    model.register_classification_head("mood", 3, 16)
    return model.state_dict()


def reason_of(call, *arguments):
    with pytest.raises(CheckpointError) as caught:
        call(*arguments)
    return caught.value.reason


def saved(path, tensors):
    torch.save({"model": tensors, "args": None}, path)
    return path


@pytest.fixture
def folder(tmp_path):
    bundle = read_bundle(saved(tmp_path / "model.pt", weights()))
    return save_folder(bundle, tmp_path / "folder")


def change(file, entries):
    content = json.loads(file.read_text(encoding="utf-8"))
    for keys, value in entries.items():
        at = content
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("last", [".out_proj.weight", ".out_proj.bias", ".dense.weight", ".dense.bias"])
def test_a_head_that_is_not_whole_never_predicts(tmp_path, folder, last):
    tensors = weights()
    del tensors["classification_heads.mood" + last]
    assert reason_of(load_model, saved(tmp_path / "lacks.pt", tensors)) == "missing-weights"
    tensors = load_file(folder / "model.safetensors")
    del tensors["classification_heads.mood" + last]
    save_file(tensors, folder / "model.safetensors")
    assert reason_of(load_model, folder) == "missing-weights"


@pytest.mark.parametrize("outputs", [2, 5, 20_000_000])
def test_a_head_has_as_many_outputs_as_it_says(folder, outputs):
    change(folder / "config.json", {("heads", 0, "outputs"): outputs, ("heads", 0, "names"): []})
    assert reason_of(load_model, folder) == "missing-weights"


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.fill_(torch.nan),
        lambda value: value * torch.inf,
        lambda value: value > 0,
        lambda value: value.to(torch.int8),
        lambda value: value.to(torch.complex64),
        lambda value: torch.zeros(1).expand(1_000_000_000, 16),
        lambda value: value.to_sparse(),
    ],
    ids=["nan", "infinite", "bool", "int8", "complex", "stride 0", "sparse"],
)
def test_weights_are_dense_finite_and_of_floating_point(tmp_path, damage):
    tensors = weights()
    tensors[TABLE] = damage(tensors[TABLE])
    assert reason_of(load_model, saved(tmp_path / "bad.pt", tensors)) == "bad-weights"


@pytest.mark.parametrize("number", ["1000000000", "9" * 5000, "x", "3"])
def test_numbers_of_layers_are_compared_before_they_are_built(tmp_path, number):
    tensors = weights() | {f"encoder.sentence_encoder.layers.{number}.fc1.weight": torch.zeros(32, 16)}
    assert reason_of(load_model, saved(tmp_path / "deep.pt", tensors)) == "missing-weights"


def test_another_vocabulary_is_refused(tmp_path):
    tensors = MusicBert(CONFIG.with_(vocabulary_size=300)).state_dict()
    assert reason_of(read_bundle, saved(tmp_path / "other.pt", tensors)) == "other-vocabulary"


def test_a_flipped_bit_in_a_tensor_is_seen(tmp_path):
    path = saved(tmp_path / "model.pt", weights())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size // 2] ^= 1
    path.write_bytes(content)
    assert reason_of(load_model, path) == "unreadable"


def test_compressed_members_are_refused(tmp_path):
    path = saved(tmp_path / "model.pt", weights())
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "small.pt", "w", 8) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert reason_of(load_model, tmp_path / "small.pt") == "unreadable"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"\r\n <HTML><body>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
        (b"MThd\0\0\0\6\0\1\0\1\1\xe0", "a MIDI file"),
    ],
)
def test_what_a_download_gave_in_place_of_a_checkpoint_is_told(tmp_path, suffix, content, words):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    hint = "check the path" if "MIDI" in words else "download the file itself"
    with pytest.raises(CheckpointError, match=f"This is {words}, not a checkpoint.*{hint}"):
        load_model(path)


def test_a_near_name_is_suggested_and_shipped_models_are_named():
    with pytest.raises(CheckpointError, match="did you mean musicbert-mini") as caught:
        resolve("musicbert_mini")
    for name in ("m2bert-mini", "m2bert-tiny", "musicbert-mini", "musicbert-mini-performance"):
        assert name in caught.value.message


VALUES = st.one_of(
    st.sampled_from(
        [0, -1, 1.5, True, None, "x", "3", [], {}, [1, 2], float("nan"), float("inf"), 1e400, 10**30]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
)
CONFIG_KEYS = [
    ("format_version",),
    ("architecture",),
    ("heads",),
    ("pooling",),
    ("view",),
    ("origin",),
    *(("architecture", name) for name in ("layers", "width", "heads", "dropout", "max_positions", "fields")),
    *(("heads", 0, name) for name in ("name", "kind", "outputs", "activation", "names", "poles")),
]
TAGGER_KEYS = [
    *((name,) for name in ("model_type", "format_version", "family", "codec", "window", "overlap", "head")),
    *(("head", name) for name in ("outputs", "head", "inner", "dropout", "layer", "mix_layers")),
    *(("architecture", name) for name in ("layers", "heads", "global_every", "window", "attention_dropout")),
    *(("architecture", name) for name in ("field_sizes", "field_pads", "global_theta", "final_norm")),
    *(("task", name) for name in ("kind", "level", "classes")),
    ("task",),
]
MANY = options(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(key=st.sampled_from(CONFIG_KEYS), value=VALUES)
def test_any_value_in_a_config_is_used_or_refused(folder, key, value):
    file = folder / "config.json"
    before = file.read_text(encoding="utf-8")
    change(file, {key: value})
    try:
        build_model(read_bundle(folder))
    except CheckpointError:
        pass
    finally:
        file.write_text(before, encoding="utf-8")


@pytest.fixture
def tagger(tmp_path):
    make(tmp_path / "tagger", "m2bert")
    return tmp_path / "tagger"


@MANY
@given(key=st.sampled_from(TAGGER_KEYS), value=VALUES)
def test_any_value_in_the_settings_of_a_tagger_is_used_or_refused(tagger, key, value):
    file = tagger / "tagger.json"
    before = file.read_text(encoding="utf-8")
    change(file, {key: value})
    try:
        load_tagger_folder(tagger)
    except CheckpointError:
        pass
    finally:
        file.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("architecture", "layers"), 10_000_000),
        (("architecture", "global_every"), 0),
        (("architecture", "heads"), 0),
        (("head", "outputs"), 20_000_000),
        (("head", "inner"), 2_000_000_000),
        (("head", "dropout"), 1.5),
        (("head", "head"), "other"),
        (("window",), "12"),
        (("codec",), "other"),
        (("task", "kind"), "other"),
        (("overlap",), -1),
        (("format_version",), 1e9),
        (("windows",), "some"),
        (("codec",), "octuple"),
        (("task", "classes"), [1, 2, 3]),
    ],
)
def test_settings_of_a_tagger_that_cannot_be(tagger, key, value):
    change(tagger / "tagger.json", {key: value})
    assert reason_of(load_tagger_folder, tagger) == "bad-config"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_no_json(tagger, number):
    change(tagger / "tagger.json", {("format_version",): number})
    assert reason_of(load_tagger_folder, tagger) == "unreadable"


def test_deep_json_is_one_error(folder, tagger):
    for place, name, call in (
        (folder, "config.json", load_model),
        (tagger, "tagger.json", load_tagger_folder),
    ):
        (place / name).write_text('{"a":' + "[" * 200_000, encoding="utf-8")
        assert reason_of(call, place) == "unreadable"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encoder.sentence_encoder.embed_positions.weight", (10**12, 0)),
        ("encoder.sentence_encoder.layers.0.fc1.weight", (10**10, 0)),
        ("classification_heads.mood.dense.weight", (10**12, 0)),
        ("encoder.sentence_encoder.performance_projection.weight", (0, 10**12)),
    ],
)
def test_sizes_of_empty_tensors_are_not_allocated(tmp_path, name, shape):
    """A tensor without numbers may have any length in its shape."""
    tensors = weights() | {name: torch.zeros(shape)}
    with pytest.raises(CheckpointError):
        load_model(saved(tmp_path / "empty.pt", tensors))


def test_layers_without_numbers_are_not_built(tmp_path):
    """The sizes of one layer, and the names of thousands."""
    layers = {f"encoder.sentence_encoder.layers.{k}.fc1.bias": torch.zeros(0) for k in range(2, 5000)}
    tensors = MusicBert(CONFIG.with_(width=64, ffn_width=256)).state_dict() | layers
    assert reason_of(load_model, saved(tmp_path / "many.pt", tensors)) == "missing-weights"


@pytest.mark.parametrize("damage", ["remove", "add", "shape"])
def test_a_tagger_has_all_tensors_in_their_shapes(tagger, damage):
    tensors = load_file(tagger / "model.safetensors")
    name = next(name for name in tensors if name.startswith("head."))
    if damage == "remove":
        del tensors[name]
    elif damage == "add":
        tensors["head.more"] = torch.zeros(2)
    else:
        tensors[name] = torch.zeros(5, 5, 5)
    save_file(tensors, tagger / "model.safetensors")
    assert reason_of(load_tagger_folder, tagger) == "bad-config"

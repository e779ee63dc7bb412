"""Models of the Hugging Face Hub, in a made cache and with a made server: nothing here touches a network."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.predict import from_pretrained
from musicbert.weights import hub, resolve
from musicbert.weights.bundle import Bundle
from musicbert.weights.folder import save_folder

huggingface_hub = pytest.importorskip(
    "huggingface_hub", reason="needs huggingface_hub (pip install -e '.[dev]')"
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a model, with code beside it that must never be fetched."""
    torch.manual_seed(0)
    config = ModelConfig(layers=1, width=8, ffn_width=16, heads=2, max_positions=64)
    folder = save_folder(
        Bundle(config, MusicBert(config).state_dict()), tmp_path_factory.mktemp("hub") / "model"
    )
    (folder / "modeling.py").write_text("raise SystemExit('run')")
    return folder


def keep(cache, model, files=("model.safetensors", "config.json", "vocab.json")):
    """Put a model into a cache as huggingface_hub does: links to files that are named by their hashes."""
    home = cache / "models--owner--name"
    for folder in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(COMMIT)
    for file in files:
        content = (model / file).read_bytes()
        large = file.endswith((".safetensors", ".bin"))
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        blob = home / "blobs" / (hashlib.sha256(content).hexdigest() if large else git)
        blob.write_bytes(content)
        link = home / "snapshots" / COMMIT / file
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
    return home / "snapshots" / COMMIT


@pytest.fixture
def server(monkeypatch, tmp_path, model):
    """A server with one model; files that were fetched are listed."""
    state = SimpleNamespace(fetched=[], offline=False, sizes=None, model=model)

    def info(_, repo_id, *, revision=None, files_metadata=False):
        if state.offline:
            raise ConnectionError("no route to host")
        if repo_id != "owner/name" or revision not in (None, "main", "v1", COMMIT):
            error = huggingface_hub.errors.RepositoryNotFoundError
            raise error("404: no such repository", response=SimpleNamespace(headers={}, request=None))
        sizes = state.sizes or {path.name: path.stat().st_size for path in state.model.iterdir()}
        files = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        return SimpleNamespace(siblings=files, sha=COMMIT)

    def fetch(repo_id, filename, *, revision, cache_dir):
        assert (repo_id, revision) == ("owner/name", COMMIT)
        state.fetched.append(filename)
        return str(keep(cache_dir, state.model, [filename]) / filename)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.chdir(tmp_path)
    return state


@pytest.mark.parametrize("name", ["owner/name", "owner/name@v1", f"owner/name@{COMMIT}"])
def test_a_model_is_fetched_without_its_code(server, tmp_path, name):
    opened = from_pretrained(name, cache=tmp_path / "cache")
    assert opened.config.width == 8
    assert server.fetched == ["config.json", "vocab.json", "model.safetensors"]


def test_the_cache_is_used_without_a_network(server, tmp_path, model):
    server.offline = True
    with pytest.raises(CheckpointError, match="cannot be reached") as refused:
        resolve("owner/name", cache=tmp_path / "cache")
    assert refused.value.reason == "no-network"
    keep(tmp_path / "cache", model)
    assert from_pretrained("owner/name", cache=tmp_path / "cache").config.width == 8
    with pytest.raises(CheckpointError) as refused:
        resolve("owner/name@v9", cache=tmp_path / "cache")
    assert refused.value.reason == "no-network"


def test_a_commit_in_the_cache_is_not_asked_for(server, tmp_path, model, monkeypatch):
    keep(tmp_path / "cache", model)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", None)
    assert resolve(f"owner/name@{COMMIT}", cache=tmp_path / "cache").name == COMMIT


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_file_in_the_cache_is_refused(server, tmp_path, model, file):
    blob = (keep(tmp_path / "cache", model) / file).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=file) as refused:
        resolve(f"owner/name@{COMMIT}", cache=tmp_path / "cache")
    assert refused.value.reason == "bad-checksum"


def test_what_the_hub_does_not_have_is_refused(server, tmp_path):
    for name in ("owner/other", "owner/name@v9"):
        with pytest.raises(CheckpointError, match="no such model on the Hub") as refused:
            resolve(name, cache=tmp_path / "cache")
        assert refused.value.reason == "unknown-name"
    server.sizes = {"modeling.py": 100, "flax_model.msgpack": 100}
    with pytest.raises(CheckpointError) as refused:
        resolve("owner/name", cache=tmp_path / "cache")
    assert refused.value.reason == "no-weights"
    server.sizes = {"model.safetensors": 3 << 30}
    with pytest.raises(CheckpointError) as refused:
        resolve("owner/name", cache=tmp_path / "cache")
    assert refused.value.reason == "too-large"
    assert not server.fetched


def test_paths_are_not_names_of_the_hub(server, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("checkpoints/missing", "./a/b", "a/b/c", "/a/b", tmp_path / "x", "mine.pt"):
        with pytest.raises(CheckpointError) as refused:
            resolve(name, cache=tmp_path / "cache")
        assert refused.value.reason == "not-found", name
    assert hub.is_hub_name("owner/name@refs/pr/1")


def test_a_missing_package_is_named(server, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"musicbert\[hub\]") as refused:
        resolve("owner/name")
    assert refused.value.reason == "needs-package"


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_several_files_are_those_of_one(server, tmp_path, model, kind):
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    parts = shutil.copytree(model, tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    stem = "model" if kind == "safetensors" else "pytorch_model"
    places = {name: f"{stem}-0000{1 + number % 2}-of-00002.{kind}" for number, name in enumerate(weights)}
    for file in set(places.values()):
        mine = {name: weights[name] for name in weights if places[name] == file}
        (save_file if kind == "safetensors" else torch.save)(mine, parts / file)
    index = parts / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    whole = from_pretrained(model).module.state_dict()
    for source in (str(parts), str(index)):
        found = from_pretrained(source).module.state_dict()
        assert all(torch.equal(value, found[name]) for name, value in whole.items())
    server.model = parts
    assert from_pretrained("owner/name", cache=tmp_path / "cache").config.width == 8
    assert len(server.fetched) == 5
    first, second = sorted(set(places.values()))
    for damage, reason in (
        ({"weight_map": {**places, "more": first}}, "missing-weights"),
        ({"weight_map": {**places, next(iter(places)): second}}, "missing-weights"),
        ({"weight_map": {**places, "more": "../x.bin"}}, "unreadable"),
        ({"weight_map": {}}, "unreadable"),
        ({"weight_map": dict.fromkeys(places, "other.bin")}, "missing-weights"),
    ):
        index.write_text(json.dumps(damage))
        with pytest.raises(CheckpointError) as refused:
            from_pretrained(parts)
        assert refused.value.reason == reason

import json
import subprocess
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from warm_python import python

from musicbert.config import M2BERT_PRESETS, ModelConfig
from musicbert.encoding import VOCABULARY_SIZE
from musicbert.errors import CheckpointError, DatasetError
from musicbert.model import MusicBert
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.weights import (
    Bundle,
    Head,
    build_model,
    load_checkpoint,
    load_folder,
    load_into,
    load_model,
    read_bundle,
    rename,
    save_fairseq,
    save_folder,
)
from musicbert.weights.families.hugging_face import NAMES, from_hugging_face, to_hugging_face
from musicbert.weights.families.m2bert import M2BERT

FILES = (
    "micro_pretrained_v0.10_args_namespace.pt",
    "micro_pretrained_v1.0.0a0_cfg.pt",
    "micro_finetuned_topmagd_cfg.pt",
)
CONFIG = ModelConfig(layers=1, width=16, ffn_width=32, heads=4, max_positions=64)


def same(first, second):
    assert list(first) == list(second) or set(first) == set(second)
    assert all(
        torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first
    )


@pytest.mark.parametrize("file", FILES)
def test_fairseq_to_folder_and_back_is_exact(fixtures, tmp_path, file):
    source = fixtures / "musicbert_model" / file
    folder = save_folder(read_bundle(source), tmp_path / "folder")
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "vocab.json",
        "README.md",
    }
    assert len({entry.stat().st_mode for entry in folder.iterdir()}) == 1
    assert len(json.loads((folder / "vocab.json").read_text())) == VOCABULARY_SIZE
    back = save_fairseq(load_folder(folder), tmp_path / "back.pt")
    same(rename(load_checkpoint(source).weights), load_checkpoint(back).weights)
    assert load_checkpoint(back).settings["encoder_attention_heads"] == 2
    again = save_folder(read_bundle(back), tmp_path / "again")
    for name in ("config.json", "model.safetensors", "vocab.json", "README.md"):
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


@torch.inference_mode()
@pytest.mark.parametrize("layout", ["musicbert", "hugging-face"])
@pytest.mark.parametrize("file", FILES)
def test_a_folder_gives_the_recorded_outputs(fixtures, tmp_path, file, layout):
    outputs = np.load(fixtures / "musicbert_model" / "micro_outputs.npz")
    bundle = read_bundle(fixtures / "musicbert_model" / file)
    folder = save_folder(bundle, tmp_path / "folder", layout=layout)
    model, report = build_model(load_folder(folder))
    assert not report.missing
    assert not report.unexpected
    tokens = torch.from_numpy(outputs["masked_tokens"])
    features, _ = model(tokens, features_only=True)
    np.testing.assert_allclose(features, outputs["masked_features"], atol=1e-6, rtol=0)
    logits, _ = model(tokens)
    np.testing.assert_array_equal(logits.argmax(-1), outputs["masked_argmax"])
    if "finetuned" in file:
        head, _ = model(tokens, classification_head_name="topmagd_head")
        np.testing.assert_allclose(head, outputs["masked_topmagd"], atol=1e-6, rtol=0)
    same(bundle.weights, load_folder(folder).weights)
    assert load_folder(folder).heads == bundle.heads


def test_the_hugging_face_layout_has_the_names_and_shapes_of_bert(fixtures, tmp_path):
    bundle = read_bundle(fixtures / "musicbert_model" / FILES[2])
    folder = save_folder(bundle, tmp_path / "hf", layout="hugging-face")
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    expected = {
        "bert.embeddings.word_embeddings.weight": (1237, 16),
        "bert.embeddings.position_embeddings.weight": (66, 16),
        "bert.embeddings.LayerNorm.bias": (16,),
        "bert.embeddings.downsampling.0.weight": (16, 128),
        "bert.embeddings.upsampling.0.bias": (128,),
        "bert.encoder.layer.1.attention.self.query.weight": (16, 16),
        "bert.encoder.layer.0.attention.self.key.bias": (16,),
        "bert.encoder.layer.0.attention.self.value.bias": (16,),
        "bert.encoder.layer.1.attention.output.dense.weight": (16, 16),
        "bert.encoder.layer.1.attention.output.LayerNorm.weight": (16,),
        "bert.encoder.layer.0.intermediate.dense.weight": (32, 16),
        "bert.encoder.layer.0.output.dense.weight": (16, 32),
        "bert.encoder.layer.0.output.LayerNorm.bias": (16,),
        "cls.predictions.transform.dense.weight": (16, 16),
        "cls.predictions.transform.LayerNorm.weight": (16,),
        "cls.predictions.decoder.weight": (1237, 16),
        "cls.predictions.decoder.bias": (1237,),
        "classification_heads.topmagd_head.out_proj.weight": (3, 16),
    }
    assert expected.items() <= shapes.items()
    assert not [name for name in shapes if name.startswith("encoder.")]
    assert len(NAMES) == 16
    # query is the query: the decoder is not the embedding
    same_as = "encoder.sentence_encoder.layers.1.self_attn.q_proj.weight"
    assert torch.equal(tensors["bert.encoder.layer.1.attention.self.query.weight"], bundle.weights[same_as])
    assert not torch.equal(
        tensors["cls.predictions.decoder.weight"], tensors["bert.embeddings.word_embeddings.weight"]
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert (config["max_position_embeddings"], config["num_attention_heads"]) == (66, 2)
    same(from_hugging_face(to_hugging_face(bundle.weights)), bundle.weights)


def bert(tensors, tokens, heads):
    """BERT as Hugging Face computes it, from its names alone, with the two projections of musicbert_hf."""

    def linear(x, name):
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-5)

    x = F.embedding(tokens, tensors["bert.embeddings.word_embeddings.weight"])
    x = linear(x.view(len(tokens), -1, 8 * x.shape[-1]), "bert.embeddings.downsampling.0")
    positions = torch.arange(2, 2 + x.shape[1])
    x = x + tensors["bert.embeddings.position_embeddings.weight"][positions]
    x = norm(x + tensors["bert.embeddings.token_type_embeddings.weight"][0], "bert.embeddings.LayerNorm")
    layer = 0
    while f"bert.encoder.layer.{layer}.output.dense.weight" in tensors:
        name = f"bert.encoder.layer.{layer}"
        q, k, v = (
            linear(x, f"{name}.attention.self.{part}").unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        seen = linear((scores @ v).transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        x = norm(x + seen, f"{name}.attention.output.LayerNorm")
        grown = linear(F.gelu(linear(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
        x = norm(x + grown, f"{name}.output.LayerNorm")
        layer += 1
    x = linear(x, "bert.embeddings.upsampling.0").view(*tokens.shape, -1)
    x = norm(F.gelu(linear(x, "cls.predictions.transform.dense")), "cls.predictions.transform.LayerNorm")
    return linear(x, "cls.predictions.decoder")


@torch.inference_mode()
def test_the_hugging_face_layout_means_what_its_names_say(fixtures):
    outputs = np.load(fixtures / "musicbert_model" / "micro_outputs.npz")
    tensors = to_hugging_face(read_bundle(fixtures / "musicbert_model" / FILES[0]).weights)
    for name in ("plain", "masked"):
        tokens = torch.from_numpy(outputs[f"{name}_tokens"])
        whole = ~tokens.eq(1).any(dim=1).numpy()  # rows without padding
        assert whole.any()
        logits = bert(tensors, tokens[whole], heads=2)
        expected = outputs[f"{name}_logits_at"][whole]
        np.testing.assert_allclose(logits[:, ::5, ::97], expected, atol=1e-5, rtol=0)
        np.testing.assert_array_equal(logits.argmax(-1), outputs[f"{name}_argmax"][whole])


def test_a_tied_or_typed_bert_is_refused(fixtures):
    tensors = to_hugging_face(read_bundle(fixtures / "musicbert_model" / FILES[0]).weights)
    tied = {name: value for name, value in tensors.items() if name != "cls.predictions.decoder.weight"}
    # musicbert_hf never reads its token types, a plain BERT does
    typed = {name: value for name, value in tensors.items() if "sampling" not in name}
    typed["bert.embeddings.token_type_embeddings.weight"] = torch.ones(1, 16)
    for wrong in (tied, typed):
        with pytest.raises(CheckpointError, match="other-model"):
            from_hugging_face(wrong)


def test_performance_inputs_are_not_exported(tmp_path):
    model = MusicBert(CONFIG.with_(performance_features=3))
    torch.save({"model": model.state_dict()}, tmp_path / "p.pt")
    with pytest.raises(CheckpointError, match="not-exportable"):
        save_folder(read_bundle(tmp_path / "p.pt"), tmp_path / "hf", layout="hugging-face")
    assert not (tmp_path / "hf").exists()
    assert (
        load_folder(save_folder(read_bundle(tmp_path / "p.pt"), tmp_path / "own")).config.performance_features
        == 3
    )


def test_heads_of_every_kind_are_kept(tmp_path):
    model = MusicBert(CONFIG, pooling="mean")
    model.register_classification_head("plain", 3)
    model.register_classification_head("narrow", 4, inner_dim=8)
    model.register_classification_head("bounded", 5, spectral=True)
    model.register_regression_head("ratings", 2)
    weights = dict(model.eval().state_dict())
    # of derivatives: heads a note, for which this model has no place
    multi = "classification_heads.sequence_multitask_tagging_head.multi_tag_sub_heads.0"
    weights[f"{multi}.dense.weight"] = torch.ones(2, 2)
    weights[f"{multi}.out_proj.weight"] = torch.ones(2, 2)
    for name in ("dense.weight", "dense.bias", "out_proj.weight"):
        weights[f"classification_heads.sequence_tagging_head.{name}"] = torch.ones(2, 2)
    settings = {"encoder_attention_heads": 4, "pooling": "mean", "dropout": 0.3}
    torch.save({"cfg": {"model": settings}, "model": weights}, tmp_path / "model.pt")
    labels = tmp_path / "classes.json"
    dimensions = [
        {"name": "timing", "low": "stable", "high": "unstable"},
        {"name": "x", "low": "a", "high": "b"},
    ]
    labels.write_text(json.dumps({"classes": ["a", "b", "c"], "dimensions": dimensions}))

    folder = save_folder(read_bundle(tmp_path / "model.pt", labels=labels), tmp_path / "folder")
    bundle = load_folder(folder)
    assert bundle.pooling == "mean"
    assert (bundle.config.dropout, bundle.config.heads) == (0.3, 4)
    assert set(bundle.heads) == {
        Head("plain", "classification", 3, "softmax", ("a", "b", "c")),
        Head("narrow", "classification", 4, "softmax"),
        Head("bounded", "classification", 5, "softmax"),
        Head("ratings", "regression", 2, "sigmoid", ("timing", "x"), (("stable", "unstable"), ("a", "b"))),
    }
    same(bundle.weights, weights)
    loaded, report = build_model(bundle)
    assert len(report.unexpected) == 5
    tokens = torch.arange(4, 4 + 8 * 5)[None]
    with torch.inference_mode():
        for name in ("plain", "narrow", "bounded"):
            ours = loaded(tokens, classification_head_name=name)[0]
            torch.testing.assert_close(ours, model(tokens, classification_head_name=name)[0])
        ours = loaded(tokens, regression_head_name="ratings")[0]
        torch.testing.assert_close(ours, model(tokens, regression_head_name="ratings")[0])
    assert "timing (low stable, high unstable), x (low a, high b)" in (folder / "README.md").read_text()
    assert "timing" in (folder / "README.md").read_text()


def test_names_come_from_the_data_that_it_was_trained_on(tmp_path):
    model = MusicBert(CONFIG)
    model.register_classification_head("xai_head", 2)
    (tmp_path / "bin" / "label").mkdir(parents=True)
    (tmp_path / "bin" / "label" / "classes.json").write_text(
        '{"classes": ["a"], "dimensions": ["soft", "fast"]}'
    )
    cfg = {
        "model": {"encoder_attention_heads": 4},
        "task": {"data": str(tmp_path / "bin"), "criterion_name": "M2PF_xai"},
    }
    torch.save({"cfg": cfg, "model": model.state_dict()}, tmp_path / "model.pt")
    assert read_bundle(tmp_path / "model.pt").heads == (
        Head("xai_head", "classification", 2, "sigmoid", ("soft", "fast")),
    )


def test_a_folder_is_never_replaced_unasked(fixtures, tmp_path):
    bundle = read_bundle(fixtures / "musicbert_model" / FILES[0])
    folder = save_folder(bundle, tmp_path / "folder")
    with pytest.raises(DatasetError, match="output-exists"):
        save_folder(bundle, folder)
    save_folder(bundle, folder, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(DatasetError, match="output-not-ours"):
        save_folder(bundle, tmp_path / "mine", overwrite=True)
    save_fairseq(bundle, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="output-exists"):
        save_fairseq(bundle, tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("config.json", lambda text: text.replace('"layers": 2', '"layers": 3'), "bad-config"),
        (
            "config.json",
            lambda text: text.replace('"format_version": 1', '"format_version": 9'),
            "bad-config",
        ),
        ("config.json", lambda text: text[:40], "unreadable"),
        (
            "config.json",
            lambda text: text.replace("softmax", "tanh").replace("sigmoid", "tanh"),
            "bad-config",
        ),
        ("config.json", lambda text: text.replace('"heads": 2', '"heads": 3'), "bad-config"),
        ("config.json", lambda text: text.replace('"heads": 2', '"heads": "x"'), "bad-config"),
        ("config.json", lambda text: "[]", "unreadable"),
        ("vocab.json", lambda text: text.replace('"<0-0>": 4', '"<0-0>": 5'), "other-vocabulary"),
        ("vocab.json", lambda text: text[:40], "unreadable"),
        ("model.safetensors", None, "not-found"),
    ],
)
def test_damaged_folders_are_named(fixtures, tmp_path, file, change, reason):
    folder = save_folder(read_bundle(fixtures / "musicbert_model" / FILES[2]), tmp_path / "folder")
    if change is None:
        (folder / file).unlink()
    else:
        before = (folder / file).read_text()
        (folder / file).write_text(change(before))
        assert (folder / file).read_text() != before
    with pytest.raises(CheckpointError) as caught:
        load_folder(folder)
    assert caught.value.reason == reason


def test_a_folder_opens_wherever_a_checkpoint_does(fixtures, tmp_path):
    bundle = read_bundle(fixtures / "musicbert_model" / FILES[0])
    folder = save_folder(bundle, tmp_path / "folder")
    assert load_model(folder).config.heads == 2
    mean = save_folder(replace(bundle, pooling="mean"), tmp_path / "mean")
    assert [load_model(mean).pooling, load_model(mean, pooling="first").pooling] == ["mean", "first"]
    report = load_into(MusicBert(bundle.config), folder)
    assert len(report.loaded) == len(bundle.weights)
    with pytest.raises(CheckpointError, match="attention heads"):
        load_into(MusicBert(replace(bundle.config, heads=4)), folder)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fairseq_reads_what_is_written(fixtures, tmp_path):
    from fairseq import checkpoint_utils

    import musicbert.fairseq_plugin  # noqa: F401 - allows Namespace

    bundle = read_bundle(fixtures / "musicbert_model" / FILES[0])
    path = save_fairseq(bundle, tmp_path / "model.pt")
    state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert state["cfg"]["model"].encoder_layers == 2
    same(state["model"], dict(bundle.weights))


def test_tied_tensors_are_written_twice(tmp_path):
    weights = MusicBert(CONFIG).state_dict()
    weights["encoder.lm_head.weight"] = weights["encoder.sentence_encoder.embed_tokens.weight"]
    torch.save({"model": weights}, tmp_path / "tied.pt")
    bundle = load_folder(save_folder(read_bundle(tmp_path / "tied.pt"), tmp_path / "folder"))
    model, _ = build_model(bundle)
    head, table = model.encoder.lm_head.weight, model.encoder.sentence_encoder.embed_tokens.weight
    assert torch.equal(head, table)
    assert head.data_ptr() != table.data_ptr()


def test_a_reader_gets_the_old_model_or_the_new_one(tmp_path):
    """While a folder is replaced all the time: never the settings of one and the tensors of the other."""
    models = {}
    for value in (0.25, 0.5):
        config = ModelConfig(layers=1, width=16, ffn_width=16, heads=2, max_positions=16, dropout=value)
        weights = {
            name: torch.full_like(each, value) for name, each in MusicBert(config).state_dict().items()
        }
        models[value] = Bundle(config, weights)
    folder = save_folder(models[0.25], tmp_path / "model")
    read = threading.Event()

    def replace():
        while not read.is_set():
            for bundle in models.values():
                save_folder(bundle, folder, overwrite=True)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(40):
            bundle = read_bundle(folder)
            values = {float(each.view(-1)[0]) for each in bundle.weights.values()}
            assert values == {bundle.config.dropout}
    finally:
        read.set()
        writer.join()


@pytest.mark.parametrize("name", ["folder", "file.pt", "numbers.npz"])
def test_a_full_disk_is_one_error_and_leaves_nothing(fixtures, tmp_path, name):
    """The size of files is limited in place of a full disk."""
    source = fixtures / "musicbert_model" / FILES[0]
    program = f"""if True:
        import resource, signal, sys, torch, safetensors.torch, musicbert.weights
        from musicbert.cli.main import main
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, -1))
        source, target = {str(source)!r}, {str(tmp_path / name)!r}
        action = ["verify", source, "--record"] if target.endswith("npz") else ["convert", source]
        sys.exit(main(["checkpoint", *action, target]))"""
    done = subprocess.run([python(), "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr or "is the disk full?" in done.stderr
    assert not list(tmp_path.iterdir())


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path):
    bundle = Bundle(CONFIG, {"w": torch.tensor([1e6])})
    with pytest.raises(CheckpointError, match="not finite"):
        bundle.half()


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("window", 8, "--local-window 8"),
        ("global_every", 2, "--global-every 2"),
        ("final_norm", True, "--final-norm"),
        ("local_theta", 500.0, "training has no flag"),
    ],
)
def test_what_no_shape_shows_of_an_m2bert_is_compared(tmp_path, name, value, flag):
    config = M2BERT_PRESETS["tiny"].with_(layers=1, **{name: value})
    folder = save_folder(Bundle(config, M2Bert(config).state_dict()), tmp_path / "m2bert")
    assert getattr(load_model(folder).config, name) == value
    with pytest.raises(CheckpointError, match=name) as caught:
        load_into(M2Bert(config.with_(**{name: getattr(M2BERT_PRESETS["tiny"], name)})), folder)
    assert caught.value.reason == "other-architecture"
    assert flag in caught.value.hint
    assert load_into(M2Bert(config), folder).loaded
    if name == "local_theta":
        with pytest.raises(CheckpointError, match="no flag"):
            M2BERT.size_flags(config)
    else:
        assert M2BERT.size_flags(config)[flag.split()[0][2:].replace("-", "_")] == value
        assert len(M2BERT.size_flags(config)) == len(M2BERT.size_flags(M2BERT_PRESETS["base"])) + 1

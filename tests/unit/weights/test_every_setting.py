"""Every setting that a container of weights can state: changed, it changes what is opened, or is refused.

Each table lists the settings that the container has: what is written there is compared with the table, so
that a new setting cannot be left out. ``CHANGES``: outputs or their meaning differ; ``REFUSED``: an error;
anything else says why the setting cannot matter, and then nothing may differ.
"""

import json
from dataclasses import asdict, replace

import pytest
import torch

from musicbert.config import M2BertConfig, MidiBertConfig, ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.weights import Bundle, Head, build_model, load_checkpoint, read_bundle, save_folder
from musicbert.weights.classifier_export import save_classifier_folder
from musicbert.weights.fairseq_file import save_fairseq
from musicbert.weights.tagger_folder import load_tagger_folder, save_tagger_folder

CHANGES, REFUSED = "changes", "refused"
REASONS = ("bad-config", "other-vocabulary", "missing-weights", "other-model")
SIZES = {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4}
CONFIGS = {
    "musicbert": (ModelConfig(**SIZES, max_positions=64), MusicBert),
    "m2bert": (M2BertConfig(**SIZES, embedding_width=8, roll_outputs=0, global_every=2, window=2), M2Bert),
    "midibert": (MidiBertConfig(**SIZES, embedding_width=8, max_positions=64), MidiBert),
}
HEAD = Head("h", "classification", 3, "softmax", names=("a", "b", "c"), task="classes")
TOKENS = {"musicbert": torch.arange(4, 4 + 8 * 8).view(1, 64)}
CELLS = torch.stack([torch.arange(12) % size for size in (2, 16, 86, 64)], dim=-1)[None]


def bundle_of(family):
    torch.manual_seed(0)
    config, module = CONFIGS[family]
    model = module(config)
    if family == "musicbert":
        model.register_classification_head("h", 3)
    weights = {name: value + torch.randn_like(value) * 0.1 for name, value in model.state_dict().items()}
    return Bundle(config, weights, (HEAD,) if family == "musicbert" else ())


@torch.inference_mode()
def opened(path):
    """All that a checkpoint says: outputs, architecture and what the outputs mean."""
    bundle = read_bundle(path)
    model = build_model(bundle)[0]
    if bundle.family.name != "musicbert":
        hidden = model(CELLS, features_only=True, return_all_hiddens=True)[1]["hidden"]
        return bundle.settings() | {"origin": None}, hidden
    names = [None, *(head.name for head in bundle.heads)]
    outputs = [model(TOKENS["musicbert"], classification_head_name=name)[0].flatten() for name in names]
    return bundle.settings() | {"origin": None}, torch.cat(outputs)


@torch.inference_mode()
def opened_tagger(path):
    tagger, settings = load_tagger_folder(path)
    logits = tagger(TOKENS["musicbert"])
    return {name: value for name, value in settings.items() if name != "origin"}, logits


def outcome(read, path, before):
    """What became of a change."""
    try:
        settings, outputs = read(path)
    except CheckpointError as error:
        return REFUSED if error.reason in REASONS else error.reason
    same = json.dumps(settings, default=list) == json.dumps(before[0], default=list)
    return "same" if same and torch.equal(outputs, before[1]) else CHANGES


def leaves(content, prefix=()):
    """Paths of all settings; a list of objects counts by its first one."""
    paths = set()
    for name, value in content.items():
        value = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        inside = isinstance(value, dict) and value
        paths |= leaves(value, (*prefix, name)) if inside else {".".join((*prefix, name))}
    return paths


def put(content, path, value):
    """Set one setting."""
    *parents, last = path.split(".")
    for name in parents:
        content = content[name]
        content = content[0] if isinstance(content, list) else content
    content[last] = value


ARCHITECTURE = {
    "layers": (3, REFUSED), "width": (32, REFUSED), "ffn_width": (16, REFUSED), "heads": (2, CHANGES),
    "max_positions": (32, REFUSED),
}  # fmt: skip
OURS = {"model_type": ("other", REFUSED), "format_version": (2, REFUSED), "encoding": ("other", REFUSED)}
CELLS_ARCHITECTURE = {
    "embedding_width": (4, REFUSED), "field_sizes": ([4, 18, 88, 67], REFUSED),
    "field_pads": ([1, 16, 86, 64], REFUSED), "attention_dropout": (0.3, CHANGES),
}  # fmt: skip
FOLDERS = {
    "musicbert": {
        **OURS,
        **{f"architecture.{name}": flip for name, flip in ARCHITECTURE.items()},
        **{
            f"architecture.{name}dropout": (0.3, CHANGES)
            for name in ("", "attention_", "activation_", "pooler_")
        },
        "architecture.vocabulary_size": (1236, REFUSED),
        "architecture.fields": (4, REFUSED),
        "architecture.performance_features": (3, REFUSED),
        "architecture.norm_eps": (1e-2, CHANGES),
        "pooling": ("mean", CHANGES),
        "heads.name": ("other", REFUSED),
        "heads.kind": ("regression", REFUSED),
        "heads.outputs": (2, REFUSED),
        "heads.activation": ("sigmoid", CHANGES),
        "heads.names": (["c", "b", "a"], CHANGES),
        "heads.poles": ([["x", "y"]] * 3, CHANGES),
        "heads.scale": ([1, 7, 1], CHANGES),
        "heads.ranges": ([[0, 1]] * 3, CHANGES),
        "heads.task": ("multilabel", CHANGES),
        "origin": ({"file": "x"}, "where it comes from, for people"),
    },
    "m2bert": {
        **OURS,
        **{f"architecture.{name}": flip for name, flip in {**ARCHITECTURE, **CELLS_ARCHITECTURE}.items()},
        "architecture.roll_outputs": (1666, REFUSED),
        "architecture.mlp_dropout": (0.3, CHANGES),
        "architecture.global_every": (1, CHANGES),
        "architecture.window": (1, CHANGES),
        "architecture.global_theta": (10.0, CHANGES),
        "architecture.local_theta": (10.0, CHANGES),
        "architecture.final_norm": (True, CHANGES),
        "origin": ({"file": "x"}, "where it comes from, for people"),
    },
    "midibert": {
        **OURS,
        **{f"architecture.{name}": flip for name, flip in {**ARCHITECTURE, **CELLS_ARCHITECTURE}.items()},
        "architecture.heads": (2, REFUSED),
        "architecture.dropout": (0.3, CHANGES),
        "origin": ({"file": "x"}, "where it comes from, for people"),
    },
}
del FOLDERS["m2bert"]["architecture.max_positions"]
#: settings that are left out where they are the usual ones
LEFT_OUT = {
    "view": ("other", REFUSED),
    "phases": (2, CHANGES),
    "performance_inputs": (["pedal"], REFUSED),
    "architecture.new_in_a_later_version": (1, REFUSED),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of each family."""
    root = tmp_path_factory.mktemp("folders")
    return {family: save_folder(bundle_of(family), root / family) for family in CONFIGS}


@pytest.mark.parametrize("family", CONFIGS)
def test_settings_of_a_folder(made, family):
    file = made[family] / "config.json"
    written = file.read_text()
    table = FOLDERS[family]
    assert leaves(json.loads(written)) == set(table)
    more = LEFT_OUT if family == "musicbert" else {"architecture.new_in_a_later_version": (1, REFUSED)}
    check(opened, made[family], file, {**table, **more})


def check(read, path, file, table):
    """Flip each setting of a JSON file, one after the other."""
    written = file.read_text()
    before = read(path)
    found = {}
    for name, (value, _) in table.items():
        content = json.loads(written)
        put(content, name, value)
        file.write_text(json.dumps(content))
        found[name] = outcome(read, path, before)
    file.write_text(written)
    expected = {
        name: wanted if wanted in (CHANGES, REFUSED) else "same" for name, (_, wanted) in table.items()
    }
    assert found == expected


@pytest.mark.parametrize("family", ["musicbert", "m2bert"])
def test_tokens_beside_the_weights(made, family):
    file = made[family] / "vocab.json"
    written = file.read_text()
    content = json.loads(written)
    first, second = list(content)[:2]
    content[first], content[second] = content[second], content[first]
    file.write_text(json.dumps(content))
    for path in (made[family], made[family] / "model.safetensors"):
        with pytest.raises(CheckpointError, match="other-vocabulary"):
            read_bundle(path)
    file.write_text(written)


#: settings in the `.pt` of upstream (fairseq 0.10 and 1.0.0a0), and those of later versions of fairseq
FAIRSEQ = {
    "_name": ("musicbert_base", "the name of a preset; sizes are those of the tensors"),
    "arch": ("musicbert_base", "the same"),
    "encoder_layers": (3, REFUSED),
    "encoder_embed_dim": (32, REFUSED),
    "encoder_ffn_embed_dim": (16, REFUSED),
    "encoder_attention_heads": (4, CHANGES),
    "max_positions": (32, "the table of positions decides, which may have been cut"),
    "tokens_per_sample": (32, "how blocks of training were made"),
    "activation_fn": ("relu", REFUSED),
    "pooler_activation_fn": ("relu", REFUSED),
    "dropout": (0.3, CHANGES),
    "attention_dropout": (0.3, CHANGES),
    "activation_dropout": (0.3, CHANGES),
    "pooler_dropout": (0.3, CHANGES),
    "encoder_layerdrop": (0.5, "training only"),
    "encoder_layers_to_keep": ("0", REFUSED),
    "untie_weights_roberta": (True, "MusicBERT's head is never tied"),
    "spectral_norm_classification_head": (True, "names of tensors show it"),
    "quant_noise_pq": (0.1, "training only"),
    "quant_noise_pq_block_size": (4, "training only"),
    "quant_noise_scalar": (0.1, "training only"),
    "task": ("xai", "of the training"),
    "criterion": ("M2PF_xai", "of the training; this file has no heads"),
    "data": ("nowhere", "of the training"),
    "pad": (0, REFUSED),
    "eos": (1, "tokens of a piece are those of the dictionary"),
    "unk": (0, "the same"),
    "seed": (2, "training only"),
    "no_seed_provided": (True, "training only"),
}
LATER = {
    "layer_norm_eps": (1e-2, CHANGES),
    "encoder_normalize_before": (True, REFUSED),
    "layernorm_embedding": (False, REFUSED),
    "encoder_learned_pos": (False, REFUSED),
    "no_token_positional_embeddings": (True, REFUSED),
    "no_scale_embedding": (False, REFUSED),
    "adaptive_input": (True, REFUSED),
    "performance_features": (3, REFUSED),
    "pooling": ("mean", CHANGES),
}
OF_THE_TASK = {"encoding": ("other", REFUSED), "phases": (-1, REFUSED)}


@pytest.mark.parametrize("container", ["args", "cfg"])
def test_settings_of_fairseq(container, fixtures, tmp_path):
    names = {"args": "micro_pretrained_v0.10_args_namespace.pt", "cfg": "micro_pretrained_v1.0.0a0_cfg.pt"}
    source = load_checkpoint(fixtures / "musicbert_model" / names[container])
    assert set(source.settings) == set(FAIRSEQ)
    path = tmp_path / "model.pt"

    def write(model, task):
        if container == "args":
            torch.save({"model": source.weights, "args": {**task, **model}}, path)
        else:
            groups = {"model": model, "task": task, "common": {}}
            torch.save({"model": source.weights, "cfg": groups}, path)

    write(source.settings, {})
    before = opened(path)
    found, expected = {}, {}
    for name, (value, wanted) in {**FAIRSEQ, **LATER, **OF_THE_TASK}.items():
        task = name in OF_THE_TASK
        write({**source.settings, **({} if task else {name: value})}, {name: value} if task else {})
        found[name] = outcome(opened, path, before)
        expected[name] = wanted if wanted in (CHANGES, REFUSED) else "same"
    assert found == expected


@pytest.mark.parametrize("family", ["musicbert", "m2bert"])
def test_two_descriptions_in_one_file_agree(family, tmp_path):
    """The `.pt` that this package writes has flags of fairseq, and what `config.json` says."""
    path = save_fairseq(bundle_of(family), tmp_path / "model.pt")
    state = torch.load(path, weights_only=False)
    for flag, value in {"encoder_attention_heads": 2, "dropout": 0.3, "encoder_layers": 3}.items():
        model = type(state["cfg"]["model"])(**{**vars(state["cfg"]["model"]), flag: value})
        torch.save({**state, "cfg": {**state["cfg"], "model": model}}, path)
        with pytest.raises(CheckpointError, match="bad-config"):
            read_bundle(path)


def test_a_head_of_fairseq_follows_its_criterion(tmp_path):
    """Ratings are on 0-1 by the criterion of their training."""
    bundle = replace(bundle_of("musicbert"), heads=())
    for criterion, activation in {"masked_lm": "softmax", "M2PF_xai": "sigmoid"}.items():
        group = {"encoder_attention_heads": 4, "criterion": criterion}
        torch.save({"model": dict(bundle.weights), "args": group}, tmp_path / "model.pt")
        assert read_bundle(tmp_path / "model.pt").heads[0].activation == activation


HUGGING_FACE = {
    "model_type": ("other", "the class of the settings; all that matters is stated"),
    "vocab_size": (1236, REFUSED),
    "hidden_size": (32, REFUSED),
    "num_hidden_layers": (3, REFUSED),
    "num_attention_heads": (2, CHANGES),
    "intermediate_size": (16, REFUSED),
    "hidden_act": ("relu", REFUSED),
    "hidden_dropout_prob": (0.3, CHANGES),
    "attention_probs_dropout_prob": (0.3, CHANGES),
    "activation_dropout": (0.3, CHANGES),
    "classifier_dropout": (0.3, CHANGES),
    "max_position_embeddings": (64, REFUSED),
    "fairseq_position_embeddings": (False, REFUSED),
    "type_vocab_size": (2, "token types are never read"),
    "layer_norm_eps": (1e-2, CHANGES),
    "bos_token_id": (5, REFUSED),
    "pad_token_id": (7, REFUSED),
    "eos_token_id": (5, REFUSED),
    "tie_word_embeddings": (True, REFUSED),
    "compound_ratio": (4, REFUSED),
}
NOT_WRITTEN = {
    "position_embedding_type": ("relative_key", REFUSED),
    "is_decoder": (True, REFUSED),
    "is_encoder_decoder": (True, REFUSED),
    "add_cross_attention": (True, REFUSED),
    "pruned_heads": ({"0": [1]}, REFUSED),
    "quantization_config": ({"bits": 8}, REFUSED),
}


@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin", "sharded"])
def test_settings_of_hugging_face(form, tmp_path):
    folder = save_folder(replace(bundle_of("musicbert"), heads=()), tmp_path / "hf", layout="hugging-face")
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    if form == "pytorch_model.bin":
        torch.save(weights, folder / form)
        (folder / "model.safetensors").unlink()
    elif form == "sharded":
        names = sorted(weights)
        files = {name: f"model-0000{1 + k % 2}-of-00002.safetensors" for k, name in enumerate(names)}
        for file in set(files.values()):
            save_file({n: weights[n] for n in names if files[n] == file}, folder / file)
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert leaves(json.loads((folder / "config.json").read_text())) == set(HUGGING_FACE)
    check(opened, folder, folder / "config.json", {**HUGGING_FACE, **NOT_WRITTEN})


def test_unknown_settings_of_hugging_face_are_named(tmp_path, caplog):
    folder = save_folder(replace(bundle_of("musicbert"), heads=()), tmp_path / "hf", layout="hugging-face")
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "embedding_scale": 2, "nothing": None}))
    read_bundle(folder)
    assert "embedding_scale" in caplog.text
    assert "nothing" not in caplog.text


def test_one_kind_of_head_of_a_folder_of_hugging_face(tmp_path):
    bundle = bundle_of("musicbert")
    folder = save_folder(bundle, tmp_path / "hf", layout="hugging-face")
    assert read_bundle(folder).heads == bundle.heads
    file = folder / "heads.json"
    table = {
        name.removeprefix("heads."): flip for name, flip in FOLDERS["musicbert"].items() if "heads." in name
    }
    table = {name: flip for name, flip in table.items() if "." not in name}
    entries, before = json.loads(file.read_text()), opened(folder)
    assert set(entries[0]) == set(table)
    for name, (value, wanted) in table.items():
        file.write_text(json.dumps([{**entries[0], name: value}]))
        assert outcome(opened, folder, before) == wanted, name


TASK = {
    "task.name": ("other", CHANGES), "task.label": ("other", CHANGES), "task.level": ("sequence", REFUSED),
    "task.kind": ("multilabel", CHANGES), "task.classes": (["c", "b", "a"], CHANGES),
    "task.ignore": (["a"], CHANGES),
}  # fmt: skip
TAGGER = {
    "model_type": ("other", REFUSED),
    "format_version": (2, REFUSED),
    "family": ("m2bert", REFUSED),
    **{name: flip for name, flip in FOLDERS["musicbert"].items() if name.startswith("architecture.")},
    "codec": ("cp", REFUSED),
    "window": (20, CHANGES),
    "overlap": (4, CHANGES),
    "windows": ("first", CHANGES),
    "head.outputs": (2, REFUSED),
    "head.head": ("mean", REFUSED),
    "head.inner": (8, REFUSED),
    "head.dropout": (0.3, CHANGES),
    "head.attend_padding": (True, CHANGES),
    "head.layer": (1, CHANGES),
    "head.mix_layers": (True, REFUSED),
    "head.activation": ("tanh", CHANGES),
    **TASK,
    "origin": ({"seed": 1}, "where it comes from, for people"),
}


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    tagger = Tagger(MusicBert(CONFIGS["musicbert"][0]), TagSettings(3)).eval()
    task = {
        "name": "x",
        "label": "x",
        "level": "note",
        "kind": "classes",
        "classes": ["a", "b", "c"],
        "ignore": [],
    }
    use = {"family": "musicbert", "codec": "octuple", "window": 40, "overlap": 8, "windows": "all"}
    shape = {"architecture": asdict(CONFIGS["musicbert"][0]), "head": asdict(tagger.settings)}
    return tagger.state_dict(), {**use, **shape, "task": task, "origin": {}}


def test_settings_of_a_tagger(tagger, tmp_path):
    folder = save_tagger_folder(tmp_path / "tagger", *tagger)
    file = folder / "tagger.json"
    assert leaves(json.loads(file.read_text())) == set(TAGGER)
    more = {"head.later": (1, REFUSED), "architecture.later": (1, REFUSED)}
    check(opened_tagger, folder, file, {**TAGGER, **more})


CLASSIFIER = {
    **HUGGING_FACE,
    "architectures": (["BertForSequenceClassification"], REFUSED),
    "tie_word_embeddings": (True, "of the language model, whose head a classifier does not have"),
    "problem_type": ("multi_label_classification", REFUSED),  # not what the entry musicbert says
    **{f"id2label.{number}": ("z", REFUSED) for number in range(3)},
    **{f"label2id.{name}": (5, REFUSED) for name in "abc"},
    "musicbert.codec": ("cp", REFUSED),
    "musicbert.window": (20, CHANGES),
    "musicbert.overlap": (4, CHANGES),
    **{f"musicbert.{name.replace('task', 'tasks', 1)}": flip for name, flip in TASK.items()},
    "musicbert.tasks.kind": ("multilabel", REFUSED),
    "musicbert.tasks.classes": (["c", "b", "a"], REFUSED),
    "musicbert.origin": ({"seed": 1}, "where it comes from, for people"),
}


def test_settings_of_a_classifier(tagger, tmp_path):
    folder = save_classifier_folder(tmp_path / "hf", *tagger)
    file = folder / "config.json"
    assert leaves(json.loads(file.read_text())) == set(CLASSIFIER)
    check(opened_tagger, folder, file, {**CLASSIFIER, **NOT_WRITTEN, "unknown": (1, REFUSED)})

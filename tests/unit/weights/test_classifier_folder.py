"""Token and sequence classifiers of transformers, there and back; what nothing says is refused."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from musicbert.cli.main import main
from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.predict import from_pretrained
from musicbert.weights import read_bundle
from musicbert.weights.classifier_export import save_classifier_folder
from musicbert.weights.tagger_folder import is_tagger_folder, load_tagger_folder, save_tagger_folder

transformers = pytest.importorskip("transformers", reason="needs transformers (pip install -e '.[dev]')")

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=4, max_positions=64, norm_eps=1e-3)
NAMES = {"one": ["C", "G", "d"], "two": ["major", "minor"]}
CLASSES = {"token": "BertForTokenClassification", "sequence": "BertForSequenceClassification"}
TOKENS = torch.arange(4, 4 + 8 * 6).view(2, 24)
TOKENS[:, :8] = 0


def with_octuples(model):
    """Give the embeddings of a BERT the two projections of musicbert_hf."""
    embeddings, width = model.bert.embeddings, model.config.hidden_size
    embeddings.downsampling = nn.Sequential(nn.Linear(8 * width, width))
    embeddings.upsampling = nn.Sequential(nn.Linear(width, 8 * width))
    return model.eval()


class Several(transformers.BertPreTrainedModel):
    """One classifier a label, each of one or two layers."""

    def __init__(self, config):
        super().__init__(config)
        self.bert = transformers.BertModel(config, add_pooling_layer=False)
        width, counts = config.hidden_size, map(len, config.multitask_id2label.values())
        heads = [nn.Linear(width, count) for count in counts]
        if config.classifier_activation is not None:
            inner = getattr(config, "inner", 8)
            heads = [
                nn.ModuleDict(
                    {"dense": nn.Linear(width, inner), "out_proj": nn.Linear(inner, h.out_features)}
                )
                for h in heads
            ]
        self.classifier = nn.ModuleList(heads)
        self.post_init()


def settings(**changes):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    more = {"vocab_size": 1237, "max_position_embeddings": 66, "layer_norm_eps": 1e-3, "pad_token_id": 1}
    return transformers.BertConfig(
        **{**sizes, **more, "compound_ratio": 8, "fairseq_position_embeddings": True, **changes}
    )


def theirs(kind, **changes):
    """A model of transformers with octuples, its weights far from those of a new one."""
    torch.manual_seed(0)
    table = {0: "C", 1: "G", 2: "d"}
    if kind == "several":
        several = {label: dict(enumerate(names)) for label, names in NAMES.items()}
        config = settings(**{"multitask_id2label": several, "classifier_activation": None, **changes})
        model = Several(config)
    else:
        table = {"id2label": table, "label2id": {name: number for number, name in table.items()}}
        model = getattr(transformers, CLASSES[kind])(settings(**{**table, **changes}))
    with_octuples(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


@torch.inference_mode()
def logits_of(model, tokens=TOKENS):
    """Logits as the classes of transformers compute them, from octuples."""
    embeddings = model.bert.embeddings
    x = embeddings.downsampling(embeddings.word_embeddings(tokens).unflatten(1, (-1, 8)).flatten(2))
    x = embeddings.LayerNorm(x + embeddings.position_embeddings.weight[2 : 2 + x.shape[1]])
    x = model.bert.encoder(x)[0]
    if isinstance(model, Several):
        act = getattr(torch.nn.functional, model.config.classifier_activation or "relu")
        return torch.cat(
            [
                head(x) if isinstance(head, nn.Linear) else head["out_proj"](act(head["dense"](x)))
                for head in model.classifier
            ],
            dim=2,
        )
    return model.classifier(x if model.bert.pooler is None else model.bert.pooler(x))


@torch.inference_mode()
def ours(folder):
    tagger, found = load_tagger_folder(folder)
    return tagger.values(tagger(TOKENS)), found


def save(folder, kind, *, safe=True, **changes):
    model = theirs(kind, **changes)
    model.save_pretrained(folder, safe_serialization=safe)
    if kind == "several":
        change(folder, architectures=["MusicBertMultiTaskTokenClassification"])
    return model


def change(folder, **values):
    file = folder / "config.json"
    content = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({name: value for name, value in content.items() if value != "REMOVED"}))


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("token", {}),
        ("sequence", {}),
        ("sequence", {"problem_type": "multi_label_classification"}),
        ("sequence", {"problem_type": "regression"}),
        ("several", {}),
        ("several", {"classifier_activation": "tanh"}),
        ("several", {"classifier_activation": "gelu"}),
    ],
)
def test_a_classifier_gives_the_logits_of_transformers(tmp_path, kind, changes, safe):
    model = save(tmp_path / "hf", kind, safe=safe, **changes)
    assert is_tagger_folder(tmp_path / "hf")
    found, about = ours(tmp_path / "hf")
    torch.testing.assert_close(found, logits_of(model), atol=1e-5, rtol=0)
    tasks = about.get("tasks") or [about["task"]]
    assert [task["classes"] for task in tasks] == (
        list(NAMES.values()) if kind == "several" else [NAMES["one"]]
    )
    assert {task["level"] for task in tasks} == {"sequence" if kind == "sequence" else "note"}
    kinds = {"multi_label_classification": "multilabel", "regression": "regression"}
    assert {task["kind"] for task in tasks} == {kinds.get(changes.get("problem_type"), "classes")}
    opened = from_pretrained(tmp_path / "hf", device="cpu")
    assert list(opened.heads) == (list(NAMES) if kind == "several" else ["label"])
    tagger, about = load_tagger_folder(tmp_path / "hf")
    for save_again in (save_tagger_folder, save_classifier_folder):  # and once more, written by this package
        folder = save_again(tmp_path / save_again.__name__, tagger.state_dict(), about)
        again, told = ours(folder)
        torch.testing.assert_close(again, found, atol=1e-5, rtol=0)
        assert (told.get("tasks") or [told["task"]]) == tasks
        assert told["head"]["inner"] == about["head"]["inner"]


def tagger_of(level, kind, *, tasks=("one",), **options):
    """A tagger of this package with its settings."""
    torch.manual_seed(0)
    outputs = sum(len(NAMES[name]) for name in tasks)
    head = "note" if level == "note" else "first"
    tagger = Tagger(MusicBert(CONFIG), TagSettings(outputs, **{"head": head, **options})).eval()
    with torch.no_grad():
        for weight in tagger.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    tagger.spread.fill_(2.0 if kind == "regression" else 1.0)
    tagger.centre.fill_(0.5 if kind == "regression" else 0.0)
    tables = [
        {"name": name, "label": name, "level": level, "kind": kind, "classes": NAMES[name], "ignore": []}
        for name in tasks
    ]
    use = {"family": "musicbert", "codec": "octuple", "window": 40, "overlap": 8, "windows": "all"}
    several = {"task": tables[0]} if len(tables) == 1 else {"tasks": tables}
    shape = {"architecture": asdict(CONFIG), "head": asdict(tagger.settings)}
    return tagger, {**use, **shape, **several, "origin": {"seed": 3}}


@pytest.mark.parametrize(
    ("level", "kind", "options"),
    [
        ("note", "classes", {}),
        ("note", "regression", {}),
        ("note", "multilabel", {"layer": 1}),
        ("note", "classes", {"tasks": ("one", "two")}),
        ("note", "classes", {"tasks": ("one", "two"), "inner": 12, "activation": "relu"}),
        ("sequence", "classes", {}),
        ("sequence", "regression", {"head": "first-row"}),
        ("sequence", "multilabel", {}),
    ],
)
def test_transformers_computes_the_same_from_what_is_written(tmp_path, level, kind, options):
    tagger, about = tagger_of(level, kind, **options)
    with torch.inference_mode():
        expected = tagger.values(tagger(TOKENS))
    folder = save_classifier_folder(tmp_path / "hf", tagger.state_dict(), about)
    config = transformers.BertConfig.from_pretrained(folder)
    if "tasks" in options:
        config.classifier_activation = getattr(config, "classifier_activation", None)
        config.inner = options.get("inner")
        model = Several(config)
    else:
        model = getattr(transformers, CLASSES["token" if level == "note" else "sequence"])(config)
        assert [config.id2label[number] for number in range(3)] == NAMES["one"]
        assert config.label2id == {name: number for number, name in enumerate(NAMES["one"])}
    with_octuples(model).load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    torch.testing.assert_close(logits_of(model), expected, atol=1e-5, rtol=0)
    again, told = ours(folder)
    torch.testing.assert_close(again, expected, atol=1e-5, rtol=0)
    assert all(told[name] == about[name] for name in ("window", "overlap", "codec"))
    assert told["origin"]["seed"] == 3


@pytest.mark.parametrize(
    "options",
    [
        {"head": "mean"},
        {"head": "attention"},
        {"head": "first", "inner": 8},
        {"layer": 0},
        {"mix_layers": True},
    ],
)
def test_heads_that_transformers_does_not_have_are_not_written(tmp_path, options):
    tagger, about = tagger_of("sequence", "classes", **options)
    with pytest.raises(CheckpointError, match="no such classifier") as error:
        save_classifier_folder(tmp_path / "hf", tagger.state_dict(), about)
    assert error.value.reason == "not-exportable"
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("token", {"id2label": {"0": "C", "1": "G"}}, "names of 3 classes"),
        ("token", {"label2id": {"C": 1, "G": 0, "d": 2}}, "inverse"),
        ("token", {"num_labels": 5}, "num_labels"),
        ("token", {"problem_type": "ranking"}, "problem_type"),
        ("token", {"classifier_activation": "tanh"}, "one layer"),
        ("token", {"multitask_id2label": {"x": {}}}, "one label"),
        ("token", {"hidden_act": "relu"}, "hidden_act"),
        ("token", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ("token", {"quantization_config": {"bits": 8}}, "quantization_config"),
        ("token", {"fairseq_position_embeddings": False}, "fairseq_position_embeddings"),
        ("token", {"fairseq_position_embeddings": "REMOVED"}, "fairseq_position_embeddings"),
        ("token", {"model_type": "other", "layer_norm_eps": "REMOVED"}, "layer_norm_eps"),
        ("token", {"z_vocab_size": 24}, "z_vocab_size"),
        ("token", {"musicbert": {"window": 0}}, "window"),
        ("token", {"architectures": ["X", "BertForSequenceClassification"]}, "pooler"),
        ("sequence", {"architectures": ["MusicBertForSequenceClassification"]}, "up-projection"),
        ("several", {"multitask_id2label": {"one": {"0": "C"}}}, "2 labels"),
        ("several", {"id2label": {"0": "C", "1": "G", "2": "d"}}, "multitask_id2label"),
        ("several", {"classifier_activation": "swish"}, "one layer"),
        ("several", {"architectures": ["BertForTokenClassification"]}, "one label"),
    ],
)
def test_what_does_not_fit_or_is_not_known_is_refused(tmp_path, kind, values, words):
    save(tmp_path / "hf", kind)
    change(tmp_path / "hf", **values)
    with pytest.raises(CheckpointError, match=words) as error:
        load_tagger_folder(tmp_path / "hf")
    assert error.value.reason in ("bad-config", "other-model")


def test_a_function_that_nothing_names_is_refused(tmp_path):
    save(tmp_path / "hf", "several", classifier_activation="tanh")
    for value, words in (("REMOVED", "add classifier_activation"), ("swish", "swish")):
        change(tmp_path / "hf", classifier_activation=value)
        with pytest.raises(CheckpointError, match=words):
            load_tagger_folder(tmp_path / "hf")


def test_conditions_are_refused(tmp_path):
    save(tmp_path / "hf", "several")
    weights = load_file(tmp_path / "hf" / "model.safetensors")
    for name in ("z_encoder.0.weight", "classifier.0.chain.weight"):
        save_file({**weights, name: torch.ones(2, 2)}, tmp_path / "hf" / "model.safetensors")
        with pytest.raises(CheckpointError, match="not known here") as error:
            load_tagger_folder(tmp_path / "hf")
        assert error.value.reason == "other-model"


def test_without_names_classes_are_those_of_transformers(tmp_path):
    save(tmp_path / "hf", "token")
    change(tmp_path / "hf", id2label="REMOVED", label2id="REMOVED")
    assert ours(tmp_path / "hf")[1]["task"]["classes"] == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_the_file_of_a_classifier_is_no_masked_language_model(tmp_path):
    save(tmp_path / "hf", "token")
    with pytest.raises(CheckpointError, match="architectures"):
        read_bundle(tmp_path / "hf" / "model.safetensors")


@pytest.mark.parametrize("spelling", ["multitask", "multitarget", ""])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_heads_of_rnbert_are_taggers(tmp_path, spelling, activation, capsys):
    """A `.pt` of fairseq with heads of notes, as RNBert writes them."""
    torch.manual_seed(0)
    model = MusicBert(CONFIG).eval()
    heads = nn.ModuleList(
        nn.ModuleDict({"dense": nn.Linear(16, 16), "out_proj": nn.Linear(16, count)})
        for count in ((3, 2) if spelling else (3,))
    )
    prefix = f"classification_heads.sequence_{spelling}_tagging_head.multi_tag_sub_heads."
    weights = {f"{prefix}{name}": value for name, value in heads.state_dict().items()}
    if not spelling:
        simple = "classification_heads.sequence_tagging_head."
        weights = {
            name.replace(f"{prefix}0.", "").replace(prefix, ""): v for name, v in heads.state_dict().items()
        }
        weights = {f"{simple}{name.removeprefix('0.')}": value for name, value in weights.items()}
    group = {"encoder_attention_heads": 4, "layer_norm_eps": 1e-3, "pooler_activation_fn": activation}
    torch.save({"model": {**model.state_dict(), **weights}, "cfg": {"model": group}}, tmp_path / "rn.pt")
    act = getattr(torch, activation)
    with torch.inference_mode():
        hidden = model.encoder.sentence_encoder(TOKENS).hidden
        expected = torch.cat([head["out_proj"](act(head["dense"](hidden))) for head in heads], dim=2)
    torch.testing.assert_close(ours(tmp_path / "rn.pt")[0], expected, atol=1e-5, rtol=0)
    for to in ("tagger", "hugging-face"):
        source = tmp_path / ("rn.pt" if to == "tagger" else "tagger")
        assert main(["checkpoint", "convert", str(source), str(tmp_path / to), "--to", to]) == 0
        torch.testing.assert_close(ours(tmp_path / to)[0], expected, atol=1e-5, rtol=0)
    capsys.readouterr()
    assert main(["checkpoint", "info", str(tmp_path / "hugging-face")]) == 0
    assert "LABEL_0" in capsys.readouterr().out
    del group["pooler_activation_fn"]
    torch.save({"model": {**model.state_dict(), **weights}, "cfg": {"model": group}}, tmp_path / "rn.pt")
    with pytest.raises(CheckpointError, match="nothing says"):
        load_tagger_folder(tmp_path / "rn.pt")
    torch.save({"model": model.state_dict(), "cfg": {"model": group}}, tmp_path / "rn.pt")
    with pytest.raises(CheckpointError, match="no head of notes"):
        load_tagger_folder(tmp_path / "rn.pt")

"""The benchmark of M2BERT's step: what it is asked, what it counts, what it writes."""

import importlib
import json
from types import SimpleNamespace

import pytest
import torch

from musicbert.config import M2BertConfig
from musicbert.fairseq_plugin.pretraining.note_criterion import CompoundTokenConfig, CompoundTokenCriterion
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import CP


@pytest.fixture
def bench(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module


def test_settings(bench):
    setting_of = bench("m2bert_step").setting_of
    assert setting_of("flash:compiled:half:128") == {
        "attention": "flash", "compile": True, "static": False, "half": True, "dropout": 0.1, "batch": 128,
    }  # fmt: skip
    assert setting_of("masks:undropped") == {
        "attention": "masks", "compile": False, "static": False, "half": False, "dropout": 0.0, "batch": 0,
    }  # fmt: skip
    for wrong in ("masks:flash", "eager:compiled", "static", "fast", "masks:1:2"):
        with pytest.raises(ValueError, match=wrong):
            setting_of(wrong)


@pytest.mark.parametrize("lengths", [[9, 9], [9, 4]])
def test_the_loss_is_that_of_the_criterion(bench, lengths):
    crops = bench("m2bert_speed").crops_of(2)
    items = [crops[0], crops[1]]
    for item, length in zip(items, lengths, strict=True):
        for name in ("source", "selected", "events"):
            item[name] = item[name][:length]
        item["clean"], item["length"] = item["clean"][:length], length
    batch = crops.collater(items)
    torch.manual_seed(0)
    config = M2BertConfig(layers=2, width=32, ffn_width=48, heads=2, embedding_width=8)
    model = M2Bert(config).eval()
    criterion = CompoundTokenCriterion(CompoundTokenConfig(), SimpleNamespace(fields=CP))
    with torch.inference_mode():
        loss, size, _ = criterion(model, batch)
        found = bench("m2bert_speed").loss_of(model, batch)
    assert float(found) == pytest.approx(float(loss) / size, rel=1e-5)


def test_files(bench, tmp_path, monkeypatch):
    step = bench("m2bert_step")
    monkeypatch.setattr(bench("m2bert_speed"), "NOTES", 32)
    files = {name: tmp_path / f"{name}.md" for name in ("write", "profile")}
    options = ["--arch", "tiny", "--batch", "2", "--crop", "32", "--steps", "1", "--warmup", "1"]
    options += [
        "--workers",
        "0",
        "--device",
        "cpu",
        "--profile-steps",
        "1",
        "--json",
        str(tmp_path / "all.json"),
    ]
    for name, path in files.items():
        options += [f"--{name}", str(path)]
    step.main([*options, "--settings", "masks:half"])
    (result,) = json.loads((tmp_path / "all.json").read_text())["results"]
    assert result["resident"]["notes_per_second"] > 0
    assert result["loader"]["workers"] == 0
    table = files["write"].read_text()
    assert "| m2bert tiny | 2 x 32 | masks | no | bfloat16 | 0.1 | resident |" in table
    assert "| kind | ms a step | share |" in files["profile"].read_text()
    with pytest.raises(SystemExit, match="no FlashAttention here"):
        step.main([*options, "--settings", "flash"])

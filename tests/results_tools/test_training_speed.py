"""Speed between validations, and the share of a device's arithmetic that a training needed."""

import json

import pytest
from pretraining_report import pretraining_report
from training_speed import model_utilisation, steady_speed

from musicbert.config import M2BERT_PRESETS, PRESETS
from musicbert.flops import m2bert_flops, musicbert_flops


def inner(ups, words, rows, **more):
    body = {"num_updates": "10", "ups": str(ups), "wpb": str(words), "bsz": str(rows), **more}
    return f"2026-01-02 03:04:05 | INFO | train_inner | {json.dumps(body)}"


def test_the_middle_of_the_lines_counts():
    lines = [inner(0.5, 1000, 4, gb_free="60.5"), inner(8, 1000, 4, gb_free="58.1"), inner(9, 1000, 4)]
    speed = steady_speed([*lines, "something else", lines[0].replace("train_inner", "train")], octuples=False)
    assert (speed.notes_a_second, speed.updates_a_second) == (8000, 8)
    assert (speed.notes_of_a_row, speed.rows, speed.least_gib_free) == (250, 4, 58.1)
    octuples = steady_speed([inner(2, 8 * 102, 1)], octuples=True)
    assert (octuples.notes_a_second, octuples.notes_of_a_row, octuples.least_gib_free) == (200, 100, None)
    assert steady_speed(["nothing"], octuples=True) is None
    assert steady_speed([inner(1, 0, 0)], octuples=True) is None
    cut = lines[1][:-30] + lines[1]  # killed while it wrote, and resumed
    assert steady_speed([*lines, cut], octuples=False) == speed


def sizes(config):
    columns = {"field_embed_dim": str(config.embedding_width)} if hasattr(config, "embedding_width") else {}
    return {
        **columns,
        "encoder_layers": str(config.layers), "encoder_embed_dim": str(config.width),
        "encoder_ffn_embed_dim": str(config.ffn_width), "encoder_attention_heads": str(config.heads),
    }  # fmt: skip


def test_the_share_is_that_of_the_formula():
    config = M2BERT_PRESETS["mini"]
    speed = steady_speed([inner(2, 4 * 512, 4)], octuples=False)
    options = {
        "arch": "m2bert_mini", **sizes(config), "encoding": "cp", "objective": "denoise", "aux": "pianoroll",
        "noise_prob": "0.25", "mask_prob": "0.15",
    }  # fmt: skip
    needed = 2 * m2bert_flops(config, [512] * 4, 512.0)
    assert model_utilisation(speed, options, 10 * needed) == pytest.approx(0.1)
    without = 2 * m2bert_flops(config.with_(roll_outputs=0), [512] * 4, 512.0)
    assert model_utilisation(speed, {**options, "aux": "none"}, without) == pytest.approx(1.0)
    assert model_utilisation(speed, {**options, "encoding": "octuple"}, 1.0) is None

    config = PRESETS["small"]
    speed = steady_speed([inner(3, 8 * 502 * 2, 2)], octuples=True)
    options = {"arch": "musicbert_small", **sizes(config), "mask_prob": "0.15"}
    needed = 3 * musicbert_flops(config, [500] * 2, 0.15 * 8 * 1000)
    assert model_utilisation(speed, options, needed) == pytest.approx(1.0)
    assert model_utilisation(speed, {**options, "encoding": "remi"}, needed) is None
    assert model_utilisation(speed, {"arch": "musicbert_small"}, needed) is None


def test_flops_are_those_of_the_products():
    """Six per weight and note, but for attention, heads and tables."""
    config = M2BERT_PRESETS["base"]
    per_layer = 4 * config.width**2 + 3 * config.width * config.ffn_width
    heads = config.width * config.roll_outputs
    notes = 64 * 1024
    found = m2bert_flops(config, [1024] * 64, 0) / notes
    attention = 12 * config.width * (4 * 1024 + 8 * 129)
    tables = 6 * 176 * config.embedding_width * config.width / notes
    assert found == pytest.approx(6 * (12 * per_layer + heads) + attention + tables)


def test_the_report_says_it(tmp_path):
    config = PRESETS["small"]
    model = ", ".join(f"'{name}': {value}" for name, value in sizes(config).items())
    options = f"{{'_name': None, 'model': {{'_name': 'musicbert_small', {model}}}, 'mask_prob': 0.15}}"
    epoch = {"epoch": 1, "train_num_updates": "10", "train_wall": "4", "train_bsz": "2", "train_wpb": "8032"}
    epoch["train_loss"] = "3"
    text = [
        f"2026-01-02 03:04:05 | INFO | fairseq_cli.train | {options}",
        inner(3, 8 * 502 * 2, 2, gb_free="61.0"),
        f"2026-01-02 03:04:09 | INFO | train | {json.dumps(epoch)}",
    ]
    log, corpus = tmp_path / "train.log", tmp_path / "build.json"
    log.write_text("\n".join(text))
    corpus.write_text(json.dumps({"splits": {"train": {"files": 3, "sequences": 3, "notes": 5000}}}))
    report = pretraining_report(
        log, corpus, tmp_path / "out", hardware="x", notes="", made_by={}, ceiling=0.001
    )
    needed = 3 * musicbert_flops(config, [500] * 2, 0.15 * 8 * 1000)
    assert report["speed"]["utilisation"] == pytest.approx(needed / 1e9, rel=1e-3)
    assert report["run"]["options"]["arch"] == "musicbert_small"
    about = (tmp_path / "out" / "about.md").read_text(encoding="utf-8")
    assert "| between validations | 3,000 notes/s, " in about
    assert "leave 61 GiB of the GPU" in about

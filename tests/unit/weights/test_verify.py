"""Verification by recorded numbers, with a stand-in for the published checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from musicbert.config import PRESETS
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.weights import Bundle, read_bundle, record, verify
from musicbert.weights.verify import EXPECTED

MICRO = "micro_pretrained_v1.0.0a0_cfg.pt"


def test_the_published_numbers_are_with_the_package():
    with np.load(EXPECTED) as numbers:
        for name in ("small", "base"):
            assert numbers[f"{name}_logits"].shape == (8, 1237)
            assert numbers[f"{name}_argmax"].shape == numbers[f"{name}_row_logsumexp"].shape == (320,)
            top = numbers[f"{name}_logits"].argmax(-1)
            np.testing.assert_array_equal(top, numbers[f"{name}_argmax"][numbers[f"{name}_rows"]])
    assert EXPECTED.stat().st_size < 80 * 1024


@pytest.mark.shared
def test_they_are_the_golden_ones(shared):
    golden = shared / "golden/musicbert/model/published_checkpoint_logits_arange320.npz"
    with np.load(golden) as theirs, np.load(EXPECTED) as ours:
        assert set(theirs) == set(ours)
        for name in theirs:
            np.testing.assert_array_equal(theirs[name], ours[name])


def test_another_model_of_the_same_size_is_not_the_published_one():
    torch.manual_seed(0)
    config = PRESETS["small"].with_(max_positions=64)
    result = verify(Bundle(config, MusicBert(config).state_dict()))
    assert not result.passed
    assert result.difference > 1
    assert "differs from the published small" in str(result)


def test_recorded_numbers_recognise_their_checkpoint(fixtures, tmp_path):
    bundle = read_bundle(fixtures / "musicbert_model" / MICRO)
    with pytest.raises(CheckpointError, match="no-expected-numbers"):
        verify(bundle)
    path = record(bundle, tmp_path / "numbers.npz")
    result = verify(bundle, path)
    assert result.passed
    assert result.agreement == 1
    assert "agrees with numbers.npz" in str(result)
    name = "encoder.sentence_encoder.layers.1.fc2.bias"
    moved = {**bundle.weights, name: bundle.weights[name] + torch.linspace(0, 0.1, 16)}
    assert not verify(replace(bundle, weights=moved), path).passed
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="unreadable"):
        verify(bundle, tmp_path / "bad.npz")

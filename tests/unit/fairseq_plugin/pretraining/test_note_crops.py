"""What a batch says of its padding, and what the fairseq model makes of its flags."""

from argparse import Namespace
from dataclasses import fields
from functools import partial

import numpy as np
import pytest
import torch

from musicbert.fairseq_plugin.backbones.m2bert import M2BertFlags, M2BertModel
from musicbert.fairseq_plugin.pretraining.note_crops import NoteCrops
from musicbert.objectives.denoising import CellMaskPolicy, NoisePolicy, add_noise, mask_cells, noise_radii
from musicbert.objectives.note_fields import CP, OCTUPLE


class Pieces:
    """Pieces of these lengths."""

    fields = CP

    def __init__(self, *lengths):
        self.lengths = np.array(lengths)
        rng = np.random.default_rng(0)
        self._rows = [
            np.stack([rng.integers(0, high, n) for high in CP.values], axis=-1).astype(np.int64)
            for n in lengths
        ]

    def rows(self, piece, start=0, stop=None):
        return self._rows[piece][start:stop]


def test_a_batch_knows_its_lengths():
    noise = partial(add_noise, fields=CP, policy=NoisePolicy(noise_radii(CP, (4, 12, 12))))
    crops = NoteCrops(Pieces(5, 30, 12), noise, crop=16)
    batch = crops.collater([crops[index] for index in (0, 1, len(crops) - 1)])["net_input"]
    assert batch["lengths"].tolist() == [5, 16, 12]
    assert torch.equal(batch["lengths"], (~batch["padding_mask"]).sum(1))


def test_selected_padding_needs_a_mask():
    """MidiBERT's masks reach into the padding, which then reads the notes."""
    mask = partial(mask_cells, fields=CP, policy=CellMaskPolicy("midibert", 0.5, 0.1, 0.1))
    crops = NoteCrops(Pieces(5, 30), mask, crop=16, pad_first=True)
    batch = crops.collater([crops[0], crops[1]])
    assert "lengths" not in batch["net_input"]
    assert (batch["net_input"]["note_index"] < 16).any()
    assert batch["net_input"]["padding_mask"].flatten()[batch["net_input"]["note_index"]].any()


@pytest.mark.parametrize("more", [{"compile": True, "half_sums": True}, {}, None])
def test_flags_of_the_model(more):
    defaults = {each.name: each.default for each in fields(M2BertFlags)}
    small = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16}
    given = {**defaults, **small, "encoder_attention_heads": 2, "field_embed_dim": 8, **(more or {})}
    if more is None:  # a checkpoint of before there were such flags
        del given["compile"], given["half_sums"]
    blocks = M2BertModel(Namespace(**given), CP, 0).encoder.note_bert1
    assert blocks.half_sums is bool(more)
    assert [layer._compiled_call_impl is not None for layer in blocks.layers] == [bool(more)] * 2


@pytest.mark.parametrize(("codec", "columns"), [("cp", CP), ("cp-m2bert", CP), ("octuple", OCTUPLE)])
def test_the_columns_are_those_of_the_data(codec, columns):
    """A tagging task has no columns of its own: they follow from its labelled set."""
    small = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16}
    given = {entry.name: entry.default for entry in fields(M2BertFlags)} | small
    given |= {"encoder_attention_heads": 2, "field_embed_dim": 8, "init_from": None, "restore_file": None}
    task = Namespace(data=Namespace(codec=codec))
    assert M2BertModel.build_model(Namespace(**given), task).config.field_sizes == columns.sizes

"""M2BERT's parts: blocks of local attention, padding, embedding forms, initialisation, heads, losses."""

import pytest
import torch
import torch.nn.functional as F

from musicbert.config import M2BERT_PRESETS, M2BertConfig, ModelConfig
from musicbert.model import MusicBert
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.musicbert_columns import cells_to_tokens, column_outputs
from musicbert.model.blocks.local_attention import Reach, attend
from musicbert.model.losses.masked_lm import column_sums
from musicbert.objectives.note_fields import CP, OCTUPLE

SMALL = M2BertConfig(layers=4, width=32, ffn_width=48, heads=4, embedding_width=8, window=4)


def cells(batch, length, seed=0, fields=CP):
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, high, (batch, length), generator=generator) for high in fields.values]
    return torch.stack(columns, dim=-1)


@pytest.mark.parametrize("length", [3, 5, 9, 16, 17, 40, 41])
@pytest.mark.parametrize("padded", [False, True])
def test_local_attention_equals_a_dense_mask(length, padded):
    torch.manual_seed(length)
    q, k, v = torch.randn(3, 2, 3, length, 8).double()
    real = torch.ones(2, length, dtype=torch.bool)
    if padded:
        real[1, length // 2 :] = False
    reach = Reach.of(2, length, 4, ~real if padded else None, q.device)
    place = torch.arange(length)
    band = (place[:, None] - place).abs() <= 4
    for local, allowed in ((True, band & real[:, None]), (False, real[:, None].expand(-1, length, -1))):
        scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(~allowed[:, None], -1e30)
        wanted = scores.softmax(-1) @ v
        got = attend(q, k, v, reach, local=local)
        assert not got.isnan().any()
        keep = real[:, None, :, None].expand_as(got)
        torch.testing.assert_close(got[keep], wanted[keep])


def test_nothing_padded_means_no_mask():
    reach = Reach.of(2, 300, 64, None, torch.device("cpu"))
    assert reach.mask is None
    assert reach.window == 64
    assert Reach.of(2, 60, 64, None, torch.device("cpu")).local is None


def test_padding_changes_nothing():
    torch.manual_seed(0)
    model = M2Bert(SMALL).eval()
    piece = cells(1, 37)
    pads = torch.tensor(CP.pads).expand(1, 20, 4)
    other = cells(1, 57, seed=1)
    batch = torch.cat([torch.cat([piece, pads], 1), other])
    with torch.inference_mode():
        alone = model(piece, features_only=True)[0]
        together, extra = model(batch, features_only=True)
        given = model(batch, padding_mask=extra["padding_mask"], features_only=True)[0]
        flat = model(batch.flatten(1), features_only=True)[0]
    torch.testing.assert_close(together[:1, :37], alone, rtol=1e-5, atol=1e-5)
    assert torch.equal(together, given)
    assert torch.equal(together, flat)
    assert extra["padding_mask"].sum() == 20


def test_a_piece_of_nothing_but_padding_is_finite():
    model = M2Bert(SMALL).eval()
    batch = torch.cat([cells(1, 40), torch.tensor(CP.pads).expand(1, 40, 4)])
    assert model(batch, features_only=True)[0].isfinite().all()


@pytest.mark.parametrize("fields", [CP, OCTUPLE])
def test_both_forms_of_the_embedding_are_equal(fields):
    model = M2Bert(SMALL.with_(field_sizes=fields.sizes, field_pads=fields.pads))
    rows = cells(2, 9, fields=fields)
    model.encoder.form = "direct"
    direct = model.encoder.embed(rows)
    model.encoder.form = "table"
    table = model.encoder.embed(rows)
    torch.testing.assert_close(table, direct, rtol=1e-5, atol=1e-5)
    direct.square().sum().backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    table.square().sum().backward()
    for name, value in wanted.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, value, rtol=1e-4, atol=1e-3)


def test_new_weights_are_drawn_as_specified():
    torch.manual_seed(0)
    blocks = M2Bert(M2BERT_PRESETS["mini"]).encoder.note_bert1
    for name, value in blocks.state_dict().items():
        if name.endswith("norm.weight"):
            assert torch.equal(value, torch.ones_like(value))
            continue
        small = name.endswith(".Wo.weight")
        std = 0.02 / 16**0.5 if small else 0.02  # eight layers, two projections each
        assert float(value.abs().max()) <= 2 * std
        # a normal distribution cut at two deviations has 0.8796 of its deviation
        assert float(value.std()) == pytest.approx(0.8796 * std, rel=0.05)


def test_dropout_only_in_training_and_frozen_parts_get_no_gradient():
    model = M2Bert(SMALL)
    rows = cells(2, 40)
    model.train()
    first, second = (model(rows, features_only=True)[0] for _ in range(2))
    assert not torch.equal(first, second)
    outputs, _ = model(rows)
    (sum(column.sum() for column in outputs.columns) + outputs.roll.sum()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {name for name, p in model.named_parameters() if not p.requires_grad}
    model.eval()
    first, second = (model(rows, features_only=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_final_norm_is_a_switch():
    torch.manual_seed(0)
    model = M2Bert(SMALL.with_(final_norm=True)).eval()
    rows = cells(1, 12)
    with_norm, extra = model(rows, features_only=True, return_all_hiddens=True)
    last = extra["inner_states"][-1]
    assert torch.equal(with_norm, F.layer_norm(last, (32,), eps=1e-5))
    assert len(extra["inner_states"]) == 5


def test_wanted_notes_only():
    model = M2Bert(SMALL).eval()
    rows, index = cells(2, 10), torch.tensor([3, 11, 19])
    with torch.inference_mode():
        every, some = model(rows)[0], model(rows, note_index=index)[0]
    for full, part, size in zip(every.columns, some.columns, CP.sizes, strict=True):
        assert part.shape == (3, size)
        torch.testing.assert_close(part, full[index])
    assert some.roll.shape == (20, 1666)
    assert M2Bert(SMALL.with_(roll_outputs=0))(rows)[0].roll is None


def test_mixed_precision_is_near():
    torch.manual_seed(0)
    model = M2Bert(SMALL).eval()
    rows = cells(2, 40)
    exact = model(rows, features_only=True)[0]
    model.autocast_bf16 = True
    torch.testing.assert_close(model(rows, features_only=True)[0].float(), exact, rtol=0.05, atol=0.05)


def test_wrong_inputs():
    model = M2Bert(SMALL)
    with pytest.raises(ValueError, match="whole number of notes"):
        model(torch.zeros(1, 7, dtype=torch.long))
    with pytest.raises(ValueError, match="columns for a model of 4"):
        model(torch.zeros(1, 7, 8, dtype=torch.long))
    with pytest.raises(ValueError, match="multiple of 5 heads"):
        M2Bert(SMALL.with_(heads=5))


def test_sums_are_those_of_cross_entropy():
    torch.manual_seed(0)
    logits = [torch.randn(6, size) for size in CP.sizes]
    target = cells(1, 6)[0]
    selected = torch.rand(6, 4) < 0.5
    sums = column_sums(logits, target, selected)
    for column, scores in enumerate(logits):
        chosen = selected[:, column]
        wanted = F.cross_entropy(scores[chosen], target[chosen, column], reduction="sum")
        torch.testing.assert_close(sums.loss[column], wanted)
        assert sums.count[column] == chosen.sum()
        assert sums.correct[column] == (scores.argmax(-1) == target[:, column])[chosen].sum()


class TestMusicBertOnCells:
    def test_tokens_are_fairseqs(self):
        rows = cells(2, 5, fields=OCTUPLE)
        rows[0, 1, 2], rows[1, 3:] = OCTUPLE.masks[2], torch.tensor(OCTUPLE.pads)
        padding = torch.zeros(2, 5, dtype=torch.bool)
        padding[1, 3:] = True
        tokens = cells_to_tokens(rows, padding, OCTUPLE).view(2, 7, 8)
        assert (tokens[:, 0] == 0).all()
        assert (tokens[0, 6] == 2).all()
        assert (tokens[1, 4] == 2).all()
        assert (tokens[1, 5:] == 1).all()
        assert tokens[0, 2, 2] == 1236
        known = tokens[0, 1] - torch.tensor(OCTUPLE.offsets)
        assert torch.equal(known, rows[0, 0])
        assert torch.equal(cells_to_tokens(rows[:1], None, OCTUPLE).view(7, 8), tokens[0])

    @pytest.mark.parametrize("fields", [OCTUPLE, CP])
    def test_logits_are_those_of_the_language_model_head(self, fields):
        config = ModelConfig(
            layers=2, width=16, ffn_width=32, heads=2, max_positions=64,
            vocabulary_size=fields.vocabulary_size, fields=len(fields),
        )  # fmt: skip
        torch.manual_seed(0)
        model = MusicBert(config).eval()
        rows = cells(2, 6, fields=fields)
        index = torch.tensor([0, 4, 9])
        with torch.inference_mode():
            found = column_outputs(model, rows, None, index, fields)
            whole = model(cells_to_tokens(rows, None, fields))[0].view(2, 8, len(fields), -1)
        whole = whole[:, 1:-1].flatten(0, 1)[index]  # (3, F, V)
        for column, (count, first) in enumerate(zip(fields.values, fields.offsets, strict=True)):
            wanted = whole[:, column]
            wanted = torch.cat([wanted[:, first : first + count], wanted[:, 1:2], wanted[:, -1:]], dim=1)
            torch.testing.assert_close(found.columns[column], wanted, rtol=1e-4, atol=1e-5)
        assert found.roll is None

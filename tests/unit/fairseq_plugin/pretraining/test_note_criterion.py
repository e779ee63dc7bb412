"""The criterion's loss as published, its sums over batches, and crops of pieces."""

from argparse import Namespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import meters, metrics

from musicbert.corpus.bins.rows_bin import RowsBin, write_rows_bin
from musicbert.errors import ConfigError, DatasetError
from musicbert.fairseq_plugin.pretraining.note_criterion import CompoundTokenConfig, CompoundTokenCriterion
from musicbert.fairseq_plugin.pretraining.note_crops import NoteCrops, open_pieces
from musicbert.model.blocks.masked_positions import NoteOutputs
from musicbert.objectives.denoising import CellMaskPolicy, NoisePolicy, add_noise, mask_cells, noise_radii
from musicbert.objectives.note_fields import CP, OCTUPLE
from musicbert.objectives.pianoroll import roll_target

POLICY = NoisePolicy(noise_radii(CP, (4, 12, 12)))


def noise(cells, rng):
    return add_noise(cells, rng, CP, POLICY)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, CP.values, (n, 4)) for n in (100, 30, 0, 64, 65, 1000)]
    for number, piece in enumerate(pieces):
        piece[:, 2] = number * 10 + piece[:, 2] % 10  # says which piece it is
    write_rows_bin({"train": pieces, "empty": [pieces[2]]}, tmp_path, "cp")
    return tmp_path


@pytest.fixture
def crops(folder):
    return NoteCrops(RowsBin(folder, "train"), noise, crop=64, roll=True, seed=3)


class Answers(torch.nn.Module):
    """Says what it was told to, for as many notes as are asked."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.columns = [torch.randn(4000, size) for size in CP.sizes]
        self.roll = torch.randn(4000, 1666)

    def forward(self, src_tokens, padding_mask, lengths, note_index):
        B, T, _ = src_tokens.shape
        return NoteOutputs([c[: len(note_index)] for c in self.columns], self.roll[: B * T]), {}


def criterion(**changes):
    return CompoundTokenCriterion(
        CompoundTokenConfig(**changes), Namespace(fields=CP, target_dictionary=None)
    )


def test_the_loss_is_the_published_one(crops):
    items = [crops[0], crops[3], crops[5]]
    batch = crops.collater(items)
    answers = Answers()
    loss, size, logged = criterion()(answers, batch)
    assert size == sum(round(0.3 * item["length"]) for item in items)
    weighted = 0.0
    for column, weight in enumerate(CP.sizes):
        wanted = F.cross_entropy(answers.columns[column][:size], batch["target"][:, column])
        weighted += weight * float(wanted)
    T = batch["net_input"]["src_tokens"].shape[1]
    guess = answers.roll[: 3 * T].view(3, T, -1).numpy()
    errors = sum(
        ((guess[row, : item["length"]] - roll_target(item["clean"], CP)) ** 2).sum()
        for row, item in enumerate(items)
    )
    weighted += errors / sum(item["length"] for item in items)
    assert float(loss) / size == pytest.approx(weighted / 177, rel=1e-4)
    assert float(logged["roll_error"]) == pytest.approx(errors, rel=1e-4)


def test_two_batches_together_are_one(crops):
    """Sums of full crops over accumulated batches are those of one batch."""
    full = [index for index in range(len(crops)) if crops[index]["length"] == 64]
    items = [crops[index] for index in full[:6]]
    answers, judge = Answers(), criterion()
    whole, size, _ = judge(answers, crops.collater(items))
    parts = []
    for at in (0, 2):
        some = items[at : at + 2] if at == 0 else items[2:]
        batch = crops.collater(some)
        shifted = Answers()
        before = crops.collater(items[:at]) if at else None
        if before is not None:
            shifted.columns = [c[len(before["target"]) :] for c in shifted.columns]
            shifted.roll = shifted.roll[before["net_input"]["src_tokens"].shape[0] * 64 :]
        parts.append(judge(shifted, batch))
    assert sum(part[1] for part in parts) == size
    assert float(sum(part[0] for part in parts)) == pytest.approx(float(whole), rel=1e-5)


def test_what_is_logged_is_over_everything(crops):
    judge, answers = criterion(), Answers()
    logs = [
        judge(answers, crops.collater([crops[index] for index in some]))[2] for some in ([0, 1], [4, 5, 6])
    ]
    with metrics.aggregate() as found:
        CompoundTokenCriterion.reduce_metrics(logs)
    values = found.get_smoothed_values()
    for name in CP.names:
        correct, count = (sum(float(log[f"{what}_{name}"]) for log in logs) for what in ("correct", "count"))
        assert values[f"accuracy_{name}"] == pytest.approx(100 * correct / count, abs=0.01)
    shares = [values[f"accuracy_{name}"] for name in CP.names]
    assert values["accuracy"] == pytest.approx(np.average(shares, weights=CP.sizes), abs=0.02)
    size = sum(log["sample_size"] for log in logs)
    assert values["loss"] == pytest.approx(sum(float(log["loss"]) for log in logs) / size, abs=1e-4)
    assert isinstance(found["loss"], meters.AverageMeter)


def test_weights_are_choices(crops):
    batch, answers = crops.collater([crops[0]]), Answers()
    loss, size, _ = criterion(field_weights="0,0,1,0", roll_weight=0.0)(answers, batch)
    wanted = F.cross_entropy(answers.columns[2][:size], batch["target"][:, 2])
    assert float(loss) / size == pytest.approx(float(wanted), rel=1e-5)
    with pytest.raises(ConfigError, match="bad-options"):
        criterion(field_weights="0,0,0,0")


class TestCrops:
    def test_pieces_are_visited_as_published(self, crops):
        visits = np.bincount(crops.piece_of, minlength=6)
        assert visits.tolist() == [4, 1, 0, 2, 3, 32]  # notes over half a crop, rounded up
        assert crops.num_tokens_vec(np.arange(len(crops))).max() == 64

    def test_a_crop_is_part_of_its_piece_and_begins_anywhere(self, crops, folder):
        pieces, starts = RowsBin(folder, "train"), set()
        for epoch in range(1, 40):
            crops.set_epoch(epoch)
            item = crops[9]  # the first visit of piece 4, 65 notes: two beginnings
            rows = pieces.rows(4)
            places = [at for at in range(2) if np.array_equal(rows[at : at + 64], item["clean"])]
            assert len(places) == 1
            starts.add(places[0])
            assert item["selected"].any(axis=1).sum() == 19
        assert starts == {0, 1}

    def test_epoch_and_seed_decide(self, folder):
        def draw(epoch, **more):
            dataset = NoteCrops(RowsBin(folder, "train"), noise, crop=64, **more)
            dataset.set_epoch(epoch)
            return dataset[20]["source"].tobytes()

        assert draw(1) == draw(1)
        assert len({draw(1), draw(2), draw(1, seed=2)}) == 3
        assert draw(1, fixed=True) == draw(7, fixed=True)  # validation

    def test_batches_are_of_one_length_where_possible(self, crops):
        order = crops.ordered_indices()
        assert sorted(order) == list(range(len(crops)))
        assert (np.diff(crops.sizes[order]) >= 0).all()
        batches = crops.batch_by_size(order, max_sentences=4)
        assert sum(map(len, batches)) == len(crops)
        full = crops.collater([crops[index] for index in batches[-1]])
        assert full["net_input"]["padding_mask"] is None
        assert crops.collater([]) == {}

    def test_padding_of_a_mixed_batch(self, crops):
        batch = crops.collater([crops[0], crops[4]])
        padding = batch["net_input"]["padding_mask"]
        assert padding.sum(1).tolist() == [0, 34]
        assert (batch["net_input"]["src_tokens"][1, 30:] == torch.tensor(CP.pads)).all()
        assert (batch["events"][1, 30:, 4] == -1).all()
        assert batch["ntokens"] == 94
        index = batch["net_input"]["note_index"]
        assert ((index < 64) | ((index >= 64) & (index < 94))).all()
        assert len(index) == len(batch["target"]) == len(batch["selected"])

    def test_midiberts_masks_reach_into_the_padding(self, folder):
        def corrupt(cells, rng):
            return mask_cells(cells, rng, CP, CellMaskPolicy("midibert"))

        dataset = NoteCrops(RowsBin(folder, "train"), corrupt, crop=64, pad_first=True)
        item = dataset[4]  # 30 notes
        assert item["length"] == 30
        assert len(item["source"]) == 64
        assert item["selected"].all(axis=1).sum() == round(0.15 * 64)
        batch = dataset.collater([item])
        assert batch["net_input"]["padding_mask"].sum() == 34
        assert dataset.size(4) == 64

    def test_what_cannot_be_opened(self, folder):
        with pytest.raises(DatasetError, match="other-encoding"):
            open_pieces(folder, "train", OCTUPLE)
        with pytest.raises(DatasetError, match="no-pieces"):
            open_pieces(folder, "empty", CP)
        with pytest.raises(DatasetError, match="not-found"):
            open_pieces(folder / "nowhere", "train", CP)

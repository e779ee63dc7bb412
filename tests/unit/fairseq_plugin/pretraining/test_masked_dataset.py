import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, TokenBlockDataset, indexed_dataset

from musicbert.encoding.views import cp_to_octuples, octuples_to_cp, octuples_to_remi
from musicbert.encoding.vocabulary import (
    BOS,
    EOS,
    FIELD_OFFSETS,
    MASK,
    PAD,
    UNK,
    dictionary_text,
    rows_to_ids,
)
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.databin import (
    is_octuple_dictionary,
    load_dictionary,
    load_performance,
    load_pieces,
)
from musicbert.fairseq_plugin.pretraining.masked_dataset import Form, MaskedOctuples, pack, piece_sizes
from musicbert.objectives.masking import MaskPolicy

NOTES = (4, 7, 2, 7, 30, 1)


def write_pieces(folder, split, pieces):
    builder = indexed_dataset.make_builder(str(folder / f"{split}.bin"), impl="mmap", vocab_size=MASK)
    for piece in pieces:
        builder.add_item(torch.as_tensor(piece))
    builder.finalize(str(folder / f"{split}.idx"))


@pytest.fixture
def data(tmp_path):
    (tmp_path / "dict.txt").write_text(dictionary_text())
    rng = np.random.default_rng(0)
    write_pieces(tmp_path, "train", [rows_to_ids(rng.integers(0, 32, (n, 8))) for n in NOTES])
    notes = sum(NOTES)
    np.save(tmp_path / "train.performance.npy", 1 + np.arange(notes * 2, dtype=np.float32).reshape(notes, 2))
    return tmp_path


def open_data(data, mode="complete", limit=135, policy=None, **options):
    pieces = load_pieces(data, "train", load_dictionary(data))
    blocks = pack(np.asarray(pieces.sizes), limit, mode)
    return MaskedOctuples(pieces, blocks, policy or MaskPolicy(), **options)


def reason_of(call, *arguments):
    with pytest.raises(DatasetError) as caught:
        call(*arguments)
    return caught.value.reason


def test_complete_blocks_are_those_of_fairseq(data):
    rng = np.random.default_rng(1)
    for limit in (80, 136, 255, 8191):
        sizes = 8 * rng.integers(3, 20, 50)
        theirs = TokenBlockDataset(
            [torch.zeros(size, dtype=torch.long) for size in sizes],
            sizes,
            limit,
            PAD,
            EOS,
            break_mode="complete",
        )
        blocks = pack(sizes, limit, "complete")
        assert [sizes[a:b].sum() for a, b in blocks] == theirs.sizes.tolist()
        assert blocks[0, 0] == 0
        assert (blocks[1:, 0] == blocks[:-1, 1]).all()
    assert pack(sizes, 10**6, "eos").tolist() == [[i, i + 1] for i in range(50)]


def test_source_and_target_belong_together_and_the_data_stay(data):
    dataset = open_data(data)
    whole = np.concatenate([np.asarray(dataset.pieces[i]) for i in range(*dataset.blocks[0])])
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        item = dataset[0]
        hidden = item["target"] != PAD
        assert np.array_equal(item["target"][hidden], whole[hidden])
        assert np.array_equal(item["source"][~hidden], whole[~hidden])
    assert len(item["source"]) == dataset.size(0)


def test_masks_depend_on_seed_epoch_and_item_alone(data):
    dataset, again = open_data(data), open_data(data)
    first = [dataset[i]["target"] for i in range(len(dataset))]
    dataset.set_epoch(2)
    second = [dataset[i]["target"] for i in range(len(dataset))]
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(again[i]["target"], first[i]) for i in reversed(range(len(again))))
    dataset.set_epoch(1)
    assert all(np.array_equal(dataset[i]["target"], first[i]) for i in range(len(dataset)))
    other = open_data(data, seed=2)
    assert any(not np.array_equal(other[i]["target"], first[i]) for i in range(len(other)))


def test_worker_processes_see_a_new_epoch(data):
    """fairseq keeps its workers from epoch to epoch: they must hear of the next one."""
    dataset = open_data(data, "eos")
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=[list(range(len(dataset)))], collate_fn=dataset.collater, num_workers=1,
        persistent_workers=True,
    )  # fmt: skip
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        (found,) = list(loader)
        expected = dataset.collater([dataset[i] for i in range(len(dataset))])
        assert torch.equal(found["target"], expected["target"])


def test_performance_inputs_are_aligned_and_hidden_where_masked(data):
    nothing = MaskPolicy(mask_prob=0.0)
    rows = load_performance(data, "train", np.asarray([8 * (n + 2) for n in NOTES]))
    dataset = open_data(data, limit=8 * 15, policy=nothing, performance=rows)
    assert dataset.blocks[0].tolist() == [0, 2]
    found = dataset[0]["performance"]
    special = dataset[0]["source"].reshape(-1, 8)[:, 0] < FIELD_OFFSETS[0]
    assert np.flatnonzero(special).tolist() == [0, 5, 6, 14]
    assert not found[special].any()
    assert found[~special].flatten().tolist() == list(range(1, 23))
    last = len(dataset) - 1
    assert dataset[last]["performance"][-2].tolist() == rows[-1].tolist()

    masked = open_data(data, limit=8 * 15, performance=rows, policy=MaskPolicy("element"))
    item = masked[0]
    assert np.array_equal(item["performance"], found)  # the model hides; the criterion needs the values
    selected = (item["target"].reshape(-1, 8) != PAD).any(1)
    assert selected.any()
    expected = np.broadcast_to((selected & ~special)[:, None], found.shape)
    assert np.array_equal(item["performance_hidden"], expected)
    batch = masked.collater([masked[0], masked[1]])["net_input"]
    assert batch["performance_hidden"].shape == batch["performance"].shape
    assert np.array_equal(batch["performance_hidden"][0, : len(selected)], item["performance_hidden"])
    stream = open_data(data, limit=8 * 15, performance=rows, form=Form(layout="stream"))
    batch = stream.collater([stream[0], stream[1]])["net_input"]
    assert batch["performance"].shape[:2] == (1, batch["src_tokens"].shape[1] // 8)
    with pytest.raises(ValueError, match="performance"):
        open_data(data, performance=rows, form=Form(view="cp"))


def test_batches_keep_every_block_and_similar_lengths(data):
    dataset = open_data(data, "eos")
    batches = dataset.batch_by_size(
        dataset.ordered_indices(), max_sentences=4, required_batch_size_multiple=8
    )
    assert sorted(np.concatenate(batches).tolist()) == list(range(6))
    assert np.array_equal(dataset.ordered_indices(), dataset.ordered_indices())
    assert (np.diff(dataset.sizes[dataset.ordered_indices()]) >= 0).all()


def test_collated_batches_are_padded(data):
    rows = np.load(data / "train.performance.npy")
    dataset = open_data(data, "eos", performance=rows)
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["net_input"]["src_tokens"].shape == (2, 72)
    assert batch["net_input"]["performance"].shape == (2, 9, 2)
    assert (batch["net_input"]["src_tokens"][0, 48:] == PAD).all()
    assert (batch["target"][0, 48:] == PAD).all()
    assert batch["ntokens"] == 48 + 72
    assert dataset.collater([]) == {}


def test_only_the_dictionary_of_octuple_midi_is_taken(data):
    assert is_octuple_dictionary(load_dictionary(data))
    assert not is_octuple_dictionary(Dictionary())
    for text in (
        "a 1\nb 1\n",
        dictionary_text().replace("<0-0> 0\n", "", 1),
        dictionary_text() + "<8-0> 0\n",
    ):
        (data / "dict.txt").write_text(text)
        assert reason_of(load_dictionary, data) == "wrong-dictionary"
    (data / "dict.txt").unlink()
    assert reason_of(load_dictionary, data) == "not-found"


def test_bad_splits_are_named(data):
    dictionary = load_dictionary(data)
    assert reason_of(load_pieces, data, "valid", dictionary) == "not-found"
    write_pieces(data, "short", [rows_to_ids(np.zeros((2, 8), int))[:-1]])
    assert reason_of(load_pieces, data, "short", dictionary) == "wrong-tokens"
    write_pieces(data, "bare", [rows_to_ids(np.zeros((2, 8), int), specials=False)])
    assert reason_of(load_pieces, data, "bare", dictionary) == "wrong-tokens"
    write_pieces(data, "none", [])
    assert reason_of(load_pieces, data, "none", dictionary) == "no-pieces"


def test_bad_performance_inputs_are_named(data):
    sizes = np.asarray([8 * (n + 2) for n in NOTES])
    assert load_performance(data, "train", sizes).shape == (sum(NOTES), 2)
    assert reason_of(load_performance, data, "valid", sizes) == "not-found"
    np.save(data / "valid.performance.npy", np.zeros((3, 2), np.float32))
    assert reason_of(load_performance, data, "valid", sizes) == "bad-performance"


def test_specials_are_where_the_text_puts_them(data):
    item = load_pieces(data, "train", load_dictionary(data))[0]
    assert (item[:8] == BOS).all()
    assert (item[-8:] == EOS).all()


FORMS = [
    Form(),
    Form(compound=False),
    Form(crop=3),
    Form(view="cp"),
    Form(view="cp", compound=False),
    Form(view="cp", crop=5, layout="stream"),
    Form(view="remi", compound=False),
    Form(view="remi", compound=False, crop=9),
    Form(layout="stream", separate=True),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_holds_the_notes_of_its_pieces(data, form):
    pieces = load_pieces(data, "train", load_dictionary(data))
    sizes = piece_sizes(pieces, form)
    dataset = MaskedOctuples(
        pieces, pack(sizes, 400, "complete"), MaskPolicy(mask_prob=0.0), form=form, sizes=sizes
    )
    found = []
    for index, (first, end) in enumerate(dataset.blocks):
        item = dataset[index]
        assert len(item["source"]) == dataset.size(index) == sizes[first:end].sum()
        assert sum(item["lengths"]) * form.width == len(item["source"])
        found += np.split(item["source"], np.cumsum(sizes[first:end])[:-1])
    for piece, stored in zip(found, pieces, strict=True):
        notes = np.asarray(stored).reshape(-1, 8)[1:-1]
        if form.view == "octuple":
            expected = notes[: form.crop].reshape(-1)
        else:
            expected = octuples_to_cp(notes)[: form.crop if form.view == "cp" else None].reshape(-1)
            if form.view == "remi":
                expected = octuples_to_remi(notes)[: form.crop]
        ends = 1 if form.view == "remi" else 8
        assert (piece[:ends] == BOS).all()
        assert (piece[-ends:] == EOS).all()
        assert np.array_equal(piece[ends:-ends], expected)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_list_of_masked_tokens_is_that_of_the_target(data, form):
    pieces = load_pieces(data, "train", load_dictionary(data))
    sizes = piece_sizes(pieces, form)
    dataset = MaskedOctuples(pieces, pack(sizes, 200, "complete"), MaskPolicy(), form=form, sizes=sizes)
    batch = dataset.collater([dataset[i] for i in range(len(dataset))])
    target, masked = batch["target"], batch["masked"]
    assert sum(masked["counts"]) == len(masked["wanted"]) == (target != PAD).sum() > 0
    assert sorted(masked["wanted"].tolist()) == sorted(target[target != PAD].tolist())
    by_position = target.reshape(-1, form.width)
    rows = by_position[masked["notes"]]
    assert (rows == masked["wanted"][:, None]).any(1).all()
    fields = np.repeat(np.arange(8), masked["counts"])
    data_tokens = (masked["wanted"] >= FIELD_OFFSETS[0]).numpy()
    known = np.searchsorted(FIELD_OFFSETS, masked["wanted"].numpy(), side="right") - 1
    assert np.array_equal(known[data_tokens], fields[data_tokens])
    if form.width == 8:
        assert torch.equal(rows[torch.arange(len(rows)), torch.from_numpy(fields)], masked["wanted"])
    if form.layout == "stream":
        assert batch["net_input"]["src_tokens"].shape[0] == 1
        lengths = batch["segments"]["lengths"]
        assert len(lengths) == (len(pieces) if form.separate else len(dataset))
        assert batch["segments"]["offsets"].tolist() == [0, *np.cumsum(lengths)]
    if form.view == "cp":  # nothing is asked of empty cells
        assert UNK not in masked["wanted"]


def test_masked_cp_rows_are_still_those_of_the_piece(data):
    pieces = load_pieces(data, "train", load_dictionary(data))
    form = Form(view="cp")
    dataset = MaskedOctuples(pieces, pack(piece_sizes(pieces, form), 10, "eos"), MaskPolicy(), form=form)
    item = dataset[4]
    whole = np.where(item["target"] != PAD, item["target"], item["source"]).reshape(-1, 8)[1:-1]
    assert np.array_equal(cp_to_octuples(whole), np.asarray(pieces[4]).reshape(-1, 8)[1:-1])


@pytest.mark.parametrize(
    "options", [{"view": "remi"}, {"separate": True}, {"crop": 0, "layout": "stream"}], ids=str
)
def test_forms_that_do_not_go_together_are_refused(options):
    with pytest.raises(ValueError, match=r"compounds|apart|cropped"):
        Form(**options)

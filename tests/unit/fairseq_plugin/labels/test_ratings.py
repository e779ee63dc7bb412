"""The rating data set of the plug-in: batches, augmentation, and every way a data-bin can be wrong."""

import json
import shutil

import numpy as np
import pytest
import torch

from musicbert.encoding import FIELD_OFFSETS, PERFORMANCE_INPUTS
from musicbert.errors import DatasetError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # fairseq is older than its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

PIECES = {"train": 12, "valid": 5}


@pytest.fixture(scope="module")
def databin(make_databin):
    return make_databin(PIECES, missing=0.2, performance=len(PERFORMANCE_INPUTS))


@pytest.fixture
def broken(databin, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(databin, tmp_path / "bin")


def open_task(data, name="xai", **options):
    from musicbert.fairseq_plugin.contrastive.task import ContrastiveTask
    from musicbert.fairseq_plugin.labels.ratings import RatingConfig, RatingTask

    cfg = RatingConfig(data=str(data), **{"seed": 3, "criterion_name": "M2PFnP_xai", **options})
    return {"xai": RatingTask, "xai_pretrain_task": ContrastiveTask}[name].setup_task(cfg)


def reason(data, split="train", **options):
    with pytest.raises(DatasetError) as caught:
        open_task(data, **options).load_dataset(split)
    assert caught.value.hint
    return caught.value.reason


def test_batches(databin):
    task = open_task(databin, performance_input=True)
    dataset = task.load_dataset("train")
    assert len(dataset) == 12
    batch = dataset.collater([dataset[4], dataset[0], dataset[7]])
    inputs, longest = batch["net_input"], max(dataset.sizes[[4, 0, 7]])
    assert batch["id"].tolist() == [4, 0, 7]
    assert (batch["nsentences"], batch["ntokens"]) == (3, dataset.sizes[[4, 0, 7]].sum())
    assert inputs["src_tokens"].shape == (3, longest)
    assert inputs["performance"].shape == (3, longest // 8, 15)
    rows = np.load(databin / "performance" / "train.performance.npy")
    starts = np.concatenate([[0], np.cumsum(dataset.sizes // 8 - 2)])
    for row, index in enumerate([4, 0, 7]):
        size = dataset.sizes[index]
        assert (inputs["src_tokens"][row, size:] == 1).all()
        assert (inputs["src_tokens"][row, :8] == 0).all()
        assert (inputs["src_tokens"][row, size - 8 : size] == 2).all()
        given = inputs["performance"][row].numpy()
        np.testing.assert_array_equal(given[1 : size // 8 - 1], rows[starts[index] : starts[index + 1]])
        assert not given[0].any()
        assert not given[size // 8 - 1 :].any()
    lines = (databin / "label" / "train.label").read_text().splitlines()
    expected = np.array([[np.nan if v is None else v for v in json.loads(lines[i])] for i in (4, 0, 7)])
    np.testing.assert_allclose(batch["targets"]["ratings"].numpy(), expected[:, :-1], rtol=1e-6)
    assert batch["targets"]["performer"].tolist() == expected[:, -1].tolist()
    assert np.isnan(task.data.label("ratings")).any()


def test_compatible_batches_are_sorted_and_count_labels(databin):
    dataset = open_task(databin, compat=True).load_dataset("train")
    batch = dataset.collater([dataset[index] for index in range(6)])
    lengths = (batch["net_input"]["src_tokens"] != 1).sum(1).tolist()
    assert lengths == sorted(lengths, reverse=True)
    assert batch["ntokens"] == sum(int((target != 1.0).sum()) for target in batch["targets"].values())


def test_batches_hold_similar_lengths_in_a_new_order_each_epoch(make_databin):
    data = make_databin({"train": 60, "valid": 2}, notes=(10, 160))
    dataset = open_task(data).load_dataset("train")
    orders = []
    for epoch in (1, 1, 2):
        np.random.seed(len(orders))  # noqa: NPY002 - the global generator has no influence
        dataset.set_epoch(epoch)
        orders.append(dataset.ordered_indices())
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()
    assert sorted(orders[0]) == list(range(60))
    batches = dataset.batch_by_size(orders[2], max_sentences=6)
    padded = sum(len(batch) * dataset.sizes[batch].max() for batch in batches)
    assert dataset.sizes.sum() / padded > 0.9
    assert not dataset.can_reuse_epoch_itr_across_epochs
    fixed = open_task(data, no_shuffle=True).load_dataset("train")
    assert (np.diff(fixed.sizes[fixed.ordered_indices()]) >= 0).all()
    assert fixed.can_reuse_epoch_itr_across_epochs
    moved = open_task(data, no_shuffle=True, augment="transpose=5").load_dataset("train")
    assert not moved.can_reuse_epoch_itr_across_epochs  # worker processes have to learn of the epoch


def test_batches_hold_every_piece(databin):
    dataset = open_task(databin).load_dataset("valid")
    batches = dataset.batch_by_size(
        dataset.ordered_indices(), max_sentences=2, required_batch_size_multiple=8
    )
    assert sorted(index for batch in batches for index in batch) == list(range(5))


@pytest.mark.parametrize("method", ["truncate", "random_crop"])
def test_shortening_cuts_whole_notes(method, databin):
    whole = open_task(databin, performance_input=True).load_dataset("train")
    long = int(whole.sizes.argmax())
    short = open_task(databin, performance_input=True, shorten_method=method, max_positions=83).load_dataset(
        "train"
    )
    item, full = short[long], whole[long]
    assert item["source"].numel() == short.sizes[long] == 80
    assert len(item["performance"]) == 8
    assert (item["source"][0] == 0).all()
    assert (item["source"][-1] == 2).all()
    notes, every = item["source"][1:-1], full["source"][1:-1]
    begin = next(i for i in range(len(every)) if torch.equal(every[i : i + 8], notes))
    torch.testing.assert_close(item["performance"], full["performance"][begin : begin + 8])
    assert method == "random_crop" or begin == 0


def rows_of(item):
    return item["source"][1:-1].numpy() - np.array(FIELD_OFFSETS)


def test_augmentation_is_seeded_by_epoch_and_index_and_for_training_only(databin):
    spec = "transpose=5,velocity=2,stretch=0.2,phase=8,bar,drop=0.2"
    task = open_task(databin, augment=spec, performance_input=True)
    train, valid = task.load_dataset("train"), task.load_dataset("valid")
    plain = open_task(databin).load_dataset("valid")
    assert torch.equal(valid[2]["source"], plain[2]["source"])
    first, again = train[3], train[3]
    assert torch.equal(first["source"], again["source"])
    train.set_epoch(2)
    assert not torch.equal(train[3]["source"], first["source"])
    assert not torch.equal(train[4]["source"], first["source"])
    train.set_epoch(1)
    assert torch.equal(train[3]["source"], first["source"])
    for index in range(len(train)):
        rows = rows_of(train[index])
        assert (rows >= 0).all()
        assert rows.tolist() == sorted(rows.tolist())
        assert len(train[index]["performance"]) == len(rows)


@pytest.mark.parametrize("spec", ["flip", "transpose=x", "transpose=-2", "drop=1.5", "stretch=2"])
def test_bad_augmentation(spec, databin):
    assert reason(databin, augment=spec) == "bad-augmentation"


# -- what can be wrong


def test_missing_and_empty_parts(broken, tmp_path):
    assert reason(tmp_path / "nothing") == "not-found"
    assert reason(broken, "test") == "missing-split"
    from musicbert.corpus.bins.databin import write_indexed_dataset

    write_indexed_dataset([], broken / "input0" / "test")
    assert reason(broken, "test") == "missing-labels"
    (broken / "label" / "test.label").touch()
    assert reason(broken, "test") == "empty-split"
    path = broken / "input0" / "valid.idx"
    path.write_bytes(path.read_bytes()[:-1])
    assert reason(broken, "valid") == "bad-index"
    shutil.copy(broken / "input0" / "train.idx", path)
    shutil.copy(broken / "input0" / "train.bin", path.with_suffix(".bin"))
    (broken / "label" / "valid.label").unlink()
    (broken / "label" / "valid.id").unlink()
    assert reason(broken, "valid") == "missing-labels"


def test_wrong_number_of_labels(broken):
    path = broken / "label" / "train.label"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    (broken / "label" / "train.id").unlink()
    assert reason(broken) == "wrong-length"


def test_wrong_number_of_identifiers(broken):
    path = broken / "label" / "train.id"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    assert reason(broken) == "wrong-length"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("not json", "bad-label"),
        ("{}", "bad-label"),
        ("[]", "bad-label"),
        ("[0.5, 0.5, 1]", "bad-label"),
        ("[0.5, 0.5, 0.5, 1e999, 1]", "bad-label"),
        ("[0.5, 0.5, 0.5, 3.5, 1]", "bad-label"),
        ("[0.5, 0.5, 0.5, 0.5, 1e999]", "bad-label"),
        ("\udcff", "bad-label"),
        ("[0.5, 0.5, 0.5, 0.5, 7]", "label-mismatch"),
    ],
)
def test_bad_labels(line, expected, broken):
    path = broken / "label" / "train.label"
    lines = path.read_text().splitlines()
    text = "\n".join([*lines[:3], line, *lines[4:]]) + "\n"
    path.write_text(text, errors="surrogateescape")
    assert reason(broken) == expected


def test_other_dimensions_than_named(broken):
    path = broken / "label" / "classes.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "dimensions": record["dimensions"][:3]}))
    assert reason(broken) == "label-mismatch"
    path.write_text("[1")
    assert reason(broken) == "bad-classes"


def test_data_bin_of_another_dictionary(broken):
    path = broken / "input0" / "dict.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[1:], lines[0]]))
    assert reason(broken) == "wrong-dictionary"


@pytest.mark.parametrize("change", ["order", "unknown", "cut"])
def test_tokens_of_another_dictionary(change, broken):
    from musicbert.corpus.bins.databin import read_index, read_tokens, write_indexed_dataset

    prefix = broken / "input0" / "train"
    sizes, tokens = read_index(prefix), read_tokens(prefix).copy()
    pieces = np.split(tokens, np.cumsum(sizes)[:-1])
    if change == "order":
        pieces[5][8:16] = pieces[5][8:16][::-1]
    elif change == "unknown":
        pieces[5][11] = 3
    else:
        pieces[5] = pieces[5][:-1]
    write_indexed_dataset(pieces, prefix)
    assert reason(broken) == "wrong-dictionary"


def test_bad_performance_inputs(broken):
    path = broken / "performance" / "train.performance.npy"
    table = np.load(path)
    np.save(path, table[:-1])
    assert reason(broken, performance_input=True) == "bad-performance"
    np.save(path, table[:, :-1])
    assert reason(broken, performance_input=True) == "bad-performance"
    path.write_bytes(b"\x93NUMPY")
    assert reason(broken, performance_input=True) == "bad-performance"
    shutil.rmtree(broken / "performance")
    assert reason(broken, performance_input=True) == "no-performance"
    assert len(open_task(broken).load_dataset("train")) == 12


def test_head_sizes_come_from_the_data(databin):
    performer, ratings = open_task(databin).terms
    assert (open_task(databin).outputs(performer), open_task(databin).outputs(ratings)) == (3, 4)
    for number in (2, 5):
        wrong = open_task(databin, num_cls_classes=number)
        with pytest.raises(DatasetError, match="class-count-mismatch"):
            wrong.outputs(performer)
    published = open_task(databin, num_cls_classes=5, compat=True)
    assert published.outputs(performer) == 5


def test_sizes_without_classes_json(broken):
    (broken / "label" / "classes.json").unlink()
    data = open_task(broken).data
    assert data.column("performer").classes == ("0", "1", "2")
    assert data.column("ratings").classes == ("0", "1", "2", "3")


def test_performers_of_the_contrastive_task(broken):
    task = open_task(broken, "xai_pretrain_task")
    assert (task.performer, task.performer_count, task.annotation_width) == ("performer", 3, 4)
    published = open_task(broken, "xai_pretrain_task", compat=True)
    dataset = published.load_dataset("train")
    assert published.performer == "published"
    expected = {0: 0, 1: 1, 2: 13}  # the last class is the score
    for index in range(12):
        targets = dataset[index]["targets"]
        assert targets["published"].item() == expected[targets["performer"].item()]
    assert (published.performer_count, published.annotation_width) == (14, 5)
    path = broken / "label" / "train.id"
    path.write_text(path.read_text().replace("Made_D960_mv3_8bars", "Made"))
    with pytest.raises(DatasetError, match="bad-identifier"):
        open_task(broken, "xai_pretrain_task", compat=True)
    path.unlink()
    with pytest.raises(DatasetError, match="missing-ids"):
        open_task(broken, "xai_pretrain_task", compat=True)


def test_one_performer_is_nothing_to_learn(make_databin):
    data = make_databin({"train": 4, "valid": 2}, classes=1)
    with pytest.raises(DatasetError, match=r"one-class.*--performer-column"):
        open_task(data, criterion_name="M2P_xai")
    with pytest.raises(DatasetError, match="one-class"):
        open_task(data, "xai_pretrain_task")
    assert open_task(data, criterion_name="M2PF_xai").data.column("performer").classes == ("Score",)


def test_groups_of_a_study_are_those_of_its_files(broken):
    assert set(open_task(broken).data.groups.values()) != {"a"}
    for part in ("train", "valid"):
        count = len((broken / "label" / f"{part}.id").read_text().splitlines())
        (broken / "label" / f"{part}.group").write_text("a\n" * count)
    assert set(open_task(broken).data.groups.values()) == {"a"}


@pytest.fixture
def rated(databin, tmp_path):
    """The data-bin with the means and numbers of its raters."""
    folder = shutil.copytree(databin, tmp_path / "rated") / "label"
    for part, count in PIECES.items():
        rows = [json.loads(line) for line in (folder / f"{part}.label").read_text().splitlines()]
        (folder / f"{part}.means").write_text(
            "".join(f"{json.dumps([0.25] * 4 + row[4:])}\n" for row in rows)
        )
        counts = [[1 + k, 1 + k, 1 + k, 0] for k in range(count)]
        (folder / f"{part}.raters").write_text("".join(f"{json.dumps(row)}\n" for row in counts))
    return folder.parent


def test_means_are_a_second_target_and_raters_are_weights(rated):
    task = open_task(rated, means_weight=0.5, rater_weights=True, regression_head_name="r")
    assert [(term.label, term.head, term.weight) for term in task.terms] == [
        ("performer", "xai_head", 1.0), ("ratings", "r", 1.0), ("means", "means", 0.5),
    ]  # fmt: skip
    assert "means" not in task.data.labels
    train, valid = task.load_dataset("train"), task.load_dataset("valid")
    batch = train.collater([train[0], train[11]])
    assert (batch["targets"]["means"] == 0.25).all()
    np.testing.assert_allclose(batch["weight"].numpy(), np.array([1, 12]) / 6.5, rtol=1e-6)
    assert "weight" not in valid.collater([valid[0]])
    described = {entry["name"]: entry for entry in task.described_outputs}
    assert described["means"]["names"] == described["r"]["names"]


def test_both_targets_are_in_the_loss_and_the_first_is_reported(rated):
    from musicbert.fairseq_plugin.labels.criterion import BothConfig, BothCriterion
    from musicbert.fairseq_plugin.labels.terms import outputs_of

    def loss(**options):
        task = open_task(rated, **options)
        dataset = task.load_dataset("train")
        sample = dataset.collater([dataset[0], dataset[1]])
        torch.manual_seed(0)
        from musicbert.config import PRESETS
        from musicbert.model import MusicBert

        model = MusicBert(PRESETS["tiny"].with_(layers=1), pooling="mean")
        task.add_heads(model)
        model.eval()
        criterion = BothCriterion(BothConfig(reg_weight=2.0), task)
        total, _, logged = criterion(model, sample)
        return total, logged, [*outputs_of(model, task.terms, sample["net_input"])]

    alone, logged, _ = loss()
    total, both, outputs = loss(means_weight=0.5)
    torch.testing.assert_close(both["_regression_sums"], logged["_regression_sums"])
    assert len(outputs) == 3
    expected = alone + 2.0 * 0.5 * (outputs[2].sigmoid() - 0.25).square().sum()
    torch.testing.assert_close(total, expected)


def test_what_the_data_do_not_have_is_refused(databin, rated):
    from musicbert.errors import ConfigError

    assert reason(databin, means_weight=1.0) == "missing-labels"
    assert reason(databin, rater_weights=True) == "missing-labels"
    for options in (
        {"means_weight": -1.0},
        {"means_weight": 1.0, "criterion_name": "M2P_xai"},
        {"means_weight": 1.0, "criterion_name": "M2PF_xai_adv"},
        {"means_weight": 1.0, "compat": True},
        {"rater_weights": True, "criterion_name": "M2PF_xai_adv"},
        {"phases": 0},
        {"phases": 65},
        *({"name": "xai_pretrain_task", name: 2} for name in ("freeze_layers", "means_weight", "phases")),
    ):
        with pytest.raises(ConfigError) as caught:
            open_task(rated, **options)
        assert caught.value.reason == "bad-options"
    (rated / "label" / "train.raters").write_text("[1, 2]\n" * 12)
    assert reason(rated, rater_weights=True) == "bad-label"


def test_a_split_file_takes_the_place_of_the_parts(databin, tmp_path):
    names = open_task(databin).data.names
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": list(names[:3]), "valid": list(names[4:6])}))
    task = open_task(databin, split_file=str(split))
    assert (task.pieces("train"), task.pieces("valid"), task.pieces("test")) == ([0, 1, 2], [4, 5], [])
    assert len(task.load_dataset("train")) == 3


def test_predictions_are_the_mean_over_phases(make_databin):
    from musicbert.config import PRESETS
    from musicbert.fairseq_plugin.labels.predict import predict_part
    from musicbert.model import MusicBert

    data = make_databin({"train": 2, "test": 3}, notes=(6, 12))

    def predicted(phases, phase=None):
        task = open_task(data, phases=phases)
        torch.manual_seed(0)
        model = task.add_heads(MusicBert(PRESETS["tiny"].with_(layers=1), pooling="mean+sd")).eval()
        if phase is None:
            return predict_part(model, task, "test", device="cpu")["ratings"]
        dataset = task.load_dataset("test")
        dataset.phase = (phase, 3)
        rows = [dataset[index]["source"].view(-1, 8)[1:-1, :2].tolist() for index in range(len(dataset))]
        moved = [
            dataset.collater([dataset[index]])["net_input"]["src_tokens"] for index in range(len(dataset))
        ]
        outputs = [model(tokens, regression_head_name="xai_regression_head")[0].sigmoid() for tokens in moved]
        return rows, torch.cat(outputs).detach().numpy()

    phases = [predicted(3, phase) for phase in range(3)]
    assert phases[0][0] != phases[1][0] != phases[2][0]
    mean = np.mean([outputs for _, outputs in phases], axis=0)
    np.testing.assert_allclose(predicted(3).outputs, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(predicted(1).outputs, phases[0][1], rtol=1e-4, atol=1e-6)
    assert predicted(3).embedding.shape == (3, 256)

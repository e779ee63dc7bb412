"""Names, poles, scale and training range of outputs travel with every checkpoint, whatever its format."""

import csv
import json
import shutil

import pytest
import torch

import musicbert
from musicbert.cli.main import main
from musicbert.predict.tagger import load_tagger_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # fairseq 0.12 is older than torch and NumPy
]

OPTIONS = (
    "--task xai --arch musicbert_tiny --criterion M2PFnP_xai --classification-head-name who "
    "--regression-head-name how --max-update 2 --batch-size 6 --lr 1e-3 --lr-scheduler fixed "
    "--optimizer adam --seed 7 --cpu --num-workers 0 --required-batch-size-multiple 1 --encoder-layers 1 "
    "--encoder-embed-dim 16 --encoder-ffn-embed-dim 32 --encoder-attention-heads 2 --no-epoch-checkpoints"
)
POLES = {"Long": ("long", "short"), "Soft": ("soft", "loud")}
NAMES = {
    "classes": ["0", "1", "Score"],
    "dimensions": [{"name": name, "low": low, "high": high} for name, (low, high) in POLES.items()],
}
#: where labels come from -> lowest and highest rating, rating whose label is 0
SOURCES = {
    "published": ({"format": "xai"}, (1, 7), 0),
    "own": ({"format": "own", "scale": [1, 9], "zero": 1}, (1, 9), 1),
}
FORMATS = {"folder": "folder", "fairseq": "again.pt", "hugging-face": "hugging"}


@pytest.fixture(scope="module")
def labelled(make_databin, tmp_path_factory):
    """Data-bin with one source of labels, and the range of its training labels."""

    def make(source):
        folder = make_databin({"train": 24, "valid": 8, "test": 8}, dimensions=2, missing=0.1)
        (folder / "label" / "classes.json").write_text(
            json.dumps({**NAMES, "label_source": SOURCES[source][0]})
        )
        rows = map(json.loads, (folder / "label" / "train.label").read_text().splitlines())
        columns = [
            [value for value in column if value is not None]
            for column in zip(*(row[:2] for row in rows), strict=True)
        ]
        return folder, [(min(column), max(column)) for column in columns]

    return make


@pytest.fixture(scope="module")
def midi(make_midi_folder):
    return make_midi_folder(2)


def train(data, out):
    from fairseq import checkpoint_utils, options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.logging import metrics
    from fairseq_cli.train import main as run

    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks, models and criteria

    metrics.reset()
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    command = [str(data), "--save-dir", str(out), *OPTIONS.split()]
    args = options.parse_args_and_arch(options.get_training_parser(), input_args=command)
    run(convert_namespace_to_omegaconf(args))


def predict(midi, model, *more):
    assert main(["predict", str(midi), "--model", str(model), "--device", "cpu", *map(str, more)]) == 0


def check_details(details, scores, source, ranges):
    _, (lowest, highest), zero = SOURCES[source]
    assert list(details) == list(POLES)
    for (name, entry), ends in zip(details.items(), ranges, strict=True):
        assert (entry["low"], entry["high"]) == POLES[name]
        assert entry["scale"] == [lowest, highest]
        assert entry["rating"] == pytest.approx(zero + scores[name] * (highest - zero))
        assert entry["trained"] == pytest.approx([zero + end * (highest - zero) for end in ends])


@pytest.mark.parametrize("source", SOURCES)
def test_names_travel_with_a_checkpoint_of_a_training(source, labelled, midi, tmp_path, capsys, caplog):
    data, ranges = labelled(source)
    train(data, tmp_path / "run")
    away = tmp_path / "away"
    away.mkdir()
    shutil.move(tmp_path / "run" / "checkpoint_best.pt", away / "mine.pt")
    for folder in (data, tmp_path / "run"):
        shutil.rmtree(folder)
    models = {"mine": away / "mine.pt"}
    for form, name in FORMATS.items():
        assert main(["checkpoint", "convert", str(away / "mine.pt"), str(away / name), "--to", form]) == 0
        models[form] = away / name
    for model in models.values():
        capsys.readouterr()
        predict(midi, model)
        printed = capsys.readouterr()
        assert "numbered" not in caplog.text
        for line in map(json.loads, printed.out.splitlines()):
            assert list(line["who"]) == NAMES["classes"]
            assert list(line["details"]) == ["how"]
            check_details(line["details"]["how"], line["how"], source, ranges)
    head = musicbert.from_pretrained(models["folder"]).heads["how"]
    assert (head.task, head.poles) == ("regression", tuple(POLES.values()))
    found = musicbert.from_pretrained(models["mine"]).predict(str(next(midi.rglob("*.mid"))))["how"]
    check_details(found.details(), found.as_dict(), source, ranges)
    predict(midi, models["mine"], "--output", away / "scores.csv")
    (row, _) = csv.DictReader((away / "scores.csv").open())
    _, (lowest, highest), zero = SOURCES[source]
    rating = float(row[f"how:Long ({lowest} long, {highest} short)"])
    assert rating == pytest.approx(zero + float(row["how:Long"]) * (highest - zero))
    assert main(["checkpoint", "info", str(models["mine"])]) == 0
    assert f"Soft ({lowest} soft, {highest} loud)" in capsys.readouterr().out


def test_a_checkpoint_without_names_is_said_to_have_none(labelled, midi, tmp_path, capsys, caplog):
    data, _ = labelled("own")
    train(data, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoint_best.pt", weights_only=True)
    del state["task_state"]  # as of earlier versions
    torch.save(state, tmp_path / "old.pt")
    predict(midi, tmp_path / "old.pt")
    inside = capsys.readouterr()
    assert list(json.loads(inside.out.splitlines()[0])["how"]) == list(POLES)
    assert "numbered" not in caplog.text
    shutil.rmtree(data)
    predict(midi, tmp_path / "old.pt")
    outside = capsys.readouterr()
    assert list(json.loads(outside.out.splitlines()[0])["how"]) == ["0", "1"]
    assert "no names of the outputs of who (3), how (2): numbered" in caplog.text


@pytest.mark.parametrize("one_label", [True, False])
def test_names_travel_with_a_fine_tuned_model(one_label, labelled, midi, tmp_path, capsys):
    data, ranges = labelled("own")
    out = tmp_path / "runs"
    more = ["--label", "ratings", "--head", "mean"] if one_label else ["--label", "ratings", "performer"]
    words = ["finetune", "--data", data, "--model", "scratch:musicbert_tiny", "--output", out, "--seeds", "1"]
    words += ["--epochs", "1", "--batch", "8", "--learning-rate", "1e-3", "--resamples", "20", "--cpu"]
    assert main(list(map(str, [*words, "--quiet", "--keep-models", *more]))) == 0
    (model,) = out.glob("fold*/seed1/model")
    shutil.move(model, tmp_path / "away")
    for folder in (data, out):
        shutil.rmtree(folder)
    capsys.readouterr()
    predict(midi, tmp_path / "away")
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    (head,) = line["details"]
    check_details(line["details"][head], line[head], "own", ranges)
    if (tmp_path / "away" / "tagger.json").is_file():
        (result,) = load_tagger_model(tmp_path / "away", device="cpu").predict([next(midi.rglob("*.mid"))])
        check_details(result.details(), result.as_dict(), "own", ranges)

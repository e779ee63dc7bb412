"""Tiny runs of every rating recipe on made data, from training to predictions."""

import contextlib
import json
import logging
import subprocess

import numpy as np
import pytest
import torch
from warm_python import python

from musicbert.evaluation.predictions import load_predictions

# fairseq 0.12 is older than torch and NumPy, which warn about how it uses them
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

COMMON = [
    *("--optimizer", "adam", "--adam-betas", "(0.9,0.98)", "--adam-eps", "1e-6", "--clip-norm", "0.0"),
    *("--weight-decay", "0.01", "--dropout", "0.1", "--attention-dropout", "0.1", "--max-positions", "8192"),
    *("--init-token", "0", "--separator-token", "2", "--shorten-method", "truncate", "--seed", "7"),
    *("--num-workers", "0", "--required-batch-size-multiple", "1", "--no-epoch-checkpoints"),
    *("--log-format", "json", "--log-interval", "1", "--cpu", "--find-unused-parameters"),
]
TINY = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32"),
    *("--encoder-attention-heads", "2"),
]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Run fairseq-train in this process; gives the folder of the checkpoints and the logged values."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.logging import metrics
    from fairseq_cli.train import main

    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks, models and criteria

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny matrices: more threads only wait for one another

    def run(data, *arguments, folder=None, updates=3, batch=6, lr=1e-3, sizes=TINY):
        folder = folder or tmp_path_factory.mktemp("run")
        command = [
            *(str(data), "--save-dir", str(folder), "--max-update", str(updates), "--batch-size", str(batch)),
            *("--lr", str(lr), "--lr-scheduler", "fixed", *COMMON, *sizes, *map(str, arguments)),
        ]
        records = []

        class Keep(logging.Handler):
            def emit(self, record):
                with contextlib.suppress(ValueError):
                    records.append((record.name, json.loads(record.getMessage())))

        metrics.reset()
        handler = Keep()
        logger = logging.getLogger()
        logger.addHandler(handler)
        level = logger.level
        logger.setLevel(logging.INFO)
        try:
            parser = options.get_training_parser()
            args = options.parse_args_and_arch(parser, input_args=command)
            main(convert_namespace_to_omegaconf(args))
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
        return folder, records

    yield run
    torch.set_num_threads(threads)


def values(records, name, key):
    return [float(record[key]) for logger, record in records if logger == name and key in record]


def predict(checkpoint, data, part, **options):
    from musicbert.fairseq_plugin.labels.predict import load_fine_tuned, predict_part

    return predict_part(*load_fine_tuned(checkpoint, data), part, device="cpu", **options)


def finite(records):
    losses = values(records, "train_inner", "loss") + values(records, "valid", "valid_loss")
    return len(losses) > 1 and bool(np.isfinite(losses).all())


RATING = ("--task", "xai", "--arch", "musicbert_tiny", "--classification-head-name", "xai_head")
CONTRAST = ("--task", "xai_pretrain_task", "--arch", "xai_pretrain_tiny", "--num-cls-classes", "3")


@pytest.fixture(scope="module")
def data(make_databin):
    return make_databin({"train": 24, "valid": 8, "test": 7}, missing=0.1, performance=15)


@pytest.mark.parametrize(
    "compat", [(), ("--compat", "--no-shuffle", "--regression-target")], ids=["mended", "compat"]
)
@pytest.mark.parametrize(
    ("criterion", "more", "logged"),
    [
        ("M2P_xai", ["--num-cls-classes", "3"], {"accuracy"}),
        ("M2PF_xai", ["--num-cls-classes", "4"], {"R2", "MSE"}),
        ("M2PF_xai_adv", ["--num-cls-classes", "4"], {"R2", "MSE"}),
        (
            "M2PFnP_xai",
            ["--num-cls-classes", "3", "--num-reg-classes", "4", "--regression-head-name", "xai_res"],
            {"R2", "MSE", "accuracy"},
        ),
    ],
)
def test_rating_recipes(criterion, more, logged, compat, data, train):
    best = "accuracy" if criterion == "M2P_xai" else "R2"
    _, records = train(
        data,
        *RATING,
        *("--criterion", criterion, *more, *compat),
        *("--best-checkpoint-metric", best, "--maximize-best-checkpoint-metric"),
        updates=2,
    )
    assert finite(records)
    valid = next(record for logger, record in records if logger == "valid")
    assert {f"valid_{name}" for name in logged} <= set(valid)
    assert f"valid_best_{best}" not in valid or np.isfinite(float(valid[f"valid_best_{best}"]))


def test_performance_input_augmentation_and_predictions(data, train):
    folder, records = train(
        data,
        *RATING,
        *("--criterion", "M2PFnP_xai", "--performance-input", "--pooling", "mean"),
        *("--augment", "transpose=4,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"),
    )
    assert finite(records)
    one = predict(folder / "checkpoint_last.pt", data, "test", batch_items=1)
    many = predict(folder / "checkpoint_last.pt", data, "test", batch_items=4)
    ratings, performer = one["ratings"], one["performer"]
    assert [str(name)[-6:] for name in ratings.ids] == [f"test{index:02d}" for index in range(7)]
    assert (ratings.outputs.shape, performer.outputs.shape) == ((7, 4), (7, 3))
    assert ratings.embedding.shape == (7, 16)
    for label, predictions in one.items():
        for name in ("outputs", "embedding"):
            first, second = getattr(predictions, name), getattr(many[label], name)
            np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
    lines = (data / "label" / "test.label").read_text().splitlines()
    expected = np.array([[np.nan if v is None else v for v in json.loads(line)] for line in lines])
    np.testing.assert_allclose(ratings.target, expected[:, :-1].astype(np.float32))
    assert performer.target.tolist() == expected[:, -1].tolist()


def test_frozen_layers_stay_and_the_checkpoint_says_so(data, train):
    from musicbert.weights import read_bundle

    two = [*TINY, "--encoder-layers", "2"]
    first, _ = train(data, *RATING, "--criterion", "M2PF_xai", "--performance-input", updates=1, sizes=two)
    levers = ("--pooling", "mean+sd", "--freeze-layers", "1", "--phases", "3")
    both = (*RATING, "--criterion", "M2PFnP_xai", "--regression-head-name", "ratings", *levers)
    start = ("--performance-input", "--init-from", first / "checkpoint_last.pt")
    tuned, records = train(data, *both, *start, sizes=two)
    assert finite(records)
    before, after = (torch.load(folder / "checkpoint_last.pt") for folder in (first, tuned))
    moved = {
        name.removeprefix("encoder.sentence_encoder.")
        for name, value in after["model"].items()
        if name in before["model"] and not torch.equal(value, before["model"][name])
    }
    assert {name.partition(".fc")[0] for name in moved if ".fc" in name} == {"layers.1"}
    assert not any(
        name.startswith(("embed", "emb_", "downsampling", "performance", "layers.0")) for name in moved
    )
    trained = after["last_optimizer_state"]["state"]
    assert len(trained) == sum("layers.1." in name or "_heads." in name for name in after["model"])
    assert [after["cfg"]["task"][name] for name in ("freeze_layers", "phases")] == [1, 3]
    bundle = read_bundle(tuned / "checkpoint_last.pt")
    assert (bundle.pooling, bundle.phases, bundle.origin["frozen layers"]) == ("mean+sd", 3, "1")
    assert len(bundle.settings()["performance_inputs"]) == 15
    found = predict(tuned / "checkpoint_last.pt", data, "test")["ratings"]
    assert found.embedding.shape == (7, 32)


def test_frozen_inputs_that_the_weights_do_not_know_are_refused(data, train):
    from musicbert.errors import CheckpointError, ConfigError

    plain, _ = train(data, *RATING, "--criterion", "M2PF_xai", updates=1)
    freeze = (*RATING, "--criterion", "M2PF_xai", "--freeze-layers", "1")
    with pytest.raises(CheckpointError) as caught:
        train(data, *freeze, "--performance-input", "--init-from", plain / "checkpoint_last.pt", updates=1)
    assert caught.value.reason == "missing-weights"
    given = ("--finetune-from-model", plain / "checkpoint_last.pt")
    with pytest.raises(Exception, match="Cannot load model parameters") as caught:  # fairseq's words
        train(data, *freeze, "--performance-input", *given, updates=1)
    assert caught.value.__context__.reason == "missing-weights"
    with pytest.raises(ConfigError, match="0 to 1 blocks"):
        train(data, *freeze, "--freeze-layers", "2", updates=1)
    random, _ = train(
        data, *freeze, "--performance-input", "--pooling", "mean", updates=1
    )  # the row `random`
    weights = torch.load(random / "checkpoint_last.pt")["model"]
    assert weights["encoder.sentence_encoder.performance_projection.weight"].any()


def test_validation_r2_is_that_of_the_predictions_of_the_whole_set(data, train):
    """Two batches of unequal size: an average of their own R² is another number."""
    from sklearn.metrics import r2_score

    folder, records = train(data, *RATING, "--criterion", "M2PF_xai", batch=5, updates=2)
    found = predict(folder / "checkpoint_last.pt", data, "valid")["ratings"]
    expected = []
    for scores, ratings in zip(found.outputs.T, found.target.T, strict=True):
        there = ~np.isnan(ratings)
        expected.append(r2_score(ratings[there], scores[there]))
    assert values(records, "valid", "valid_R2")[-1] == pytest.approx(np.mean(expected), abs=2e-4)


def test_training_learns(make_databin, train):
    easy = make_databin({"train": 64, "valid": 16}, dimensions=2, seed=3, notes=(6, 14))
    sizes = [
        *("--encoder-layers", "1", "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "64"),
        *("--encoder-attention-heads", "2"),
    ]
    _, records = train(
        easy,
        *(*RATING, "--criterion", "M2PF_xai", "--pooling", "mean"),
        *("--no-save", "--validate-interval", "100"),
        updates=60,
        batch=16,
        lr=3e-3,
        sizes=sizes,
    )
    scores = values(records, "train", "train_R2")
    assert scores[-1] > 0.3
    assert scores[-1] > scores[0] + 0.3
    assert values(records, "valid", "valid_R2")[-1] > 0.2


@pytest.mark.parametrize("compat", [(), ("--compat",)], ids=["mended", "compat"])
def test_contrastive_pre_training_then_fine_tuning(compat, data, train):
    for form in ("", "_ntxent", "_unimodal", "_unimodal_ntxent"):
        folder, records = train(
            data, *CONTRAST, "--criterion", f"xai_pretrain_loss{form}", *compat, updates=2
        )
        assert finite(records), form
        weights = torch.load(folder / "checkpoint_last.pt")["model"]
    assert weights["classificationHead.2.weight"].shape == (14 if compat else 3, 128)
    assert weights["annotationEncoder.0.weight"].shape == (128, 5 if compat else 4)
    assert ("projectionHead.0.weight" in weights) == bool(compat)
    tuned, records = train(
        data,
        *(*CONTRAST, "--criterion", "xai_finetuning_loss", "--is-fine-tuning", *compat),
        *("--init-from", folder / "checkpoint_last.pt"),
        *("--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric"),
        updates=1,
        lr=0.0,
    )
    assert finite(records)
    assert values(records, "valid", "valid_accuracy")
    after = torch.load(tuned / "checkpoint_last.pt")["model"]
    for name in weights:
        torch.testing.assert_close(after[name], weights[name])
    found = predict(tuned / "checkpoint_last.pt", data, "test")
    assert found["performer"].outputs.shape == (7, 14 if compat else 3)
    assert "ratings" not in found


def test_fine_tuning_from_plain_weights_and_from_none(data, train, tmp_path):
    from musicbert.errors import CheckpointError

    plain, _ = train(data, *RATING, "--criterion", "M2P_xai", updates=1)
    before = torch.load(plain / "checkpoint_last.pt")["model"]
    tuning = (*CONTRAST, "--criterion", "xai_finetuning_loss", "--is-fine-tuning")
    tuned, records = train(data, *tuning, "--init-from", plain / "checkpoint_last.pt", updates=1, lr=0.0)
    assert finite(records)
    after = torch.load(tuned / "checkpoint_last.pt")["model"]
    name = "encoder.sentence_encoder.layers.0.fc1.weight"
    torch.testing.assert_close(after[f"mainEncoder.{name}"], before[name])
    for start in (("--init-from", tmp_path / "nowhere.pt"), ("--restore-file", tmp_path / "nowhere.pt"), ()):
        with pytest.raises(CheckpointError) as caught:
            train(data, *tuning, *start, updates=1)
        assert caught.value.reason == "weights-not-loaded"
    _, records = train(data, *tuning, "--from-scratch", updates=1)
    assert finite(records)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize(
    "recipe",
    [
        (*RATING, "--criterion", "M2PFnP_xai", "--performance-input", "--pooling", "mean"),
        (*RATING, "--criterion", "M2PF_xai_adv"),
        (*CONTRAST, "--criterion", "xai_pretrain_loss"),
        (*CONTRAST, "--criterion", "xai_finetuning_loss", "--is-fine-tuning", "--from-scratch"),
    ],
    ids=["both", "adversary", "contrast", "fine-tuning"],
)
def test_half_precision(recipe, dtype, data):
    """One step with model and floats of the batch cast as ``--fp16`` and ``--bf16`` do (which need a GPU)."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks, models and criteria

    command = [str(data), *COMMON, *TINY, *recipe]
    args = options.parse_args_and_arch(options.get_training_parser(), input_args=command)
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(0)
    model, criterion = task.build_model(cfg.model).to(dtype).train(), task.build_criterion(cfg.criterion)
    dataset = task.load_dataset("train")
    sample = dataset.collater([dataset[index] for index in range(6)])
    if "performance" in sample["net_input"]:
        sample["net_input"]["performance"] = sample["net_input"]["performance"].to(dtype)
    sample["target"] = sample["target"].to(dtype)
    loss, size, logging_output = criterion(model, sample)
    (loss / size).backward()
    assert loss.isfinite()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    assert np.isfinite(float(logging_output["loss"]))


def test_resume_continues_where_it_stopped(data, train):
    arguments = (*RATING, "--criterion", "M2PFnP_xai", "--augment", "transpose=3,drop=0.1")
    straight, _ = train(data, *arguments, updates=6)
    folder, _ = train(data, *arguments, updates=3)
    _, records = train(data, *arguments, updates=6, folder=folder)
    assert [int(v) for v in values(records, "train_inner", "num_updates")] == [4, 5, 6]
    expected = torch.load(straight / "checkpoint_last.pt")["model"]
    for name, value in torch.load(folder / "checkpoint_last.pt")["model"].items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_command_lines(data, root, tmp_path):
    """``fairseq-train --user-dir`` and ``scripts/eval_xai.py`` as processes, from another folder."""

    def run(*command):
        command = [python(), *map(str, command)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    train = run(
        *("-c", "from fairseq_cli.train import cli_main; cli_main()", data, "--user-dir", root / "musicbert"),
        *("--save-dir", tmp_path, "--max-update", "1", "--batch-size", "8", "--lr", "1e-3"),
        *(*COMMON, *TINY, *RATING, "--criterion", "M2PF_xai"),
    )
    assert train.returncode == 0, train.stderr
    evaluate = (root / "scripts" / "eval_xai.py", tmp_path / "checkpoint_last.pt", data)
    done = run(*evaluate, "--output", "found.npz")
    assert done.returncode == 0, done.stderr
    found = load_predictions(tmp_path / "found.npz")["ratings"]
    assert found.outputs.shape == (7, 4)
    assert 0 < found.outputs.min() < found.outputs.max() < 1
    assert found.classes == ("d0", "d1", "d2", "d3")
    bad = run(*evaluate, "--split", "nothing")
    assert bad.returncode == 2
    assert "[missing-split]" in bad.stderr
    assert "Traceback" not in bad.stderr

"""Criteria of the rating and contrastive tasks: recorded values, whole-set metrics, missing ratings."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # fairseq is older than its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def plugin():
    from musicbert import fairseq_plugin

    return fairseq_plugin


@pytest.fixture(scope="module")
def golden(fixtures):
    return json.loads((fixtures / "rating_losses.json").read_text())


@pytest.fixture(scope="module")
def inputs(golden):
    return {name: torch.tensor(value) for name, value in golden["inputs"].items()}


class Fake(torch.nn.Module):
    """A model that gives fixed outputs."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, **inputs):
        self.seen = inputs
        return self.outputs


def build(plugin, name, *, compat, **options):
    from fairseq.criterions import CRITERION_REGISTRY

    from musicbert.fairseq_plugin.labels.terms import Term

    cls = CRITERION_REGISTRY[name]
    performer, ratings = Term("performer", "classes"), Term("ratings", "regression", activation="sigmoid")
    terms = {"M2PF_xai": [ratings], "M2PF_xai_adv": [ratings], "M2PFnP_xai": [performer, ratings]}
    task = SimpleNamespace(
        cfg=SimpleNamespace(compat=compat), terms=terms.get(name, [performer]), performer="performer"
    )
    cfg = cls.__dataclass()
    for option, value in options.items():
        setattr(cfg, option, value)
    return cls(cfg, task)


def reduced(criterion, logs):
    """What fairseq shows after one call for each log, as in validation."""
    from fairseq.logging import metrics

    with metrics.aggregate(new_root=True) as shown:
        for log in logs:
            type(criterion).reduce_metrics([log])
    return shown.get_smoothed_values()


#: criterion -> recorded logits, None for the two embeddings
CASES = {
    "M2P_xai": "logits13",
    "M2PF_xai": "logits25",
    "M2PFnP_xai": ("logits13", "logits25"),
    "xai_finetuning_loss": "logits14",
    "xai_pretrain_loss": None,
    "xai_pretrain_loss_ntxent": None,
    "xai_pretrain_loss_unimodal": None,
    "xai_pretrain_loss_unimodal_ntxent": None,
}


def sample_of(target, name="M2PF_xai", ntokens=8, **net_input):
    """A batch with recorded targets: class of the contrastive criterions, ratings, class of the others."""
    target = torch.as_tensor(target)
    first = not name.startswith("M2P")
    performer = target[:, 0 if first else -1].long()
    return {
        "net_input": net_input,
        "targets": {"ratings": target[:, 1:-1], "performer": performer},
        "nsentences": len(target),
        "ntokens": ntokens,
    }


def case(name, inputs, golden, target=None):
    kind = CASES[name]
    if kind is None:
        model = Fake(inputs["emb1"], inputs["emb2"], None)
    elif isinstance(kind, tuple):
        model = Fake(tuple(inputs[each] for each in kind), {})
    else:
        model = Fake(inputs[kind], {})
    target = inputs["target27"] if target is None else target
    sample = sample_of(target, name, golden[name]["logging"]["ntokens"])
    return model, sample


@pytest.mark.parametrize("name", CASES)
def test_compatible_values(name, plugin, golden, inputs):
    criterion = build(plugin, name, compat=True)
    loss, size, log = criterion(*case(name, inputs, golden))
    expected = golden[name]
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-5)
    assert size == expected["sample_size"]
    for key, value in expected["logging"].items():
        logged = log["_classes_sums"].trace() if key == "ncorrect" else log[key]
        assert float(logged) == pytest.approx(value, rel=1e-5), key
    for repeats, recorded in ((1, "reduced_one"), (2, "reduced_two_same")):
        shown = reduced(criterion, [log] * repeats)
        assert {key: shown[key] for key in expected[recorded]} == pytest.approx(expected[recorded], abs=1e-9)


def test_compatible_adversary_is_logged_as_published(plugin, golden):
    expected = golden["M2PF_xai_adv"]
    criterion = build(plugin, "M2PF_xai_adv", compat=True)
    criterion.loss = lambda *_: (torch.tensor(expected["loss"]), 6)
    model = Fake(torch.tensor(expected["clean_logits"]), {})
    _, size, log = criterion(model, sample_of(golden["inputs"]["target27"], ntokens=150))
    assert size == expected["sample_size"]
    shown = reduced(criterion, [log])
    assert {key: shown[key] for key in expected["reduced_one"]} == pytest.approx(expected["reduced_one"])


class Linear(torch.nn.Module):
    """The recorded model of the adversary, behind the interface of ours."""

    def __init__(self, given):
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(given["embedding"]))
        self.first, self.second = torch.tensor(given["W1"]), torch.tensor(given["W2"])

    def embed_tokens(self, tokens):
        return self.table[tokens]

    def forward(self, src_tokens, token_embeddings=None, **_):
        embeddings = self.embed_tokens(src_tokens) if token_embeddings is None else token_embeddings
        return torch.tanh(embeddings.mean(dim=1) @ self.first.T) @ self.second.T, {}


def test_adversary_end_to_end(plugin, golden, monkeypatch):
    expected = golden["M2PF_xai_adv"]
    noise = iter(torch.tensor(expected["inputs"]["noise_std_normal"]))
    monkeypatch.setattr(torch, "randn_like", lambda _: next(noise))
    model = Linear(expected["inputs"])
    tokens = torch.tensor(expected["inputs"]["src_tokens"])
    sample = sample_of(golden["inputs"]["target27"], ntokens=150, src_tokens=tokens)
    loss, size, _ = build(plugin, "M2PF_xai_adv", compat=True)(model, sample)
    assert (loss.item(), size) == (pytest.approx(expected["loss"], rel=1e-5), 6)


def test_mended_adversary_is_off_in_evaluation(plugin, golden):
    expected = golden["M2PF_xai_adv"]
    model = Linear(expected["inputs"])
    tokens = torch.tensor(expected["inputs"]["src_tokens"])
    sample = sample_of(golden["inputs"]["target27"], ntokens=150, src_tokens=tokens)
    criterion = build(plugin, "M2PF_xai_adv", compat=False)
    with torch.no_grad():
        loss, size, _ = criterion(model.eval(), sample)
    assert loss.item() / size == pytest.approx(expected["clean_mse_sigmoid"], rel=1e-5)
    torch.manual_seed(0)
    loss, size, _ = criterion(model.train(), sample)
    assert loss.item() / size > expected["clean_mse_sigmoid"]
    loss.backward()
    assert model.table.grad.isfinite().all()


@pytest.mark.parametrize("workers", [1, 3])
def test_metrics_are_those_of_the_whole_set(workers, plugin):
    """Unequal batches, holes, a piece without ratings: against scikit-learn on everything at once."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(23, 4))
    ratings = rng.uniform(size=(23, 4))
    ratings[rng.random((23, 4)) < 0.3] = np.nan
    ratings[7] = np.nan
    classes = rng.integers(0, 4, size=23)
    scores = 1 / (1 + np.exp(-logits))
    criterion = build(plugin, "M2PFnP_xai", compat=False)
    logs = []
    for part in np.array_split(np.arange(23), [2, 9, 10, 20]):
        target = torch.tensor(np.column_stack([classes, ratings, classes])[part]).float()
        outputs = Fake((torch.tensor(logits[part]).float(), torch.tensor(logits[part]).float()), {})
        logs.append(criterion(outputs, sample_of(target))[2])
    merged = []
    for worker in range(workers):  # what a distributed gather of sums gives
        share = logs[worker::workers]
        merged.append({key: sum(log[key] for log in share) for key in share[0]})
    shown = reduced(criterion, merged)
    there = ~np.isnan(ratings)
    by_dimension = [(ratings[m, j], scores[m, j]) for j, m in enumerate(there.T)]
    assert shown["R2"] == pytest.approx(np.mean([r2_score(*pair) for pair in by_dimension]), abs=1e-4)
    assert shown["pearson"] == pytest.approx(np.mean([pearsonr(*pair)[0] for pair in by_dimension]), abs=1e-4)
    assert shown["MSE"] == pytest.approx(np.square(ratings - scores)[there].mean(), abs=1e-4)
    assert shown["MAE"] == pytest.approx(mean_absolute_error(ratings[there], scores[there]), abs=1e-4)
    assert shown["accuracy"] == pytest.approx(100 * (logits.argmax(1) == classes).mean(), abs=0.01)


def test_perfect_and_constant_scores(plugin):
    from musicbert.fairseq_plugin.labels.sums import metrics_of, r2, sums_of

    ratings = torch.tensor([[0.1, 0.5], [0.3, 0.5], [0.8, 0.5]])
    sums = sums_of("regression", ratings, ratings)
    assert r2(sums)[1].isnan()  # all ratings are equal
    assert (metrics_of("regression", sums)["r2"], metrics_of("regression", sums)["pearson"]) == (1, 1)
    mean = metrics_of("regression", sums_of("regression", torch.full((3, 2), 0.4), ratings))
    assert mean["r2"] == pytest.approx(0, abs=1e-6)
    assert np.isnan(mean["pearson"])


@pytest.mark.parametrize("name", ["M2PF_xai", "M2PFnP_xai", "xai_pretrain_loss", "xai_pretrain_loss_ntxent"])
def test_an_unrated_piece_contributes_nothing(name, plugin, golden, inputs):
    target = inputs["target27"].clone()
    target[2, 1:-1] = torch.nan
    if name == "M2PFnP_xai":
        target[2, -1] = -1
    kept = [0, 1, 3, 4, 5]
    fewer = {key: value[kept] for key, value in inputs.items() if len(value) == 6}
    criterion = build(plugin, name, compat=False)
    loss, size, _ = criterion(*case(name, inputs, golden, target))
    expected, expected_size, _ = criterion(*case(name, fewer, golden, target[kept]))
    torch.testing.assert_close(loss, expected)
    if name != "M2PFnP_xai":
        assert size == pytest.approx(expected_size)


def test_sample_sizes_make_the_loss_a_mean(plugin, golden, inputs):
    loss, size, log = build(plugin, "M2PF_xai", compat=False)(*case("M2PF_xai", inputs, golden))
    assert (loss / size).item() == pytest.approx(golden["M2PF_xai"]["loss"], rel=1e-5)
    assert reduced(build(plugin, "M2PF_xai", compat=False), [log])["loss"] == pytest.approx(0.11196, abs=1e-5)


def test_weights_of_both_tasks(plugin, golden, inputs):
    def loss(**options):
        criterion = build(plugin, "M2PFnP_xai", compat=False, **options)
        return criterion(*case("M2PFnP_xai", inputs, golden))[0].item()

    both, classes, ratings = loss(), loss(reg_weight=0.0), loss(cls_weight=0.0)
    assert both == pytest.approx(golden["M2PFnP_xai"]["loss"], rel=1e-5)
    assert classes == pytest.approx(golden["M2P_xai"]["loss"], rel=1e-5)
    assert both == pytest.approx(classes + ratings, rel=1e-5)


@pytest.mark.parametrize("compat", [False, True])
def test_odd_batch_of_halves(compat, plugin, golden, inputs):
    odd = {key: value[:5] for key, value in inputs.items() if len(value) == 6}
    target = inputs["target27"][:5]
    supcon = build(plugin, "xai_pretrain_loss_unimodal", compat=True)
    loss, _, _ = supcon(*case("xai_pretrain_loss_unimodal", odd, golden, target))
    assert loss.item() == pytest.approx(golden["unimodal_supcon_odd_batch5"], rel=1e-5)
    pairs = build(plugin, "xai_pretrain_loss_unimodal_ntxent", compat=compat)
    arguments = case("xai_pretrain_loss_unimodal_ntxent", odd, golden, target)
    if compat:
        with pytest.raises(ValueError, match="pairs"):
            pairs(*arguments)
        return
    even = {key: value[:4] for key, value in odd.items()}
    expected, _, _ = pairs(*case("xai_pretrain_loss_unimodal_ntxent", even, golden, target[:4]))
    loss, size, _ = pairs(*arguments)
    assert loss.item() / size == pytest.approx(expected.item() / 4, rel=1e-5)


def test_temperature(plugin, golden, inputs):
    criterion = build(plugin, "xai_pretrain_loss", compat=True, contrastive_temperature=0.1)
    loss, _, _ = criterion(*case("xai_pretrain_loss", inputs, golden))
    assert loss.item() == pytest.approx(golden["LASCon_direct"]["supcon|T=0.1"], rel=1e-5)

"""Losses of the rating tasks against values recorded from the published code (float32, rtol 1e-5)."""

import json

import pytest
import torch
import torch.nn.functional as F

from musicbert.model.heads.sentence import AnnotationEncoder
from musicbert.model.losses.adversary import Adversary, adversarial_loss
from musicbert.model.losses.contrastive import lascon
from musicbert.model.losses.labels import label_loss, mean_squared_error


@pytest.fixture(scope="module")
def golden(fixtures):
    return json.loads((fixtures / "rating_losses.json").read_text())


@pytest.fixture(scope="module")
def inputs(golden):
    return {name: torch.tensor(value) for name, value in golden["inputs"].items()}


def close(value, expected):
    torch.testing.assert_close(value, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def performer_cross_entropy(logits, classes):
    return label_loss("classes", logits, classes.long())[0]


def test_performer_cross_entropy(golden, inputs):
    close(performer_cross_entropy(inputs["logits13"], inputs["target27"][:, -1]), golden["M2P_xai"]["loss"])
    close(
        performer_cross_entropy(inputs["logits14"], inputs["target27"][:, 0]),
        golden["xai_finetuning_loss"]["loss"],
    )


def test_squared_errors(golden, inputs):
    scores, ratings = torch.sigmoid(inputs["logits25"]), inputs["target27"][:, 1:-1]
    close(mean_squared_error(scores, ratings), golden["M2PF_xai"]["loss"])
    total, count = label_loss("regression", scores, ratings)
    assert count == ratings.numel()
    both = total + performer_cross_entropy(inputs["logits13"], inputs["target27"][:, -1])
    close(both, golden["M2PFnP_xai"]["loss"])


CASES = {
    "supcon|out_loss=True": {"similarity": "supcon"},
    "supcon|out_loss=False": {"similarity": "supcon", "log_outside": False},
    "nt-xent|out_loss=True": {"similarity": "nt-xent"},
    "nt-xent|out_loss=False": {"similarity": "nt-xent", "log_outside": False},
    "tanh|out_loss=True": {"similarity": "tanh"},
    "tanh|out_loss=False": {"similarity": "tanh", "log_outside": False},
    "linear|out_loss=True": {"similarity": "linear"},
    "linear|out_loss=False": {"similarity": "linear", "log_outside": False},
    "supcon|T=0.1": {"similarity": "supcon", "temperature": 0.1},
    "supcon|T=1.0": {"similarity": "supcon", "temperature": 1.0},
    "tanh|cont": {"similarity": "tanh"},
    "tanh|cont|s_coef=5": {"similarity": "tanh", "slope": 5.0},
    "linear|cont": {"similarity": "linear"},
}


@pytest.mark.parametrize("case", CASES)
def test_lascon(case, golden, inputs):
    labels = inputs["target27"][:, 4] if "cont" in case else inputs["performer_ids"]
    loss = lascon(inputs["emb1"], inputs["emb2"], labels, labels, compat=True, **CASES[case])
    close(loss, golden["LASCon_direct"][case])


def row_form(views, weights, temperature=0.5):
    """The formula of the module's docstring, term by term."""
    views = F.normalize(views, dim=-1)
    total = 0.0
    for i in range(len(views)):
        others = [j for j in range(len(views)) if j != i]
        scores = torch.stack([views[i] @ views[j] / temperature for j in others])
        log_u = scores - scores.logsumexp(0)
        w = torch.tensor([weights(i, j) for j in others])
        total = total - (w * log_u).sum() / w.sum()
    return total / len(views)


def test_lascon_by_row_is_the_formula_and_not_the_column(golden, inputs):
    labels = inputs["performer_ids"]
    both = labels.tolist() * 2
    loss = lascon(inputs["emb1"], inputs["emb2"], labels, labels)
    views = torch.cat([inputs["emb1"], inputs["emb2"]])
    expected = row_form(views, lambda i, j: 1.0 if both[i] == both[j] else 0.01)
    torch.testing.assert_close(loss, expected)
    assert abs(loss.item() - golden["LASCon_direct"]["supcon|out_loss=True"]) > 1e-3


def test_lascon_by_row_equals_by_column_for_pairs(inputs):
    labels = inputs["performer_ids"]
    pair = (inputs["emb1"], inputs["emb2"], labels, labels)
    row, column = (lascon(*pair, similarity="nt-xent", compat=compat) for compat in (False, True))
    torch.testing.assert_close(row, column)


def test_halves_of_a_batch(golden, inputs):
    e, p = inputs["emb1"], inputs["performer_ids"]
    close(lascon(e[:3], e[3:], p[:3], p[3:], compat=True), golden["xai_pretrain_loss_unimodal"]["loss"])
    close(
        lascon(e[:3], e[3:], p[:3], p[3:], similarity="nt-xent", compat=True),
        golden["xai_pretrain_loss_unimodal_ntxent"]["loss"],
    )
    close(lascon(e[:2], e[2:5], p[:2], p[2:5], compat=True), golden["unimodal_supcon_odd_batch5"])
    with pytest.raises(ValueError, match="pairs"):
        lascon(e[:2], e[2:5], p[:2], p[2:5], similarity="nt-xent", compat=True)


def test_unknown_similarity(inputs):
    labels = inputs["performer_ids"]
    with pytest.raises(ValueError, match="similarity is one of"):
        lascon(inputs["emb1"], inputs["emb2"], labels, labels, similarity="cosine")


@pytest.fixture(scope="module")
def adversary(golden, inputs):
    given = {k: torch.tensor(v) for k, v in golden["M2PF_xai_adv"]["inputs"].items() if isinstance(v, list)}

    def forward(embeddings):
        return torch.tanh(embeddings.mean(dim=1) @ given["W1"].T) @ given["W2"].T

    embeddings = given["embedding"][given["src_tokens"]].requires_grad_()
    ratings = inputs["target27"][:, 1:-1]
    return embeddings, forward, ratings, tuple(given["noise_std_normal"])


def test_adversary(golden, adversary):
    embeddings, forward, ratings, noise = adversary
    expected = golden["M2PF_xai_adv"]
    clean = forward(embeddings)
    close(clean, expected["clean_logits"])
    terms = adversarial_loss(
        embeddings, forward, ratings, clean, settings=Adversary(compat=True), noise=noise
    )
    close(terms["virtual"], expected["virtual_loss"])
    close(terms["labels"], expected["labels_loss"])
    close(terms["loss"], expected["loss"])
    assert "clean" not in terms
    close(mean_squared_error(torch.sigmoid(clean), ratings), expected["clean_mse_sigmoid"])


def test_mended_adversary_compares_scores_and_supervises(golden, adversary):
    embeddings, forward, ratings, noise = adversary
    terms = adversarial_loss(embeddings, forward, ratings, forward(embeddings), noise=noise)
    close(terms["clean"], golden["M2PF_xai_adv"]["clean_mse_sigmoid"])
    torch.testing.assert_close(terms["loss"], terms["clean"] + terms["labels"] + terms["virtual"])
    assert terms["labels"] < 1 > terms["virtual"]  # squared distances of numbers on 0-1
    small = Adversary(radius=1e-4)
    near = adversarial_loss(embeddings, forward, ratings, forward(embeddings), settings=small, noise=noise)
    torch.testing.assert_close(near["labels"], near["clean"], rtol=1e-3, atol=1e-6)
    assert terms["labels"] > near["labels"]


def test_missing_ratings_are_masked_not_zero():
    scores = torch.tensor([[0.5, 0.25], [0.75, 1.0]], requires_grad=True)
    ratings = torch.tensor([[0.25, torch.nan], [torch.nan, torch.nan]])
    total, count = label_loss("regression", scores, ratings)
    assert (total.item(), count.item()) == (0.0625, 1)
    mean_squared_error(scores, ratings).backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[0.5, 0.0], [0.0, 0.0]]))
    nothing = mean_squared_error(scores, torch.full((2, 2), torch.nan))
    assert nothing.item() == 0.0


def test_a_piece_without_ratings_moves_no_part_of_the_adversary(adversary):
    embeddings, forward, ratings, noise = adversary
    ratings = ratings.clone()
    ratings[2] = torch.nan
    for compat in (False, True):
        leaf = embeddings.detach().clone().requires_grad_()
        terms = adversarial_loss(
            leaf, forward, ratings, forward(leaf), settings=Adversary(compat=compat), noise=noise
        )
        terms["loss"].backward()
        assert terms["loss"].isfinite()
        assert leaf.grad.isfinite().all()
        assert leaf.grad[2].abs().max() == 0
        assert leaf.grad[1].abs().max() > 0


def test_unknown_performer_contributes_nothing(inputs):
    classes = inputs["class_ids"].clone()
    classes[0] = -1
    expected = performer_cross_entropy(inputs["logits13"][1:], classes[1:])
    torch.testing.assert_close(performer_cross_entropy(inputs["logits13"], classes), expected)


def test_annotation_encoder_fills_missing_ratings():
    torch.manual_seed(0)
    encoder = AnnotationEncoder(5, 8)
    ratings = torch.rand(3, 5)
    full = encoder(ratings)
    ratings[1, 2] = torch.nan
    holed = encoder(ratings)
    torch.testing.assert_close(holed[[0, 2]], full[[0, 2]])
    assert not torch.equal(holed[1], full[1])
    holed.sum().backward()
    assert (encoder.missing.grad != 0).tolist() == [False, False, True, False, False]
    published = AnnotationEncoder(26, 768, compat=True)
    assert {k: tuple(v.shape) for k, v in published.state_dict().items()} == {
        "0.weight": (128, 26),
        "0.bias": (128,),
        "2.weight": (768, 128),
        "2.bias": (768,),
    }

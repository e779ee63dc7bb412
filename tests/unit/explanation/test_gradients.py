"""Integrated gradients: completeness, planted rules, captum, and the same numbers whatever the windows."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from explained import performances, planted_rows, random_target, trained
from scipy.stats import spearmanr

from musicbert.config import M2BERT_PRESETS
from musicbert.explanation import TaggerTarget
from musicbert.explanation.gradients import hidden, integrated_gradients
from musicbert.explanation.networks import Network, _entry, _hooked
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.note_states import note_states
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.predict.pieces import Piece, read_piece
from musicbert.predict.tagger import TaggerModel


def network_and_piece(**options):
    target = random_target(**options)
    return target, Network.of(target), target.model.read(performances()[0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "first", "activation": "none"},
        {"pooling": "mean+sd", "phases": 3},
        {"performance_features": 15},
        {"max_positions": 24, "performance_features": 15},  # several windows
        {"max_positions": 24, "activation": "softmax", "phases": 2},
    ],
)
def test_contributions_add_up_to_the_difference_of_the_predicted_scores(options):
    target, network, piece = network_and_piece(**options)
    here, there = target.scores([piece])[0], target.scores([hidden(piece)])[0]
    for number, found in enumerate(integrated_gradients(network, piece, hidden(piece), [0, 1])):
        assert found.score == pytest.approx(here[number], abs=1e-5)
        assert found.reference == pytest.approx(there[number], abs=1e-5)
        assert found.notes.sum() == pytest.approx(here[number] - there[number], rel=0.01, abs=1e-5)
        assert found.gap < 0.01
        assert found.fields.shape == (len(piece.rows), 8)
        assert found.inputs.shape == (len(piece.rows), options.get("performance_features", 0))


def test_steps_are_raised_until_the_gap_is_small():
    _, network, piece = network_and_piece(performance_features=15)
    (coarse,) = integrated_gradients(network, piece, hidden(piece), [0], steps=1, most_steps=1)
    (fine,) = integrated_gradients(network, piece, hidden(piece), [0], steps=1)
    assert coarse.gap > 0.01 > fine.gap
    assert fine.steps > 1


def test_notes_are_those_of_captum():
    captum = pytest.importorskip("captum.attr", reason="captum is in the extra dev")
    _, network, piece = network_and_piece(activation="none", performance_features=15)
    (pair,) = network.windows(piece, hidden(piece))
    layer = network.backbone.encoder.sentence_encoder.emb_layer_norm
    theirs = captum.LayerIntegratedGradients(lambda tokens, inputs: network.forward(tokens, inputs), layer)
    of_rows = theirs.attribute(
        (pair.tokens, pair.performance),
        (pair.baseline_tokens, pair.baseline_performance),
        target=1,
        n_steps=64,
        method="gausslegendre",
        attribute_to_layer_input=True,
    )
    (ours,) = integrated_gradients(network, piece, hidden(piece), [1], steps=64, most_steps=64)
    of_notes = of_rows[0].sum(-1)[1:-1].detach().numpy()
    assert np.allclose(ours.notes, of_notes, atol=1e-5 * np.abs(of_notes).max() + 1e-6)


def test_the_same_in_any_batch_and_alone():
    _, network, piece = network_and_piece(performance_features=15)
    (alone,) = integrated_gradients(network, piece, hidden(piece), [1], steps=16, most_steps=16)
    both = integrated_gradients(network, piece, hidden(piece), [0, 1], steps=16, most_steps=16)
    assert np.allclose(alone.fields, both[1].fields, atol=1e-6)
    assert np.allclose(alone.inputs, both[1].inputs, atol=1e-6)


def test_chunks_of_the_path_do_not_matter(monkeypatch):
    _, network, piece = network_and_piece(max_positions=24)
    (before,) = integrated_gradients(network, piece, hidden(piece), [0], steps=8, most_steps=8)
    monkeypatch.setattr("musicbert.explanation.gradients.BATCH_ROWS", 48)
    (after,) = integrated_gradients(network, piece, hidden(piece), [0], steps=8, most_steps=8)
    assert np.allclose(before.fields, after.fields, atol=1e-6)


def test_padding_adds_nothing():
    """Gradients of a window are the same beside a longer one in a padded batch."""
    _, network, piece = network_and_piece()
    layout = network.runner.layout
    short, long = layout.tokens(piece.rows[:20], 0), layout.tokens(piece.rows, 0)
    padded = layout.collate([short, long])
    states = network.embedded(padded, None)
    alone = network.embedded(layout.collate([short]), None)
    gradients = []
    for tokens, embedded in ((layout.collate([short]), alone), (padded, states)):
        points = embedded.clone().requires_grad_()
        with _hooked(_entry(network.backbone), lambda _, a, points=points: (points, *a[1:])):
            scores = network.forward(tokens, None)
        gradients.append(torch.autograd.grad(scores[0, 0], points)[0][0])
    assert torch.allclose(gradients[0], gradients[1][:22], atol=1e-5)
    assert gradients[1][22:].abs().max() == 0


@cache
def planted_maps():
    """Contributions of notes that a trained network, others, and the rule itself give, of 8 pieces."""
    rng = np.random.default_rng(99)
    pieces = [planted_rows(rng) for _ in range(8)]
    target, loss = trained(0)
    assert loss < 2e-3

    def maps(target):
        network = Network.of(target)
        found = (
            integrated_gradients(network, Piece(rows), hidden(Piece(rows)), [0], steps=16)[0].notes
            for rows, _ in pieces
        )
        return np.stack(list(found))

    others = {
        "random": [maps(random_target(seed, activation="none")) for seed in range(1, 5)],
        "shuffled": [maps(trained(seed, shuffled=True)[0]) for seed in (1, 2)],
    }
    return SimpleNamespace(rule=np.stack([counts for _, counts in pieces]), here=maps(target), others=others)


def test_notes_of_a_planted_rule_are_found():
    made = planted_maps()
    for values, rule in zip(made.here, made.rule, strict=True):
        if rule.any() and not rule.all():
            assert (values[rule][:, None] > values[~rule][None]).mean() >= 0.95


@pytest.mark.parametrize("kind", ["random", "shuffled"])
def test_random_weights_and_shuffled_labels_destroy_the_map(kind):
    made = planted_maps()
    correlations = [
        spearmanr(one, other)[0]
        for maps in made.others[kind]
        for one, other in zip(made.here, maps, strict=True)
    ]
    assert abs(np.mean(correlations)) < 0.25


def test_a_tagger_of_compound_words_is_explained():
    torch.manual_seed(0)
    config = M2BERT_PRESETS["tiny"].with_(layers=2, width=16, ffn_width=24, heads=2, embedding_width=8)
    tagger = Tagger(M2Bert(config), TagSettings(3, head="attention", dropout=0.0)).eval()
    task = {"kind": "classes", "level": "sequence", "label": "mood", "classes": ["a", "b", "c"]}
    settings = {
        "task": task,
        "codec": "cp",
        "family": "m2bert",
        "window": 24,
        "overlap": 6,
        "architecture": {},
    }
    target = TaggerTarget(TaggerModel(tagger, settings, device="cpu"))
    network = Network.of(target)
    piece = read_piece(performances()[0], codec="cp")
    (found,) = integrated_gradients(network, piece, hidden(piece), [2])
    assert found.fields.shape == (len(piece.rows), 4)
    assert found.score == pytest.approx(target.scores([piece])[0, 2], abs=1e-5)
    assert found.gap < 0.01


def test_a_number_of_a_masked_language_model_is_explained():
    model = random_target().model

    def loudest_state(tokens, performance):
        return note_states(model.module, tokens, performance=performance).states[0].amax(1)[:, :1]

    network = Network.of_embedder(model, loudest_state, ("state 0",))
    piece = model.read(performances()[0])
    (found,) = integrated_gradients(network, piece, hidden(piece), [0])
    assert found.output == "state 0"
    assert found.gap < 0.01

"""Tiny networks for tests of explanations: at random, and trained on a planted rule."""

import numpy as np
import torch

from musicbert.config import ModelConfig
from musicbert.encoding import FIELD_SIZES
from musicbert.explanation import HeadTarget
from musicbert.model import MusicBert
from musicbert.predict import Model
from musicbert.predict.windows import Layout
from musicbert.synthesis import make_set
from musicbert.weights import Bundle, Head

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=130)
#: pitches that count in the planted rule
PLANTED = range(60, 67)


def bundled(module, activation="sigmoid", outputs=2, **options):
    head = Head("ratings", "regression", outputs, activation)
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    return Model(Bundle(module.config, weights, (head,), pooling=module.pooling, **options), device="cpu")


def random_module(seed=0, pooling="mean", outputs=2, scale=4.0, **changes):
    torch.manual_seed(seed)
    module = MusicBert(CONFIG.with_(**changes), pooling=pooling)
    module.register_regression_head("ratings", outputs)
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(scale)  # far from the near-equal outputs of new weights
        if module.config.performance_features:
            projection = module.encoder.sentence_encoder.performance_projection.weight
            projection.normal_(0.0, 0.3)
    return module.eval()


def random_target(seed=0, pooling="mean", activation="sigmoid", phases=1, **changes):
    """A head of random weights."""
    return HeadTarget(bundled(random_module(seed, pooling, **changes), activation, phases=phases))


def performances():
    """Performances of the same bars: eight bars of 3/4."""
    made = list(make_set(3, performers=8, segments=1, movements=1).scores.values())
    return [each for each in made if sorted(each.pitch) == sorted(made[0].pitch)]


def planted_rows(rng, notes=16):
    """Rows of notes in one bar each two, of which about a fifth has a planted pitch."""
    rows = np.stack([rng.integers(0, size, notes) for size in FIELD_SIZES], axis=1)
    rows[:, 0] = np.arange(notes) // 2
    rows[:, 1], rows[:, 2], rows[:, 6], rows[:, 7] = 8 * (np.arange(notes) % 2), 0, 4, 30
    counts = rng.random(notes) < 0.2
    rows[:, 3] = np.where(counts, rng.choice(PLANTED, notes), rng.integers(70, 90, notes))
    return rows, counts


def trained(seed, shuffled=False):
    """A network that learned the share of planted pitches (or shuffled shares), in about two seconds."""
    rng = np.random.default_rng(seed)
    module = random_module(seed, outputs=1, scale=1.0, layers=1)
    layout = Layout("octuple", cells=False)
    pieces = [planted_rows(rng) for _ in range(256)]
    tokens = layout.collate([layout.tokens(rows, 0) for rows, _ in pieces])
    shares = torch.tensor([counts.mean() for _, counts in pieces], dtype=torch.float32)
    shares = shares[torch.randperm(len(shares))] if shuffled else shares
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(100):
        chosen = torch.randint(0, len(pieces), (32,))
        output, _ = module(tokens[chosen], regression_head_name="ratings")
        loss = (output[:, 0] - shares[chosen]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return HeadTarget(bundled(module.eval(), "none", outputs=1)), float(loss.detach())

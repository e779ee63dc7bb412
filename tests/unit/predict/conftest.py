"""Models at tiny random weights, a fine-tuned micro model, and music for them."""

import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.model import MusicBert
from musicbert.predict import Model
from musicbert.weights import Bundle, Head, read_bundle

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=1100)
SHORT = ("s01_basic_4_4", "s02_percussion_multi_program", "s05_ts_6_8", "s15_unison_duplicates")
LONG = ("s13_2600_notes", "s09_long_truncation", "s18_sparse_over_256_bars")


def bundle_of(model, heads=(), **options):
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return Bundle(model.config, weights, heads, **options)


def made_model(seed=0, pooling="first", **changes):
    torch.manual_seed(seed)
    module = MusicBert(CONFIG.with_(**changes), pooling=pooling)
    module.register_classification_head("composer", 3)
    module.register_regression_head("ratings", 2)
    heads = (
        Head("composer", "classification", 3, "softmax", ("a", "b", "c")),
        Head("ratings", "regression", 2, "sigmoid"),
    )
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(4)  # far from the near-equal outputs of new weights
    return Model(bundle_of(module, heads, pooling=pooling), device="cpu")


@pytest.fixture(scope="session")
def make_model():
    """Factory: ``make_model(seed=0, pooling="first", **changes_of_the_configuration)``."""
    return made_model


@pytest.fixture(scope="session")
def model():
    """A model with a head of classes and one of ratings."""
    return made_model()


@pytest.fixture(scope="session")
def micro(fixtures):
    """The fine-tuned micro model."""
    return Model(read_bundle(fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt"), device="cpu")


@pytest.fixture(scope="session")
def midi(fixtures):
    """Path of each MIDI file by name: four short pieces and three long ones."""
    return {name: fixtures / "musicbert" / f"{name}.mid" for name in (*SHORT, *LONG)}

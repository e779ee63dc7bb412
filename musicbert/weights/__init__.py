"""Checkpoints of MusicBERT, M2BERT and MidiBERT: finding, loading, converting and verifying them."""

from musicbert.weights.bundle import Bundle
from musicbert.weights.container import Checkpoint, load_checkpoint
from musicbert.weights.fairseq_file import save_ckpt, save_fairseq
from musicbert.weights.families.family import Family, KeyReport
from musicbert.weights.families.known import (
    FAMILIES,
    check_settings,
    family_of,
    fit_weights,
    infer_config,
    rename,
)
from musicbert.weights.folder import save_folder
from musicbert.weights.loading import (
    build_model,
    check_view,
    load_folder,
    load_into,
    load_model,
    read_bundle,
    view_of,
)
from musicbert.weights.names import PUBLISHED, Source, resolve
from musicbert.weights.output_names import Head
from musicbert.weights.verify import Verification, record, verify

__all__ = [
    "FAMILIES",
    "PUBLISHED",
    "Bundle",
    "Checkpoint",
    "Family",
    "Head",
    "KeyReport",
    "Source",
    "Verification",
    "build_model",
    "check_settings",
    "check_view",
    "family_of",
    "fit_weights",
    "infer_config",
    "load_checkpoint",
    "load_folder",
    "load_into",
    "load_model",
    "read_bundle",
    "record",
    "rename",
    "resolve",
    "save_ckpt",
    "save_fairseq",
    "save_folder",
    "verify",
    "view_of",
]

"""Checkpoints: finding, loading, converting and verifying them."""

from musicbert.weights.bundle import Bundle, Head, build_model, read_bundle
from musicbert.weights.container import Checkpoint, load_checkpoint
from musicbert.weights.fairseq_file import save_fairseq
from musicbert.weights.folder import load_folder, save_folder
from musicbert.weights.loading import load_into, load_model
from musicbert.weights.m2bert.folder import (
    M2BertBundle,
    build_m2bert,
    load_m2bert,
    open_checkpoint,
    read_m2bert,
    save_m2bert_ckpt,
    save_m2bert_fairseq,
    save_m2bert_folder,
)
from musicbert.weights.mapping import KeyReport, check_heads, fit_weights, infer_config, rename
from musicbert.weights.names import PUBLISHED, Source, resolve
from musicbert.weights.verify import Verification, record, verify
from musicbert.weights.view import check_view, view_of

__all__ = [
    "PUBLISHED",
    "Bundle",
    "Checkpoint",
    "Head",
    "KeyReport",
    "M2BertBundle",
    "Source",
    "Verification",
    "build_m2bert",
    "build_model",
    "check_heads",
    "check_view",
    "fit_weights",
    "infer_config",
    "load_checkpoint",
    "load_folder",
    "load_into",
    "load_m2bert",
    "load_model",
    "open_checkpoint",
    "read_bundle",
    "read_m2bert",
    "record",
    "rename",
    "resolve",
    "save_fairseq",
    "save_folder",
    "save_m2bert_ckpt",
    "save_m2bert_fairseq",
    "save_m2bert_folder",
    "verify",
    "view_of",
]

"""What fairseq 0.12 needs to work with a torch of today, in one place.

torch 2.6 and later read pickles with ``weights_only=True``, and fairseq's checkpoints hold a few objects
beside the tensors. The classes below are harmless (they only store values) and are put on torch's allow-list;
every other class in a checkpoint is still refused. Nothing here, or anywhere in this package, loads with
``weights_only=False``.
"""

from __future__ import annotations

import argparse
import collections
import typing

import torch

__all__ = ["allow_training_state"]


def allow_training_state() -> None:
    """Let ``torch.load`` read the settings in fairseq's checkpoints: needed to resume, and to evaluate.

    ``argparse.Namespace`` is written by fairseq itself; the classes of omegaconf are in checkpoints of
    fairseq 1.0.0a0 such as the published ones.
    """
    from omegaconf import DictConfig, ListConfig, base, nodes

    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            collections.defaultdict,
            dict,
            list,
            int,
            typing.Any,
            DictConfig,
            ListConfig,
            base.ContainerMetadata,
            base.Metadata,
            nodes.AnyNode,
            nodes.BooleanNode,
            nodes.FloatNode,
            nodes.IntegerNode,
            nodes.StringNode,
        ]
    )

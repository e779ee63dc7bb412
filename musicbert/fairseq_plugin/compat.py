"""What fairseq 0.12 needs to work with a torch of today, in one place.

torch 2.6 and later read pickles with ``weights_only=True``, and fairseq's checkpoints hold a few objects
beside the tensors. The classes below are harmless (they only store values) and are put on torch's allow-list;
every other class in a checkpoint is still refused. Nothing here, or anywhere in this package, loads with
``weights_only=False``.

fairseq takes ``--bf16`` for a sign of a TPU and then looks for one. Where there is none, training goes on on
the GPU, or on the CPU.

The published recipe is ``--task masked_lm --criterion masked_lm --arch musicbert_<size>``, and its users
expect bar masking. fairseq has no hook for that, and registering a taken name silently gives the old class
back. So the entry ``masked_lm`` of the public ``TASK_REGISTRY`` is set to a subclass: where the dictionary is
that of OctupleMIDI it masks octuples (compatible mode); for any other dictionary it does what fairseq's own
class does, and refuses to build a MusicBERT.
"""

from __future__ import annotations

import argparse
import collections
import functools
import importlib.util
import typing
from typing import Any

import torch
from fairseq import utils
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.masked_lm import MaskedLMTask
from omegaconf import open_dict

from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.datasets import is_octuple_dictionary
from musicbert.fairseq_plugin.masked_lm_task import masked_blocks
from musicbert.fairseq_plugin.model import MusicBertModel
from musicbert.masking import MaskPolicy

__all__ = [
    "PublishedMaskedLMTask",
    "allow_bfloat16_on_gpu",
    "allow_training_state",
    "use_published_masked_lm",
]


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


def allow_bfloat16_on_gpu() -> None:
    """Let ``--bf16`` train on a GPU: undo fairseq's ``tpu = True`` where no TPU library is installed."""
    start = distributed_utils.call_main
    if getattr(start, "undoes_tpu", False):
        return

    @functools.wraps(start)
    def call_main(cfg: Any, main: Any, **kwargs: Any) -> Any:
        if cfg.common.tpu and importlib.util.find_spec("torch_xla") is None:
            with open_dict(cfg):
                cfg.common.tpu = False
        return start(cfg, main, **kwargs)

    call_main.undoes_tpu = True  # type: ignore[attr-defined]
    distributed_utils.call_main = call_main


class PublishedMaskedLMTask(MaskedLMTask):
    """fairseq's ``masked_lm``, with bar masking where the data are octuples."""

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model; MusicBERT needs the data of OctupleMIDI.

        Raises
        ------
        DatasetError
            ``wrong-dictionary``.
        """
        model = super().build_model(cfg, from_checkpoint)
        if isinstance(model, MusicBertModel) and not is_octuple_dictionary(self.dictionary):
            raise DatasetError(
                "wrong-dictionary",
                f"This dictionary of {len(self.dictionary)} tokens is not that of OctupleMIDI",
                path=self.cfg.data,
                hint="binarise again with --srcdict <the dict.txt written beside the text>",
            )
        return model

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Open a split.

        Raises
        ------
        DatasetError
            As :func:`~musicbert.fairseq_plugin.masked_lm_task.masked_blocks`.
        """
        if not is_octuple_dictionary(self.dictionary):
            super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
            return
        folders = utils.split_paths(self.cfg.data)
        self.datasets[split] = masked_blocks(
            folders[(epoch - 1) % len(folders)],
            split,
            self.dictionary,
            MaskPolicy(
                mask_prob=self.cfg.mask_prob,
                random_prob=self.cfg.random_token_prob,
                leave_prob=self.cfg.leave_unmasked_prob,
            ),
            tokens_per_sample=self.cfg.tokens_per_sample,
            break_mode=self.cfg.sample_break_mode,
            seed=self.cfg.seed,
            combine=combine,
        )


def use_published_masked_lm() -> None:
    """Let ``--task masked_lm`` mask octuples as published."""
    TASK_REGISTRY["masked_lm"] = PublishedMaskedLMTask

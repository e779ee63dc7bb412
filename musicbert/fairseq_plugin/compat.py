"""Fixes of fairseq 0.12 for current versions of torch.

Checkpoints are read with ``weights_only=True``: harmless classes are put on torch's allow-list, every other
class is refused. Nothing in this package loads with ``weights_only=False``.
"""

import argparse
import collections
import functools
import importlib.util
import typing
import weakref
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import TASK_REGISTRY

from musicbert.fairseq_plugin.data.task import change
from musicbert.fairseq_plugin.pretraining.published_task import PublishedMaskedLMTask


def allow_training_state() -> None:
    """Let ``torch.load`` read the settings in fairseq's checkpoints: needed to resume, and to evaluate.

    fairseq writes ``argparse.Namespace``; fairseq 1.0.0a0, as in the published checkpoints, classes of
    omegaconf. NumPy's numbers (which NumPy 1 and 2 name differently) are best scores computed by
    scikit-learn. If a run of several processes is resumed, the first one sends the others a checkpoint with
    placeholders of tensors.
    """
    import _codecs

    from numpy import dtype, dtypes
    from numpy._core.multiarray import scalar
    from omegaconf import DictConfig, ListConfig, base, nodes

    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            distributed_utils._TensorPlaceholder,
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
            (scalar, "numpy._core.multiarray.scalar"),
            (scalar, "numpy.core.multiarray.scalar"),
            dtype,
            dtypes.Float32DType,
            dtypes.Float64DType,
            dtypes.Int64DType,
            _codecs.encode,
        ]
    )


def allow_bfloat16_on_gpu() -> None:
    """Let ``--bf16`` train on a GPU: fairseq takes it for a sign of a TPU, even without a TPU library."""
    start = distributed_utils.call_main
    if getattr(start, "undoes_tpu", False):
        return

    @functools.wraps(start)
    def call_main(cfg: Any, main: Any, **kwargs: Any) -> Any:
        if cfg.common.tpu and importlib.util.find_spec("torch_xla") is None:
            change(cfg.common, tpu=False)
        return start(cfg, main, **kwargs)

    call_main.undoes_tpu = True  # type: ignore[attr-defined]
    distributed_utils.call_main = call_main


def end_loading_processes() -> None:
    """Let the loading processes of a training end together.

    Before version 2.13, torch waits up to five seconds for one after the other without telling them to stop.
    """
    iterator = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    wait = getattr(iterator, "_clean_up_worker", None)
    if wait is None or getattr(wait, "tells_first", False):
        return
    started: weakref.WeakSet[Any] = weakref.WeakSet()
    start = iterator.__init__

    @functools.wraps(start)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        started.add(self)
        start(self, *args, **kwargs)

    @functools.wraps(wait)
    def tell_and_wait(worker: Any) -> None:
        for loader in list(started) if worker.is_alive() else []:
            loader._shutdown_workers()
        wait(worker)

    tell_and_wait.tells_first = True  # type: ignore[attr-defined]
    iterator.__init__ = remember
    iterator._clean_up_worker = staticmethod(tell_and_wait)


def use_published_masked_lm() -> None:
    """Let ``--task masked_lm`` mask octuples as published.

    fairseq has no hook for it, and registering a taken name silently returns the old class, so the entry of
    the public ``TASK_REGISTRY`` is replaced.
    """
    TASK_REGISTRY["masked_lm"] = PublishedMaskedLMTask

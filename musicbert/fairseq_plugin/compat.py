"""What fairseq 0.12 needs to work with a torch of today, in one place.

torch 2.6 and later read pickles with ``weights_only=True``, and fairseq's checkpoints hold a few objects
beside the tensors. The classes below are harmless (they only store values) and are put on torch's allow-list;
every other class in a checkpoint is still refused. Nothing here, or anywhere in this package, loads with
``weights_only=False``.

fairseq takes ``--bf16`` for a sign of a TPU and then looks for one. Where there is none, training goes on on
the GPU, or on the CPU.

The published recipe is ``--task masked_lm --criterion masked_lm --arch musicbert_<size>``, and its users
expect bar masking. fairseq has no hook for that, and registering a taken name silently gives the old class
back. So the entry ``masked_lm`` of the public ``TASK_REGISTRY`` is set to a subclass of fairseq's
(`musicbert.fairseq_plugin.pretraining.published_task`).

A training on a GPU with torch before 2.13 stayed for five seconds a loading process after its last line:
torch waits for each in turn, and nobody has told them to stop. They are told first.
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
from omegaconf import open_dict

from musicbert.fairseq_plugin.pretraining.published_task import PublishedMaskedLMTask


def allow_training_state() -> None:
    """Let ``torch.load`` read the settings in fairseq's checkpoints: needed to resume, and to evaluate.

    ``argparse.Namespace`` is written by fairseq itself; the classes of omegaconf are in checkpoints of
    fairseq 1.0.0a0 such as the published ones. Numbers of NumPy are there where a score that scikit-learn
    computed (F1, ROC-AUC) was the best so far; NumPy 1 and 2 name them differently. Where a run
    of several processes is resumed, the first one sends the others its checkpoint, with a number in place of
    each tensor.
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


def end_loading_processes() -> None:
    """Let the loading processes of a training end together, where torch waits for one after the other.

    Does nothing with torch 2.13 and later, which end them by themselves.
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
        for each in list(started) if worker.is_alive() else []:
            each._shutdown_workers()
        wait(worker)

    tell_and_wait.tells_first = True  # type: ignore[attr-defined]
    iterator.__init__ = remember
    iterator._clean_up_worker = staticmethod(tell_and_wait)


def use_published_masked_lm() -> None:
    """Let ``--task masked_lm`` mask octuples as published."""
    TASK_REGISTRY["masked_lm"] = PublishedMaskedLMTask

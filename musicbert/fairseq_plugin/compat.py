"""Fixes of fairseq 0.12 for current versions of torch.

Checkpoints are read by `musicbert.weights.pickles`, also by fairseq's own programs, whatever the environment
says (``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``), and a checkpoint chooses no class that is not of this package.
"""

import argparse
import functools
import importlib.util
import warnings
import weakref
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from omegaconf import DictConfig, ListConfig, base, nodes

from musicbert.errors import CheckpointError
from musicbert.fairseq_plugin.data.task import change
from musicbert.fairseq_plugin.pretraining.published_task import PublishedMaskedLMTask
from musicbert.weights.pickles import plain, read_pickle


class _Torch:
    """The torch of fairseq's reader of checkpoints: it loads safely, and is torch otherwise."""

    @staticmethod
    def load(file: IO[bytes], **_: Any) -> Any:
        """Read a checkpoint on the CPU."""
        path = Path(file.name)
        content = read_pickle(path)
        if isinstance(content, dict):
            try:
                content |= {name: plain(content.get(name), namespaces=True) for name in ("args", "cfg")}
            except ValueError as error:
                raise CheckpointError("bad-config", f"Its settings do not fit: {error}", path=path) from error
            groups = content["cfg"] if isinstance(content["cfg"], dict) else {}
            refuse_other_classes({**groups, "args": content["args"]}, path)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def hide_notices_of_packages() -> None:
    """Hide what hydra and torch say of fairseq's calls: nobody who trains can change them."""
    warnings.filterwarnings("ignore", module="hydra")
    warnings.filterwarnings("ignore", message=r"\s*'config' is validated|'pin_memory' argument")
    warnings.filterwarnings("ignore", category=FutureWarning, module="fairseq")


def load_safely() -> None:
    """Let fairseq read checkpoints as this package does."""
    checkpoint_utils.torch = _Torch()
    # the first of several processes sends the others a resumed checkpoint: settings, placeholders of tensors
    plain_classes = (
        argparse.Namespace,
        defaultdict,
        dict,
        list,
        int,
        Any,
        distributed_utils._TensorPlaceholder,
    )
    settings = (DictConfig, ListConfig, base.ContainerMetadata, base.Metadata)
    values = (nodes.AnyNode, nodes.BooleanNode, nodes.FloatNode, nodes.IntegerNode, nodes.StringNode)
    torch.serialization.add_safe_globals([*plain_classes, *settings, *values])


def refuse_other_classes(groups: Mapping[str, Any], path: Path) -> None:
    """Raise where a checkpoint names a model or a task of fairseq that is not of this package.

    fairseq would build it from the file's settings, and some of its classes evaluate their text as code.
    Raises `CheckpointError` (``other-model``).
    """
    models = {**MODEL_REGISTRY, **ARCH_MODEL_REGISTRY}
    named = (
        ("model", models, ("_name", "arch")),
        ("task", TASK_REGISTRY, ("_name", "task")),
        ("args", models, ("arch",)),
        ("args", TASK_REGISTRY, ("task",)),
    )
    for group, registry, keys in named:
        settings = groups.get(group) or {}
        values = settings if isinstance(settings, Mapping) else getattr(settings, "__dict__", {})
        names = [values.get(key) for key in keys]
        names += list(values) if len(values) == 1 else []  # fairseq takes its one key for the name of a model
        for name in names:
            kind = registry.get(name) if isinstance(name, str) else None
            if kind is not None and not kind.__module__.startswith("musicbert."):
                message = f"Its {group} {name!r} is not of this package and is not built, for safety"
                raise CheckpointError("other-model", message, path=path, hint="train it with this package")


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

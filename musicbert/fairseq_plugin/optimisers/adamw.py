"""The optimisers ``fused_adamw`` and ``layerwise_adamw``: torch's AdamW (Loshchilov and Hutter 2019).

``fused_adamw`` updates all parameters in one kernel, where fairseq's ``adam`` launches a dozen small kernels
for each parameter, which can take longer than the rest of a step. The options and the update are those of
``adam`` (decoupled weight decay), except that epsilon is added to the corrected root of the second moment, as
in the paper.

``layerwise_adamw`` multiplies the scheduled rate by a parameter's attribute ``rate_scale`` (default 1; see
`musicbert.model.tagger.scale_rates`). Biases and the weights of norms are not decayed (``--decay-all``
decays everything, as the published M2BERT recipe does).
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.task import flag


def rate_of(cfg: Any) -> float:
    """First learning rate of the options."""
    return float(cfg.lr if isinstance(cfg.lr, float | int) else cfg.lr[0])


def betas_of(text: Any, flag_name: str) -> tuple[float, float]:
    """Decay rates of the two moments from ``(0.9, 0.999)``; raises `DatasetError` (``bad-options``)."""
    try:
        words = text.strip("() ").split(",") if isinstance(text, str) else text
        first, second = (float(beta) for beta in words)
    except (TypeError, ValueError) as error:
        raise DatasetError("bad-options", f"--{flag_name} takes two numbers: {error}") from error
    return first, second


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    """Options of ``fused_adamw``."""

    adam_betas: Any = flag("(0.9, 0.999)", "decay rates of the moments")  # noqa: RUF009 - as below
    adam_eps: float = flag(1e-8, "added to the root of the second moment")
    weight_decay: float = flag(0.0, "decoupled weight decay")
    lr: Any = II("optimization.lr")  # noqa: RUF009 - as everywhere in fairseq


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(FairseqOptimizer):
    """AdamW, fused on CPU and GPU."""

    def __init__(self, cfg: FusedAdamWConfig, params: Any) -> None:
        super().__init__(cfg)
        parameters = list(params)
        fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
        self._optimizer = torch.optim.AdamW(parameters, fused=fused, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What the command line says, also when a run is resumed."""
        return {
            "lr": rate_of(self.cfg),
            "betas": betas_of(self.cfg.adam_betas, "adam-betas"),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    @property
    def supports_flat_params(self) -> bool:
        """One flat tensor of all parameters (half precision) is as good."""
        return True

    @property
    def supports_memory_efficient_fp16(self) -> bool:
        """Half-precision parameters are cast by fairseq."""
        return True

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Any = None) -> torch.Tensor:
        """Clip to a norm (0: only measure), in a few kernels for all gradients."""
        if aggregate_norm_fn is not None:
            return super().clip_grad_norm(max_norm, aggregate_norm_fn)
        parameters = [parameter for parameter in self.params if parameter.grad is not None]
        if max_norm > 0:
            return torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=True)
        return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters], foreach=True)


@dataclass
class LayerwiseAdamWConfig(FairseqDataclass):
    """Options of ``layerwise_adamw``."""

    layerwise_betas: str = flag("(0.9, 0.999)", "decay rates of the moments")
    layerwise_eps: float = flag(1e-6, "added to the root of the second moment")
    weight_decay: float = flag(0.01, "decoupled weight decay")
    decay_all: bool = flag(False, "decay biases and norms too")
    lr: Any = II("optimization.lr")  # noqa: RUF009 - as everywhere in fairseq


@register_optimizer("layerwise_adamw", dataclass=LayerwiseAdamWConfig)
class LayerwiseAdamW(FairseqOptimizer):
    """AdamW with a group of parameters for each scale of the learning rate."""

    def __init__(self, cfg: LayerwiseAdamWConfig, params: Any) -> None:
        super().__init__(cfg)
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = defaultdict(list)
        for parameter in params:
            decays = cfg.decay_all or parameter.ndim > 1
            groups[(getattr(parameter, "rate_scale", 1.0), decays)].append(parameter)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": members, "rate_scale": scale, "weight_decay": cfg.weight_decay if decays else 0.0}
                for (scale, decays), members in sorted(
                    groups.items(), key=lambda item: (-item[0][0], item[0][1])
                )
            ],
            lr=rate_of(cfg),
            betas=betas_of(cfg.layerwise_betas, "layerwise-betas"),
            eps=cfg.layerwise_eps,
        )
        self.set_lr(rate_of(cfg))

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Nothing is overridden on resume: the groups know their own rates."""
        return {}

    def get_lr(self) -> float:
        """Return the rate of the schedule, before scaling."""
        return self._base

    def set_lr(self, lr: float) -> None:
        """Give every group its share of the rate."""
        self._base = lr
        for group in self.param_groups:
            group["lr"] = lr * group["rate_scale"]

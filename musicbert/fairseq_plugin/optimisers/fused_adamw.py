"""The optimiser ``fused_adamw``: torch's AdamW in one kernel for all parameters.

fairseq's ``adam`` goes through the parameters one by one, a dozen small kernels each: with small models that
takes longer than the rest of a step, on a GPU above all. The update is that of fairseq's ``adam`` (decoupled
weight decay; Loshchilov and Hutter 2019) but for the place of epsilon: it is added to the corrected root of
the second moment, as in the paper. Options are those of ``adam``.
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import ast
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

__all__ = ["FusedAdamW", "FusedAdamWConfig"]


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    """Options of the optimiser."""

    adam_betas: Any = field(default="(0.9, 0.999)", metadata={"help": "decay rates of the moments"})
    adam_eps: float = field(default=1e-8, metadata={"help": "added to the root of the second moment"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay"})
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
        rate, betas = self.cfg.lr, self.cfg.adam_betas
        betas = ast.literal_eval(betas) if isinstance(betas, str) else betas
        return {
            "lr": float(rate if isinstance(rate, float | int) else rate[0]),
            "betas": tuple(float(beta) for beta in betas),
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
        parameters = [each for each in self.params if each.grad is not None]
        if max_norm > 0:
            return torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=True)
        return torch.nn.utils.get_total_norm([each.grad for each in parameters], foreach=True)

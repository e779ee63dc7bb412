"""The optimiser ``layerwise_adamw``: AdamW whose learning rate differs by parameter.

The rate of a parameter is that of the schedule times its attribute ``rate_scale`` (1 where it has none; see
`musicbert.model.heads.tagger.scale_rates`). Biases and the weights of norms are not decayed
(``--decay-all`` decays everything, as the published M2BERT recipe does). Loshchilov and Hutter 2019.
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

__all__ = ["LayerwiseAdamW"]


@dataclass
class LayerwiseAdamWConfig(FairseqDataclass):
    """Options of the optimiser."""

    layerwise_betas: str = field(default="(0.9, 0.999)", metadata={"help": "decay rates of the moments"})
    layerwise_eps: float = field(default=1e-6, metadata={"help": "added to the root of the second moment"})
    weight_decay: float = field(default=0.01, metadata={"help": "decoupled weight decay"})
    decay_all: bool = field(default=False, metadata={"help": "decay biases and norms too"})
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
                {
                    "params": members,
                    "rate_scale": scale,
                    "weight_decay": cfg.weight_decay if decays else 0.0,
                }
                for (scale, decays), members in sorted(
                    groups.items(), key=lambda item: (-item[0][0], item[0][1])
                )
            ],
            lr=self._rate(),
            betas=tuple(float(beta) for beta in cfg.layerwise_betas.strip("() ").split(",")),
            eps=cfg.layerwise_eps,
        )
        self._base = self._rate()
        self.set_lr(self._base)

    def _rate(self) -> float:
        lr = self.cfg.lr
        return float(lr if isinstance(lr, float | int) else lr[0])

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

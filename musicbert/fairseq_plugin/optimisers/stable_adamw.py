"""The optimiser ``stable_adamw``: AdamW that steps less where its second moment lags (Wortsman et al. 2023).

Step t, per tensor, with ``b_t = b (1 - b^(t-1)) / (1 - b^t)`` for both decay rates (so bias is corrected)::

    m = b1_t m + (1 - b1_t) g                v = b2_t v + (1 - b2_t) g^2
    rms = max(1, sqrt(mean(g^2 / max(v, eps^2))))
    p = p (1 - wd lr / rms) - lr / rms * m / (sqrt(v) + eps)

Weight decay is decoupled and on every parameter. The update and the defaults are those of M2BERT's recipe
(pytorch_optimizer's StableAdamW). Moments are float32 whatever the type of the parameters. The GPU is never
synchronised.

Clipping needs separate tensors: ``--fp16`` requires ``--fp16-no-flatten-grads``; ``--bf16`` never flattens.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.task import flag
from musicbert.fairseq_plugin.optimisers.adamw import betas_of, rate_of


class StableAdamW(torch.optim.Optimizer):
    """See the module; ``params`` are parameters or groups of them."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-5,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; parameters without a gradient are left as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_step: dict[int, list[torch.Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(parameter, dtype=torch.float32)
                    state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=torch.float32)
                state["step"] = int(state["step"]) + 1
                by_step.setdefault(state["step"], []).append(parameter)
            for step, parameters in by_step.items():
                self._update(group, step, parameters)
        return loss

    def _update(self, group: dict[str, Any], step: int, parameters: list[torch.Tensor]) -> None:
        """Update parameters that are at the same step, all tensors in one call."""
        beta1, beta2 = (beta * (1 - beta ** (step - 1)) / (1 - beta**step) for beta in group["betas"])
        lr, eps = group["lr"], group["eps"]
        gradients = [parameter.grad.float() for parameter in parameters]  # type: ignore[union-attr]
        means = [self.state[parameter]["exp_avg"] for parameter in parameters]
        squares = [self.state[parameter]["exp_avg_sq"] for parameter in parameters]
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, gradients, alpha=1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)

        roots = torch._foreach_sqrt(squares)
        # g^2 / max(v, eps^2) is the square of g / max(sqrt(v), eps)
        norms = torch._foreach_norm(torch._foreach_div(gradients, torch._foreach_clamp_min(roots, eps)))
        sizes = torch.tensor([parameter.numel() for parameter in parameters], dtype=torch.float32).sqrt()
        rms = (torch.stack(list(norms)) / sizes.to(norms[0].device, non_blocking=True)).clamp(min=1.0)
        rates = list((lr / rms).unbind())  # a number on the device for each tensor
        torch._foreach_add_(roots, eps)
        updates = torch._foreach_div(means, roots)
        torch._foreach_mul_(updates, rates)
        torch._foreach_mul_(parameters, list((1 - group["weight_decay"] * lr / rms).unbind()))
        torch._foreach_sub_(parameters, updates)


@dataclass
class StableAdamWConfig(FairseqDataclass):
    """Options of the optimiser; the defaults are M2BERT's."""

    stable_adamw_betas: str = flag("(0.9, 0.99)", "decay rates of the moments")
    stable_adamw_eps: float = flag(1e-8, "added to the root of the second moment")
    weight_decay: float = flag(0.01, "decoupled weight decay, on everything")
    lr: Any = II("optimization.lr")  # noqa: RUF009 - as everywhere in fairseq


@register_optimizer("stable_adamw", dataclass=StableAdamWConfig)
class FairseqStableAdamW(FairseqOptimizer):
    """`StableAdamW` as fairseq sees it.

    Raises `DatasetError` (``bad-options``: decay rates that are no two numbers, or flattened parameters).
    """

    def __init__(self, cfg: StableAdamWConfig, params: Any) -> None:
        super().__init__(cfg)
        parameters = list(params)
        if len(parameters) == 1 and parameters[0].ndim == 1:
            hint = "add --fp16-no-flatten-grads, or train with --bf16"
            raise DatasetError("bad-options", "stable_adamw got all parameters as one flat tensor", hint=hint)
        betas = betas_of(cfg.stable_adamw_betas, "stable-adamw-betas")
        self._optimizer = StableAdamW(parameters, betas=betas, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What the command line overrides in a checkpoint's state."""
        return {
            "lr": rate_of(self.cfg),
            "eps": self.cfg.stable_adamw_eps,
            "weight_decay": self.cfg.weight_decay,
        }

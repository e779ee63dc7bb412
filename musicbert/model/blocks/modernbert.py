"""ModernBERT's blocks (Warner et al. 2024) in plain torch, with the parameters of its checkpoints.

Legend: ``B`` pieces, ``T`` notes, ``D`` width, ``H`` heads, ``d`` width of a head.

Pre-norm: ``x = x + Wo(attention(LN(x)))``, ``x = x + mlp(LN(x))``; the first block has no LayerNorm before
its attention. No biases anywhere. The feed-forward layer is gated: ``Wo(drop(gelu(u) * g))`` with ``u, g``
the halves of ``Wi(x)`` and the exact (erf) GELU. Rotary positions count from 0 in each piece. Layers 0, 3, 6,
... attend to everything (theta 160,000), the others to 64 notes on each side (theta 10,000).

Returned states are those before ``final_norm`` unless the configuration says otherwise, as in the published
model (``hidden_states[-1]`` of transformers 4). ``embeddings.tok_embeddings`` is only in the checkpoints.
Both get no gradient.
"""

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.config import M2BertConfig
from musicbert.model.blocks.attention import compile_in_place, without_cudnn
from musicbert.model.blocks.dropout import dropped
from musicbert.model.blocks.local_attention import Reach, attend
from musicbert.model.blocks.packed_attention import has_flash, takes_flash

NORM_EPS = 1e-5
#: standard deviation of new weights, cut at twice that
INIT_STD = 0.02
#: rows of the unused token embedding of the published configuration
UNUSED_TOKENS = 10


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=NORM_EPS, bias=False)


def _product_type(x: torch.Tensor) -> torch.dtype:
    """Type of matrix products of a tensor."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class Attention(nn.Module):
    """Attention with rotary positions."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        if config.width % config.heads:
            raise ValueError(f"width {config.width} is not a multiple of {config.heads} heads")
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.Wqkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.Wo = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self, x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], reach: Reach, *, local: bool
    ) -> torch.Tensor:
        """Attend: [shape=(B, T, D)] -> [shape=(B, T, D)]."""
        # taken apart once: the gradients of the three are then written side by side, once
        q, k, v = self.Wqkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (B, H, T, d) each
        q, k = rotate(q, *rotary), rotate(k, *rotary)
        dropout = self.dropout if self.training else 0.0
        y = attend(q, k, v, reach, local=local, dropout=dropout)  # (B, H, T, d)
        return dropped(self.Wo(y.transpose(1, 2).flatten(2)), self.dropout, self.training)  # (B, T, D)


class GatedMlp(nn.Module):
    """Feed-forward layer with a gate (GeGLU, Shazeer 2020)."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.dropout = config.mlp_dropout
        self.Wi = nn.Linear(config.width, 2 * config.ffn_width, bias=False)
        self.Wo = nn.Linear(config.ffn_width, config.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform: [shape=(B, T, D)] -> [shape=(B, T, D)]."""
        value, gate = self.Wi(x).chunk(2, dim=-1)  # (B, T, ffn_width) each
        return self.Wo(dropped(F.gelu(value) * gate, self.dropout, self.training))  # (B, T, D)


class Block(nn.Module):
    """One layer."""

    def __init__(self, config: M2BertConfig, number: int) -> None:
        super().__init__()
        self.local = number % config.global_every != 0
        self.attn_norm = _norm(config.width) if number else nn.Identity()
        self.attn = Attention(config)
        self.mlp_norm = _norm(config.width)
        self.mlp = GatedMlp(config)

    def forward(
        self, x: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], reach: Reach
    ) -> torch.Tensor:
        """Transform: [shape=(B, T, D)] -> [shape=(B, T, D)]."""
        x = x + self.attn(self.attn_norm(x), rotary, reach, local=self.local)
        return x + self.mlp(self.mlp_norm(x))


class Embeddings(nn.Module):
    """What stands before the blocks: a LayerNorm, and a token embedding that nobody uses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(UNUSED_TOKENS, width)
        self.norm = _norm(width)


class ModernBert(nn.Module):
    """Blocks over embedded notes."""

    def __init__(self, config: M2BertConfig) -> None:
        super().__init__()
        self.config = config
        #: keep the sums over the blocks in the type of the products: faster on a GPU in mixed precision
        self.half_sums = False
        self.embeddings = Embeddings(config.width)
        self.layers = nn.ModuleList(Block(config, number) for number in range(config.layers))
        self.final_norm = _norm(config.width)
        self.embeddings.tok_embeddings.weight.requires_grad_(False)
        self.final_norm.weight.requires_grad_(config.final_norm)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Truncated normal; the projections back into the residual stream are smaller (2 a layer)."""
        nn.init.trunc_normal_(
            self.embeddings.tok_embeddings.weight, 0.0, INIT_STD, -2 * INIT_STD, 2 * INIT_STD
        )
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                std = INIT_STD / (2 * self.config.layers) ** 0.5 if name.endswith(".Wo") else INIT_STD
                nn.init.trunc_normal_(module.weight, 0.0, std, -2 * std, 2 * std)

    def compile_blocks(self, backend: str = "inductor", *, dynamic: bool = True) -> None:
        """Compile each block in place (see `compile_in_place`)."""
        compile_in_place(self.layers, backend, dynamic=dynamic)

    def _reach(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None, lengths: torch.Tensor | None
    ) -> Reach:
        """Masks of the layers, or none if FlashAttention can be used."""
        B, T, D = x.shape
        known = padding_mask is None or lengths is not None
        if known and has_flash(x.device) and takes_flash(_product_type(x), D // self.config.heads):
            return Reach.in_sequences(
                B, T, self.config.window, None if padding_mask is None else lengths, x.device
            )
        return Reach.of(B, T, self.config.window, padding_mask, x.device)

    def forward(
        self,
        x: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        *,
        lengths: torch.Tensor | None = None,
        all_states: bool = False,
        depth: int | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
        """Encode embedded notes [shape=(B, T, D)].

        ``padding_mask``: True at padding [shape=(B, T), bool], or None if nothing is padded; ``lengths``: see
        `M2Bert.forward`; ``all_states``: keep the states between the blocks; ``depth``: run only so many
        blocks, without the last norm (None: all).

        Returns ``hidden`` [shape=(B, T, D)]; ``states``: input of the first block and output of each block,
        or None.
        """
        T, config, d = x.shape[1], self.config, x.shape[2] // self.config.heads
        reach = self._reach(x, padding_mask, lengths)
        rotary = {
            local: rotary_table(T, d, config.local_theta if local else config.global_theta, x.device)
            for local in (False, True)
        }
        x = self.embeddings.norm(x)
        x = x.to(_product_type(x)) if self.half_sums else x
        states = [x] if all_states else None
        with without_cudnn():
            for layer in list(self.layers)[:depth]:
                x = layer(x, rotary[layer.local], reach)  # (B, T, D)
                if states is not None:
                    states.append(x)
        return (self.final_norm(x) if config.final_norm and depth is None else x), states


def rotary_table(
    length: int, width: int, theta: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of positions 0 to T - 1, each [shape=(T, d), float32].

    ``length``, ``width``: ``T`` and ``d``; ``theta``: base of the frequencies.
    """
    exponent = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width  # (d/2,)
    frequency = 1.0 / theta**exponent
    angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * frequency  # (T, d/2)
    angle = torch.cat([angle, angle], dim=1)  # (T, d)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate queries or keys [shape=(..., T, d)] by the cosines and sines of `rotary_table`."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cos + turned * sin).to(x.dtype)

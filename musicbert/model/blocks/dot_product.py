"""Attention of every query to every key: torch's fused kernels, or plain products where those are faster.

Legend: ``B`` pieces, ``H`` heads, ``T`` queries, ``S`` keys, ``d`` width of a head.

On a CPU, torch's fused kernel computes bfloat16 in float32; with dropout it is not used, and its substitute
draws random numbers slowly. Two plain matrix products with a softmax between them, for so many heads at a
time that the weights stay in the cache, are faster (``benchmarks/model_step.py``, forward and backward). They
keep the weights for the backward pass, which the fused kernel does not, so very long sequences without
dropout still use it.
"""

import math

import torch
import torch.nn.functional as F

#: attention weights of one product: eight megabytes in bfloat16. Smaller parts cost more than the cache
#: gives where two threads share them, since threads meet after each.
CHUNK = 2**22
#: attention weights that a layer keeps at most where the fused kernel would keep none: half a gigabyte
MAX_WEIGHTS = 2**28


def dot_product_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None, dropout: float = 0.0
) -> torch.Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017) [shape=(B, H, T, d)].

    ``q`` [shape=(B, H, T, d)], ``k``, ``v`` [shape=(B, H, S, d)]; ``mask``: True where a query may see a key
    [bool, broadcast to shape=(B, H, T, S)] (a query that may see nothing gets an undefined result);
    ``dropout``: of the attention weights, in 0-1.
    """
    if _plain_is_faster(q, k, dropout):
        return _in_chunks(q, k, v, mask, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def _plain_is_faster(q: torch.Tensor, k: torch.Tensor, dropout: float) -> bool:
    if q.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    weights = q.shape[:-1].numel() * k.shape[-2]
    if dropout:
        return weights > 0
    return q.dtype == torch.bfloat16 and 0 < weights <= MAX_WEIGHTS


def _in_chunks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
) -> torch.Tensor:
    """Compute some pieces at a time, or some heads of one piece."""
    pieces, heads = q.shape[:2]
    weights = q.shape[-2] * k.shape[-2]
    if weights * heads <= CHUNK:
        size = max(CHUNK // (weights * heads), 1)
        masks = [mask] * -(-pieces // size) if mask is None or len(mask) == 1 else mask.split(size)
        parts = zip(q.split(size), k.split(size), v.split(size), masks, strict=True)
        return torch.cat([_plain(*part, dropout) for part in parts])
    size = max(CHUNK // weights, 1)
    rows = []
    for i in range(pieces):
        of_piece = None if mask is None else mask[i % len(mask)][None]  # (1, H or 1, T or 1, S)
        masks = (
            [of_piece] * -(-heads // size)
            if of_piece is None or of_piece.shape[1] == 1
            else of_piece.split(size, dim=1)
        )
        parts = zip(*(x[i : i + 1].split(size, dim=1) for x in (q, k, v)), masks, strict=True)
        rows.append(torch.cat([_plain(*part, dropout) for part in parts], dim=1))
    return torch.cat(rows)


def _plain(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
) -> torch.Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    share = scores.softmax(-1)
    if not dropout:
        return share @ v
    if dropout >= 1:
        return torch.zeros_like(q)
    return (share * _kept(share.shape, dropout, share.dtype)) @ v / (1 - dropout)


def _kept(shape: torch.Size, dropout: float, dtype: torch.dtype) -> torch.Tensor:
    """Zero with the probability `dropout` (to 2 ** -17), otherwise one.

    Each drawn number serves four weights; clamping integers to two neighbours is faster than comparing.
    """
    count = math.prod(shape)
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bound = min(max(round(dropout * 2**16), 1), 2**16 - 1) - 2**15
    return (drawn.view(torch.int16)[:count].clamp(bound - 1, bound) - (bound - 1)).view(shape).to(dtype)

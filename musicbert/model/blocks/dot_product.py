"""Attention of every query to every key: torch's fused kernels, or plain products where those are faster.

Legend: ``B`` pieces, ``H`` heads, ``T`` queries, ``S`` keys, ``d`` width of a head.

On a CPU torch's fused kernel knows bfloat16 as a format to store in, and computes in float32; with dropout it
is not used at all, and what is used instead draws one random number a weight in a slow way. Two plain
matrix products with a softmax between them, for so many heads at a time that the weights stay in the cache,
take less time (measured by ``benchmarks/model_step.py``, forward and backward; see its tables beside it).
They keep the weights for the backward pass, which the fused kernel does not, so without dropout very long
sequences go to it all the same. With dropout torch keeps no less.
"""

import math

import torch
import torch.nn.functional as F

#: attention weights of one product: two megabytes in bfloat16
CHUNK = 2**20
#: attention weights that a layer keeps at most where the fused kernel would keep none: half a gigabyte
MOST = 2**28


def dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017).

    ``q``, ``k``, ``v``: queries [shape=(B, H, T, d)], keys and values [shape=(B, H, S, d)]. ``mask``: true
    where a query may see a key [bool, broadcast to shape=(B, H, T, S)]. What a query gets that may see none
    is not defined, but finite in the plain products. ``dropout``: of the attention weights, in 0-1.
    Returns `torch.Tensor` [shape=(B, H, T, d)].
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
    return q.dtype == torch.bfloat16 and 0 < weights <= MOST


def _in_chunks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
) -> torch.Tensor:
    """Some pieces at a time, or some heads of one."""
    pieces, heads = q.shape[:2]
    each = q.shape[-2] * k.shape[-2]
    if each * heads <= CHUNK:
        size = max(CHUNK // (each * heads), 1)
        masks = [mask] * -(-pieces // size) if mask is None or len(mask) == 1 else mask.split(size)
        parts = zip(q.split(size), k.split(size), v.split(size), masks, strict=True)
        return torch.cat([_plain(*part, dropout) for part in parts])
    size = max(CHUNK // each, 1)
    rows = []
    for i in range(pieces):
        own = None if mask is None else mask[i % len(mask)][None]  # (1, H or 1, T or 1, S)
        masks = [own] * -(-heads // size) if own is None or own.shape[1] == 1 else own.split(size, dim=1)
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

    Each number that the generator draws serves four weights; whole numbers clamped to two neighbours become
    zeros and ones faster than comparisons do.
    """
    count = math.prod(shape)
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bound = min(max(round(dropout * 2**16), 1), 2**16 - 1) - 2**15
    return (drawn.view(torch.int16)[:count].clamp(bound - 1, bound) - (bound - 1)).view(shape).to(dtype)

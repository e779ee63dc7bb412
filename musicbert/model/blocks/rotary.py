"""Rotary positions (Su et al. 2021), with the two halves of a head's width as pairs.

Legend: ``T`` notes, ``d`` width of a head.
"""

from __future__ import annotations

import torch

__all__ = ["rotary_table", "rotate"]


def rotary_table(
    length: int, width: int, theta: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of positions 0 to length - 1, each [shape=(T, d), float32].

    Parameters
    ----------
    length, width
        ``T`` and ``d``.
    theta
        Base of the geometric series of frequencies.
    device
        Where they are made.
    """
    exponent = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width  # (d/2,)
    frequency = 1.0 / theta**exponent
    angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * frequency  # (T, d/2)
    angle = torch.cat([angle, angle], dim=1)  # (T, d)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn queries or keys by their positions.

    Parameters
    ----------
    x
        [shape=(..., T, d)]
    cos, sin
        What `rotary_table` returns.
    """
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cos + turned * sin).to(x.dtype)

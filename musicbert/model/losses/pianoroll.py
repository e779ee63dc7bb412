"""The piano-roll target drawn on the device, and its loss.

Legend: ``B`` pieces, ``T`` notes, ``S`` bars of the longest piece, ``C`` columns (98, or 86 without chroma),
``R = 17 C`` outputs.

:mod:`musicbert.objectives.pianoroll` defines the raster. The loader sends five small integers per note; the
grids of the bars are made here, once per bar, by one scatter-add of where tones begin and end and a running
sum over the rows.
"""

import torch

from musicbert.objectives.pianoroll import CHROMA, PITCHES, ROWS

_LEAST_SUM = 0.1


def bar_rolls(events: torch.Tensor, bars: int, *, chroma: bool = True) -> torch.Tensor:
    """Draw the bars of a batch [shape=(B, S, 17, C), float32].

    The last row is silent, for notes without a tatum. ``events``: see
    :func:`musicbert.objectives.pianoroll.roll_events`, padded with silent notes [shape=(B, T, 5)]; ``bars``:
    ``S``, more than any bar number; ``chroma``: with the 12 columns of chroma.
    """
    B, columns = events.shape[0], CHROMA + PITCHES
    bar, row, end, spill, pitch = events.long().unbind(-1)  # (B, T) each
    sounds = (pitch >= 0).float()
    spills = sounds * ((spill > 0) & (bar + 1 < bars))
    following = (bar + 1).clamp(max=bars - 1)
    piece = torch.arange(B, device=events.device)[:, None] * bars
    pitch = pitch.clamp(min=0)

    def cell(bar: torch.Tensor, row: torch.Tensor | int, column: torch.Tensor) -> torch.Tensor:
        return (((piece + bar) * (ROWS + 1) + row) * columns + column).view(-1)

    places, steps = [], []
    for column in (pitch % CHROMA, CHROMA + pitch) if chroma else (CHROMA + pitch,):
        places += [cell(bar, row, column), cell(bar, end, column)]
        places += [cell(following, 0, column), cell(following, spill, column)]
        steps += [sounds, -sounds, spills, -spills]
    grid = torch.zeros(B * bars * (ROWS + 1) * columns, device=events.device)
    grid.scatter_add_(0, torch.cat(places), torch.cat([step.reshape(-1) for step in steps]))
    grid = grid.view(B, bars, ROWS + 1, columns).cumsum(2)
    if not chroma:  # every note counts once, not twice
        return grid[..., CHROMA:] / grid.sum(-1, keepdim=True).clamp(min=_LEAST_SUM)
    return grid / grid.sum(-1, keepdim=True).clamp(min=_LEAST_SUM) * 2


def roll_targets(events: torch.Tensor, bars: int, *, chroma: bool = True) -> torch.Tensor:
    """Targets of every note [shape=(B, T, R), float32], as `musicbert.objectives.pianoroll.roll_target`."""
    grid = bar_rolls(events, bars, chroma=chroma)  # (B, S, 17, C)
    piece = torch.arange(len(events), device=events.device)[:, None]
    bar, row = events[..., 0].long(), events[..., 1].long()
    return torch.cat([grid[:, :, :ROWS].flatten(2)[piece, bar], grid[piece, bar, row]], dim=-1)


def roll_loss(
    predicted: torch.Tensor, events: torch.Tensor, bars: int, real: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared errors summed over outputs and notes [scalar].

    ``predicted`` [shape=(B*T, R)]; ``events``, ``bars``: see `bar_rolls`; ``real``: False at padding
    [shape=(B, T), bool]; None if nothing is padded.
    """
    chroma = predicted.shape[-1] == (ROWS + 1) * (CHROMA + PITCHES)
    errors = (predicted.float() - roll_targets(events, bars, chroma=chroma).flatten(0, 1)).square().sum(-1)
    return errors.sum() if real is None else (errors * real.reshape(-1)).sum()

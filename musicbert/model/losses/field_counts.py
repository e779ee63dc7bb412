"""Counts of the values to predict in each field, and the loss of guessing by frequency alone.

Legend: ``N`` selected tokens (notes), ``F`` fields of a note, ``V`` values of a field.

The loss is the entropy of each field, ``H_f = -sum_v p_fv log p_fv``, averaged over the tokens.
"""

from collections.abc import Sequence

import torch


class FieldCounts:
    """Running counts on the device; only `read` synchronises it.

    ``fields``, ``values``: ``F``, and the largest ``V`` of a field.
    """

    def __init__(self, fields: int, values: int) -> None:
        self._shape = (fields, values)
        self._counts: torch.Tensor | None = None

    def _on(self, device: torch.device) -> torch.Tensor:
        if self._counts is None:
            self._counts = torch.zeros(self._shape, dtype=torch.int64, device=device)
        return self._counts

    def add_listed(self, wanted: torch.Tensor, counts: Sequence[int]) -> None:
        """Count token ids, sorted by field [shape=(N,), int64]; ``counts``: tokens of each field."""
        totals = self._on(wanted.device)
        one = totals.new_ones(1)
        for row, part in zip(totals, wanted.split(list(counts)), strict=True):
            row.scatter_add_(0, part, one.expand(len(part)))

    def add_cells(self, target: torch.Tensor, selected: torch.Tensor) -> None:
        """Count the ``selected`` [bool] cells of ``target`` [int64], both [shape=(N, F)]."""
        self._on(target.device).scatter_add_(1, target.T, selected.T.to(torch.int64))

    def read(self) -> tuple[int, float]:
        """Return the number of tokens, and the loss of guessing in nats per token; ``(0, 0.0)`` at first."""
        if self._counts is None:
            return 0, 0.0
        counts = self._counts.to("cpu", torch.float64)  # (F, V)
        total = float(counts.sum())
        of_field = counts.sum(1, keepdim=True)
        nats = torch.special.xlogy(counts, of_field / counts.clamp(min=1)).sum()
        return int(total), float(nats) / max(total, 1.0)

"""How often each value of each field was to be predicted, and the loss of whoever guesses by that alone.

Legend: ``N`` selected tokens (notes), ``F`` fields of a note, ``V`` values of a field.

Who knows how often the values of a field occur, and nothing of the music around, has as cross-entropy the
entropy of the field, ``H_f = -sum_v p_fv log p_fv``. Over all fields that is the mean of ``H_f`` weighted by
the tokens of each. Verified in ``tests/unit/model/test_field_counts.py``.
"""

from collections.abc import Sequence

import torch


class FieldCounts:
    """Running counts on the device of what is counted; only `read` waits for it.

    ``fields``, ``values``: ``F``, and the most values ``V`` of a field.
    """

    def __init__(self, fields: int, values: int) -> None:
        self._shape = (fields, values)
        self._counts: torch.Tensor | None = None

    def _on(self, device: torch.device) -> torch.Tensor:
        if self._counts is None:
            self._counts = torch.zeros(self._shape, dtype=torch.int64, device=device)
        return self._counts

    def add_listed(self, wanted: torch.Tensor, counts: Sequence[int]) -> None:
        """Count tokens that are listed by field.

        ``wanted``: token ids, sorted by field [shape=(N,), int64]; ``counts``: tokens of each field [length
        F].
        """
        totals = self._on(wanted.device)
        one = totals.new_ones(1)
        for row, part in zip(totals, wanted.split(list(counts)), strict=True):
            row.scatter_add_(0, part, one.expand(len(part)))

    def add_cells(self, target: torch.Tensor, selected: torch.Tensor) -> None:
        """Count cells of notes.

        ``target``: values [shape=(N, F), int64]; ``selected``: true at the cells that count [shape=(N, F),
        bool].
        """
        self._on(target.device).scatter_add_(1, target.T, selected.T.to(torch.int64))

    def read(self) -> tuple[int, float]:
        """Return the tokens counted so far, and the loss of guessing by frequency alone in nats a token.

        ``(0, 0.0)`` before anything was counted.
        """
        if self._counts is None:
            return 0, 0.0
        counts = self._counts.to("cpu", torch.float64)  # (F, V)
        total = float(counts.sum())
        of_field = counts.sum(1, keepdim=True)
        nats = torch.special.xlogy(counts, of_field / counts.clamp(min=1)).sum()
        return int(total), float(nats) / max(total, 1.0)

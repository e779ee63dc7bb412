"""Integrated gradients (Sundararajan, Taly, Yan 2017) of each note, field and performance input.

Legend: ``n`` notes, ``T`` rows of a window, ``F`` fields, ``D`` width, ``P`` performance inputs, ``K`` steps.

The path is the straight line between the summed embeddings of the baseline and of the music, all windows at
once; its integral is taken by Gauss-Legendre quadrature. What is explained is the score that ``predict``
gives: after the mean over windows, the activation, and the mean over places of the bar line. Contributions
add up to the score minus that of the baseline; what is missing, relative to that difference, is the
*completeness gap*. Steps are doubled until the gap is below 1 %. Equal to captum's
``LayerIntegratedGradients`` (tests/unit/explanation/test_gradients.py). Everything is float32, on a GPU too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from musicbert.arrays import Floats
from musicbert.explanation.networks import Network, Pair
from musicbert.predict.pieces import Piece
from musicbert.predict.runner import BATCH_ROWS

#: steps of the first attempt, the most that are taken, and the gap that is small enough
STEPS, MOST_STEPS, GAP = 64, 1024, 0.01
#: the gap is relative to the difference of scores, but at least to this share of all contributions
_CANCELLED = 0.01


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each note contributes to one output.

    ``score``, ``reference``: of the music and of the baseline; ``fields`` [shape=(n, F), float64] and
    ``inputs`` [shape=(n, P), float64]: contributions in the order of the rows; ``gap``: completeness gap;
    ``steps``: of the integral.
    """

    output: str
    score: float
    reference: float
    fields: Floats
    inputs: Floats
    gap: float
    steps: int

    @property
    def notes(self) -> Floats:
        """Contribution of each note [shape=(n,)]."""
        total: Floats = self.fields.sum(axis=1) + self.inputs.sum(axis=1)
        return total


def hidden(piece: Piece) -> Piece:
    """Return the piece with all notes hidden: the baseline of masked notes."""
    return Piece(piece.rows, piece.performance, piece.note_index, np.ones(piece.rows.shape, bool))


def integrated_gradients(
    network: Network,
    piece: Piece,
    baseline: Piece,
    outputs: Sequence[int],
    *,
    steps: int = STEPS,
    most_steps: int = MOST_STEPS,
    gap: float = GAP,
) -> list[Contributions]:
    """Contributions to some outputs, by number.

    ``baseline``: the same notes, row by row, as they are at the other end of the path. ``steps`` are doubled
    up to ``most_steps`` while the completeness gap is not below ``gap``.
    Raises `ValueError` (the baseline has another number of notes).
    """
    if len(piece.rows) != len(baseline.rows):
        raise ValueError(f"the baseline has {len(baseline.rows)} notes, the piece {len(piece.rows)}")
    with torch.autocast(network.runner.device.type, enabled=False):
        path = _Path(network, network.windows(piece, baseline))
        todo = list(outputs)
        results: dict[int, Contributions] = {}
        while todo:
            results |= dict(zip(todo, path.contributions(todo, steps, len(piece.rows)), strict=True))
            steps *= 2
            todo = [number for number in todo if results[number].gap >= gap and steps <= most_steps]
    return [results[number] for number in outputs]


class _Path:
    """The straight line between two sets of windows, in the space of summed embeddings."""

    def __init__(self, network: Network, pairs: list[Pair]) -> None:
        self.network, self.pairs = network, pairs
        self.begin = [network.embedded(pair.baseline_tokens, pair.baseline_performance) for pair in pairs]
        self.end = [network.embedded(pair.tokens, pair.performance) for pair in pairs]
        ends = [self._means(self._run(at)) for at in (np.zeros(1), np.ones(1))]
        self.reference, self.score = (network.scores(means).mean(0)[0].double() for means in ends)  # (C,)
        #: with one window a phase, its outputs are the means themselves
        self.single = len(pairs) == network.phases

    def _points(self, number: int, at: torch.Tensor) -> torch.Tensor:
        return self.begin[number] + at[:, None, None] * (self.end[number] - self.begin[number])  # (K, T, D)

    def _chunks(self, number: int, at: Floats) -> list[torch.Tensor]:
        size = max(BATCH_ROWS // self.begin[number].shape[1], 1)
        return list(torch.from_numpy(at).float().to(self.begin[number].device).split(size))

    @torch.no_grad()
    def _run(self, at: Floats) -> list[torch.Tensor]:
        """Outputs of each window along the path, each [shape=(K, C)]."""
        return [
            torch.cat(
                [
                    self.network.outputs(pair.tokens, pair.performance, self._points(number, part))
                    for part in self._chunks(number, at)
                ]
            )
            for number, pair in enumerate(self.pairs)
        ]

    def _means(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        """Means over the windows of each phase [shape=(phases, K, C)]."""
        means = torch.zeros(self.network.phases, *outputs[0].shape, device=outputs[0].device)
        for pair, output in zip(self.pairs, outputs, strict=True):
            means[pair.phase] += pair.weight * output
        return means

    def _slopes(self, means: torch.Tensor, chosen: int) -> torch.Tensor:
        """Gradients of one score with respect to mean outputs [shape=(K, C)]."""
        means = means.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.network.scores(means)[:, chosen].sum(), means)[0]

    def contributions(self, chosen: Sequence[int], steps: int, notes: int) -> list[Contributions]:
        """Integrate in so many steps."""
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        at, share = (nodes + 1) / 2, torch.from_numpy(weights / 2)
        means = None if self.single else self._means(self._run(at))
        runner = self.network.runner
        fields = np.zeros((len(chosen), notes, runner.layout.fields))
        inputs = np.zeros((len(chosen), notes, runner.performance))
        for number, pair in enumerate(self.pairs):
            total = torch.zeros(len(chosen), *self.begin[number].shape[1:], device=runner.device)  # (o, T, D)
            begin = 0
            for part in self._chunks(number, at):
                points = self._points(number, part).requires_grad_()
                with torch.enable_grad():
                    outputs = self.network.outputs(pair.tokens, pair.performance, points)  # (K, C)
                here = slice(begin, begin + len(part))
                mean = outputs if means is None else means[pair.phase, here]
                begin += len(part)
                for row, output in enumerate(chosen):
                    slope = self._slopes(mean, output) * share[here, None].to(outputs)
                    (gradient,) = torch.autograd.grad(
                        (outputs * slope).sum(), points, retain_graph=row + 1 < len(chosen)
                    )
                    total[row] += gradient.sum(0) * pair.weight / self.network.phases
            part = slice(pair.window.start, pair.window.stop)
            of_fields, of_inputs = self._split(pair, number, total)
            fields[:, part] += of_fields
            inputs[:, part] += of_inputs
        gains = fields.sum(axis=(1, 2)) + inputs.sum(axis=(1, 2))
        size = np.abs(fields.sum(axis=2) + inputs.sum(axis=2)).sum(axis=1)
        results = []
        for row, output in enumerate(chosen):
            score, reference = float(self.score[output]), float(self.reference[output])
            base = max(abs(score - reference), _CANCELLED * size[row], 1e-12)
            gap = float(abs(gains[row] - (score - reference)) / base)
            name = self.network.names[output]
            results.append(Contributions(name, score, reference, fields[row], inputs[row], gap, steps))
        return results

    def _split(self, pair: Pair, number: int, gradient: torch.Tensor) -> tuple[Floats, Floats]:
        """Split contributions of notes [shape=(outputs, n, F) and (outputs, n, P)]."""
        lead = self.network.runner.layout.lead
        rows = slice(lead, lead + len(pair.window))
        count = self.network.runner.layout.fields
        here, there = (t.view(1, -1, count) for t in (pair.tokens, pair.baseline_tokens))  # (1, T, F)
        of_fields = []
        for field in range(count):
            mixed = there.clone()
            mixed[..., field] = here[..., field]
            embedded = self.network.embedded(mixed.view(pair.tokens.shape), pair.baseline_performance)
            step = (embedded - self.begin[number])[:, rows]  # (1, n, D)
            of_fields.append((step * gradient[:, rows]).sum(-1).double())  # (o, n)
        projection = self.network.projection
        if projection is None or pair.performance is None or pair.baseline_performance is None:
            nothing = np.zeros((len(gradient), len(pair.window), self.network.runner.performance))
            return torch.stack(of_fields, -1).cpu().numpy(), nothing
        change = (pair.performance - pair.baseline_performance)[:, rows]  # (1, n, P)
        of_inputs = change * (gradient[:, rows] @ projection.detach())  # (o, n, P)
        return torch.stack(of_fields, -1).cpu().numpy(), of_inputs.double().cpu().numpy()

"""A warning if pre-training stays at the loss of guessing by frequency.

Seen with MusicBERT (post-norm, learning rate 1e-3, no clipping): it fell to the entropy of the tokens within
100 updates and stayed there, at 4.5 bits per token (``results/ablations``). Every process counts its own
batches (`musicbert.model.losses.masked_lm`) and sums its loss on the device; the first one compares them
now and then. Training is unchanged, and checkpoints hold none of it: a resumed run counts anew.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch

from musicbert.encoding.vocabulary import N_FIELDS
from musicbert.model.losses.masked_lm import FieldCounts

logger = logging.getLogger(__name__)

#: updates between two looks
WINDOW = 100
#: least updates between two looks where a validation comes first
SHORT_WINDOW = 50
#: updates at the bound after which it is said
PATIENCE = 300
#: updates for which a rising learning rate is waited for, longer warm-ups are not
LONGEST_RISE = 5000
#: share of the guess's loss, and of the loss at the beginning of `PATIENCE`, from which nothing is learned.
#: Stuck runs stayed at 1.00 to 1.02 times the guess; M2BERT from scratch at the published 2e-5 falls by 1 to
#: 3 % in `WINDOW` on its way there and on
BOUND = 0.97


@dataclass(frozen=True)
class Unit:
    """Unit of losses in the log: its name, and how many nats it is."""

    name: str
    nats: float


BITS = Unit("bits a token", math.log(2))
NATS = Unit("nats a cell", 1.0)


class LearningWatch:
    """Compares the loss with that of guessing by frequency; the caller adds to ``counts``."""

    def __init__(self, counts: FieldCounts, unit: Unit) -> None:
        self.counts = counts
        self.warned = False
        self._unit = unit
        self._loss: torch.Tensor | None = None
        self._update = self._begun = -1
        self._rate, self._rising = math.inf, False
        self._tokens = self._stuck = 0
        self._level = 0.0

    def begin(self, update: int, rate: float) -> None:
        """Begin an update, before its batches are counted.

        ``update``: updates before this one; ``rate``: learning rate.
        """
        if update == self._update:
            return
        self._rising, self._rate, self._update = rate > self._rate, rate, update
        if self._begun < 0:
            self._begun = update
        self._look(update, WINDOW)

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of a counted batch, a sum in nats [scalar]."""
        self._loss = loss.detach().clone() if self._loss is None else self._loss + loss.detach()

    def validate(self) -> None:
        """Check the loss before a validation, unless it has just been checked."""
        self._look(self._update + 1, SHORT_WINDOW)

    def _look(self, done: int, least: int) -> None:
        passed = done - self._begun
        if self._loss is None or passed < least or self.warned:
            return
        tokens, guess = self.counts.read()  # waits for the device
        loss = float(self._loss) / max(tokens - self._tokens, 1)
        waiting = self._rising and done < LONGEST_RISE
        if loss >= BOUND * guess and loss >= BOUND * self._level and not waiting:
            self._stuck += passed
            self._level = self._level or loss
        else:
            self._stuck, self._level = 0, loss
        if self._stuck >= PATIENCE:
            self.warned = True
            logger.warning(
                "After %d updates the loss (%.2f %s) is no better than that of guessing the most frequent "
                "tokens (%.2f): the network is not learning. Change --lr (%.3g now; too high, or for a start "
                "from scratch too low), clip the gradient (--clip-norm 1) or lengthen --warmup-updates.",
                *(done, loss / self._unit.nats, self._unit.name, guess / self._unit.nats, self._rate),
            )
        self._loss, self._tokens, self._begun = None, tokens, done


class WatchesLearning:
    """Mixin of tasks: their first process has a `LearningWatch` over the batches of training."""

    _watch: LearningWatch | None = None

    def new_watch(self) -> LearningWatch:
        """Make the watch of this task."""
        raise NotImplementedError

    def count_batch(
        self, counts: FieldCounts, sample: dict[str, Any], logged: dict[str, Any]
    ) -> torch.Tensor | None:
        """Count the targets of a batch, and return its loss in nats.

        None, and nothing is counted, if the criterion does not log it.
        """
        raise NotImplementedError

    def train_step(
        self,
        sample: dict[str, Any],
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """As fairseq's, and count the batch."""
        loss, size, logged = super().train_step(  # type: ignore[misc]
            sample, model, criterion, optimizer, update_num, ignore_grad
        )
        if not ignore_grad and _first_process():
            self._watch = self._watch or self.new_watch()
            if not self._watch.warned:
                self._watch.begin(update_num, float(optimizer.get_lr()))
                asked = self.count_batch(self._watch.counts, sample, logged)
                if asked is not None:
                    self._watch.add(asked)
        return loss, size, logged

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """As fairseq's, and check the loss so far."""
        super().begin_valid_epoch(epoch, model)  # type: ignore[misc]
        if self._watch is not None:
            self._watch.validate()


class WatchesMaskedTokens(WatchesLearning):
    """`WatchesLearning` for tasks with one vocabulary, whose batches list their masked tokens."""

    def new_watch(self) -> LearningWatch:
        """Watch the one vocabulary, in bits."""
        return LearningWatch(FieldCounts(N_FIELDS, len(self.dictionary)), BITS)  # type: ignore[attr-defined]

    def count_batch(
        self, counts: FieldCounts, sample: dict[str, Any], logged: dict[str, Any]
    ) -> torch.Tensor | None:
        """Count the selected tokens."""
        if "loss" not in logged or "masked" not in sample:
            return None
        counts.add_listed(sample["masked"]["wanted"], sample["masked"]["counts"])
        return torch.as_tensor(logged["loss"])


def _first_process() -> bool:
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0

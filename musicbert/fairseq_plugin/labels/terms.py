"""`Term`: a label that a criterion learns, with the head that predicts it.

Legend: ``B`` windows, ``T`` rows, ``C`` outputs of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from musicbert.corpus.labelled.pieces import Kind

HeadFamily = Literal["classification", "regression"]


@dataclass(frozen=True)
class Term:
    """One summand of a loss.

    ``kind``: which loss and metrics; ``head``: name of the model's head, empty if it has only one;
    ``family``: family of that head; ``activation``: ``sigmoid`` maps the logits of a regression to 0-1;
    ``weight``: factor of this term in the loss; ``columns``: first output and end of the outputs of the only
    head that are this term's, None if all are.
    """

    label: str
    kind: Kind
    head: str = ""
    family: HeadFamily = "classification"
    activation: Literal["none", "sigmoid"] = "none"
    weight: float = 1.0
    columns: tuple[int, int] | None = None

    def values(self, logits: Tensor) -> Tensor:
        """Outputs after the activation, in float32."""
        return torch.sigmoid(logits.float()) if self.activation == "sigmoid" else logits.float()


def outputs_of(
    model: Any, terms: Sequence[Term], net_input: dict[str, Tensor], **inputs: Any
) -> list[Tensor]:
    """Logits of each term: [shape=(B, C)], or [shape=(B, T, C)] for labels of notes.

    The terms are in the order classification, regression; ``net_input`` and ``inputs`` are the model's
    arguments.
    """
    heads: dict[str, Any] = {}
    for term in terms:
        if term.head:
            heads.setdefault(f"{term.family}_head_name", []).append(term.head)
    heads = {name: several[0] if len(several) == 1 else tuple(several) for name, several in heads.items()}
    if heads:
        heads["features_only"] = True
    outputs = model(**net_input, **heads, **inputs)
    if isinstance(outputs, tuple):  # with other outputs after the logits
        outputs = outputs[0]
    if isinstance(outputs, tuple):
        return list(outputs)
    return [outputs if term.columns is None else outputs[..., slice(*term.columns)] for term in terms]

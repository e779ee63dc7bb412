"""`note_states`: one vector a note from any backbone, so that heads need not know which one it is.

Legend: ``B`` windows, ``T`` rows (special octuples included), ``D`` width, ``L`` blocks, ``P`` performance
inputs.

MusicBERT takes tokens [shape=(B, T*8)] of T octuples, of which the first and the last are special; M2BERT
and MidiBERT take the columns of notes [shape=(B, T, F)] and have no special rows. Another backbone is a
module with ``config.width`` and ``config.layers`` and a method ``note_states(tokens, *, performance=None,
all_layers=False) -> NoteStates``.
"""

from dataclasses import dataclass
from typing import Any

import torch

from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.midibert import MidiBert
from musicbert.model.backbones.musicbert import MusicBert
from musicbert.model.blocks.attention import mixed_precision


@dataclass
class NoteStates:
    """Hidden states of a batch.

    ``states``: the last one [shape=(B, T, D)], or the input of the first block and the output of each;
    ``notes``: True at notes, False at special rows and padding [shape=(B, T), bool].
    """

    states: list[torch.Tensor]
    notes: torch.Tensor


def note_states(
    backbone: Any,
    tokens: torch.Tensor,
    *,
    performance: torch.Tensor | None = None,
    all_layers: bool = False,
    depth: int | None = None,
    first: bool = False,
) -> NoteStates:
    """Run a backbone (see the module).

    ``performance``: performance inputs [shape=(B, T, P)], zero at special rows and padding; ``all_layers``:
    keep the states between the blocks; ``depth``: run only so many blocks, and give the state after them (0:
    the input of the first block; None: all, with a last norm); ``first``: only the first row of that state
    is wanted, and may be all that it has.

    Raises `ValueError` (performance inputs for a backbone without them, or the input is too long).
    """
    if isinstance(backbone, MusicBert):
        with mixed_precision(backbone, tokens):
            out = backbone.encoder.sentence_encoder(
                tokens,
                performance=performance,
                return_all_hiddens=all_layers,
                depth=depth,
                only_first=first,
            )
        return NoteStates(out.inner_states if all_layers else [out.hidden], ~out.special)
    if isinstance(backbone, M2Bert | MidiBert):
        if performance is not None:
            raise ValueError("performance inputs were given to a model that has none")
        # not the fairseq model's own forward, which refuses to train before weights have come
        forward = M2Bert.forward if isinstance(backbone, M2Bert) else MidiBert.forward
        _, extra = forward(backbone, tokens, features_only=True, return_all_hiddens=all_layers, depth=depth)
        padding = extra["padding_mask"]
        notes = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        states = extra["inner_states"] if all_layers else [extra["hidden"]]
        return NoteStates(states, notes if padding is None else ~padding)
    more = {} if performance is None else {"performance": performance}
    found: NoteStates = backbone.note_states(tokens, all_layers=all_layers or depth is not None, **more)
    return found if depth is None else NoteStates([found.states[depth]], found.notes)


def first_row(backbone: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Vector that the published sentence heads read [shape=(B, D)].

    The up-projected first token of MusicBERT; the state of the first row of the others.
    """
    if isinstance(backbone, MusicBert):
        return backbone.encoder.sentence_encoder.up_first(hidden)
    return hidden[:, 0]

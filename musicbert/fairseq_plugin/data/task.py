"""What tasks and models share: flags, the dictionary of OctupleMIDI, changing a configuration."""

import contextlib
from dataclasses import field
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from omegaconf import OmegaConf, open_dict

from musicbert.encoding.vocabulary import MASK, TOKENS


def flag(default: Any, text: str) -> Any:
    """Field of a configuration with its help text: an option of fairseq-train.

    fairseq reads the types of the fields, so files with configurations have no postponed annotations.
    """
    return field(default=default, metadata={"help": text})


def change(cfg: Any, **values: Any) -> None:
    """Set values of a configuration, also such as it has no names for."""
    with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
        for name, value in values.items():
            setattr(cfg, name, value)


def octuple_dictionary() -> Dictionary:
    """The dictionary of OctupleMIDI, ``<mask>`` included."""
    dictionary = Dictionary()
    for token in TOKENS[dictionary.nspecial : MASK + 1]:
        dictionary.add_symbol(token)
    return dictionary


class SummedCriterion(FairseqCriterion):
    """Base of the criterions: everything that they log is a sum over the batch."""

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logged values are sums."""
        return True

    def log(self, loss: torch.Tensor, size: Any, sample: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return what is summed over batches and workers."""
        return {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": size,
            **more,
        }


class OneDictionary:
    """Mixin: source and target have the task's ``dictionary``, ``<mask>`` included; labels have none."""

    dictionary: Dictionary

    @property
    def source_dictionary(self) -> Dictionary:
        """Dictionary of the tokens, ``<mask>`` included."""
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        """The same dictionary."""
        return self.dictionary

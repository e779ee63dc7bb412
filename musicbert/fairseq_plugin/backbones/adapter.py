"""What the three backbones share as fairseq models: flags, presets, loading, the start of training.

fairseq only logs that ``--restore-file`` was not found, and trains on; and it looks for ``X_s.pt`` if
``--restore-file X.pt`` meets ``--checkpoint-suffix _s``. Here a model that was to start from weights refuses
to train without them.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model_architecture
from omegaconf import II
from torch import nn

from musicbert.encoding.views import View
from musicbert.errors import CheckpointError
from musicbert.fairseq_plugin.data.task import flag
from musicbert.weights import Family, check_settings, check_view, fit_weights, load_checkpoint

logger = logging.getLogger(__name__)

#: fairseq's default of ``--restore-file``: the run's own last checkpoint, which need not exist
_OWN_CHECKPOINT = "checkpoint_last.pt"


@dataclass
class BackboneFlags(FairseqDataclass):
    """Flags of every backbone."""

    autocast_bf16: bool = flag(False, "mixed precision in bfloat16, on a CPU too (--bf16 needs a GPU)")
    init_from: Optional[str] = flag(  # noqa: UP045 - fairseq knows this spelling only
        None, "start from this checkpoint; an error if it is missing or of another architecture or encoding"
    )
    restore_file: str = II("checkpoint.restore_file")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")


class Backbone:
    """First base of a fairseq model: ``class X(Backbone, Network, BaseFairseqModel)``.

    ``family``: how the model looks on disk; ``flags``: dataclass of its flags; ``warn_of``: prefixes of head
    names; if such a head starts anew, a warning says so; ``weights_expected``: checkpoint to be loaded before
    the first step of training, or None; ``longest``: longest input (fairseq skips longer ones).
    """

    family: ClassVar[Family]
    flags: ClassVar[type[BackboneFlags]]
    warn_of: ClassVar[tuple[str, ...]] = ()
    weights_expected: str | None = None
    longest: int

    @classmethod
    def option(cls, cfg: Any, name: str) -> Any:
        """Value of a flag, or its default for a checkpoint that is older than the flag."""
        value = getattr(cfg, name, None)
        return cls.flags.__dataclass_fields__[name].default if value is None else value

    @classmethod
    def config_of(cls, cfg: Any, **more: Any) -> Any:
        """Architecture that the flags describe, with the attributes that come from the task."""
        given = {attribute: cls.option(cfg, name) for name, attribute in cls.family.flags.items()}
        return cls.family.config(**{**given, **more})

    def set_speed(self: Any, cfg: Any) -> None:
        """Follow ``--autocast-bf16`` and ``--compile``."""
        self.autocast_bf16 = bool(self.option(cfg, "autocast_bf16"))
        if "compile" in self.flags.__dataclass_fields__ and self.option(cfg, "compile"):
            self.compile_blocks()

    def prepare_start(self: Any, cfg: Any, *, view: View | None = None) -> None:
        """Load ``--init-from``, and remember which weights have to come before training starts.

        ``view``: refuse weights that were trained on another form of the music. Raises `CheckpointError`:
        those of `load_checkpoint` except ``not-found``; ``other-encoding``; those of ``load_weights``.
        """
        self.weights_expected = expected_weights(cfg) or self.weights_expected
        init_from = getattr(cfg, "init_from", None)
        if not init_from:
            return
        # Models are also built to be evaluated, when this file may be gone: then it is no error.
        self.weights_expected = init_from
        try:
            checkpoint = load_checkpoint(init_from)
        except CheckpointError as error:
            if error.reason != "not-found":
                raise
            logger.warning("%s", error)
            return
        check_settings(checkpoint.settings, self.config, path=init_from)
        if view is not None:
            check_view(checkpoint, view, path=init_from)
        self.load_weights(checkpoint.weights, path=init_from)

    def load_weights(self: Any, weights: Mapping[str, torch.Tensor], *, path: str | None = None) -> None:
        """Load a checkpoint's tensors and log which were loaded, missing and unexpected.

        Raises `CheckpointError` (as :func:`musicbert.weights.fit_weights`).
        """
        state, report = fit_weights(weights, self, path=path)
        nn.Module.load_state_dict(self, state, strict=True)
        self.weights_expected = None
        anew = any(name.startswith(self.warn_of) for name in (*report.missing, *report.resized))
        warn = self.warn_of and (anew or report.unexpected)
        logger.log(
            logging.WARNING if warn else logging.INFO, "weights%s: %s", f" of {path}" if path else "", report
        )

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor], strict: bool = True, **_: Any) -> None:
        """Load a checkpoint that fairseq has read, always strictly (see :meth:`load_weights`)."""
        del strict
        try:
            self.load_weights(state_dict)
        except CheckpointError as error:
            logger.error("%s", error)  # fairseq puts a general message of its own on top
            raise

    def refuse_without_weights(self: Any) -> None:
        """Refuse to train when the weights that were asked for never came.

        Raises `CheckpointError` (``weights-not-loaded``).
        """
        if self.training and self.weights_expected is not None:
            raise CheckpointError(
                "weights-not-loaded",
                "Training was to start from this checkpoint, but it was not found",
                path=self.weights_expected,
                hint="check the path; --restore-file FILE.pt with --checkpoint-suffix _s means FILE_s.pt, "
                "--init-from FILE.pt means FILE.pt",
            )

    def forward(self, src_tokens: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Run the network, after :meth:`refuse_without_weights`."""
        self.refuse_without_weights()
        output: tuple[Any, dict[str, Any]] = super().forward(src_tokens, *args, **kwargs)  # type: ignore[misc]
        return output

    def max_positions(self) -> int:
        """Longest input."""
        return self.longest

    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> torch.Tensor:
        """(Log-)probabilities of the logits, in float32."""
        del sample
        logits = net_output[0].float()
        return logits.log_softmax(-1) if log_probs else logits.softmax(-1)


def expected_weights(cfg: Any) -> str | None:
    """Checkpoint that ``--restore-file`` asks for, None where it is the run's own."""
    restore_file = getattr(cfg, "restore_file", None)
    suffix = getattr(cfg, "checkpoint_suffix", None) or ""
    if not restore_file or restore_file.startswith("${") or restore_file == _OWN_CHECKPOINT:
        return None
    return str(restore_file).replace(".pt", f"{suffix}.pt")


def register_presets(model: type[Backbone]) -> dict[str, Any]:
    """Register an ``--arch`` for each preset of a family, and return the presets by these names."""
    family = model.family
    presets = {f"{family.name}_{name}": preset for name, preset in family.presets.items()}
    for name, preset in presets.items():
        defaults = {
            entry.name: entry.default for entry in fields(model.flags) if not entry.name.startswith("_")
        }
        defaults |= {key: value for key, value in family.flag_values(preset).items() if key in defaults}

        def fill(args: Any, defaults: Mapping[str, Any] = defaults) -> None:
            """Fill in what the command line leaves open."""
            for key, value in defaults.items():
                if getattr(args, key, None) is None:
                    setattr(args, key, value)

        register_model_architecture(family.name, name)(fill)
    return presets

"""The refusal to train from scratch when pre-trained weights were asked for and did not come.

fairseq only logs that ``--restore-file`` was not found, and trains on.
"""

from __future__ import annotations

import logging
from typing import Any

from musicbert.errors import CheckpointError
from musicbert.weights import load_checkpoint

__all__ = ["expected_weights", "refuse_without_weights", "start_from"]

logger = logging.getLogger(__name__)

#: fairseq's default of ``--restore-file``: the run's own last checkpoint, which need not exist
_OWN_CHECKPOINT = "checkpoint_last.pt"


def expected_weights(cfg: Any) -> str | None:
    """Checkpoint that ``--restore-file`` asks for, None where it is the run's own."""
    restore_file = getattr(cfg, "restore_file", None)
    suffix = getattr(cfg, "checkpoint_suffix", None) or ""
    if not restore_file or restore_file.startswith("${") or restore_file == _OWN_CHECKPOINT:
        return None
    return str(restore_file).replace(".pt", f"{suffix}.pt")


def start_from(model: Any, cfg: Any) -> None:
    """Load what ``--init-from`` names, and note what else the model has to wait for.

    Parameters
    ----------
    model
        With ``load_weights(weights, path=...)`` and ``weights_expected``.
    cfg
        Its flags.

    Raises
    ------
    CheckpointError
        Those of `load_checkpoint` but for ``not-found``, and of ``load_weights``.
    """
    model.weights_expected = expected_weights(cfg) or model.weights_expected
    if not getattr(cfg, "init_from", None):
        return
    # Models are also built to be evaluated, when this file may be gone: then it is no error.
    model.weights_expected = cfg.init_from
    try:
        checkpoint = load_checkpoint(cfg.init_from)
    except CheckpointError as error:
        if error.reason != "not-found":
            raise
        logger.warning("%s", error)
    else:
        model.load_weights(checkpoint.weights, path=cfg.init_from)


def refuse_without_weights(model: Any) -> None:
    """Raise where a model in training still waits for its weights (``model.weights_expected``).

    Raises
    ------
    CheckpointError
        ``weights-not-loaded``.
    """
    if model.training and model.weights_expected is not None:
        raise CheckpointError(
            "weights-not-loaded",
            "Training was to start from this checkpoint, but it was not found",
            path=model.weights_expected,
            hint="check the path; --restore-file FILE.pt with --checkpoint-suffix _s means FILE_s.pt, "
            "--init-from FILE.pt means FILE.pt",
        )

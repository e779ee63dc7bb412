"""Comparing the outputs of a checkpoint with recorded ones.

``published_logits.npz`` holds the outputs of the published small and base checkpoints for the tokens 0, 1,
..., 319, recorded by the authors of musicbert_hf: the logits of eight rows, and the most likely token and the
log-sum-exp of all 320. :func:`record` writes the same for any other checkpoint.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from scipy.special import logsumexp

from musicbert.atomic import replacing
from musicbert.corpus.files.folders import read_npz
from musicbert.errors import CheckpointError
from musicbert.weights.bundle import Bundle
from musicbert.weights.loading import build_model

EXPECTED = Path(__file__).with_name("published_logits.npz")
#: tokens of the input: 0, 1, ..., 319 are forty notes
TOKENS = 320
#: largest difference of a logit (musicbert_hf's tests); published numbers are rounded differently
TOLERANCE = {"small": 1e-3, "base": 3e-3}
_OTHER_TOLERANCE = 1e-3
_ROWS = (0, 1, 8, 40, 100, 200, 300, 319)


@dataclass(frozen=True)
class Verification:
    """How far a checkpoint is from the expected outputs, which are those of ``name``."""

    name: str
    #: largest absolute difference of a logit or a log-sum-exp
    difference: float
    #: largest allowed difference
    tolerance: float
    #: share of the 320 tokens with the expected most likely prediction, 0-1
    agreement: float

    @property
    def passed(self) -> bool:
        """True if the difference is within the tolerance."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        word = "agrees with" if self.passed else "differs from"
        return (
            f"{word} {self.name}: largest difference {self.difference:.2e} (allowed {self.tolerance:.0e}), "
            f"{self.agreement:.1%} of {TOKENS} most likely tokens equal"
        )


@torch.inference_mode()
def _logits(bundle: Bundle) -> np.ndarray:
    """Logits [shape=(320, V), float32] of the tokens 0, 1, ..., 319, in float32 on the CPU."""
    model, _ = build_model(bundle)
    if bundle.config.vocabulary_size < TOKENS:
        raise CheckpointError("other-vocabulary", "Its vocabulary is too small")
    logits, _ = model(torch.arange(TOKENS)[None])
    return np.asarray(logits[0].numpy(), np.float32)


def record(bundle: Bundle, path: str | PathLike[str], *, name: str | None = None) -> Path:
    """Write the outputs of a checkpoint as an ``.npz`` for :func:`verify`.

    ``name`` is the prefix of the arrays; the size (``small``) or ``model`` if None.
    Raises `CheckpointError` (``not-comparable``: not a MusicBERT).
    """
    size = _size(bundle)
    logits, name = _logits(bundle), name or size
    rows = np.array(_ROWS)
    arrays = {
        f"{name}_rows": rows,
        f"{name}_logits": logits[rows],
        f"{name}_argmax": logits.argmax(-1),
        f"{name}_row_logsumexp": logsumexp(logits, axis=-1),
    }
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)
    return Path(path)


def verify(bundle: Bundle, expected: str | PathLike[str] | None = None) -> Verification:
    """Compare a checkpoint with recorded numbers.

    ``expected`` is an ``.npz`` written by :func:`record`; None: the numbers of the published checkpoints.
    Raises `CheckpointError` (``no-expected-numbers``: none for this size; ``unreadable``;
    ``not-comparable``).
    """
    path = EXPECTED if expected is None else Path(expected)
    name = _size(bundle)
    try:
        numbers = read_npz(path)
    except (OSError, ValueError) as error:
        raise CheckpointError("unreadable", f"No recorded numbers: {error}", path=path) from error
    if f"{name}_logits" not in numbers:
        raise CheckpointError(
            "no-expected-numbers",
            f"There are numbers of {', '.join(sorted(_names(numbers)))} only, and this is {name}",
            path=path,
            hint="record numbers of it with --record where you trust it, and compare with --expected",
        )
    logits = _logits(bundle)
    rows = numbers[f"{name}_rows"]
    differences = [
        np.abs(logits[rows] - numbers[f"{name}_logits"]).max(),
        np.abs(logsumexp(logits, axis=-1) - numbers[f"{name}_row_logsumexp"]).max(),
    ]
    agreement = float((logits.argmax(-1) == numbers[f"{name}_argmax"]).mean())
    whose = f"the published {name} checkpoint" if expected is None else f"{path.name} ({name})"
    return Verification(whose, float(max(differences)), TOLERANCE.get(name, _OTHER_TOLERANCE), agreement)


def _names(numbers: dict[str, np.ndarray]) -> set[str]:
    return {key.removesuffix("_logits") for key in numbers if key.endswith("_logits")}


def _size(bundle: Bundle) -> str:
    """Size of a MusicBERT by name, ``model`` where it is none of the presets."""
    if bundle.family.name != "musicbert":
        raise CheckpointError(
            "not-comparable", "Numbers are recorded of MusicBERT only", hint="see `checkpoint info`"
        )
    name = bundle.family.architecture_name(bundle.config).removeprefix("musicbert")
    return name.removeprefix("_") or "model"

"""The model to fine-tune: from ``scratch:ARCH``, a path or a name to the arguments of fairseq-train."""

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from musicbert.errors import CheckpointError, nearest
from musicbert.recipes.command import flags
from musicbert.weights import FAMILIES, read_bundle, resolve
from musicbert.weights.families.family import FamilyName as Family

SCRATCH = "scratch:"
#: architecture -> family, of the families that can be trained from scratch
_ARCHITECTURES: dict[str, Family] = {
    f"{family.name}_{name}": family.name
    for family in (FAMILIES["musicbert"], FAMILIES["m2bert"])
    for name in family.presets
}
#: ``--arch`` of weights whose sizes are all given by flags
_ARCH_OF_WEIGHTS = {"m2bert": "m2bert", "midibert": "midibert_base"}
#: default of ``--max-positions``
LONGEST = 8192


@dataclass(frozen=True)
class ModelChoice:
    """A backbone to fine-tune.

    ``name``: as the user wrote it; ``arguments``: of fairseq-train: architecture, sizes, weights to start
    from; ``codec``: encoding that it was trained on (a new one: that of its family); ``path``: file or folder
    of the weights, None from scratch; ``max_positions``: longest window in rows.
    """

    name: str
    family: Family
    arguments: tuple[str, ...]
    codec: str
    path: Path | None = None
    max_positions: int = LONGEST

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights."""
        return self.path is not None


def choose_model(name: str | PathLike[str], *, codec: str | None = None) -> ModelChoice:
    """Find a model.

    ``name``: ``scratch:ARCH``, a checkpoint file or folder, or a name (`musicbert.weights.names`); ``codec``:
    encoding to use instead of the model's own, if it can read it (a new M2BERT reads octuples). Raises
    `CheckpointError`: ``unknown-architecture``; ``other-encoding``; those of `musicbert.weights.resolve` and
    of reading the checkpoint.
    """
    text = fspath(name)
    if text.startswith(SCRATCH):
        arch = text.removeprefix(SCRATCH)
        if arch not in _ARCHITECTURES:
            raise CheckpointError(
                "unknown-architecture",
                f"no architecture {arch!r}; there are {', '.join(_ARCHITECTURES)}",
                hint=nearest(arch, _ARCHITECTURES),
            )
        family = _ARCHITECTURES[arch]
        default = "octuple" if family == "musicbert" else "cp"
        return ModelChoice(text, family, ("--arch", arch), codec or default)
    path = resolve(name).absolute()
    bundle = read_bundle(path)
    family, config = bundle.family, bundle.config
    if bundle.view != "octuple":
        message = f"It was trained on the encoding {bundle.view!r}, but the data are octuples"
        hint = "give weights that were pre-trained on octuples (train_nsp.sh and train_genre.sh read both)"
        raise CheckpointError("other-encoding", message, path=path, hint=hint)
    if family.name == "midibert" and codec is not None and not codec.startswith("cp"):
        message = f"MidiBERT reads compound words, not {codec!r}"
        raise CheckpointError("other-encoding", message, path=path, hint="write the data with the codec cp")
    arch = _ARCH_OF_WEIGHTS.get(family.name) or family.architecture_name(config)
    return ModelChoice(
        text,
        family.name,
        flags(arch=arch, init_from=path, **family.size_flags(config)),
        codec or bundle.columns.encoding,
        path,
        getattr(config, "max_positions", LONGEST),
    )

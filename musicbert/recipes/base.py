"""What all recipes share: options, the weights they start from, and the plan of runs."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

from musicbert.config import M2BERT_PRESETS, PRESETS
from musicbert.errors import CheckpointError, ConfigError, nearest
from musicbert.recipes.command import Command, Device, flags
from musicbert.recipes.options import option

ARCHITECTURES = "musicbert_{tiny,mini,small,medium,base,large}"
_BASE = "checkpoints/checkpoint_last_musicbert_base.pt"


class Weights(Protocol):
    """Finds checkpoints and reads their architecture."""

    def find(self, name: str) -> Path:
        """Path of a file, a folder or a name; raises `CheckpointError`."""

    def architecture(self, path: Path) -> tuple[str, Mapping[str, int]]:
        """Name of a checkpoint's architecture, and flags of its sizes where the name does not say them."""


class Machine(Protocol):
    """What this machine can do."""

    def gpus(self) -> int:
        """Number of GPUs."""

    def cpu_speed(self) -> float:
        """Floating-point operations a second of a large matrix product on the CPU."""


@dataclass(frozen=True)
class Start:
    """How a run starts: its architecture, flags of fairseq-train, and a message for the terminal."""

    arch: str
    flags: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True)
class Plan:
    """The runs of a recipe."""

    commands: tuple[Command, ...]
    #: messages for the terminal, like ``after``
    before: str = ""
    after: str = ""
    #: flags that follow those of each command
    extra: tuple[str, ...] = ()
    #: a finished run gets a file ``done``, and ``--resume`` passes over it
    marked: bool = False


@dataclass(frozen=True)
class Recipe:
    """Options of every recipe.

    A recipe is a frozen dataclass: its fields are the options of ``musicbert train NAME``, with the published
    hyper-parameters as defaults.
    """

    #: what the recipe trains, for help
    ABOUT: ClassVar[str] = ""
    #: where the published values are from
    SOURCE: ClassVar[str] = ""
    #: what to do where the weights of ``--init`` are missing
    NO_WEIGHTS: ClassVar[str] = (
        "give weights with --init, such as --init musicbert-mini, which comes with the project, "
        "or add --from-scratch"
    )
    #: families of models that it trains
    FAMILIES: ClassVar[tuple[str, ...]] = ("musicbert",)
    #: architecture without ``--arch`` and without weights
    DEFAULT_ARCH: ClassVar[str] = "musicbert_base"

    arch: str = option("", f"{ARCHITECTURES} (default: that of the weights; from scratch, base)")
    init: str = option(_BASE, "pre-trained weights: a file, a folder, or a name such as musicbert-mini")
    save_dir: str = option(
        "", "folder of checkpoints and logs (default: checkpoints/ and the name of the run)"
    )
    validate_every: int = option(0, "updates between validations (0: after each epoch)")
    patience: int = option(-1, "stop after this many validations without a better score (-1: never)")
    num_workers: int = option(0, "data loading processes of each process")
    processes: int = option(0, "processes on each machine (default: one for each GPU; on a CPU one)")
    nodes: int = option(0, "machines (default: those of the SLURM job step, or 1)")
    node_rank: str = option("", "number of this machine, from 0 (default: SLURM's)")
    master: str = option(
        "", "HOST:PORT of machine 0, the same on all (default: SLURM's first host, port 29500)"
    )
    cpu: bool = option(False, "train on the CPU even where there is a GPU")
    fp16: bool = option(False, "half precision (GPU)")
    bf16: bool = option(False, "bfloat16 (on a GPU weights too, with float32 copies; on a CPU products only)")
    resume: bool = option(False, "continue from the last checkpoint of the save folder")
    small_checkpoints: bool = option(
        False, "store no optimizer states: a third of the size, but the run cannot be resumed"
    )
    bar: bool = option(False, "show a progress bar even if the output is not a terminal")
    verbose: bool = option(
        False, "show the whole log of fairseq-train, which otherwise goes to train.log only"
    )
    dry_run: bool = option(False, "print the command and stop")

    def plan(self, weights: Weights) -> Plan:
        """List the runs."""
        raise NotImplementedError

    def device(self, gpus: int) -> Device:
        """Hardware and precision of the runs."""
        return Device(gpus, self.fp16, self.bf16)

    def architectures(self) -> tuple[str, ...]:
        """Names that ``--arch`` takes, beside that of a family, whose sizes are flags."""
        presets: dict[str, Iterable[str]] = {"musicbert": PRESETS, "m2bert": M2BERT_PRESETS}
        return tuple(f"{family}_{size}" for family in self.FAMILIES for size in presets[family])

    def start(self, weights: Weights, *, rename: Callable[[str], str] = str) -> Start:
        """Find the weights of ``--init`` and, without ``--arch``, read their architecture.

        ``rename`` turns the name of an architecture into that of the recipe's model.
        """
        known = self.architectures()
        if self.arch and self.arch not in (*known, *self.FAMILIES):
            meant = f"did you mean {rename(self.arch)}?" if rename(self.arch) in known else None
            raise ConfigError(
                "bad-option",
                f"--arch: this recipe trains {', '.join(known)}, not {self.arch}",
                hint=meant or nearest(self.arch, known),
            )
        if not self.init or getattr(self, "from_scratch", False):
            arch = self.arch or self.DEFAULT_ARCH
            message = "training from scratch" if self.init else ""
            return Start(arch, flags(arch=arch), message)
        try:
            path = weights.find(self.init)
        except CheckpointError as error:
            message = f"{self.init} is missing: {error.message}"
            hint = "; ".join(filter(None, (self.NO_WEIGHTS, error.hint)))
            raise CheckpointError(error.reason, message, hint=hint) from error
        message = f"starting from {path}"
        name, sizes = weights.architecture(path)
        family = name.partition("_")[0]
        if family not in self.FAMILIES:
            raise CheckpointError(
                "other-model",
                f"It is a model of the family {family}, and this recipe trains {' and '.join(self.FAMILIES)}",
                path=path,
                hint="musicbert train m2bert, musicbert finetune and musicbert benchmark take M2BERT",
            )
        if self.arch:
            return Start(self.arch, flags(arch=self.arch, init_from=path), message)
        arch = rename(name)
        return Start(arch, flags(arch=arch, init_from=path, **sizes), message)

    def command(self, data: str, save_dir: str, arguments: tuple[str, ...], **more: Any) -> Command:
        """Fill in a command with the shared options."""
        shared = self.values("effective_batch", "batch", "num_workers", "patience", "validate_every")
        small = self.small_checkpoints
        return Command(data, save_dir, arguments, small_checkpoints=small, **shared, **more)

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Refuse options that were given where they have no effect: raises `ConfigError`."""
        for entry in fields(self):
            if entry.name in names and getattr(self, entry.name) != entry.default:
                place = entry.metadata.get("place")
                name = entry.name.upper() if place else f"--{entry.name.replace('_', '-')}"
                raise ConfigError("unused-option", f"{name}: not used {why}", hint="leave it out")

    def values(self, *names: str) -> dict[str, Any]:
        """Values of options by name."""
        return {name: getattr(self, name) for name in names}


def need(path: str | Path, hint: str) -> None:
    """Raise `ConfigError` (``not-found``) where a file or folder is missing."""
    if not Path(path).exists():
        raise ConfigError("not-found", f"{path} is missing", hint=hint)


def shards_of(folder: str, marker: str = "") -> str:
    """Join the shards of a folder (``shard0``, ``shard1``, ...) as fairseq splits them: each is an epoch."""
    if not (Path(folder) / "shard0" / marker).exists():
        return folder
    shards: list[str] = []
    while (Path(folder) / f"shard{len(shards)}").is_dir():
        shards.append(f"{folder}/shard{len(shards)}")
    return os.pathsep.join(shards)

"""The command ``fairseq-train``: flags, devices, batches, processes, optimizers and schedules.

This is the only place that knows how a command of fairseq-train is spelled.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from musicbert.errors import ConfigError
from musicbert.provenance import command_line
from musicbert.reuse import hashes_of, record_hash

#: the package as ``--user-dir``
PACKAGE = Path(__file__).resolve().parents[1]
#: flags of fairseq-train that name weights to start from
_WEIGHTS = ("--init-from", "--restore-file", "--finetune-from-model")
_LAUNCH = "musicbert.fairseq_plugin.launch"


def flags(**values: object) -> tuple[str, ...]:
    """Spell flags: ``lr=1, compat=True`` gives ``--lr 1 --compat``; False and None are left out."""
    words: list[str] = []
    for name, value in values.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    return tuple(words)


def call(data: str | Path, save_dir: str | Path) -> tuple[str, ...]:
    """What every call of fairseq-train begins with: the data, this package, the folder of checkpoints."""
    return (str(data), *flags(user_dir=PACKAGE, save_dir=save_dir))


def flag_values(words: Sequence[str]) -> dict[str, str]:
    """Return the values of flags by flag; absolute paths are cut to their last part."""
    values: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        if word.startswith("--"):
            flag = word
            values[flag] = []  # the last of equal ones counts
        elif flag:
            values[flag].append(command_line([word]))
    return {name: " ".join(given) for name, given in values.items()}


def source_hashes(data: str, words: Sequence[str], known: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the hashes of the data (folders joined with colons), and of the weights that flags name.

    ``known``: hashes by path, which are not computed again; new ones are added.
    """
    weights = {value: f"weights of {flag}" for flag, value in pairwise(words) if flag in _WEIGHTS}
    for path in (*data.split(os.pathsep), *weights):
        if path not in known:
            known[path] = hashes_of(path)
    return {
        f"{'data' if os.pathsep not in data else Path(folder).name}/{name}": value
        for folder in data.split(os.pathsep)
        for name, value in known[folder].items()
    } | {name: record_hash(known[path]) for path, name in weights.items() if known[path]}


def adam(
    name: str = "adam",
    *,
    betas: str = "(0.9, 0.98)",
    eps: str = "1e-6",
    weight_decay: str | None = "0.01",
    clip_norm: str = "0.0",
) -> tuple[str, ...]:
    """Flags of an optimizer of the Adam family: ``adam``, ``fused_adamw`` or ``stable_adamw``."""
    prefix = "stable_adamw" if name == "stable_adamw" else "adam"
    moments = {f"{prefix}_betas": betas, f"{prefix}_eps": eps}
    return flags(optimizer=name, **moments, weight_decay=weight_decay, clip_norm=clip_norm)


def schedule(name: str, *, lr: str, warmup: int, updates: int = 0) -> tuple[str, ...]:
    """Flags of a learning rate: ``fixed``, ``polynomial_decay`` (to 0 after the last update) or ``cosine``.

    ``warmup`` and ``updates`` are numbers of updates; 0 updates: no bound, which only ``fixed`` allows.
    """
    return flags(
        lr=lr,
        lr_scheduler=name,
        warmup_updates=warmup,
        total_num_update=updates if name == "polynomial_decay" else None,
        max_update=updates or None,
    )


@dataclass(frozen=True)
class Device:
    """Hardware and precision of a run.

    ``gpus``: GPUs of this machine that may be used; 0: the CPU; ``fp16``, ``bf16``: half precision, bfloat16.
    """

    gpus: int = 0
    fp16: bool = False
    bf16: bool = False

    def flags(self) -> tuple[str, ...]:
        """Flags of fairseq-train.

        Raises `ConfigError` (``bad-option``: half precision on a CPU).
        """
        if self.gpus:
            return flags(fp16=self.fp16, bf16=self.bf16)
        if self.fp16:
            raise ConfigError("bad-option", "--fp16 needs a GPU", hint="--bf16 works on a CPU, too")
        # fairseq's --bf16 would ask for a TPU
        return flags(cpu=True, autocast_bf16=self.bf16)


@dataclass(frozen=True)
class Processes:
    """Processes of a run."""

    #: on all machines
    count: int
    #: words before the arguments of fairseq-train
    launch: tuple[str, ...]
    #: variables that the processes need
    environment: Mapping[str, str] = field(default_factory=dict)


def plan_processes(
    gpus: int,
    *,
    processes: int = 0,
    nodes: int = 0,
    node_rank: str = "",
    master: str = "",
    environment: Mapping[str, str] | None = None,
) -> Processes:
    """Decide how many processes run, and how they are started.

    ``gpus``: GPUs of this machine; 0: train on the CPU. ``processes``: processes of each machine; 0: one for
    each GPU, one on a CPU. ``nodes``, ``node_rank``, ``master``: machines, number of this one from 0, and
    ``HOST:PORT`` of machine 0; in a SLURM job step with one task on each machine, SLURM's values by default.
    ``environment``: environment variables; ``os.environ`` if None.
    Raises `ConfigError` (``bad-option``).
    """
    environment = os.environ if environment is None else environment
    here = processes or gpus or 1
    if gpus and here > gpus:
        raise ConfigError("bad-option", f"--processes {here}, but there are {gpus} GPUs")
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if not nodes and tasks > 1 and "SLURM_STEP_NUM_NODES" in environment:
        nodes = int(environment["SLURM_STEP_NUM_NODES"])
        if tasks != nodes:
            raise ConfigError("bad-option", "start one task a machine: srun --ntasks-per-node 1")
        node_rank = node_rank or environment["SLURM_NODEID"]
        master = master or f"{_first_host(environment['SLURM_STEP_NODELIST'])}:29500"
    nodes = nodes or 1
    if nodes == 1 and (node_rank or master):
        raise ConfigError("unused-option", "--node-rank and --master are not used without --nodes")
    launch: tuple[str, ...] = (sys.executable, "-m", _LAUNCH)
    if nodes > 1:
        if not (node_rank and master):
            raise ConfigError("bad-option", f"--nodes {nodes} needs --node-rank and --master HOST:PORT")
        host, _, port = master.rpartition(":")
        places = flags(
            nnodes=nodes, node_rank=node_rank, nproc_per_node=here, master_addr=host, master_port=port
        )
        launch = (*_torchrun(), *places, "-m", _LAUNCH)
    elif here > 1:
        # by address: a machine's own name may not resolve, and torchrun would wait for it
        places = flags(standalone=True, local_addr="127.0.0.1", nproc_per_node=here)
        launch = (*_torchrun(), *places, "-m", _LAUNCH)
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), environment.get("PYTHONPATH", ""))))
    return Processes(
        here * nodes, launch, {"PYTHONPATH": path, **({} if gpus else {"CUDA_VISIBLE_DEVICES": ""})}
    )


def _torchrun() -> tuple[str, ...]:
    """The program ``torchrun`` of this environment, else its module."""
    beside = Path(sys.executable).with_name("torchrun")
    program = str(beside) if beside.is_file() else shutil.which("torchrun")
    return (program,) if program else (sys.executable, "-m", "torch.distributed.run")


def _first_host(names: str) -> str:
    done = subprocess.run(
        ["scontrol", "show", "hostnames", names], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


def update_frequency(effective: int, batch: int, processes: int) -> int:
    """Batches that each process accumulates for one update, at least 1."""
    return max(effective // batch // processes, 1)


@dataclass(frozen=True)
class Command:
    """One call of fairseq-train, without what depends on the machine."""

    #: data folder, or several joined with colons
    data: str
    #: folder of checkpoints and logs
    save_dir: str
    #: flags of the recipe
    arguments: tuple[str, ...]
    #: rows of one update, over all processes and accumulation
    effective_batch: int
    #: rows of one forward pass of one process
    batch: int
    optimizer: tuple[str, ...] = adam()
    seed: int = 7
    num_workers: int = 0
    patience: int = -1
    #: updates between validations and checkpoints; 0: after each epoch
    validate_every: int = 0
    #: store no optimizer states
    small_checkpoints: bool = False

    def words(self, device: Device, processes: Processes, extra: Sequence[str] = ()) -> list[str]:
        """The whole command; ``extra`` comes last, so it overrides."""
        every = self.validate_every or None
        return [
            *processes.launch,
            *call(self.data, self.save_dir),
            *flags(tensorboard_logdir=f"{self.save_dir}/tensorboard", log_format="json", log_interval=10),
            *self.optimizer,
            *flags(
                batch_size=self.batch,
                update_freq=update_frequency(self.effective_batch, self.batch, processes.count),
                required_batch_size_multiple=1,
                seed=self.seed,
                num_workers=self.num_workers,
                patience=self.patience,
                no_epoch_checkpoints=True,
            ),
            *device.flags(),
            *flags(
                no_save_optimizer_state=self.small_checkpoints,
                # fairseq keeps the best checkpoint within an epoch only where it saves there, too
                validate_interval_updates=every,
                save_interval_updates=every,
                keep_interval_updates=1 if every else None,
            ),
            *self.arguments,
            *extra,
        ]

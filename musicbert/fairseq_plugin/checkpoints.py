"""Checkpoints of a training survive a kill at any moment, and those of a finished training stay as they are.

fairseq copies a checkpoint over the last and the best one in place, so a kill leaves a part of a file. It
trains one update more when a finished run is started again, and forgets how long the score has not improved
(``--patience``) when a run is resumed. `keep_checkpoints_whole` replaces its public functions, also for
``fairseq-train --user-dir musicbert``.
"""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from musicbert.atomic import replacing
from musicbert.errors import CheckpointError
from musicbert.fairseq_plugin.data.task import change
from musicbert.weights import check_settings, load_checkpoint
from musicbert.weights.pickles import read_pickle, write_pickle

logger = logging.getLogger(__name__)

#: fairseq's default of --restore-file: the last checkpoint of the save folder
LAST = "checkpoint_last.pt"
#: what a killed writer leaves, ours and fairseq's own
_LEFTOVERS = (".checkpoint*.pt.*.partial", "checkpoint*.pt.tmp")
_load, _save = checkpoint_utils.load_checkpoint, checkpoint_utils.torch_persistent_save


def keep_checkpoints_whole() -> None:
    """Replace the functions of fairseq that write, copy and resume checkpoints."""
    checkpoint_utils.torch_persistent_save = save_whole
    checkpoint_utils.load_checkpoint = resume
    PathManager.copy = staticmethod(copy_whole)


def save_whole(state: dict[str, Any], filename: str, async_write: bool = False) -> None:
    """Write a checkpoint, whole or not at all, with the state of ``--patience``."""
    stop = _early_stop()
    if stop is not None and "extra_state" in state:
        state["extra_state"]["early_stop"] = dict(vars(stop))
    if async_write:
        _save(state, filename, async_write)
        return
    write_pickle(state, filename)


def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> str:
    """Copy a checkpoint, whole or not at all."""
    del overwrite  # fairseq passes True only
    with Path(src_path).open("rb") as source, replacing(dst_path) as target:
        shutil.copyfileobj(source, target)
    return dst_path


def resume(cfg: Any, trainer: Any, **more: Any) -> tuple[Any, Any]:
    """Load a checkpoint as fairseq does: the newest whole one where the last one is damaged.

    A finished run is left as it is. Raises `CheckpointError` (``unreadable``: damaged, none beside it;
    ``other-architecture``: weights to start from that another network was trained to use).
    """
    own = cfg.restore_file == LAST
    suffix = trainer.checkpoint_suffix or ""
    path = Path(cfg.save_dir, LAST) if own else Path(cfg.restore_file)
    path = path.with_name(path.name.replace(".pt", f"{suffix}.pt"))
    if own and trainer.is_data_parallel_master:
        for leftover in (file for pattern in _LEFTOVERS for file in Path(cfg.save_dir).glob(pattern)):
            leftover.unlink()
    start = None if own and path.is_file() else cfg.finetune_from_model or (None if own else path)
    network = getattr(trainer.model, "backbone", trainer.model)
    if start is not None and Path(start).is_file() and hasattr(network, "config"):
        check_settings(load_checkpoint(start).settings, network.config, path=start)
    if not path.is_file():
        return _load(cfg, trainer, **more)
    try:
        state = _read(path)
        _warn_of_best(path.with_name(f"checkpoint_best{suffix}.pt"))
    except CheckpointError as error:
        if not own or suffix or error.reason == "unsafe-pickle":
            raise
        path, state = _newest_whole(path, error)
    replaced = {} if path.name == f"checkpoint_last{suffix}.pt" or not own else {"restore_file": str(path)}
    if replaced:
        replaced["finetune_from_model"] = None
    before = {name: cfg[name] for name in replaced}
    change(cfg, **replaced)
    try:
        extra_state, iterator = _load(cfg, trainer, **more)
    finally:
        change(cfg, **before)
    if cfg.reset_optimizer or cfg.reset_lr_scheduler or cfg.reset_meters or cfg.reset_dataloader:
        return extra_state, iterator
    reason = _end(state, trainer.cfg)
    if reason:
        logger.info("finished: %d updates (%s), %s; nothing is changed", _updates(state), reason, path)
        change(trainer.cfg.optimization, max_epoch=-1)  # no epoch is begun
    elif (stop := _early_stop()) is not None:
        vars(stop).update(state.get("extra_state", {}).get("early_stop", {}))
    return extra_state, iterator


def _read(path: Path) -> dict[str, Any]:
    """State of a training without its numbers; raises `CheckpointError` if it is damaged or unsafe."""
    state = read_pickle(path, numbers=False)
    return state if isinstance(state, dict) else {}


def _newest_whole(damaged: Path, error: CheckpointError) -> tuple[Path, dict[str, Any]]:
    """The checkpoint beside a damaged one that has the most updates."""
    whole = []
    for path in sorted(damaged.parent.glob("checkpoint*.pt")):
        try:
            whole.append((path, _read(path)))
        except CheckpointError:
            continue
    if not whole:
        raise CheckpointError(
            "unreadable",
            f"{error.message}; there is no whole checkpoint beside it",
            path=damaged,
            hint="remove it to start again",
        ) from error
    path, state = max(whole, key=lambda entry: _updates(entry[1]))
    logger.warning("%s is damaged; resuming from %s (%d updates)", damaged, path, _updates(state))
    return path, state


def _warn_of_best(path: Path) -> None:
    if path.is_file():
        try:
            _read(path)
        except CheckpointError:
            logger.warning("%s is damaged; it is written again at the next better score", path)


def _updates(state: dict[str, Any]) -> int:
    history = state.get("optimizer_history") or [{}]
    return int(history[-1].get("num_updates", 0))


def _end(state: dict[str, Any], cfg: Any) -> str:
    """Option that ended the training of this state; empty if it can go on."""
    extra, limits = state.get("extra_state", {}), cfg.optimization
    if limits.max_update and _updates(state) >= limits.max_update:
        return f"--max-update {limits.max_update}"
    if limits.max_epoch and extra.get("train_iterator", {}).get("epoch", 0) > limits.max_epoch:
        return f"--max-epoch {limits.max_epoch}"
    if 0 < limits.stop_time_hours < extra.get("previous_training_time", 0) / 3600:
        return f"--stop-time-hours {limits.stop_time_hours}"
    if 0 < cfg.checkpoint.patience <= extra.get("early_stop", {}).get("num_runs", 0):
        return f"--patience {cfg.checkpoint.patience}"
    return ""


def _early_stop() -> Any:
    """Function that stops early; it keeps the best score and a count as its attributes."""
    modules = (sys.modules.get(name) for name in ("__main__", "fairseq_cli.train"))
    return next((stop for each in modules if (stop := getattr(each, "should_stop_early", None))), None)

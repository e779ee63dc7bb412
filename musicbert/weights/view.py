"""Which form of the music a checkpoint was trained on: octuples, or a form of the paper's ablation.

Checkpoints of fairseq say it among the settings of their task (``encoding``), folders as ``view`` of
``config.json`` (left out for octuples). Verified in ``tests/unit/weights/test_view.py``.
"""

from __future__ import annotations

from os import PathLike

from musicbert.encoding.views import VIEWS, View
from musicbert.errors import CheckpointError
from musicbert.weights.container import Checkpoint

__all__ = ["check_view", "view_of"]


def view_of(checkpoint: Checkpoint) -> View | None:
    """Form of the music that a checkpoint was trained on, None where it does not say."""
    own, task = checkpoint.folder_settings, checkpoint.task
    if own:
        said = own.get("view", "octuple") if own.get("model_type", "musicbert") == "musicbert" else None
    elif "music_pretrain" in (task.get("_name"), task.get("task")):
        return None  # its encodings are other ones
    else:
        said = task.get("encoding")
    return next((view for view in VIEWS if view == said), None)


def check_view(checkpoint: Checkpoint, view: View, *, path: str | PathLike[str] | None = None) -> None:
    """Refuse weights that are known to come from another form of the music.

    Raises
    ------
    CheckpointError
        ``other-encoding``.
    """
    theirs = view_of(checkpoint)
    if theirs is not None and theirs != view:
        raise CheckpointError(
            "other-encoding",
            f"It was trained on the encoding {theirs!r}, and the music is to be read as {view!r}",
            path=path,
            hint=f"give --encoding {theirs}, or weights that were pre-trained with --encoding {view}",
        )

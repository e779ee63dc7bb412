"""From a checkpoint to a bundle and a model, without fairseq."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from torch import nn

from musicbert.corpus.files.folders import read_steadily
from musicbert.encoding.clock import MOST_PHASES
from musicbert.encoding.views import VIEWS, View
from musicbert.encoding.vocabulary import TOKENS
from musicbert.errors import CheckpointError
from musicbert.model import Pooling
from musicbert.weights.bundle import Bundle, bundle_from_settings
from musicbert.weights.container import IN_FOLDER, Checkpoint, load_checkpoint, read_json
from musicbert.weights.families.family import FamilyName, KeyReport
from musicbert.weights.families.known import FAMILIES, check_settings, family_of, fit_weights, infer_config
from musicbert.weights.output_names import SPECTRAL, heads_of, labels_of_data, named_heads, read_labels
from musicbert.weights.shapes import shapes_only


def view_of(checkpoint: Checkpoint) -> View | None:
    """Form of the music that a MusicBERT was trained on; None if its checkpoint does not say.

    Checkpoints of fairseq say it among the settings of their task (``encoding``), folders as ``view`` of
    ``config.json`` (left out for octuples).
    """
    folder, task = checkpoint.folder_settings, checkpoint.task
    if folder:
        name = folder.get("view", "octuple") if folder.get("model_type", "musicbert") == "musicbert" else None
    elif "music_pretrain" in (task.get("_name"), task.get("task")):
        return None  # this task has other encodings
    else:
        name = task.get("encoding")
    return next((view for view in VIEWS if view == name), None)


def check_view(checkpoint: Checkpoint, view: View, *, path: str | PathLike[str] | None = None) -> None:
    """Refuse weights that are known to come from another form of the music.

    Raises `CheckpointError` (``other-encoding``).
    """
    trained = view_of(checkpoint)
    if trained is not None and trained != view:
        raise CheckpointError(
            "other-encoding",
            f"It was trained on the encoding {trained!r}, and the music is to be read as {view!r}",
            path=path,
            hint=f"give --encoding {trained}, or weights that were pre-trained with --encoding {view}",
        )


def read_bundle(
    path: str | PathLike[str], *, labels: str | PathLike[str] | None = None, family: FamilyName | None = None
) -> Bundle:
    """Read a checkpoint in any container, or a folder, of any family (or only of ``family``).

    ``labels`` is a ``classes.json`` (see ``docs/architecture.md``) that names the outputs of the heads.
    Without it, the checkpoint says them, else the ``classes.json`` of its training data, if that still
    exists.
    Raises `CheckpointError` (those of ``load_checkpoint`` and ``infer_config``; ``bad-config``,
    ``bad-labels``; ``other-vocabulary`` and ``unreadable``: ``vocab.json`` of a folder).
    """
    return read_steadily(path, lambda: _read_bundle(path, labels, family))


def _read_bundle(
    path: str | PathLike[str], labels: str | PathLike[str] | None, family: FamilyName | None
) -> Bundle:
    given = labels is not None
    checkpoint = load_checkpoint(path)
    kind = FAMILIES[family] if family else family_of(checkpoint.weights)
    weights = kind.rename(checkpoint.weights, path=path)
    config: Any = infer_config(weights, checkpoint.settings, family=kind, path=path)
    if checkpoint.folder_settings:
        bundle = bundle_from_settings(checkpoint.folder_settings, config, weights, path)
        if kind.with_settings(bundle.config, checkpoint.settings) != bundle.config:
            message = "Its settings of fairseq are not those of its architecture"
            raise CheckpointError("bad-config", message, path=path)
    else:
        origin = {"file": Path(path).name, "container": checkpoint.container}
        if frozen := checkpoint.task.get("freeze_layers"):
            origin["frozen layers"] = str(frozen)
        bundle = Bundle(config, weights, origin=origin)
        if kind.name == "musicbert":
            pooling, view, phases = _use_of(checkpoint, path)
            heads = heads_of(weights, checkpoint, path)
            bundle = replace(bundle, heads=heads, pooling=pooling, view=view, phases=phases)
        if not given and not any(head.names for head in bundle.heads):  # an older checkpoint
            labels = labels_of_data(checkpoint.task)
    _check_vocabulary(bundle, Path(path), beside=bool(checkpoint.folder_settings))
    return bundle if labels is None else _with_names(bundle, labels, given=given)


def _use_of(checkpoint: Checkpoint, path: str | PathLike[str]) -> tuple[Pooling, View, int]:
    """What sentence heads read, form of the music, and phases, by the settings of fairseq."""
    pooling, phases = checkpoint.settings.get("pooling"), checkpoint.task.get("phases")
    asked, view = checkpoint.task.get("encoding"), view_of(checkpoint)
    wrong = {
        "pooling": pooling is not None and pooling not in get_args(Pooling),
        "phases": phases is not None and not (type(phases) is int and 0 < phases <= MOST_PHASES),
        "encoding": isinstance(asked, str) and asked not in VIEWS,
    }
    if names := [name for name, holds in wrong.items() if holds]:
        value = {**checkpoint.settings, **checkpoint.task}[names[0]]
        message = f"Its settings do not fit: {names[0]} is {value!r}, which is not known here"
        raise CheckpointError("bad-config", message, path=path)
    return pooling or "first", view or "octuple", phases or 1


def _with_names(bundle: Bundle, labels: str | PathLike[str], *, given: bool) -> Bundle:
    """Name the outputs of the heads; labels that the user gave must name those of one."""
    names = read_labels(labels)
    heads = named_heads(bundle.heads, names)
    if given and not any(
        head.names and head.names in (names["classes"], names["dimensions"]) for head in heads
    ):
        counts = ", ".join(f"{head.name} has {head.outputs} outputs" for head in heads) or "there is no head"
        message = f"{len(names['classes'])} classes and {len(names['dimensions'])} dimensions fit no head"
        raise CheckpointError("bad-labels", f"{message}: {counts}", path=labels)
    return replace(bundle, heads=heads)


def _check_vocabulary(bundle: Bundle, path: Path, *, beside: bool) -> None:
    """Compare the vocabulary, and a ``vocab.json``, with the tokens of this program.

    ``beside``: the file in a folder's place has its settings beside it.
    """
    folder = path.parent if beside and path.suffix == ".safetensors" else path
    size = getattr(bundle.config, "vocabulary_size", len(TOKENS))
    if size != len(TOKENS):
        message = f"Its vocabulary has {size} tokens, OctupleMIDI {len(TOKENS)}"
        raise CheckpointError("other-vocabulary", message, path=folder)
    file = folder / "vocab.json"
    if folder.is_dir() and file.is_file() and read_json(file) != bundle.vocabulary():
        tokens = f"Its tokens are not those of {bundle.settings()['encoding']} in their order"
        raise CheckpointError("other-vocabulary", tokens, path=file)


def load_folder(folder: str | PathLike[str], *, labels: str | PathLike[str] | None = None) -> Bundle:
    """Read a folder that :func:`~musicbert.weights.save_folder` or Hugging Face's ``save_pretrained`` wrote.

    Raises `CheckpointError` (``not-found``; those of :func:`read_bundle`).
    """
    if not any((Path(folder) / name).is_file() for name in IN_FOLDER):
        raise CheckpointError(
            "not-found",
            f"This folder does not hold a {' or '.join(IN_FOLDER)}",
            path=folder,
            hint="give a folder written by `musicbert checkpoint convert`, or a checkpoint file",
        )
    return read_bundle(folder, labels=labels)


def build_model(bundle: Bundle, *, path: str | PathLike[str] | None = None) -> tuple[Any, KeyReport]:
    """Build the network with its sentence heads, in evaluation mode, and report what became of each tensor.

    Raises `CheckpointError` (those of :func:`~musicbert.weights.fit_weights`), which names ``path``.
    """
    with shapes_only():  # nothing of a size that the file states is allocated before it is checked
        _, report = fit_weights(bundle.weights, _network(bundle, path), path=path)
    heads = tuple(f"{head.kind}_heads.{head.name}." for head in bundle.heads)
    lacking = [name for name in report.missing if heads and name.startswith(heads)]
    if lacking or report.resized:
        names = ", ".join((lacking + list(report.resized))[:3])
        message = f"Tensors of its heads are missing or of another shape: {names}"
        raise CheckpointError("missing-weights", message, path=path)
    model = _network(bundle, path)
    state, report = fit_weights(bundle.weights, model, path=path)
    model.load_state_dict(state, strict=True)
    return model.eval(), report


def _network(bundle: Bundle, path: str | PathLike[str] | None) -> Any:
    """Return the network with its sentence heads, without its weights."""
    options = {"pooling": bundle.pooling} if bundle.family.name == "musicbert" else {}
    model: Any = bundle.family.module(bundle.config, **options)
    for head in bundle.heads:
        prefix = f"{head.kind}_heads.{head.name}"
        dense = bundle.weights.get(f"{prefix}.dense.weight")
        spectral = f"{prefix}{SPECTRAL}" in bundle.weights
        last = bundle.weights.get(f"{prefix}{SPECTRAL}" if spectral else f"{prefix}.out_proj.weight")
        if dense is None or last is None or dense.dim() != 2 or last.dim() != 2:
            raise CheckpointError("missing-weights", f"The head {head.name!r} is not whole", path=path)
        if last.shape[0] != head.outputs:
            message = (
                f"The head {head.name!r} is said to have {head.outputs} outputs, its tensors have {len(last)}"
            )
            raise CheckpointError("missing-weights", message, path=path)
        register = getattr(model, f"register_{head.kind}_head")
        register(head.name, head.outputs, dense.shape[0], spectral=spectral)
    return model


def load_into(model: nn.Module, path: str | PathLike[str]) -> KeyReport:
    """Copy a checkpoint into a model of the same architecture.

    Raises `CheckpointError` (those of :func:`~musicbert.weights.load_checkpoint` and
    :func:`~musicbert.weights.fit_weights`).
    """
    checkpoint = load_checkpoint(path)
    config: Any = model.config
    check_settings(checkpoint.settings, config, path=path)
    state, report = fit_weights(checkpoint.weights, model, path=path)
    nn.Module.load_state_dict(model, state, strict=True)
    return report


def load_model(
    path: str | PathLike[str], *, pooling: Pooling | None = None, performance_features: int | None = None
) -> Any:
    """Build the network that a checkpoint or folder holds (:func:`read_bundle`, then :func:`build_model`).

    For a MusicBERT, ``pooling`` (what the sentence heads read) and ``performance_features`` (number of
    performance inputs) replace what the checkpoint says.
    """
    bundle = read_bundle(path)
    if pooling is not None:
        bundle = replace(bundle, pooling=pooling)
    if performance_features is not None:
        config: Any = bundle.config
        bundle = replace(bundle, config=config.with_(performance_features=performance_features))
    return build_model(bundle, path=path)[0]

"""The twelve tasks of M2BERT's benchmark as one table: classes, metrics, splits, seeds, published scores.

Labels keep the published numbers. Class 0 of the note tasks is the published padding class: no note carries
it, except in violin fingering (no finger given) and in texture (no role: neither trained on nor scored).

Sources: M2BERT (arXiv 2507.04776), its README (published scores, resource classes) and the programs of
SMCBenchmark (class numbers, label rules). Verified in ``tests/unit/corpus/readers/test_tasks.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from musicbert.corpus.labelled.pieces import Task
from musicbert.errors import ConfigError, nearest

Resource = Literal["high", "mid", "low"]

#: Name of a source -> module of this folder with its reader.
READERS: Mapping[str, str] = {
    "asap": "performed_beats",
    "augmentednet": "augmentednet",
    "bps_motif": "bps_motif",
    "emopia": "midi_folders",
    "orchestra": "orchestra",
    "pianist8": "midi_folders",
    "pm2s": "performed_beats",
    "pop909": "pop909",
    "tagtraum": "midi_folders",
    "tnua": "tnua",
}
#: Seeds of the published runs by how much there is to train on; scores are means over them.
SEEDS: Mapping[Resource, tuple[int, ...]] = {
    "high": (2021,),
    "mid": (2021, 2022),
    "low": (2021, 2022, 2023, 2024),
}
#: Pre-training objectives of the published table (README of M2BERT, pre-trained on the reduced data).
OBJECTIVES = ("RC", "RC + pianoroll nochroma", "RC + pianoroll")

#: Spelled as music21 spells, "-" is flat; the order is the published one.
CHORD_ROOTS = (
    "none", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B", "B#", "D-", "E--", "E-", "F-",
    "E#", "G-", "A--", "A-", "B--", "B-", "C-", "D--", "B##", "C##", "F--", "D##", "G--", "E##", "F##",
    "G##", "C--", "A##",
)  # fmt: skip
#: Capitals are major.
LOCAL_KEYS = (
    "none", "b", "A-", "f", "c", "D-", "d", "F", "A", "E", "C", "B-", "a", "c#", "D", "G-", "G", "e-", "E-",
    "g", "b-", "F#", "d#", "B", "f#", "C-", "e", "a-", "g#", "d-", "D#", "C#", "a#", "b#", "e#", "g-", "G#",
    "F-",
)  # fmt: skip
#: Bits of a texture class: 4 melody, 2 rhythm, 1 harmony.
TEXTURES = tuple(
    "+".join(name for bit, name in ((4, "melody"), (2, "rhythm"), (1, "harmony")) if number & bit) or "none"
    for number in range(8)
)
PIANISTS = ("Bethel", "Clayderman", "Einaudi", "Hancock", "Hillsong", "Hisaishi", "Ryuichi", "Yiruma")
EMOTIONS = ("Q1", "Q2", "Q3", "Q4")
#: (string, position, finger) of a class: see `musicbert.corpus.readers.tnua.fingering_class`.
FINGERINGS = tuple(str(number) for number in range(241))

_NO_LEAK = ""
_VERSIONS = "song 018 of the test part is a version of 017, which is trained on"
_TAIL = (
    "the last 500 segments of train are moved to valid, cut through pieces that stay in train; 507 "
    "performances are listed twice"
)


@dataclass(frozen=True)
class BenchmarkTask:
    """One of the twelve tasks, abbreviated as in the paper (``ME``), with the name of its reader.

    ``resource`` is the class of the amount of training data, which decides the seeds; ``folds`` of the
    published cross-validation, 0 for fixed parts; ``score`` is reported, a name of
    `musicbert.evaluation.metrics.benchmark.SCORES` (training selects by ``task.metric``, counted batch by
    batch); ``published`` scores of `OBJECTIVES` are 0-1.
    """

    abbreviation: str
    source: str
    task: Task
    resource: Resource
    folds: int
    score: str
    published: tuple[float, float, float]

    @property
    def window(self) -> int:
        """Notes of one sequence in the published recipe."""
        return 1024 if self.task.level == "note" else 512

    @property
    def batch(self) -> int:
        """Sequences of one update in the published recipe."""
        return 6 if self.task.level == "note" else 12


def benchmark_task(
    abbreviation: str,
    name: str,
    source: str,
    classes: tuple[str, ...] | list[str],
    published: tuple[float, float, float],
    *,
    level: Literal["note", "sequence"] = "note",
    metric: str = "accuracy",
    score: str = "accuracy",
    ignore: tuple[int, ...] = (),
    resource: Resource = "mid",
    folds: int = 0,
    leak: str = _NO_LEAK,
) -> BenchmarkTask:
    """A row of the table; the label is called ``name``, ``leak`` says what the published split leaks."""
    task = Task(
        name=name,
        label=name,
        level=level,
        kind="classes",
        classes=tuple(classes),
        metric=metric,
        ignore=ignore,
        splits={"published": leak, "clean": _NO_LEAK},
        seeds=SEEDS[resource],
    )
    return BenchmarkTask(abbreviation, source, task, resource, folds, score, published)


_ROWS = (
    benchmark_task(
        "SGC", "genre", "tagtraum", ["0", "1", "2", "3", "4"], (0.404, 0.419, 0.405),
        level="sequence", resource="high",
        leak="versions of one song (near-duplicates) lie in several parts",
    ),
    benchmark_task(
        "BP", "beat", "pm2s", ["none", "no beat", "beat"], (0.867, 0.869, 0.867),
        metric="f1:beat", score="f1", resource="high", leak=_TAIL,
    ),
    benchmark_task(
        "DbP", "downbeat", "pm2s", ["none", "no downbeat", "downbeat"], (0.779, 0.765, 0.768),
        metric="f1:downbeat", score="f1", resource="high", leak=_TAIL,
    ),
    benchmark_task("CR", "chordroot", "augmentednet", CHORD_ROOTS, (0.838, 0.840, 0.847),
                   score="grid_accuracy"),
    benchmark_task("LK", "localkey", "augmentednet", LOCAL_KEYS, (0.791, 0.796, 0.804),
                   score="grid_accuracy"),
    benchmark_task("ME", "melody", "pop909", ["none", "vocal melody", "bridge", "piano"],
                   (0.983, 0.981, 0.982),
                   leak=f"notes in the published order (track by track) give the melody away; {_VERSIONS}"),
    benchmark_task(
        "VE", "velocity", "pop909", ["none", "1-31", "32-47", "48-63", "64-79", "80-95", "96-127"],
        (0.534, 0.535, 0.532), leak=_VERSIONS,
    ),
    benchmark_task("OTC", "texture", "orchestra", TEXTURES, (0.707, 0.703, 0.725),
                   score="bar_accuracy", ignore=(0,)),
    benchmark_task("PS", "composer", "pianist8", PIANISTS, (0.740, 0.744, 0.742), level="sequence", folds=5,
                   leak="eight of the 411 pieces have another version in another fold"),
    benchmark_task(
        "ER", "emotion", "emopia", EMOTIONS, (0.658, 0.674, 0.667), level="sequence", folds=5,
        leak="clips of one song lie in several folds (39 % of the test clips of EMOPIA have one in training)",
    ),
    benchmark_task("VF", "violin_all", "tnua", FINGERINGS, (0.511, 0.523, 0.536), resource="low"),
    benchmark_task("MNID", "mnid", "bps_motif", ["none", "no motif", "motif"], (0.719, 0.724, 0.718),
                   metric="f1:motif", score="f1", folds=5),
)  # fmt: skip

#: Abbreviation in capitals -> task, in the order of the published table.
BENCHMARK: dict[str, BenchmarkTask] = {row.abbreviation.upper(): row for row in _ROWS}


def get_task(name: str) -> BenchmarkTask:
    """Return a task by its abbreviation (``ME``, any case) or by its published name (``melody``).

    Raises
    ------
    ConfigError
        ``unknown-task``.

    Examples
    --------
    >>> get_task("me").task.classes
    ('none', 'vocal melody', 'bridge', 'piano')
    """
    by_name = {row.task.name: row for row in BENCHMARK.values()}
    task = BENCHMARK.get(name.upper()) or by_name.get(name)
    if task is None:
        known = ", ".join(f"{row.abbreviation} ({row.task.name})" for row in BENCHMARK.values())
        hint = nearest(name, [*BENCHMARK, *by_name]) or "the first names are abbreviations"
        raise ConfigError("unknown-task", f"a task is one of {known}, not {name!r}", hint=hint)
    return task

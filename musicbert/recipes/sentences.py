"""Recipes of MusicBERT's four downstream tasks: next, acc, genre and style, on several seeds and folds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from musicbert.errors import ConfigError
from musicbert.recipes.base import Plan, Recipe, Weights, need
from musicbert.recipes.command import adam, flags, schedule
from musicbert.recipes.options import number, option, place, published


@dataclass(frozen=True)
class _Sentences(Recipe):
    """Options of every sentence task."""

    SOURCE = "train_nsp.sh and train_genre.sh of microsoft/muzic"

    save_dir: str = option("", "folder of the runs (default: checkpoints/ and the name of the task)")
    updates: int = published(250000, "number of updates")
    warmup: int = published(50000, "warm-up updates")
    weight_decay: str = number("0.1", "weight decay")
    lr: str = number("5e-5", "peak learning rate")
    effective_batch: int = published(64, "sequences of one update, over all processes and accumulation")
    batch: int = published(4, "sequences of one forward pass of one process")
    max_tokens: int = option(
        0, "tokens of one forward pass at most (default: --max-positions for each sequence of the batch)"
    )
    encoding: str = published(
        "octuple",
        "form of the music: octuple, or cp, remi (ablation; with weights that were pre-trained on the same)",
        choices=("octuple", "cp", "remi"),
    )
    max_positions: int = published(8192, "longest sequence in tokens (remi: positions); the rest is cut off")
    dropout: str = number("0.1", "dropout of hidden states")
    attention_dropout: str = number("0.1", "dropout of attention")
    pooling: str = published("first", "what the head reads", choices=("first", "mean"))
    seeds: str = option("7", "seeds, separated by blanks; one run for each")
    autocast_bf16: bool = option(False, "bfloat16 products with float32 weights, on a GPU too")
    from_scratch: bool = option(False, "train without pre-trained weights")
    resume: bool = option(
        False, "continue from the last checkpoint of the save folder; finished runs are passed over"
    )

    def _plan(
        self,
        weights: Weights,
        task: str,
        name: str,
        runs: Sequence[tuple[str, str]],
        *,
        head: str,
        metric: str,
        score: str,
        extra: tuple[str, ...] = (),
    ) -> Plan:
        """One run for each seed and each of ``runs`` (data folder, folder below the save folder)."""
        if self.autocast_bf16 and (self.bf16 or self.fp16):
            raise ConfigError("bad-option", "--autocast-bf16, --bf16 and --fp16: choose one")
        start = self.start(weights)
        arguments = (
            *start.flags,
            *flags(
                task=task,
                # without --user-dir, fairseq's own sentence_prediction is another task
                criterion=task.removeprefix("octuple_"),
                classification_head_name=head,
                pooling=self.pooling,
                init_token=0,
                separator_token=2,
                **self.values("encoding", "max_positions"),
                shorten_method="truncate",
                max_tokens=self.max_tokens or self.max_positions * self.batch,
                **self.values("dropout", "attention_dropout", "autocast_bf16"),
                best_checkpoint_metric=metric,
                maximize_best_checkpoint_metric=True,
            ),
            *schedule("polynomial_decay", lr=self.lr, warmup=self.warmup, updates=self.updates),
        )
        base = self.save_dir or f"checkpoints/{name}_{start.arch}"
        optimizer = adam(weight_decay=self.weight_decay)
        commands = [
            self.command(data, f"{base}/{inside}seed{seed}", arguments, seed=int(seed), optimizer=optimizer)
            for data, inside in runs
            for seed in self.seeds.split()
        ]
        after = f"score with: python scripts/{score} {base} {self._data}"
        return Plan(tuple(commands), start.message, after, extra, marked=True)

    @property
    def _data(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Pairs(_Sentences):
    """Melody completion and accompaniment suggestion."""

    ABOUT = """Train on pairs of phrases: melody completion (next) or accompaniment suggestion (acc).
scripts/gen_nsp.py and scripts/binarize_nsp.sh make the data, TASK_data_bin. checkpoint_best.pt has the best
accuracy on the validation part (the published recipe does not validate: add -- --disable-validation)."""

    task: str = place("next or acc")
    weights: str = place("pre-trained weights, as --init")
    data: str = option("", "binarised pairs (default: TASK_data_bin)")

    @property
    def _data(self) -> str:
        return self.data or f"{self.task}_data_bin"

    def plan(self, weights: Weights) -> Plan:
        """A run for each seed."""
        if self.task not in ("next", "acc"):
            raise ConfigError("bad-option", "say which task: next or acc", hint="see --help")
        need(f"{self._data}/input0", "make it with scripts/gen_nsp.py and scripts/binarize_nsp.sh")
        if self.weights:
            self.refuse(["init"], "with WEIGHTS")
        given = replace(self, init=self.weights or self.init)
        return given._plan(
            weights,
            "octuple_sentence_prediction",
            f"nsp_{self.task}",
            [(self._data, "")],
            head=f"{self.task}_head",
            metric="accuracy",
            score="eval_nsp.py",
        )


@dataclass(frozen=True)
class Genre(_Sentences):
    """Genre (TOP-MAGD) and style (MASD)."""

    ABOUT = """Train on genres (topmagd) or styles (masd), on every fold. scripts/gen_genre.py and
scripts/binarize_genre.sh make the data, SUBSET_data_bin. checkpoint_best.pt has the best --metric of
the whole validation part."""

    subset: str = place("topmagd or masd")
    as_published: tuple[str, ...] = place(
        "CLASSES FOLD WEIGHTS, as the published script takes them", several=True
    )
    data: str = option("", "binarised set (default: SUBSET_data_bin)")
    fold: str = option("all", "fold, several separated by blanks, or all")
    metric: str = option(
        "roc_auc_score_macro",
        "score that selects the best checkpoint: {f1_score,roc_auc_score}_{micro,macro,weighted,samples} "
        "(published: f1_score_micro, which stays at the majority's level)",
    )
    updates: int = published(20000, "number of updates")
    warmup: int = published(4000, "warm-up updates")
    weight_decay: str = number("0.01", "weight decay")

    @property
    def _data(self) -> str:
        return self.data or f"{self.subset}_data_bin"

    def plan(self, weights: Weights) -> Plan:
        """A run for each fold and seed."""
        if not self.subset:
            raise ConfigError("bad-option", "say which set: topmagd or masd", hint="see --help")
        given: Genre = self
        extra: tuple[str, ...] = ()
        if self.as_published:
            if len(self.as_published) != 3:
                raise ConfigError("bad-option", "say CLASSES FOLD WEIGHTS, all three", hint="see --help")
            self.refuse(["fold", "init"], "with CLASSES FOLD WEIGHTS")
            classes, fold, init = self.as_published
            given, extra = replace(self, fold=fold, init=init), flags(num_classes=classes)
        return given._folds(weights, extra)

    def _folds(self, weights: Weights, extra: tuple[str, ...]) -> Plan:
        need(self._data, "make it with scripts/gen_genre.py and scripts/binarize_genre.sh")
        folds = self.fold.split()
        if self.fold == "all":
            folds = sorted(path.parent.name for path in Path(self._data).glob("*/input0"))
            if not folds:
                raise ConfigError("not-found", f"{self._data} has no folds")
        for fold in folds:
            need(f"{self._data}/{fold}/input0", "there is no such fold")
        return self._plan(
            weights,
            "sentence_prediction_multilabel",
            f"genre_{self.subset}",
            [(f"{self._data}/{fold}", f"fold{fold}/") for fold in folds],
            head=f"{self.subset}_head",
            metric=self.metric,
            score="eval_genre.py",
            extra=extra,
        )

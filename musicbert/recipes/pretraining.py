"""Recipes of pre-training: MusicBERT's masked language model, and M2BERT."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from musicbert.errors import ConfigError
from musicbert.recipes.base import ARCHITECTURES, Plan, Recipe, Weights, need, shards_of
from musicbert.recipes.command import Device, adam, flags, schedule
from musicbert.recipes.options import number, option, place, published

_INIT = "start from these weights, with a fresh optimizer: a file, a folder or a name"


@dataclass(frozen=True)
class MusicBert(Recipe):
    """Masked-LM pre-training of MusicBERT."""

    ABOUT = """Pre-train MusicBERT as a masked language model. The data are a folder as musicbert build
or fairseq-preprocess makes it (dict.txt, train, valid; or shard0, shard1, ...), or input0 of a rated
data-bin."""
    SOURCE = "train_mask.sh of microsoft/muzic"
    NO_WEIGHTS = (
        "without --init, training begins from scratch; musicbert-mini and m2bert-mini come with the project"
    )

    prefix: str = place("data: PREFIX_data_bin, or a folder")
    size: str = place("tiny, mini, small, medium, base (default) or large")
    data: str = option("", "data folder, in place of PREFIX; several joined with colons take turns by epoch")
    arch: str = option("", f"{ARCHITECTURES} (default: musicbert_SIZE, or that of --init)")
    init: str = option("", _INIT)
    save_dir: str = option("", "folder of checkpoints and logs (default: checkpoints/mlm_ARCH)")
    updates: int = published(125000, "number of updates")
    warmup: int = published(25000, "warm-up updates")
    lr: str = number("5e-4", "peak learning rate")
    effective_batch: int = published(256, "rows of one update, over all processes and accumulation")
    batch: int = published(4, "rows of one forward pass of one process")
    tokens: int = published(8192, "rows stay below this number of tokens")
    break_mode: str = published(
        "complete", "complete: several pieces in a row; eos: one piece in a row", choices=("complete", "eos")
    )
    layout: str = option(
        "padded", "padded, or stream: no padding, faster on a GPU", choices=("padded", "stream")
    )
    encoding: str = published("octuple", "octuple, or cp, remi (ablation)", choices=("octuple", "cp", "remi"))
    crop_length: int = option(
        0, "largest number of notes of a piece (cp: rows, remi: tokens; default: no limit)"
    )
    mask_strategy: str = published(
        "bar", "element, compound, bar, expression, or a mixture such as bar+expression"
    )
    mask_prob: str = number("0.15", "share of the tokens (with expression, of bars) that are masked")
    random_tokens: str = published(
        "any", "random tokens: any of the vocabulary, or of the same field", choices=("any", "field")
    )
    dropout: str = number("0.1", "dropout")
    seed: int = option(7, "seed")
    num_workers: int = option(2, "data loading processes of each process")
    validate_every: int = option(1000, "updates between checkpoints and validations", alias="--save-every")
    optimizer: str = published(
        "adam", "adam, or fused_adamw: one kernel for all parameters", choices=("adam", "fused_adamw")
    )
    separate_pieces: bool = option(
        False, "pieces of a row do not attend to each other; each has its own positions and mask groups"
    )
    group_per_piece: bool = option(False, "pieces of a row do not share mask groups")
    no_compound: bool = option(False, "every token is a position (ablation)")
    performance_input: bool = option(False, "add pedal and timing to every note")
    autocast_bf16: bool = option(False, "bfloat16 products with float32 weights, on a GPU too")
    compile: bool = option(False, "torch.compile of the blocks")

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        if self.arch:
            self.refuse(["size"], "with --arch")
        data = shards_of(self._folder(), "dict.txt")
        first = data.partition(os.pathsep)[0]
        need(f"{first}/dict.txt", "make a data-bin with: musicbert build MIDI --output FOLDER")
        given = replace(self, arch=self.arch or (f"musicbert_{self.size}" if self.size else ""))
        start = given.start(weights)
        arguments = (
            *start.flags,
            *flags(
                task="octuple_masked_lm",
                criterion="octuple_masked_lm",
                encoding=self.encoding,
                crop_length=self.crop_length or None,
                **self.values("separate_pieces", "group_per_piece", "no_compound", "performance_input"),
                **self.values("autocast_bf16", "compile"),
                # the published table of positions, or a longer one
                max_positions=self.tokens if self.tokens > 8192 else None,
                **self.values("mask_strategy", "random_tokens"),
                mask_prob=None if float(self.mask_prob) == 0.15 else self.mask_prob,
                sample_break_mode=self.break_mode,
                tokens_per_sample=self.tokens,
                **self.values("layout", "dropout"),
                attention_dropout=self.dropout,
            ),
            *schedule("polynomial_decay", lr=self.lr, warmup=self.warmup, updates=self.updates),
        )
        out = self.save_dir or f"checkpoints/mlm_{start.arch}"
        command = self.command(data, out, arguments, seed=self.seed, optimizer=adam(self.optimizer))
        return Plan((command,), start.message)

    def _folder(self) -> str:
        if self.data:
            self.refuse(["prefix"], "with --data")
            return self.data
        if not self.prefix:
            raise ConfigError("bad-option", "--data is missing, or PREFIX", hint="see --help")
        folder = f"{self.prefix}_data_bin"
        return self.prefix if not Path(folder).is_dir() and Path(self.prefix).is_dir() else folder


@dataclass(frozen=True)
class M2Bert(Recipe):
    """Pre-training of M2BERT."""

    ABOUT = """Pre-train M2BERT: token denoising and piano-roll prediction on compound words. The data
are a folder with meta.json, train and valid, as musicbert build --encoding cp makes it (with --encoding
octuple, as musicbert build makes it). Every objective works with every encoding and every architecture,
m2bert_* or musicbert_*."""
    SOURCE = "the pre-training code of M2BERT"
    DEFAULT_ARCH = "m2bert_base"
    NO_WEIGHTS = MusicBert.NO_WEIGHTS
    FAMILIES = ("m2bert", "musicbert")

    data: str = option("", "folder of pieces (required); several joined with colons take turns by epoch")
    arch: str = option(
        "", f"m2bert_{{tiny,mini,small,base}} or {ARCHITECTURES} (default: that of --init, or m2bert_base)"
    )
    init: str = option("", f"{_INIT}; a published model_best.ckpt too")
    save_dir: str = option(
        "", "folder of checkpoints and logs (default: checkpoints/ARCH_ENCODING_OBJECTIVE)"
    )
    encoding: str = published("cp", "cp or octuple", choices=("cp", "octuple"))
    objective: str = published(
        "denoise",
        "denoise, or mask (MidiBERT: --mask-strategy midibert; MusicBERT: bar)",
        choices=("denoise", "mask"),
    )
    aux: str = published("pianoroll", "second objective", choices=("pianoroll", "pianoroll_nochroma", "none"))
    crop: int = published(1024, "notes of a crop")
    noise_prob: str = number("0.3", "share of notes with noise")
    noise_radius: str = published("4,12,12", "half-widths of position, pitch, duration[, velocity]")
    noise_symmetric: bool = option(
        False, "include the upper end of the noise (the published code leaves it out)"
    )
    mask_strategy: str = option("bar", "element, compound, bar, midibert, or a mixture such as bar+compound")
    mask_prob: str = number("0.15", "share of cells that are masked")
    epochs: int = published(
        150, "largest number of epochs (with --full: 25, where the published run was stopped)"
    )
    full: bool = option(False, "the recipe for the full data: 25 epochs")
    updates: int = option(0, "largest number of updates (0: as many as the epochs have)")
    patience: int = published(30, "stop after this many validations without a better accuracy (-1: never)")
    optimizer: str = published("stable_adamw", "stable_adamw, or adam", choices=("stable_adamw", "adam"))
    lr: str = number("2e-5", "learning rate")
    lr_scheduler: str = published(
        "fixed",
        "fixed, or polynomial_decay or cosine, which need --updates",
        choices=("fixed", "polynomial_decay", "cosine"),
    )
    warmup: int = published(0, "warm-up updates")
    betas: str = published("0.9,0.99", "decay rates of the optimizer's moments")
    eps: str = number("1e-8", "epsilon of the optimizer")
    weight_decay: str = number("0.01", "weight decay")
    clip_norm: str = number("3.0", "gradient clipping: largest norm")
    effective_batch: int = published(12, "crops of one update, over all processes and accumulation")
    batch: int = published(12, "crops of one forward pass of one process")
    dropout: str = number("0.1", "dropout, of attention too")
    roll_weight: str = number("1", "weight of the piano roll in the loss")
    seed: int = option(7, "seed")
    num_workers: int = option(4, "data loading processes of each process")
    bf16: bool = option(False, "mixed precision in bfloat16 (autocast: weights stay float32)")
    compile: bool = option(False, "torch.compile of the blocks: a slow start, then faster on a GPU")
    half_sums: bool = option(
        False, "with --bf16: keep the sums over the blocks in bfloat16 too, faster on a GPU (m2bert_*)"
    )

    def device(self, gpus: int) -> Device:
        """As `Recipe.device`; bfloat16 is autocast on a GPU, too."""
        return Device(gpus, self.fp16)

    def plan(self, weights: Weights) -> Plan:
        """One run."""
        data = self._data()
        start = self.start(weights)
        self._check(start.arch)
        arguments = (
            *start.flags,
            *flags(
                task="music_pretrain",
                criterion="compound_token",
                max_epoch=25 if self.full else self.epochs,
                **self.values("noise_symmetric", "half_sums"),
                autocast_bf16=self.bf16,
                compile=self.compile,
                fp16_no_flatten_grads=self.fp16,
                **self.values("encoding", "objective", "aux", "crop", "noise_prob", "noise_radius"),
                **self.values("mask_strategy", "mask_prob", "dropout"),
                attention_dropout=self.dropout,
                roll_weight=self.roll_weight,
                best_checkpoint_metric="accuracy",
                maximize_best_checkpoint_metric=True,
            ),
            *schedule(self.lr_scheduler, lr=self.lr, warmup=self.warmup, updates=self.updates),
        )
        optimizer = adam(
            self.optimizer, betas=f"({self.betas})", **self.values("eps", "weight_decay", "clip_norm")
        )
        out = self.save_dir or f"checkpoints/{start.arch}_{self.encoding}_{self.objective}"
        command = self.command(data, out, arguments, seed=self.seed, optimizer=optimizer)
        return Plan((command,), start.message)

    def _data(self) -> str:
        if not self.data:
            raise ConfigError("bad-option", "--data is missing", hint="see --help")
        data = shards_of(self.data)
        first = Path(data.partition(os.pathsep)[0])
        if self.encoding == "cp":
            need(first / "meta.json", "make it with: musicbert build MIDI --encoding cp --output FOLDER")
        elif not (first / "meta.json").is_file():
            need(first / "dict.txt", "make it with: musicbert build MIDI --output FOLDER")
        return data

    def _check(self, arch: str) -> None:
        """Refuse combinations of options that make no sense."""
        noise, masks = ("noise_prob", "noise_radius", "noise_symmetric"), ("mask_strategy", "mask_prob")
        self.refuse(noise if self.objective == "mask" else masks, f"with --objective {self.objective}")
        if self.aux == "none":
            self.refuse(["roll_weight"], "with --aux none")
        if self.epochs != 150:
            self.refuse(["full"], "with --epochs")
        if self.half_sums and not arch.startswith("m2bert"):
            raise ConfigError("bad-option", f"--half-sums is for m2bert_*, not {arch}")
        if self.half_sums and not self.bf16:
            raise ConfigError("bad-option", "--half-sums needs --bf16")
        if self.lr_scheduler != "fixed" and not self.updates:
            raise ConfigError("bad-option", f"--lr-scheduler {self.lr_scheduler} needs --updates")

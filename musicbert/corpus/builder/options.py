"""Choices of a corpus; each default is as published where upstream has one."""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Literal

from musicbert.encoding import PERFORMANCE_INPUTS, SCORE_INPUTS, Policies
from musicbert.errors import DatasetError
from musicbert.objectives.note_fields import note_fields


@dataclass(frozen=True)
class BuildOptions:
    """How files become examples.

    Attributes
    ----------
    encoding
        ``"octuple"``, or a profile of compound words (``"cp"``, ``"cp-m2bert"``, ``"cp-midibert"``), of which
        sequences are whole pieces (`musicbert.corpus.builder.worker`).
    metres
        ``"any"``, or ``"one-4/4"``: only pieces with exactly one time signature, 4/4 (M2BERT's rule).
    window, overlap
        Notes of a sequence; sequences that a note is in, at most. Of octuples only.
    seed
        Seed of the division, the order, the windows and the bar offsets.
    shares
        Shares of the files for train, valid and test.
    split
        ``"count"``: files in seeded order, cut at the shares, as published. ``"hash"``: each file (or group)
        by a hash of its own, so that more files later move none.
    duplicates
        ``"drop"``: of files with the same programs and pitches the first stays, as published; ``"keep"``.
    near_duplicates
        ``"group"``: versions of one song stay in one split (`musicbert.corpus.splits.near_duplicates`);
        ``"ignore"``: as published.
    exclude
        Regular expression; files whose path matches it are left out.
    exclude_music
        Test pieces, as `.held_out.fingerprints_of` takes them; files that hold their music are left out.
    performance
        Also write performance inputs; only with the binarised output.
    score
        Performance inputs of the aligned score too (`musicbert.corpus.files.beats`): of folders of ASAP.
    output
        ``"bin"``: fairseq's ``.bin`` and ``.idx``; ``"text"``: upstream's lines; ``"both"``.
    shard_tokens
        Tokens of train in one shard, at most (a shard holds at least one file). 0: all in one.
    policies
        What to do with music that the encoding cannot hold.
    reader
        MIDI parser.
    channel_programs
        For which tracks a program change holds (`musicbert.read_score`).
    repeats
        Of written scores: ``"once"``, or ``"played"`` (`musicbert.read_score`).

    Raises
    ------
    DatasetError
        ``bad-options``.
    """

    encoding: Literal["octuple", "cp", "cp-m2bert", "cp-midibert"] = "octuple"
    metres: Literal["any", "one-4/4"] = "any"
    window: int = 1000
    overlap: int = 4
    seed: int = 7
    shares: tuple[float, float, float] = (98, 1, 1)
    split: Literal["count", "hash"] = "count"
    duplicates: Literal["drop", "keep"] = "drop"
    near_duplicates: Literal["group", "ignore"] = "group"
    exclude: str = ""
    exclude_music: tuple[str, ...] = ()
    performance: bool = False
    score: bool = False
    output: Literal["bin", "text", "both"] = "bin"
    shard_tokens: int = 1 << 31
    policies: Policies = field(default_factory=Policies)
    reader: Literal["symusic", "miditoolkit"] = "symusic"
    channel_programs: Literal["track", "channel"] = "track"
    repeats: Literal["once", "played"] = "once"

    def __post_init__(self) -> None:
        if self.window < 1 or self.overlap < 1 or self.seed < 0 or self.shard_tokens < 0:
            raise DatasetError(
                "bad-options",
                f"window {self.window}, overlap {self.overlap}, seed {self.seed}, "
                f"tokens of a shard {self.shard_tokens}",
                hint="window and overlap are at least 1, the others at least 0",
            )
        if len(self.shares) != 3 or not all(0 <= share < float("inf") for share in self.shares):
            raise DatasetError("bad-options", f"the shares are three numbers from 0, not {self.shares}")
        if self.shares[0] <= 0:
            raise DatasetError("bad-options", "the share of train is above 0")
        if self.performance and self.output == "text":
            raise DatasetError(
                "bad-options", "text lines hold no performance inputs", hint="write the binarised output"
            )
        if self.score and not self.performance:
            message, hint = "inputs of the score stand beside those of the performance", "--performance-input"
            raise DatasetError("bad-options", message, hint=f"add {hint}")
        if self.encoding != "octuple" and (self.performance or self.output != "bin"):
            raise DatasetError(
                "bad-options",
                f"a corpus of {self.encoding!r} has no text form and no performance inputs",
                hint="write the binarised output",
            )
        try:
            re.compile(self.exclude)
        except re.error as error:
            raise DatasetError(
                "bad-options", f"{self.exclude!r} is not a regular expression: {error}", hint="see --exclude"
            ) from None

    @property
    def width(self) -> int:
        """Columns of a row."""
        return len(note_fields(self.encoding))

    @property
    def inputs(self) -> int:
        """Performance inputs of a note."""
        return self.performance * (len(PERFORMANCE_INPUTS) + self.score * len(SCORE_INPUTS))

    @property
    def special_rows(self) -> int:
        """Rows of a sequence that are no notes: octuples lie between ``<s>`` and ``</s>``."""
        return 2 if self.encoding == "octuple" else 0

    def to_json(self) -> str:
        """Return all choices as one line, by which a run that goes on knows its own work."""
        choices = asdict(self)
        if not self.score:
            del choices["score"]  # as before there was this choice
        return json.dumps(choices, sort_keys=True)

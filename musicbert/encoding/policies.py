"""What to do with music that published OctupleMIDI silently loses. The defaults are as published."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args, get_type_hints

MidBarMetre = Literal["keep", "split", "error"]
UnsupportedMetre = Literal["error", "nearest"]
LongMetre = Literal["reduce", "split"]
ZeroTicks = Literal["keep", "drop"]
BeyondLimit = Literal["drop", "keep", "error"]
BarOverflow = Literal["drop", "restart", "error"]


@dataclass(frozen=True, kw_only=True)
class Policies:
    """Choices for music that the encoding cannot hold. Each default gives upstream's rows and text.

    Attributes
    ----------
    mid_bar_metre
        A time signature that changes inside a bar. ``"keep"``: the bar keeps its length, but the notes after
        the change carry the new signature (decoding is then lossy). ``"split"``: the bar ends at the change,
        and its notes carry the signature of its real length. ``"error"``: `MidiError` ``unsupported-metre``.
    unsupported_metre
        A signature outside the table after reduction (3/128). ``"error"``: `MidiError` ``unsupported-metre``
        for the whole file. ``"nearest"``: the signature over 64 whose bar length is nearest (3/128 becomes
        2/64).
    long_metre
        A numerator above two whole notes that reduces to 1, that is, mostly primes (11/4 becomes 1/4: eleven
        bars of one beat). ``"reduce"``: that. ``"split"``: each bar becomes the fewest parts of nearly equal
        length that fit (11/4 becomes 6/4 and 5/4), so that every bar line stays.
    zero_ticks
        Notes that end at the tick at which they begin. ``"keep"``: as notes of duration 0 (current
        miditoolkit and symusic). ``"drop"``: leave them out, as miditoolkit 0.1 did when the published data
        were made.
    beyond_limit
        Notes after 65,536 positions (1,024 bars of 4/4). ``"drop"``: left out. ``"keep"``: encoded like the
        others (models read windows, whose bars begin at 0). ``"error"``: `MidiError` ``too-large``.
    bar_overflow
        Windows of more than 256 bars (`segments`). ``"drop"``: the rest of the window is left out.
        ``"restart"``: the rest becomes further segments with bars counted afresh. ``"error"``: `MidiError`
        ``too-large``.
    """

    mid_bar_metre: MidBarMetre = "keep"
    unsupported_metre: UnsupportedMetre = "error"
    long_metre: LongMetre = "reduce"
    zero_ticks: ZeroTicks = "keep"
    beyond_limit: BeyondLimit = "drop"
    bar_overflow: BarOverflow = "drop"

    def __post_init__(self) -> None:
        for name, choices in _choices().items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")


@cache
def _choices() -> dict[str, tuple[str, ...]]:
    """Allowed values of each attribute, from its annotation."""
    return {name: get_args(hint) for name, hint in get_type_hints(Policies).items()}


#: Upstream's behaviour in everything: the default.
COMPATIBLE = Policies()
#: The same, but for whole pieces: the default where a model reads windows of a piece.
WHOLE = Policies(beyond_limit="keep")

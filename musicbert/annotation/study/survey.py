"""Columns of survey exports: which piece and which dimension a column holds.

A column's name holds both, as in ``Q1_3`` (question 1, row 3), ``2_Q5`` (loop and merge), ``song[fast]``
(LimeSurvey) or ``song.mid [Fast]`` (forms). `split_columns` finds out how, if there is one way only, or takes
a pattern. Verified in ``tests/unit/annotation/study/test_read.py``.
"""

import re
from collections.abc import Collection, Sequence

from musicbert.errors import RatingError

#: ways in which survey tools put piece and dimension together
_FORMS = (
    *(f"{{{first}}}{mark}{{{second}}}" for mark in ("_", ".", "-", ":", " ", " - ", ": ")
      for first, second in (("piece", "dimension"), ("dimension", "piece"))),
    *(f"{{{first}}}{mark}[{{{second}}}]" for mark in ("", " ")
      for first, second in (("piece", "dimension"), ("dimension", "piece"))),
)  # fmt: skip
#: what does not end the name of a piece, unless a pattern says so
_MARKS = " _.:-"
_PLACE = re.compile(r"\{(piece|dimension|any)\}")
#: column -> piece and dimension
Parts = dict[str, tuple[str, str]]


def split_columns(
    names: Sequence[str],
    dimensions: Sequence[str],
    pieces: Collection[str] | None,
    pattern: str | None,
    path: str,
) -> tuple[Parts, str]:
    """Piece and dimension of each column that has both, and the pattern.

    ``dimensions``: names that occur in the columns (empty: whatever the pattern finds); ``pieces``: the same
    of the pieces, if they are known. Raises `RatingError`: ``ambiguous-columns``, ``bad-pattern``.
    """
    if pattern is not None:
        parts = _matched(names, pattern, dimensions, pieces, path)
        if not parts:
            what = f"no column is like {pattern!r}; there are {', '.join(names[:6])} ..."
            raise RatingError("bad-pattern", what, path=path, hint="see --pattern")
        return parts, pattern
    hint = "say where they stand with --pattern, such as '{piece}_{dimension}'"
    if not dimensions:
        what = "which part of a column's name is the dimension is not known"
        raise RatingError("ambiguous-columns", what, path=path, hint=f"give --dimensions, or {hint}")
    readings: list[tuple[Parts, str]] = []
    for form in _FORMS:
        parts = _matched(names, form, dimensions, pieces, path, strict=False)
        held = {(piece, name) for piece, name in parts.values()}
        rated = {piece for piece, _ in held}
        complete = held == {(piece, name) for piece in rated for name in dimensions}
        if held and complete and all(parts != other for other, _ in readings):
            readings.append((parts, form))
    if len(readings) == 1:
        return readings[0]
    if readings:
        (one, first), (two, second) = readings[:2]
        column = next(name for name in names if one.get(name) != two.get(name))
        what = f"the column {column!r} can be read as {first!r} and as {second!r}"
    else:
        what = (
            f"the names of the columns ({', '.join(names[:4])} ...) do not say for each piece where "
            f"{', '.join(dimensions[:4])} stand"
        )
    raise RatingError("ambiguous-columns", what, path=path, hint=hint)


def _matched(
    names: Sequence[str],
    pattern: str,
    dimensions: Collection[str],
    pieces: Collection[str] | None,
    path: str,
    *,
    strict: bool = True,
) -> Parts:
    """Columns that follow a pattern; one that can be cut in two ways is an error, or left out."""
    lazy, greedy = (_compiled(pattern, dimensions, pieces, mark, path) for mark in ("?", ""))
    parts: Parts = {}
    for name in names:
        first, second = lazy.fullmatch(name), greedy.fullmatch(name)
        if first is None or second is None:
            continue
        parts_of = first["piece"].strip(), first["dimension"].strip()
        if parts_of != (second["piece"].strip(), second["dimension"].strip()):
            if strict:
                what = f"{pattern!r} cuts the column {name!r} in two ways"
                raise RatingError("ambiguous-columns", what, path=path, hint="give --dimensions or --pieces")
            continue
        if strict or parts_of[0].strip(_MARKS) == parts_of[0]:
            parts[name] = parts_of
    return parts


def _compiled(
    pattern: str, dimensions: Collection[str], pieces: Collection[str] | None, mark: str, path: str
) -> re.Pattern[str]:
    known = {"piece": pieces, "dimension": dimensions, "any": None}
    text = ""
    for at, part in enumerate(_PLACE.split(pattern)):
        if at % 2 == 0:
            text += re.escape(part)
            continue
        names = known[part]
        words = "|".join(map(re.escape, sorted(names, key=len, reverse=not mark))) if names else f".+{mark}"
        text += f".*{mark}" if part == "any" else f"(?P<{part}>{words})"
    try:
        compiled = re.compile(text, re.DOTALL)
    except re.error as error:
        raise RatingError("bad-pattern", f"{pattern!r}: {error}", path=path) from error
    if not {"piece", "dimension"} <= set(compiled.groupindex):
        what = f"{pattern!r} does not say where {{piece}} and {{dimension}} stand"
        raise RatingError("bad-pattern", what, path=path, hint="for example '{piece}_{dimension}'")
    return compiled

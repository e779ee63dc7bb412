"""The rated dimensions of a study, from a small CSV, YAML, JSON Lines or Excel file.

Columns (or keys): ``column`` (of the table of ratings, or the name of the item in it), ``name``, ``low``,
``high``, ``reversed``; ``lowest``, ``highest``: its scale where it is not that of the study. Only ``column``
or ``name`` must be there. Of an item with one pole, the other is "not" this one; of an item without poles
they are "low NAME" and "high NAME".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.annotation.bounds import read_bounded
from musicbert.annotation.cells import is_missing, read_table
from musicbert.annotation.dimensions import Dimension
from musicbert.annotation.names import cell_name, cell_number
from musicbert.errors import RatingError

#: bytes of a file of dimensions in YAML
_MAX_YAML = 1 << 20
_KEYS = ("column", "name", "low", "high", "reversed", "lowest", "highest")
_FLAGS = dict.fromkeys(("1", "yes", "true", "x", "y"), True) | dict.fromkeys(
    ("", "0", "no", "false", "n"), False
)


@dataclass(frozen=True)
class Item:
    """A dimension, and whether its ratings are turned round (the lowest number means the high pole).

    ``scale``: lowest and highest rating; None: those of the study.
    """

    dimension: Dimension
    reversed: bool = False
    scale: tuple[float, float] | None = None

    @property
    def column(self) -> str:
        """Name in the table of ratings."""
        return self.dimension.column


def item(
    column: str,
    name: str = "",
    low: str = "",
    high: str = "",
    *,
    reversed: bool = False,
    scale: tuple[float, float] | None = None,
) -> Item:
    """Item with the poles that are known."""
    name = name or column
    low, high = (
        low or (f"not {high}" if high else f"low {name}"),
        high or (f"not {low}" if low else f"high {name}"),
    )
    return Item(Dimension(name, low, high, column or name), reversed, scale)


def read_items(path: str | PathLike[str]) -> tuple[Item, ...]:
    """Read the file of the dimensions, in its order.

    Raises `RatingError`: ``not-found``, ``bad-dimensions``, ``duplicate-column``; `DatasetError`: those of
    `read_table`.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        rows = _yaml_rows(path)
    else:
        rows = [dict(row) for row in read_table(path).to_dict("records")]
    items = tuple(_item(row, f"entry {number}", path) for number, row in enumerate(rows, 1))
    for what in ("column", "name"):
        values = [getattr(entry.dimension, what) for entry in items]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise RatingError("duplicate-column", f"two dimensions have the {what} {twice[0]!r}", path=path)
    return items


def _yaml_rows(path: Path) -> Sequence[Any]:
    """Entries of a YAML file: a list, or a list below ``dimensions``; all values are text (``no``, too)."""
    import yaml

    try:
        content = yaml.load(read_bounded(path, _MAX_YAML).decode("utf-8-sig"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise RatingError("not-found", f"cannot be read: {error.strerror}", path=path) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RatingError(
            "bad-dimensions", f"it is not YAML: {' '.join(str(error).split())}", path=path
        ) from error
    rows = content["dimensions"] if isinstance(content, dict) and set(content) == {"dimensions"} else content
    if not isinstance(rows, list) or not rows:
        hint = "write a list: '- {column: q1, name: Expressive, low: stiff, high: expressive}'"
        raise RatingError("bad-dimensions", "it holds no list of dimensions", path=path, hint=hint)
    return rows


def _item(row: Any, where: str, path: Path) -> Item:
    keys = ", ".join(_KEYS)
    if not isinstance(row, Mapping) or not all(
        isinstance(key, str) and (value is None or not isinstance(value, list | dict))
        for key, value in row.items()
    ):
        raise RatingError("bad-dimensions", f"{where} is not a set of {keys}", path=path)
    cells = {key.strip().lower(): "" if is_missing(cell) else cell_name(cell) for key, cell in row.items()}
    unknown = [key for key in cells if key not in _KEYS]
    if unknown or not (cells.get("column") or cells.get("name")):
        what = f"unknown key {unknown[0]!r}" if unknown else "neither column nor name"
        raise RatingError("bad-dimensions", f"{where}: {what}", path=path, hint=f"keys: {keys}")
    flag = _FLAGS.get(cells.pop("reversed", "").lower())
    if flag is None:
        raise RatingError("bad-dimensions", f"{where}: reversed is yes or no", path=path)
    ends = [cells.pop(key, "") for key in ("lowest", "highest")]
    try:
        scale = (cell_number(ends[0]), cell_number(ends[1])) if any(ends) else None
    except ValueError:
        scale = (nan, nan)
    if scale and not -inf < scale[0] < scale[1] < inf:
        what = f"{where}: its scale is not from a lowest to a highest number: {' to '.join(ends)}"
        raise RatingError("bad-dimensions", what, path=path, hint="give both, or neither: --scale holds")
    return item(**{"column": "", **cells}, reversed=flag, scale=scale)

"""Progress bars: shown on a terminal, and nowhere else. tqdm is loaded on first use."""

from collections.abc import Iterable
from typing import Any


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool = True, **settings: Any) -> Any:
    """Return a bar of tqdm, over ``items`` if given; ``settings``: of tqdm, such as total, desc and unit."""
    from tqdm import tqdm

    return tqdm(items, disable=None if shown else True, **settings)

"""A progress bar for code that says (done, all)."""

from __future__ import annotations

from collections.abc import Callable

from tqdm import tqdm

__all__ = ["line_progress"]


def line_progress(unit: str) -> Callable[[int, int], None]:
    """Return a function that shows a bar on a terminal, and nothing elsewhere."""
    bar: tqdm | None = None

    def show(done: int, every: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=every, unit=unit, disable=None)
        bar.update(done - bar.n)
        if done >= every:
            bar.close()
            bar = None

    return show

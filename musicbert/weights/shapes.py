"""Networks built for the names and shapes of their tensors alone: no memory, and no weights are drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

#: methods that draw weights; on tensors without memory they import the compiler, which takes a second
_DRAW = (torch.Tensor.normal_, torch.Tensor.uniform_)


class _Undrawn(TorchFunctionMode):
    """Leave tensors as they are where weights would be drawn."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = {**(kwargs or {})}
        if func in _DRAW or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules without memory in this block."""
    with torch.device("meta"), _Undrawn():
        yield

"""Compiling the blocks of a network.

The blocks of a network are one function for `torch.compile`, which gives up on a function after eight graphs
(``recompile_limit``) and then runs it uncompiled, with no more than a warning. Kinds of blocks, training and
evaluation, forms of the mask, and batches of one piece make more than that between them.
"""

from collections.abc import Iterable

from torch import nn

#: graphs of all blocks together: 3 kinds, 2 modes, 4 forms of the mask, one piece or several, and then some
MOST_GRAPHS = 64


def compile_in_place(layers: Iterable[nn.Module], backend: str, *, dynamic: bool) -> None:
    """Compile modules that share their code: same parameters and names, numbers the same up to rounding.

    ``layers``: modules; ``backend``: of `torch.compile`; ``dynamic``: for any shapes; else for each shape
    anew.
    """
    from torch._dynamo import config as settings  # slow to import, and not needed before

    # cache_size_limit is its older name
    limit = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"
    setattr(settings, limit, max(getattr(settings, limit), MOST_GRAPHS))
    for layer in layers:
        layer.compile(backend=backend, dynamic=dynamic)

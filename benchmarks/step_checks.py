"""Before ``pretrain_step.py`` measures: do the forms agree on this device, and how fast are batches made?"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch
from step_data import Blocks, as_tensors, made_pieces

from musicbert.config import PRESETS
from musicbert.model import MusicBert
from musicbert.model.backbones import encoder
from musicbert.model.blocks import attention
from musicbert.model.blocks import packed_attention as segments
from musicbert.model.blocks.masked_positions import MaskedPlaces
from musicbert.model.blocks.packed_attention import Segments, segment_attention
from musicbert.model.heads import sentence as heads
from musicbert.model.losses.masked_lm import listed_lm_sums
from musicbert.objectives.batches import collate
from musicbert.objectives.masking import MaskPolicy, mask_tokens

#: changes that can be left out (``--without``), to measure what each gives: where the old form goes
OLD_FORMS: dict[str, tuple[object, str, Callable]] = {
    "flash": (segments, "has_flash", lambda _: False),
    "aligned": (heads, "aligned_linear", torch.nn.functional.linear),
    "cudnn": (encoder, "without_cudnn", contextlib.nullcontext),
    "joint": (attention, "joint_projection", lambda x, layers: [layer(x) for layer in layers]),
}


def measure_loader(data: Blocks, seconds: float = 1.0) -> float:
    """Notes that one process masks and collates in a second of processor time."""
    begin, notes, index = time.process_time(), 0, 0
    while time.process_time() - begin < seconds:
        notes += sum(data[index % len(data)]["sequences"])
        index += 1
    return notes / (time.process_time() - begin)


def check_attention(device: torch.device) -> tuple[float, float]:
    """A stream's attention against one call a sequence, bfloat16: differences of outputs, of gradients."""
    torch.manual_seed(0)
    lengths = [1000, 37, 512, 3, 129]
    joint = torch.randn(sum(lengths), 3, 12, 64, device=device, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(1, 12, sum(lengths), 64, device=device)
    stream = Segments.of(lengths, device)

    def apart(*parts: torch.Tensor) -> torch.Tensor:
        split = zip(*(part.split(lengths, dim=2) for part in parts), strict=True)
        return torch.cat(
            [torch.nn.functional.scaled_dot_product_attention(*one) for one in split], dim=2
        )  # fmt: skip

    results = []
    for attend in (apart, lambda *parts: segment_attention(*parts, stream)):
        found = attend(*(part.transpose(0, 1)[None] for part in joint.unbind(1)))
        (grad,) = torch.autograd.grad((found.float() * weight).sum(), joint)
        results.append((found, grad))
    differences = [(one - two).abs().max().item() for one, two in zip(*results, strict=True)]
    return differences[0], differences[1]


def check_layouts(device: torch.device) -> float:
    """Largest difference between the losses of a padded batch and of the same as a stream (float32)."""
    pieces = made_pieces(12, seed=5)
    torch.manual_seed(0)
    model = MusicBert(PRESETS["tiny"].with_(max_positions=8192)).to(device).eval()
    rng = np.random.default_rng(0)
    policy = MaskPolicy(random_tokens="field")
    masked = [mask_tokens(piece, rng, policy) for piece in pieces]
    losses = []
    for layout in ("padded", "stream"):
        batch = as_tensors(collate(*zip(*masked, strict=True), layout=layout), [[p] for p in pieces])
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}
        segments = Segments(batch["offsets"], batch["sequences"]) if "offsets" in batch else None
        places = MaskedPlaces(batch["notes"], batch["counts"])
        logits, _ = model(batch["tokens"], masked_places=places, padded=batch["padded"], segments=segments)
        loss = listed_lm_sums(logits, batch["wanted"], batch["counts"]).loss
        model.zero_grad()
        (loss / len(batch["wanted"])).backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        losses.append((loss.item() / len(batch["wanted"]), grads))
    (a, one), (b, two) = losses
    return max(abs(a - b), (one - two).abs().max().item())

"""What a training step spends its time on, for ``pretrain_step.py``: device kernels by kind.

A few steps run under ``torch.profiler``. On a GPU the kernels are counted (and copies and fills of its
memory), each by its duration; elsewhere the operators that torch runs, each without the operators inside it.
A kernel is put into the first category of :data:`CATEGORIES` whose pattern its name holds. Idle is the time
between the first kernel and the last in which none runs: the profiler slows the program down, so that this is
an upper bound; ``busy`` against the time of a step without it says more.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

#: category -> pattern of names of kernels (and of operators), tried in this order
CATEGORIES = {
    "attention backward": r"flash_bwd|bprop|fmha.*(backward|bwd)|AttentionBackward|flash_attention.*backward"
    r"|efficient_attention_backward|dot_do_o|convert_dq",
    "attention forward": r"flash_fwd|fprop|fmha|AttentionKernel|flash|attention|sdpa",
    "loss": r"nll_loss|softmax|cross_entropy|argmax|ArgMax",
    "optimiser": r"adam|multi_tensor_apply|foreach",
    "matrix products": r"triton_tem|gemm|gemv|cutlass|nvjet|xmma|wgmma|cublas|splitK|addmm|::mm$|::bmm$"
    r"|baddbmm|mkldnn_linear|::linear$",
    "dropout, LayerNorm, GELU, elementwise (fused)": r"^triton_|CompiledFxGraph",
    "embedding and indexing": r"embedding|index|gather|scatter|radix|DeviceScan|RadixSort|DeviceReduceByKey"
    r"|compute_grad_weight|sum_and_scatter|krn_part|partials|repeat_interleave|sort",
    "copies, casts, fills": r"memcpy|memset|copy|FillFunctor|CatArray|aten::(to$|cat|clone|fill_|zero_|stack"
    r"|contiguous|empty|zeros)",
    "dropout, LayerNorm, GELU, elementwise": r"layer_norm|LayerNorm|GammaBeta|GradInput|dropout|gelu"
    r"|elementwise|reduce_kernel|bernoulli|aten::(add|mul|div|sub|sum|where|masked_fill|neg)",
}
OTHER = "other"
#: categories of the trace that are work of the device, and what stands for them where there is none
DEVICE_KINDS = {"kernel", "gpu_memcpy", "gpu_memset"}
CPU_KIND = "cpu_op"


def category(name: str) -> str:
    """Category of a kernel or an operator."""
    if name.startswith("autograd::"):
        return OTHER
    found = (kind for kind, pattern in CATEGORIES.items() if re.search(pattern, name, re.IGNORECASE))
    return next(found, OTHER)


def profile_steps(step: Callable[[], None], steps: int, *, trace: Path | None = None) -> dict[str, Any]:
    """Run steps under the profiler; times are milliseconds a step.

    Parameters
    ----------
    step
        Runs one training step.
    steps
        How many are profiled.
    trace
        File for the trace itself (``.json`` or ``.json.gz``), to be looked at in Perfetto.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        text = path.read_text(errors="replace")
    if trace is not None:
        trace.write_text(text)
    return summary_of(json.loads(text)["traceEvents"], steps)


def summary_of(events: Iterable[dict[str, Any]], steps: int) -> dict[str, Any]:
    """Sums over the events of a trace (``ts`` and ``dur`` in microseconds), as milliseconds a step."""
    timed = [event for event in events if event.get("ph") == "X" and event.get("dur", 0) > 0]
    chosen = [event for event in timed if event.get("cat") in DEVICE_KINDS]
    counted = "device kernels" if chosen else "CPU operators"
    chosen = chosen or [event for event in timed if event.get("cat") == CPU_KIND]
    own = {id(event): event["dur"] for event in chosen} if counted == "device kernels" else self_times(chosen)
    kernels: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in chosen:
        kernels[event["name"]] += own[id(event)]
        calls[event["name"]] += 1
    kinds: Counter[str] = Counter()
    for name, spent in kernels.items():
        kinds[category(name)] += spent
    span, busy = covered([(event["ts"], event["ts"] + event["dur"]) for event in chosen])
    each = 1000.0 * max(steps, 1)
    return {
        "counted": counted,
        "steps": steps,
        "categories": {kind: spent / each for kind, spent in kinds.most_common()},
        "kernels": [
            {"name": name, "ms": spent / each, "calls": calls[name] / max(steps, 1)}
            for name, spent in kernels.most_common(25)
        ],
        "busy_ms": busy / each,
        "span_ms": span / each,
        "idle": 1.0 - busy / span if span else 0.0,
    }


def self_times(events: list[dict[str, Any]]) -> dict[int, float]:
    """Duration of each event without those inside it, on the same thread [keys: id of the event]."""
    own = {id(event): event["dur"] for event in events}
    threads: dict[Any, list[dict[str, Any]]] = {}
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        around = threads.setdefault((event.get("pid"), event.get("tid")), [])
        while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
            around.pop()
        if around:
            own[id(around[-1])] -= event["dur"]
        around.append(event)
    return own


def covered(spans: list[tuple[float, float]]) -> tuple[float, float]:
    """Time from the first begin to the last end, and how much of it any span covers."""
    if not spans:
        return 0.0, 0.0
    first = reached = min(begin for begin, _ in spans)
    busy = 0.0
    for begin, end in sorted(spans):
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return reached - first, busy


def profile_lines(result: dict[str, Any]) -> list[str]:
    """The profile of one setting as Markdown."""
    found, step = result["profile"], result["resident"]["ms_per_step"]
    total = sum(found["categories"].values()) or 1.0
    form = "compiled" if result["compile"] else "eager"
    lines = [
        f"## {result['arch']}, {result['batch']} x {result['notes']}, {result['layout']}, "
        f"{result['precision']}, {form}, attention dropout {result['attention_dropout']}",
        "",
        f"{found['steps']} resident steps, {found['counted']}. Busy {found['busy_ms']:.2f} ms a step; a step",
        f"takes {step:.2f} ms without the profiler and {found['span_ms']:.2f} ms with it, of which idle",
        f"{found['idle']:.1%}.",
        "",
        "| kind | ms a step | share |",
        "|---|---:|---:|",
        *(f"| {kind} | {spent:.3f} | {spent / total:.1%} |" for kind, spent in found["categories"].items()),
        "",
        "| calls a step | ms a step | kind | name |",
        "|---:|---:|---|---|",
    ]
    for each in found["kernels"]:
        name = each["name"].replace("|", "\\|")[:110]
        lines.append(f"| {each['calls']:g} | {each['ms']:.3f} | {category(each['name'])} | `{name}` |")
    return [*lines, ""]

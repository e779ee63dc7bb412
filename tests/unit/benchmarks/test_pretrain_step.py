"""The benchmark of a training step: what it is asked, what it writes, how it sorts a trace."""

import importlib
import json

import pytest

TINY = [
    *("--arch", "tiny", "--device", "cpu", "--batch", "1", "--notes", "24", "--pieces", "12"),
    *("--steps", "1", "--warmup", "1", "--workers", "-1", "--profile-steps", "1"),
    *("--settings", "stream:float32:eager:0.1", "padded:bf16:eager:0:2"),
]


@pytest.fixture
def bench(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module


def kernel(name, begin, duration, kind="kernel", thread=7):
    return {"ph": "X", "cat": kind, "name": name, "ts": begin, "dur": duration, "pid": 0, "tid": thread}


def test_kernels_are_summed_by_kind_and_gaps_counted_once(bench):
    events = [
        kernel("nvjet_tst_128x256_64x4", 0, 4000),
        kernel("void pytorch_flash::flash_fwd_kernel<cutlass::bfloat16_t>", 3000, 3000, thread=8),  # overlaps
        kernel("Memcpy HtoD (Pinned -> Device)", 8000, 2000, "gpu_memcpy"),
        kernel("aten::mm", 0, 90000, "cpu_op"),
        kernel("ProfilerStep#1", 0, 90000, "gpu_user_annotation"),
        {"ph": "M", "name": "process_name"},
    ]
    found = bench("step_profile").summary_of(events, 2)
    assert found["counted"] == "device kernels"
    assert found["categories"] == {
        "matrix products": 2.0, "attention forward": 1.5, "copies, casts, fills": 1.0,
    }  # fmt: skip
    assert (found["busy_ms"], found["span_ms"], found["idle"]) == (4.0, 5.0, pytest.approx(0.2))
    assert [each["calls"] for each in found["kernels"]] == [0.5, 0.5, 0.5]


def test_without_kernels_operators_count_without_those_inside_them(bench):
    events = [
        kernel("aten::linear", 0, 1000, "cpu_op"),
        kernel("aten::addmm", 100, 700, "cpu_op"),
        kernel("aten::copy_", 200, 100, "cpu_op"),
        kernel("aten::gelu", 1000, 500, "cpu_op"),
        kernel("aten::gelu", 0, 500, "cpu_op", thread=8),
    ]
    found = bench("step_profile").summary_of(events, 1)
    assert found["counted"] == "CPU operators"
    times = {each["name"]: each["ms"] for each in found["kernels"]}
    assert times == pytest.approx(
        {"aten::linear": 0.3, "aten::addmm": 0.6, "aten::copy_": 0.1, "aten::gelu": 1.0}
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fmha_cutlassB_bf16_aligned_64x64_k64_dropout_sm80(AttentionBackwardKernel)", "attention backward"),
        ("flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<cutlass::bfloat16_t>", "attention backward"),
        ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80(AttentionKernel)", "attention forward"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n", "matrix products"),
        ("cunn_SoftMaxForward<4, float, float, float>", "loss"),
        ("multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimiser"),
        ("elementwise_kernel<128, 4, direct_copy_kernel_cuda>", "copies, casts, fills"),
        ("compute_grad_weight_bags<float>", "embedding and indexing"),
        ("triton_per_fused__to_copy_native_layer_norm_3", "dropout, LayerNorm, GELU, elementwise (fused)"),
        ("vectorized_layer_norm_kernel<float>", "dropout, LayerNorm, GELU, elementwise"),
        ("something_else", "other"),
    ],
)
def test_kinds_of_kernels(bench, name, kind):
    assert bench("step_profile").category(name) == kind


def test_settings_are_named_one_by_one(bench):
    changes = bench("pretrain_step").setting_changes
    assert changes("stream:bf16:compiled:0:64") == {
        "layout": "stream", "precision": "bf16", "compile": True, "attention_dropout": 0.0, "batch": 64,
    }  # fmt: skip
    for wrong in ("heap:bf16:eager:0", "stream:bf16:0", "stream:bf16:fast:0", "stream:bf16:eager:0:1:2"):
        with pytest.raises(ValueError):  # noqa: PT011 - argparse says which
            changes(wrong)


def test_changes_can_be_left_out(bench, tmp_path, monkeypatch):
    program, checks = bench("pretrain_step"), bench("step_checks")
    for module, name, _ in checks.OLD_FORMS.values():
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    monkeypatch.setattr(program, "measure", lambda *args, **options: {})
    monkeypatch.setattr(program, "table", lambda results: [])
    path = tmp_path / "out.json"
    program.main([*TINY, "--json", str(path), "--without", *checks.OLD_FORMS])
    assert json.loads(path.read_text())["without"] == list(checks.OLD_FORMS)
    for module, name, old in checks.OLD_FORMS.values():
        assert getattr(module, name) is old


def test_files_are_written_after_each_setting(bench, tmp_path, monkeypatch, capsys):
    program = bench("pretrain_step")
    measured = []

    def once(setting, *args, **options):
        if measured:
            raise RuntimeError("out of memory")
        measured.append(setting)
        return real(setting, *args, **options)

    real = program.measure
    monkeypatch.setattr(program, "measure", once)
    names = {kind: tmp_path / f"out.{kind}" for kind in ("json", "write", "profile")}
    program.main([*TINY, *(text for kind, path in names.items() for text in (f"--{kind}", str(path)))])
    printed = capsys.readouterr().out
    assert "| tiny | 1 x 24 | float32 | stream | 0.1 | no | resident |" in printed
    assert "RuntimeError: out of memory" in printed
    (result,) = json.loads(names["json"].read_text())["results"]
    assert result["layout"] == "stream"
    assert result["resident"]["notes_per_second"] > 0
    assert sum(result["profile"]["categories"].values()) > 0
    assert "| tiny | 1 x 24 |" in names["write"].read_text()
    profile = names["profile"].read_text()
    assert "## tiny, 1 x 24, stream, float32, eager, attention dropout 0.1" in profile
    assert "| matrix products |" in profile

"""The main job on made data: labels, data set, pre-training, fine-tuning, evaluation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from musicbert.command_line import Parser, exit_status  # noqa: E402
from musicbert.reuse import hold_folder  # noqa: E402

#: file in a folder that this program may replace
MARK = ".made-by-demo"
DATA = "xai_data_bin_apex_reg_cls"
MLM = "checkpoints/mlm/checkpoint_best.pt"
#: options of every fine-tuning
SMALL = ("--lr", "1e-3", "--warmup", 20, "--batch", 32, "--validate-every", 25)


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, default=Path("demo"), help="folder (default: %(default)s)")
    add("--seed", type=int, default=7, help="(default: %(default)s)")
    add("--updates", type=int, default=150, help="of each fine-tuning (default: %(default)s)")
    return parser


@exit_status
def main() -> int:
    """Run all steps; return the exit status."""
    given = _parser().parse_args()
    out = given.output.absolute()
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        print(
            f"error: {given.output} holds other files than a demo's: choose another --output", file=sys.stderr
        )
        return 2
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    try:
        with hold_folder(out):
            for entry in out.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            (out / MARK).touch()
            _demo(out, given.seed, given.updates)
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd))}: exit status {error.returncode}", file=sys.stderr)
        return 1
    return 0


def _demo(out: Path, seed: int, updates: int) -> None:
    def run(program: str, *options: object) -> None:
        command = [sys.executable, str(ROOT / program), *map(str, options)]
        subprocess.run(command, cwd=out, check=True)

    def train(recipe: str, name: str, *options: object) -> None:
        save = ("--save-dir", f"checkpoints/{name}", "--seed", seed, "--cpu")
        words = [sys.executable, "-m", "musicbert", "train", recipe, *map(str, (*options, *save))]
        subprocess.run(words, cwd=out, check=True)

    def tune(recipe: str, name: str, *options: object) -> None:
        train(recipe, name, "--data", DATA, "--updates", updates, *SMALL, *options)

    _say("1/8 performances and simulated raters")
    run("scripts/make_demo_data.py", "--output", "data", "--seed", seed)
    _say("2/8 ratings to labels, and how far the raters agree")
    labels = "midi_label_map_apex_reg_cls.json"
    run("map_midi_to_label.py", "--label", "mean", "--output", labels, "--reliability", "reliability")
    _say("3/8 labels and MIDI to a data set")
    midi = "data/segment_midi.zip"
    run("gen_xai.py", "--midi", midi, "--folds-file", "data/test.id", "--performance-input")
    subprocess.run(["bash", ROOT / "scripts/binarize_xai.sh", "xai"], cwd=out, check=True)
    _say("4/8 masked-LM pre-training")
    train(
        "musicbert", "mlm", "--data", f"{DATA}/0/input0", "--arch", "musicbert_tiny", "--updates", 120,
        "--warmup", 20, "--lr", "1e-3", "--effective-batch", 32, "--batch", 32, "--break-mode", "eos",
        "--validate-every", 60,
    )  # fmt: skip
    _say("5/8 contrastive pre-training, and the performers from it")
    tune("contrastive", "contrastive", "--init", MLM, "--updates", 60)
    tune("performer-contrastive", "performers", "--init", "checkpoints/contrastive/checkpoint_best.pt")
    _say("6/8 regression of the ratings: the published variant")
    tune("regression", "plain", "--init", MLM, "--effective-batch", 32)
    _say("7/8 ratings and performers at once, with pedal and timing")
    tune(
        "reg-cls", "performance", "--init", MLM, "--performance-input", "--pooling", "mean", "--reg-weight", 5
    )
    _say("8/8 evaluation beside the baselines")
    for name in ("performers", "plain", "performance"):
        run(
            "scripts/evaluate_checkpoint.py", "--checkpoint", f"checkpoints/{name}/checkpoint_best.pt",
            "--data", DATA, "--output", f"evaluation/{name}", "--midi", midi,
            "--baselines", "evaluation/baselines", "--reliability", "reliability/reliability.csv",
        )  # fmt: skip
    _say(f"done: tables and pictures are in {out}/evaluation/*/*/")
    report = (out / "evaluation/performance/regression/report.md").read_text(encoding="utf-8")
    print("\n".join([line for line in report.splitlines() if line.startswith("|")][:20]))


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

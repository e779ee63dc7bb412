"""The main job on made data: labels, data set, pre-training, fine-tuning, evaluation, one answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import fill

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
#: what the answer of the shipped model means
WITH_PROFILE = (
    "The shipped model says how people who heard recordings of Beethoven and Schubert would rate this "
    "playing, and the reasons say what in the playing moves the model; no person has rated made music, so "
    "whether its ranges hold here is not known."
)
NO_PROFILE = (
    "The shipped model gives no profile of this made performance, for the reasons printed above: a number "
    "would come out for any file, but here it would mean nothing, and so nothing is explained or drawn."
)
#: what that of the demo's own model means
OWN_MODEL = (
    "The demo's own model learned what simulated listeners say of made music; the table above tells how well "
    "it does that on music that it does not know, and neither says anything of people.",
    "The two learned from different listeners and other music, and some of their scales run the other way "
    "round: where they differ, that alone does not tell which of them is right.",
)


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

    _say("1/9 performances and simulated raters")
    run("scripts/make_demo_data.py", "--output", "data", "--seed", seed)
    _say("2/9 ratings to labels, and how far the raters agree")
    labels = "midi_label_map_apex_reg_cls.json"
    run("map_midi_to_label.py", "--label", "mean", "--output", labels, "--reliability", "reliability")
    _say("3/9 labels and MIDI to a data set")
    midi = "data/segment_midi.zip"
    run("gen_xai.py", "--midi", midi, "--folds-file", "data/test.id", "--performance-input")
    subprocess.run(["bash", ROOT / "scripts/binarize_xai.sh", "xai"], cwd=out, check=True)
    _say("4/9 masked-LM pre-training")
    train(
        "musicbert", "mlm", "--data", f"{DATA}/0/input0", "--arch", "musicbert_tiny", "--updates", 120,
        "--warmup", 20, "--lr", "1e-3", "--effective-batch", 32, "--batch", 32, "--break-mode", "eos",
        "--validate-every", 60,
    )  # fmt: skip
    _say("5/9 contrastive pre-training, and the performers from it")
    tune("contrastive", "contrastive", "--init", MLM, "--updates", 60)
    tune("performer-contrastive", "performers", "--init", "checkpoints/contrastive/checkpoint_best.pt")
    _say("6/9 regression of the ratings: the published variant")
    tune("regression", "plain", "--init", MLM, "--effective-batch", 32)
    _say("7/9 ratings and performers at once, with pedal and timing")
    tune(
        "reg-cls", "performance", "--init", MLM, "--performance-input", "--pooling", "mean", "--reg-weight", 5
    )
    _say("8/9 evaluation beside the baselines")
    for name in ("performers", "plain", "performance"):
        run(
            "scripts/evaluate_checkpoint.py", "--checkpoint", f"checkpoints/{name}/checkpoint_best.pt",
            "--data", DATA, "--output", f"evaluation/{name}", "--midi", midi,
            "--baselines", "evaluation/baselines", "--reliability", "reliability/reliability.csv",
        )  # fmt: skip
    report = (out / "evaluation/performance/regression/report.md").read_text(encoding="utf-8")
    print("\n".join([line for line in report.splitlines() if line.startswith("|")][:20]))
    _say("9/9 one performance that no training had: what two models say of it, and why")
    held_out = (out / "data/test.id").read_text(encoding="utf-8").split()[0]
    _explain(out, held_out, out / "checkpoints/performance/checkpoint_best.pt")
    _say(f"done: tables and pictures are in {out}/evaluation/*/*/ and {out}/reasons/")


def _explain(out: Path, name: str, own: Path) -> None:
    """Print and draw what the shipped model and the demo's own say of a performance, and what it means."""
    import musicbert

    folder = out / "reasons"
    folder.mkdir()
    midi = folder / f"{name}.mid"
    with zipfile.ZipFile(out / "data/segment_midi.zip") as archive:
        midi.write_bytes(archive.read(f"segment_midi/{name}.mid"))

    def draw(picture: str, title: str, *options: object) -> None:
        words = ("plot", "profile", midi, "--output", folder / picture, "--title", title, *options)
        subprocess.run([sys.executable, "-m", "musicbert", *map(str, words)], cwd=out, check=True)

    print("-- the model that comes with the package\n")
    shipped = musicbert.analyse(midi, layers=False, name=name)
    print(shipped.to_text())
    if shipped.profile is not None:
        reasons = musicbert.explain(midi)
        reasons.to_json(folder / "explanation.json")
        print(f"Why:\n{reasons}\n", flush=True)
        draw("shipped-model.png", f"{name}: the model that comes with the package")
    print("-- the demo's own model: the ratings of simulated listeners, and who of the performers plays\n")
    print(musicbert.analyse(midi, model=own, layers=False, name=name).to_text(), flush=True)
    draw("own-model.png", f"{name}: the demo's own model", "--model", own)
    for meaning in (WITH_PROFILE if shipped.profile is not None else NO_PROFILE, *OWN_MODEL):
        print(fill(meaning, 100), flush=True)


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

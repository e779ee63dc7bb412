"""Every option of `musicbert finetune` and `benchmark` changes the runs that are planned, or is refused."""

import shutil

import pytest

from musicbert.cli.main import main as musicbert
from options.effects import check, check_table
from options.test_command_options import parser_of

TABLE = "finetune --labels {table} --midi {midi} --model scratch:musicbert_tiny --output run --cpu"
NOTES = TABLE.replace("{table}", "{notes}")
SHARDS = "finetune --data {shards} --model scratch:musicbert_tiny --output run --cpu"
#: options of `FineTuning`, on both commands
RECIPE = {
    "--epochs": "--epochs 3", "--max-updates": "--max-updates 2", "--batch": "--batch 2",
    "--accumulate": "--accumulate 2", "--learning-rate": "--learning-rate 0.1", "--schedule": "--schedule constant",
    "--warmup": "--warmup 0.5", "--weight-decay": "--weight-decay 0.5", "--clip": "--clip 0.5",
    "--patience": "--patience 2", "--window": "--window 16", "--overlap": "--overlap 3", "--windows": "--windows first",
    "--head": "--head mean", "--head-inner": "--head-inner 8", "--head-dropout": "--head-dropout 0.5",
    "--dropout": "--dropout 0.5", "--mix-layers": "--mix-layers", "--layer": "--layer 0", "--freeze-layers": "--freeze-layers 1",
    "--layer-decay": "--layer-decay 0.5", "--class-weights": "--class-weights balanced",
    "--label-smoothing": "--label-smoothing 0.1", "--random-shift": "--random-shift", "--augment": "--augment bar",
    "--performance-input": "--performance-input", "--bf16": "--bf16",
    "--means-weight": "!--means-weight 1", "--rater-weights": "!--rater-weights", "--phases": "!--phases 2",
}  # fmt: skip
TABLES = {
    "finetune": (TABLE, {
        "--labels": (TABLE, "=" + TABLE.replace("{table}", "{other_table}")),
        "--midi": (TABLE, "~=" + TABLE.replace("{midi}", "{one}")), "--data": "!--data {shards}",
        "--model": "--model scratch:musicbert_mini", "--output": "--output other", "--name": "--name another",
        "--overwrite": (TABLE.replace("{table}", "{other_table}").replace("--output run", "--output {old}"), "~--overwrite"),
        "--level": "~--level note", "--kind": "--kind multilabel", "--separator": (f"{TABLE} --kind multilabel", "--separator o"),
        "--classes": "--classes low high more", "--ignore-classes": (f"{TABLE} --folds 2", "~--ignore-classes low"),
        "--file-column": "~--file-column mood", "--label-columns": (TABLE.replace("{table}", "{wide}") + " --label-columns mood", "--label-columns other"),
        "--group-column": (TABLE.replace("{table}", "{wide}") + " --label-columns mood --folds 3", "--group-column other"),
        "--split-column": (TABLE.replace("{table}", "{wide}") + " --label-columns mood", "--split-column part"),
        "--weight-column": (TABLE.replace("{table}", "{wide}") + " --label-columns mood", "--weight-column number"),
        "--note-order": (NOTES, "--note-order sorted"), "--onset-unit": (TABLE.replace("{table}", "{onsets}"), "~--onset-unit ticks"),
        "--channel-programs": (TABLE.replace("{midi}", "{spread}"), "--channel-programs channel"),
        "--label": "!--label mood", "--codec": (TABLE.replace("musicbert_tiny", "m2bert_tiny"), "--codec octuple"),
        "--split": "~--split nonsense", "--folds": "--folds 2", "--only-folds": "--only-folds 1",
        "--validation": "--validation next", "--split-seed": "--split-seed 8", "--train-share": "--train-share 0.5",
        "--seeds": "--seeds 1 2", "--metric": "--metric macro_f1", "--published": "--published", **RECIPE,
        "--search": "~--search '--lr 1' '--lr 2'",
        "--workers": "--workers 2", "--threads": "--threads 2",
        "--cpu": (TABLE.removesuffix(" --cpu"), "--cpu"), "--keep-models": "--keep-models", "--no-final": "--no-final",
        "--no-report": "--no-report", "--resamples": "--resamples 7", "--quiet": "--quiet",
        "--max-failure-rate": (TABLE.replace("{table}", "{one_missing}"), "--max-failure-rate 1"),
    }),
    "finetune, labels of notes": (NOTES, {"--head": "!--head mean"}),
    "finetune, labels of pieces": (TABLE, {"--note-order": "!--note-order sorted", "--onset-unit": "!--onset-unit ticks"}),
    "finetune, numbers": (TABLE.replace("{table}", "{numbers}"), {
        "--class-weights": "!--class-weights balanced", "--label-smoothing": "!--label-smoothing 0.1",
    }),
    "finetune, a data set": (SHARDS, {
        **{name: f"!{name} {value}" for name, value in {
            "--level": "note", "--kind": "classes", "--separator": ";", "--classes": "low", "--file-column": "x",
            "--label-columns": "x", "--group-column": "x", "--split-column": "x", "--weight-column": "x",
            "--note-order": "sorted", "--onset-unit": "ticks", "--codec": "cp", "--labels": "x.csv", "--midi": "x",
        }.items()},
        "--label": "~--label nonsense", "--split": "~--split nonsense", "--name": "--name another",
    }),
}  # fmt: skip
CASES = [(name, option) for name, (_, table) in TABLES.items() for option in table]


@pytest.fixture(scope="module")
def call(caller, places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    moods = [("low", "high")[k % 2] for k in range(6)]

    def write(name, header, rows):
        text = "\n".join([header, *rows])
        (folder / name).write_text(text + "\n")

    write("table.csv", "file,mood", [f"p{k}.mid,{moods[k]}" for k in range(6)])
    write("other_table.csv", "file,mood", [f"p{k}.mid,{moods[k]}" for k in range(5)])
    write("one_missing.csv", "file,mood", [f"p{k}.mid,{moods[k % 6]}" for k in range(7)])
    write("numbers.csv", "file,value", [f"p{k}.mid,{k}.5" for k in range(6)])
    write("wide.csv", "file,mood,other,part,number", [
        f"p{k}.mid,{moods[k]},{'abc'[k // 2]},{('train', 'train', 'valid', 'test')[k % 4]},{k + 1}" for k in range(6)
    ])  # fmt: skip
    write(
        "notes.csv",
        "file,note,label",
        [f"p{k}.mid,{n},{'ab'[n % 3 % 2]}" for k in range(6) for n in range(40)],
    )
    from musicbert.midi import read_score

    onsets = []
    for k in range(6):
        score = read_score(places["midi"] / f"p{k}.mid")
        onsets += [f"p{k}.mid,{on / score.ticks_per_beat},{p},{'ab'[i % 2]}" for i, (on, p) in
                   enumerate(zip(score.onset, score.pitch, strict=True))]  # fmt: skip
    write("onsets.csv", "file,onset,pitch,label", onsets)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("musicbert.fairseq_plugin.runs.engine.start_runs", lambda *_, **__: [])
        words = TABLE.format(table=folder / "table.csv", midi=places["midi"])
        assert musicbert([*words.split(), "--no-report"]) == 0
    (folder / "spread").mkdir()
    for k in range(6):
        source = places["midi"] / f"p{k}.mid" if k else places["elsewhere"]
        (folder / "spread" / f"p{k}.mid").write_bytes(source.read_bytes())
    values = {path.stem: path for path in folder.glob("*.csv")} | {
        "shards": folder / "run" / "data",
        "spread": folder / "spread",
        "old": shutil.copytree(folder / "run", folder / "old"),
    }

    def main(words, calls):
        with pytest.MonkeyPatch.context() as patch:

            def start(runs, **how):
                calls.append([(run.out.name, *run.options(), vars(run)) for run in runs])
                calls.append(how)
                return []

            patch.setattr("musicbert.fairseq_plugin.runs.engine.start_runs", start)
            patch.setattr("musicbert.cli.evaluate.report_runs", lambda *_, **how: calls.append(how))
            return musicbert(words)

    return caller(main, values=values)


def test_every_option_of_finetune_is_in_the_table():
    check_table({"finetune": parser_of("finetune")}, {"finetune": TABLES["finetune"][1]})


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_something_or_is_refused(call, name, option):
    base, table = TABLES[name]
    check(call, base, option, table[option])


def test_too_few_groups_for_validation_name_an_option_of_finetune(caller, places, tmp_path):
    rows = [f"p{k}.mid,{'low' if k % 2 else 'high'},{'abc'[k // 2]}" for k in range(6)]
    (tmp_path / "groups.csv").write_text("\n".join(["file,mood,group", *rows]) + "\n")
    call = caller(lambda words, _: musicbert(words), values={"groups": tmp_path / "groups.csv"})
    words = TABLE.replace("{table}", "{groups}") + " --folds 2"
    status, _, said, *_ = call(words)
    assert (status, "no-validation" in said, "--validation next" in said) == (2, True, True), said

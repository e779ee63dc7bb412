"""Every option of the programs beside `musicbert`, and of commands that are tried through what they call.

See `test_command_options`; programs that need trained checkpoints or published data: `test_script_options`.
"""

import numpy as np
import pytest
from warm_python import python

from musicbert.cli.main import main as musicbert
from options.effects import check, check_table
from options.programs import PROGRAMS, load, parser_of_program
from options.test_command_options import parser_of
from options.test_script_options import SCRIPTS

MAP = "map_midi_to_label.py --csv {made}"
STUDY = "map_midi_to_label.py --csv {study} --scale 1 9 --rater-column who --file-column what --label mean --ignore more"
GEN = "gen_xai.py --labels {labels} --midi {music} --split random"
BINARIZE = "musicbert/corpus/labelled/binarize.py --raw {raw} --bin bin --direct"
DEMO = "scripts/make_demo_data.py --output out --performers 2 --segments 2"
BENCHMARK = "benchmark scratch:m2bert_tiny --note-data {one} --tasks ME"
TABLES = {
    "map_midi_to_label.py": (MAP, {
        "--csv": (MAP, "~=" + MAP.replace("{made}", "{study}")), "--output": "--output x.json", "--format": "--format csv",
        "--label": "--label mean", "--columns": "--columns mnskim", "--zeros": "--zeros cell", "--min-raters": "~--min-raters 99",
        "--drop-high-stdev": None, "--center-raters": "--center-raters", "--classes": (f"{MAP} --label mean", None),
        "--merge-scores": "!--merge-scores", "--duplicates": ("map_midi_to_label.py --csv {twice}", "~--duplicates keep"),
        "--preset": "~--preset nonsense", "--reliability": "--reliability r", "--scale": (STUDY, "~--scale 1 10"),
        "--rater-column": (STUDY, "~--rater-column nonsense"), "--piece-column": (STUDY, "~--piece-column nonsense"),
        "--dimension-column": (STUDY, "~--dimension-column Warm"), "--value-column": (STUDY, "~--value-column Warm"),
        "--layout": (STUDY, "~--layout long"), "--group-column": (STUDY, "~--group-column more"),
        "--performer-column": (STUDY, "~--performer-column more"), "--dimensions": (STUDY, "~--dimensions {study}"),
        "--pieces": (STUDY, "~--pieces {study}"), "--pattern": (STUDY, "~--pattern nonsense"),
        "--missing-values": (STUDY, "--missing-values 5"), "--answers": (STUDY.replace("{study}", "{words}"), "~--answers five=5"),
        "--numbers": (STUDY.replace("{study}", "{percent}"), "~--numbers percent"), "--ignore": (STUDY, "--ignore more Sad"), "--drop-raters": (STUDY, "--drop-raters r1"),
        "--keep-test-rows": None, "--header-rows": (STUDY, "~--header-rows 2"), "--names-row": (STUDY, "~--names-row 2"),
    }),
    "gen_xai.py": (GEN, {
        "--labels": (GEN, "~=" + GEN.replace("{labels}", "{study}")), "--midi": (GEN, "~=" + GEN.replace("{music}", "{one}")),
        "--output": "--output x", "--overwrite": (f"{GEN} --output {{raw}}", "~--overwrite"), "--columns": "~--columns nonsense",
        "--split": "~--split k-fold", "--group-column": "~--group-column more", "--folds": (f"{GEN} --split k-fold", "~--folds 2"),
        "--performers": (f"{GEN} --split performer", "~--performers 1"), "--folds-file": "~--folds-file {study}",
        "--valid": "~--valid none", "--seed": "~--seed 8", "--bar-offset": "--bar-offset zero",
        "--performance-input": "--performance-input", "--neutralise-tempo-metre": "--neutralise-tempo-metre",
        "--reader": "~--reader nonsense", "--workers": "~--workers 2",
    }),
    "musicbert/corpus/labelled/binarize.py": (BINARIZE, {
        "prefix": (BINARIZE, "=" + BINARIZE.replace(".py ", ".py other ")), "--raw": (BINARIZE, "~=" + BINARIZE.replace("{raw}", "{one}")), "--bin": "--bin x",
        "--workers": ("musicbert/corpus/labelled/binarize.py --raw {raw} --bin bin", "~--workers 0"),
        "--direct": ("musicbert/corpus/labelled/binarize.py --raw {one} --bin bin", None), "--overwrite": (BINARIZE.replace("--bin bin", "--bin {old_bin}"), "~--overwrite"),
        "--kind": "~--kind sentences", "--python": None,
    }),
    "scripts/make_demo_data.py": (DEMO, {
        "--output": "--output x", "--seed": "--seed 8", "--performers": "--performers 3", "--segments": "--segments 3",
    }),
    "evaluate": ("evaluate runs", {
        "experiment": ("evaluate runs", "=evaluate others"), "--data": "--data x", "--output": "--output x",
        "--no-baselines": "--no-baselines", "--resamples": "--resamples 7", "--seed": "--seed 8", "--quiet": "--quiet",
        "--seen": "--seen names.txt",
    }),
    "evaluate, without baselines": ("evaluate runs --no-baselines", {"--data": "!--data x", "--quiet": "!--quiet"}),
    "benchmark, options of ratings": (BENCHMARK, {
        "--means-weight": "!--means-weight 1", "--rater-weights": "!--rater-weights", "--phases": "!--phases 2",
    }),
    "benchmark": (BENCHMARK, {
        "model": (BENCHMARK, "=" + BENCHMARK.replace("tiny", "mini")), "--note-data": "--note-data {midi}", "--seq-data": "--seq-data {one}",
        "--output": "--output x", "--tasks": "--tasks VF", "--splits": "--splits clean", "--seeds": "--seeds 1 2",
        "--only-folds": "--only-folds 1", "--train-share": "--train-share 0.5", "--no-baselines": "--no-baselines",
        "--seen": "--seen {study}",
        "--workers": "--workers 2", "--threads": "--threads 2", "--cpu": "--cpu", "--quiet": "--quiet",
    }),
    "data get": ("data get pop909 --sha256 00", {
        "name": ("data get pop909 --sha256 00", "=data get emopia --sha256 00"), "--output": "--output x", "--sha256": "--sha256 11",
        "--unverified": ("data get emopia", "~--unverified"), "--quiet": "--quiet",
    }),
    "data fingerprints": ("data fingerprints {midi} --output x.npz", {
        "sources": ("data fingerprints {midi} --output x.npz", "=data fingerprints mine={midi} --output x.npz"),
        "--output": "--output y.npz", "--quiet": "--quiet",
    }),
    "completion": ("completion bash", {"shell": ("completion bash", "=completion zsh")}),
}  # fmt: skip
PARTIAL = {"evaluate, without baselines", "benchmark, options of ratings"}
CASES = [
    (name, option) for name, (_, table) in TABLES.items() for option, entry in table.items()
    if entry is not None and not (isinstance(entry, tuple) and entry[1] is None)
]  # fmt: skip


@pytest.fixture(scope="module")
def call(caller, places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["x", "--output", str(folder), "--performers", "3", "--segments", "6"])
        assert load("scripts/make_demo_data.py").main() == 0
        lines = (folder / "total.csv").read_text().splitlines()
        (folder / "twice.csv").write_text("\n".join([*lines, lines[-1]]) + "\n")
        rng = np.random.default_rng(0)
        rows = [
            f"r{k},p{p}.mid,{rng.integers(1, 10)},{rng.integers(1, 10)},m{p % 2}"
            for k in range(4)
            for p in range(6)
        ]
        (folder / "study.csv").write_text("\n".join(["who,what,Warm,Sad,more", *rows]) + "\n")
        for name, cell in (("words", "five"), ("percent", "50%")):
            text = (folder / "study.csv").read_text().replace("r0,p0.mid,", f"r0,p0.mid,{cell},", 1)
            head, first, *others = text.splitlines()
            cells = first.split(",")
            (folder / f"{name}.csv").write_text(
                "\n".join([head, ",".join([*cells[:3], *cells[4:]]), *others]) + "\n"
            )
        values = {"words": folder / "words.csv", "percent": folder / "percent.csv", "made": folder / "total.csv", "twice": folder / "twice.csv", "study": folder / "study.csv",
                  "music": folder / "segment_midi.zip", "labels": folder / "l.json", "raw": folder / "raw",
                  "old_bin": folder / "old_bin"}  # fmt: skip
        assert (
            load("map_midi_to_label.py").main(
                ["--csv", str(values["made"]), "--output", str(values["labels"])]
            )
            == 0
        )
        words = GEN.format(**values).split()
        assert load("gen_xai.py").main([*words[1:], "--output", "raw", "--split", "random"]) == 0
        binarize = ["--raw", "raw", "--bin", "old_bin", "--direct"]
        assert load("musicbert/corpus/labelled/binarize.py").main(binarize) == 0

    def main(words, calls):
        if words[0] in PROGRAMS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.argv", words)
                patch.setattr("sys.executable", python())
                return load(words[0]).main()

        def benchmark(*given, change, say, **how):
            calls.append((given[:4], [task.abbreviation for task in given[4]], how))
            given[3].mkdir(parents=True, exist_ok=True)
            (given[3] / "table.md").write_text("table")
            return []

        def download(url, target, *, sha256, size, progress):
            calls.append((url, target, sha256, progress is None))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("data")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "musicbert.cli.evaluate.report_runs", lambda *given, **how: calls.append((given, how))
            )
            patch.setattr("musicbert.corpus.labelled.open_folds", lambda path: f"folds of {path}")
            patch.setattr("musicbert.fairseq_plugin.runs.benchmark.run_benchmark", benchmark)
            patch.setattr("musicbert.weights.download.download", download)
            return musicbert(words)

    return caller(main, values=values)


def test_every_program_is_in_a_table():
    assert set(PROGRAMS) == SCRIPTS | (set(PROGRAMS) & set(TABLES))


@pytest.mark.parametrize("name", sorted(set(TABLES) - PARTIAL))
def test_every_option_is_in_the_table(name):
    table = dict(TABLES[name][1])
    if name == "benchmark":  # the options of a recipe are those of finetune
        from options.test_finetune_options import RECIPE

        table |= RECIPE
    parser = parser_of_program(name) if name in PROGRAMS else parser_of(name)
    check_table({name: parser}, {name: table})


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_something_or_is_refused(call, name, option):
    base, table = TABLES[name]
    check(call, base, option, table[option])

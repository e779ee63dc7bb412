"""Every option of the programs in scripts/ that need data or a trained model; see `test_program_options`.

What costs minutes is replaced by a record of what it is asked to do: trainings, networks, pictures.
"""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401

from musicbert.annotation.label_map import LabelMap
from musicbert.evaluation.predictions import PERFORMER, RATINGS, Predictions, save_predictions
from options.effects import check, check_table
from options.programs import load, parser_of_program

BASELINES = "baselines_xai.py --labels {labels} --midi {music} --split random_10fold --rows mean --resamples 5 --output b"
STATES = Path(__file__).parents[2] / "checkpoints" / "musicbert-mini-performance"
REPORT = "report_xai.py --runs {runs} --labels {labels} --out r --resamples 5"
WITH_BASELINES = f"{REPORT} --baselines {{baselines}} --split random_10fold"
EVAL_GENRE = "eval_genre.py {model} {genres} --no-baselines"
EVAL_NSP = "eval_nsp.py {model} {pairs} --no-baselines"
EVAL_XAI = "eval_xai.py model.pt bin/0"
EVALUATE = "evaluate_checkpoint.py --checkpoint {model} --data {bin} --labels {labels} --output out"
GEN_GENRE = "gen_genre.py topmagd --map {songs}/map.json --midi {songs}/songs --folds 2 --length 200"
GEN_NSP = "gen_nsp.py next --midi {songs}/songs --group 5 --shares 0.6,0.2,0.2"
PIRHDY = "gen_nsp.py next --pirhdy {pirhdy}"
NPY = "import_pretrain_npy.py {npy}/a.npy --output d"
BENCHMARK = "prepare_benchmark.py - out --source tnua={tnua}"
CORPORA = "prepare_pretrain_data.py {corpora} - out"
EXPERIMENTS = "run_experiments.py --data {bin} --output runs"
TABLES = {
    "baselines_xai.py": (BASELINES, {
        "--labels": (BASELINES, "=" + BASELINES.replace("{labels}", "{other_labels}")),
        "--midi": (BASELINES, "~=" + BASELINES.replace("{music}", "{songs}/songs")), "--columns": "~--columns nonsense",
        "--split": "~--split segment", "--folds-file": (BASELINES.replace("random_10fold", "databin"), "~--folds-file {bin}"),
        "--task": (BASELINES, "=" + BASELINES.replace("mean", "majority") + " --task classes"), "--rows": "--rows ridge",
        "--ratings": (BASELINES.replace("mean", "committee"), "~--ratings {songs}/map.json"),
        "--output": (BASELINES, "=" + BASELINES.replace(" b", " c")), "--about": "--about words",
        "--predictions": "--predictions p", "--cache": "--cache c", "--resamples": "--resamples 6", "--seed": "--seed 8",
        "--states": "~--states nonsense", "--random-seeds": (f"{BASELINES} --states {STATES}", "--random-seeds 2"),
        "--extend": "~--extend", "--model": (BASELINES.replace("mean", "committee"), "--model m.npz"),
    }),
    "baselines_xai.py, performers": (f"{BASELINES.replace('mean', 'majority')} --task classes", {"--ratings": "!--ratings {labels}"}),
    "baselines_xai.py, no states": (BASELINES, {"--random-seeds": "!--random-seeds 2"}),
    "baselines_xai.py, performers only": (f"{BASELINES.replace('mean', 'majority')} --task classes", {"--model": "!--model m.npz"}),
    "baselines_xai.py, made splits": (BASELINES, {"--folds-file": "--folds-file {bin}"}),
    "demo.py": ("demo.py", {"--output": "--output other", "--seed": "--seed 8", "--updates": "--updates 9"}),
    "eval_genre.py": (EVAL_GENRE, {
        "checkpoint": (EVAL_GENRE, "=" + EVAL_GENRE.replace("{model}", "{other_model}")),
        "data": (EVAL_GENRE, "=" + EVAL_GENRE.replace("{genres}", "{other_genres}")), "--probe": "~--probe nonsense", "--whole": "!--whole",
        "--output": "--output out", "--split": "--split valid", "--no-baselines": (EVAL_GENRE.removesuffix(" --no-baselines"), "--no-baselines"),
        "--head": "--head x", "--device": "--device x", "--seed": "--seed 8",
    }),
    "eval_genre.py, no model": ("eval_genre.py {genres}", {
        "--head": "!--head x", "--device": "!--device x", "--no-baselines": "!--no-baselines",
    }),
    "eval_nsp.py": (EVAL_NSP, {
        "checkpoint": (EVAL_NSP, "=" + EVAL_NSP.replace("{model}", "{other_model}")), "data": (EVAL_NSP, "=" + EVAL_NSP.replace("{pairs}", "{unnamed}") + " --group 5"),
        "--group": (f"{EVAL_NSP.replace('{pairs}', '{unnamed}')} --group 5", "--group 10"),
        "--output": "--output out", "--split": "--split valid", "--no-baselines": (EVAL_NSP.removesuffix(" --no-baselines"), "--no-baselines"),
        "--head": "--head x", "--device": "--device x", "--seed": "--seed 8",
    }),
    "eval_nsp.py, no model": ("eval_nsp.py {pairs} --no-baselines", {
        "--head": "!--head x", "--device": "!--device x", "--seed": "!--seed 8", "--group": "!--group 10",
    }),
    "eval_xai.py": (EVAL_XAI, {
        "checkpoint": (EVAL_XAI, "=" + EVAL_XAI.replace("model", "other")), "data": (EVAL_XAI, "=" + EVAL_XAI.replace("bin/0", "bin/1")),
        "--split": "--split valid", "--output": "--output x.npz", "--batch-size": "--batch-size 8", "--device": "--device x",
    }),
    "evaluate_checkpoint.py": (EVALUATE, {
        "--checkpoint": (EVALUATE, "=" + EVALUATE.replace("{model}", "{other_model}")), "--data": (EVALUATE, "~--data {songs}"),
        "--fold": "--fold 1", "--split": "--split valid", "--output": "--output x",
        "--labels": (EVALUATE, "=" + EVALUATE.replace("{labels}", "{other_labels}")), "--midi": "--midi {music}",
        "--baselines": (f"{EVALUATE} --midi {{music}}", "--baselines b"), "--reliability": "--reliability r.csv",
    }),
    "evaluate_checkpoint.py, no MIDI": (EVALUATE, {"--baselines": "!--baselines b"}),
    "gen_genre.py": (GEN_GENRE, {
        "subset": (GEN_GENRE, "~=" + GEN_GENRE.replace("topmagd", "masd")), "--map": "~--map {labels}", "--midi": "~--midi {midi}",
        "--output": "--output x", "--overwrite": (f"{GEN_GENRE} --output {{old_genres}}", "~--overwrite"),
        "--split": "--split published", "--folds": "--folds 3", "--valid": "--valid none", "--length": "--length 50",
        "--windows": "--windows 2", "--test-windows": "--test-windows 2", "--seed": "--seed 8", "--workers": "~--workers 2",
        "--format": "--format bin",
    }),
    "gen_nsp.py": (GEN_NSP, {
        "task": (GEN_NSP, "=" + GEN_NSP.replace("next", "acc")), "--midi": (GEN_NSP, "~--midi {midi}"), "--pirhdy": (GEN_NSP, "~=" + PIRHDY),
        "--output": "--output x", "--overwrite": (f"{GEN_NSP} --output {{old_pairs}}", "~--overwrite"), "--seed": "--seed 8", "--workers": "~--workers 2",
        "--valid-share": "!--valid-share 0.2", "--samples": "!--samples 9", "--test-groups": "!--test-groups 1", "--chords": "!--chords x",
        "--melody": "--melody 1", "--accompaniment": (GEN_NSP.replace("next", "acc"), "~--accompaniment nonsense"), "--bars": "--bars 2",
        "--fewest": "~--fewest 99", "--level-velocity": "--level-velocity", "--shares": "--shares 0.4,0.3,0.3", "--negatives": "--negatives 2",
        "--group": "--group 4", "--others": (GEN_NSP.replace("group 5", "group 3"), "--others same"), "--most-queries": "--most-queries 2",
    }),
    "gen_nsp.py, melodies": (GEN_NSP, {"--accompaniment": "!--accompaniment 1"}),
    "gen_nsp.py, PiRhDy": (PIRHDY, {
        "--valid-share": "--valid-share 0.3", "--samples": "--samples 9", "--test-groups": "--test-groups 1", "--chords": "~--chords x",
        "--seed": (f"{PIRHDY} --samples 9", "--seed 8"), "--workers": "~--workers 2",
        **{name: f"!{name} {value}" for name, value in {
            "--melody": "1", "--accompaniment": "1", "--bars": "2", "--fewest": "2", "--level-velocity": "", "--shares": "0.8,0.1,0.1",
            "--negatives": "2", "--group": "9", "--others": "same", "--most-queries": "2",
        }.items()},
    }),
    "import_pretrain_npy.py": (NPY, {
        "files": (NPY, "=" + NPY.replace("a.npy", "b.npy")), "--output": "--output x", "--valid": "--valid 0.5",
        "--overwrite": (f"{NPY} --output {{old_npy}}", "~--overwrite"),
    }),
    "prepare_benchmark.py": (BENCHMARK, {
        "smc": (BENCHMARK, "~=" + BENCHMARK.replace("- out", "{tnua} out")), "out": (BENCHMARK, "=" + BENCHMARK.replace("out", "x")),
        "--source": "--source pianist8={pianist8}", "--codec": "--codec octuple", "--compatible": "--compatible", "--npy": "--npy",
        "--together": "--together all",
        "--overwrite": (BENCHMARK.replace("out", "{old_shards}") + " --compatible", "~--overwrite"), "--python": None,
    }),
    "prepare_benchmark.py, published files": ("prepare_benchmark.py {smc} out", {"--compatible": "!--compatible"}),
    "prepare_benchmark.py, octuples": (f"{BENCHMARK} --codec octuple", {"--npy": "!--npy"}),
    "prepare_benchmark.py, no files upstream": ("prepare_benchmark.py - out --source asap={corpora}", {"--npy": "!--npy"}),
    "prepare_pretrain_data.py": (CORPORA, {
        "data_sets": (CORPORA, "~=" + CORPORA.replace("{corpora}", "{tnua}")), "lmd": (CORPORA, "=" + CORPORA.replace(" - ", " {midi} ")),
        "out": (CORPORA, "=" + CORPORA.replace(" out", " x")), "--exclude-tests": "--exclude-tests", "--exclude-music": "--tests {corpora}/asap-dataset",
        "--all-asap": "--all-asap", "--encoding": "--encoding octuple", "--workers": "--workers 2", "--python": None,
    }),
    "report_xai.py": (REPORT, {
        "--runs": (REPORT, "=" + REPORT.replace("{runs}", "{other_runs}")), "--labels": (REPORT, "~=" + REPORT.replace("{labels}", "{other_labels}")),
        "--columns": "~--columns nonsense", "--out": "--out x", "--task": "--task classes", "--name": "--name x",
        "--baselines": (f"{REPORT} --split random_10fold", "--baselines {baselines}"), "--split": "--split x",
        "--baseline-predictions": (WITH_BASELINES, "--baseline-predictions {kept}"), "--ceiling": "--ceiling {reliability}",
        "--ratings": "--ratings {total}", "--kind": (f"{REPORT} --ceiling {{reliability}}", "--kind median"), "--midi": "--midi {music}",
        "--cache": (f"{REPORT} --midi {{music}}", "--cache c"), "--resamples": "--resamples 6", "--seed": "--seed 8",
    }),
    "report_xai.py, alone": (REPORT, {
        "--kind": "!--kind mean", "--cache": "!--cache c", "--baseline-predictions": "!--baseline-predictions {kept}", "--baselines": "!--baselines {baselines}",
    }),
    "report_xai.py, performers": (f"{REPORT} --task classes", {
        "--ceiling": "!--ceiling {reliability}", "--ratings": "!--ratings {total}", "--kind": "!--kind mean",
    }),
    "run_experiments.py": (EXPERIMENTS, {
        "--data": "--data {other_bin}", "--output": "--output x", "--plan": ("run_experiments.py", "~--plan {plan}"), "--seeds": "--seeds 1", "--folds": "--folds 1",
        "--parts": "--parts valid", "--checkpoint": "--checkpoint checkpoint_best.pt", "--keep-checkpoints": "--keep-checkpoints",
        "--workers": "--workers 2", "--threads": "--threads 2", "--before": "--before '--lr 1'",
        "--search": "~--search '--lr 1' '--lr 2'",
    }),
    "run_experiments.py, a plan": ("run_experiments.py --plan {plan}", {
        "--workers": "--workers 2",
        **{name: f"!{name} {value}" for name, value in {
            "--data": "x", "--output": "x", "--seeds": "1", "--folds": "1", "--parts": "valid", "--checkpoint": "x", "--keep-checkpoints": "",
            "--threads": "2", "--before": "x", "--search": "x",
        }.items()},
    }),
    "run_experiments.py, lines of a plan": ("run_experiments.py --plan {plan}", {
        "--workers": "!=run_experiments.py --plan {workers_plan}", "--plan": "!=run_experiments.py --plan {nested_plan}",
    }),
}  # fmt: skip
#: programs of scripts/ that are in a table here; ``None``: read by a shell script that starts the program
SCRIPTS = {f"scripts/{name}" for name in TABLES if "," not in name}
CASES = [(name, option) for name, (_, table) in TABLES.items() for option, entry in table.items() if entry]


def predictions(labels, seed):
    """Made predictions of all pieces of a label map, by label."""
    rng = np.random.default_rng(seed)
    ids, count = np.array(labels.ids), len(labels.ids)
    facts = {"level": "sequence", "ids": ids, "groups": ids, "embedding": rng.normal(size=(count, 3))}
    outputs = {RATINGS: labels.values + rng.normal(size=labels.values.shape), PERFORMER: rng.normal(size=(count, len(labels.classes)))}  # fmt: skip
    return {
        RATINGS: Predictions(RATINGS, kind="regression", classes=tuple(each.name for each in labels.dimensions),
                             target=labels.values, outputs=outputs[RATINGS], **facts),
        PERFORMER: Predictions(PERFORMER, kind="classes", classes=tuple(labels.classes),
                               target=labels.class_of, outputs=outputs[PERFORMER], **facts),
    }  # fmt: skip


def made_songs(folder, make_source):
    """Songs, and the data that genres and pairs are scored on."""
    songs = make_source("songs", folder / "songs")
    genres = f"{GEN_GENRE} --format bin"
    for name, base in (("genres", genres), ("other_genres", f"{genres} --seed 8"), ("raw", GEN_NSP)):
        words = base.format(songs=songs).split()
        assert load(f"scripts/{words[0]}").main([*words[1:], "--output", str(folder / name)]) == 0
    binarize = load("musicbert/corpus/labelled/binarize.py").main
    for name in ("pairs", "unnamed"):
        if name == "unnamed":  # as published: without queries and first phrases
            for path in [*(folder / "raw").glob("*.group"), *(folder / "raw").glob("*.id")]:
                path.unlink()
        assert (
            binarize(
                ["--kind", "sentences", "--raw", str(folder / "raw"), "--bin", str(folder / name), "--direct"]
            )
            == 0
        )


def made_ratings(folder):
    """Ratings, runs of a network on them, and what a report stands beside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(
            "sys.argv", ["x", "--output", str(folder / "made"), "--performers", "3", "--segments", "6"]
        )
        assert load("scripts/make_demo_data.py").main() == 0
    labels = ["--csv", str(folder / "made" / "total.csv"), "--label", "mean", "--output"]
    assert (
        load("map_midi_to_label.py").main(
            [*labels, str(folder / "labels.json"), "--reliability", str(folder / "rel")]
        )
        == 0
    )
    assert (
        load("map_midi_to_label.py").main([*labels, str(folder / "other_labels.json"), "--columns", "mnskim"])
        == 0
    )
    known = LabelMap.load(folder / "labels.json")
    for seed, name in enumerate(("runs", "other_runs", "kept/random_10fold/regression/mean")):
        for part in ("train", "test"):
            save_predictions(folder / name / "fold0" / "seed1" / f"{part}.npz", predictions(known, seed))
    words = BASELINES.replace(" b", " {baselines}").format(
        labels=folder / "labels.json",
        music=folder / "made" / "segment_midi.zip",
        baselines=folder / "baselines",
    )
    assert load("scripts/baselines_xai.py").main(words.split()[1:]) == 0


def pirhdy(folder):
    """Lines in PiRhDy's format."""
    made = load("tests/unit/corpus/sentences/pairs/pirhdy_lines.py")
    folder.mkdir()
    made.made_file(folder / "train", 30, candidates=4, positives=2, seed=1)
    made.made_file(folder / "test", 3, candidates=50, seed=2)


@pytest.fixture(scope="module")
def call(caller, make_source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    made_songs(folder, make_source)
    made_ratings(folder)
    pirhdy(folder / "pirhdy")
    for name in ("tnua", "pianist8"):
        make_source(name, folder / name)
    for name in ("asap", "pop909", "pianist8"):
        make_source(name, folder / "corpora" / ("" if name == "asap" else name))
    for name in ("bin/0/input0/x", "bin/1/input0/x", "other_bin/5/input0/x", "model/one.pt", "model/two.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    rng = np.random.default_rng(0)
    (folder / "npy").mkdir()
    for name, count in (("a", 12), ("b", 9)):
        pieces = np.empty(count, object)
        for number in range(count):
            pieces[number] = rng.integers(0, [2, 16, 86, 64], (20, 4)).tolist()
        np.save(folder / "npy" / f"{name}.npy", pieces, allow_pickle=True)
    line = f"--data {folder / 'bin'} --output {folder / 'planned'}"
    for name, more in (("plan", ""), ("workers_plan", " --workers 2"), ("nested_plan", " --plan x")):
        (folder / name).write_text(f"{line}{more} -- --lr 1\n")
    values = {
        **{name: folder / name for name in (
            "songs", "genres", "other_genres", "pairs", "unnamed", "pirhdy", "runs", "other_runs", "kept", "tnua", "pianist8", "corpora", "bin", "other_bin",
            "npy", "plan", "workers_plan", "nested_plan", "old_genres", "old_pairs", "old_npy", "old_shards", "smc",
        )},
        "labels": folder / "labels.json", "other_labels": folder / "other_labels.json", "music": folder / "made" / "segment_midi.zip",
        "total": folder / "made" / "total.csv", "baselines": folder / "baselines.json", "reliability": folder / "rel" / "reliability.csv",
        "model": folder / "model" / "one.pt", "other_model": folder / "model" / "two.pt",
    }  # fmt: skip

    known = predictions(LabelMap.load(values["labels"]), 0)

    def run(words, calls):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", words)
            spies(patch, calls, known)
            module = load(f"scripts/{words[0]}")
            if words[0] == "demo.py":
                patch.setattr("subprocess.run", lambda command, **how: demo_step(calls, command, how["cwd"]))
                patch.setattr(module, "_explain", lambda *given: calls.append(given))
            elif words[0] == "prepare_pretrain_data.py":
                patch.setattr(module, "musicbert", lambda given: calls.append(given))
            elif words[0] == "evaluate_checkpoint.py":
                steps(patch, module, calls, known)
            return module.main()

    for base, name in ((GEN_GENRE, "old_genres"), (GEN_NSP, "old_pairs"), (NPY, "old_npy")):
        assert run([*base.format(**values).split(), "--output", str(values[name])], []) == 0
    for out in ("old_shards", "npy_of_shards"):
        words = BENCHMARK.replace("out", str(folder / out)).format(**values).split()
        assert run([*words, *(["--npy"] if out == "npy_of_shards" else [])], []) == 0
    values["smc"] = folder / "npy_of_shards" / "npy"
    return caller(run, values=values)


def spies(patch, calls, known):
    """Record what networks and trainings are asked, and leave out what names the command line."""
    from musicbert.corpus.labelled.sentence_bin import SentenceBin

    def logits(*given, **how):
        how.pop("progress")
        calls.append((given, how))
        about = SentenceBin(given[1], parts=[given[2]])
        return np.random.default_rng(crc32(str(given[0]).encode())).normal(
            size=(len(about), len(about.classes))
        )

    def predicted(model, task, part, *, progress, **how):
        calls.append((model, task, part, how))
        return known

    def report(made, out, *, provenance):
        calls.append((out, made.name, made.split, [row.as_dict() for row in made.rows]))

    def start(runs, **how):
        calls.append([*map(vars, runs), how])
        return []

    patch.setattr("musicbert.predict.sentences.scoring.class_logits", logits)
    for module in (
        "predict.sentences.scoring",
        "evaluation.baselines.rating_baselines",
        "evaluation.reports.ratings",
    ):
        patch.setattr(f"musicbert.{module}.provenance", lambda *_, **__: {})
    patch.setattr("musicbert.evaluation.baselines.rating_baselines.set_record", lambda *_, **__: {})
    patch.setattr("musicbert.evaluation.reports.ratings.write_report", report)
    patch.setattr("musicbert.fairseq_plugin.labels.predict.load_fine_tuned", lambda *given: given)
    patch.setattr("musicbert.fairseq_plugin.labels.predict.predict_part", predicted)
    patch.setattr("musicbert.fairseq_plugin.runs.engine.start_runs", start)


def demo_step(calls, command, folder):
    """In place of a step of the demo."""
    calls.append([*map(str, command)])
    report = Path(folder) / "evaluation" / "performance" / "regression" / "report.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("| R2 |")
    (Path(folder) / "data").mkdir(exist_ok=True)
    (Path(folder) / "data" / "test.id").write_text("Made_No1_mv1_8bars_0_17\n")


def steps(patch, module, calls, known):
    """In place of the programs that ``evaluate_checkpoint.py`` calls."""

    def predict(words):
        calls.append(words)
        save_predictions(words[-1], known)
        return 0

    patch.setattr(module.eval_xai, "main", predict)
    for step in (module.baselines_xai, module.report_xai):
        patch.setattr(step, "main", lambda words: calls.append(words))


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_option_is_in_the_table(name):
    check_table({name: parser_of_program(name)}, {name: TABLES[name.removeprefix("scripts/")][1]})


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_something_or_is_refused(call, name, option):
    base, table = TABLES[name]
    check(call, base, option, table[option])

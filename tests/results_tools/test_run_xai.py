"""Drivers of the project's own results: which programs they call, with which options."""

import json
import shlex

import pytest
import report_xai_all
import run_downstream
import run_xai


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Commands that would have run."""
    found = []
    for module in (run_xai, run_downstream, report_xai_all):
        monkeypatch.setattr(module, "run", lambda *words, **_: found.append([*map(str, words)]))
    monkeypatch.chdir(tmp_path)
    return found


def option(words, name):
    return words[words.index(name) + 1]


def test_the_main_job_is_planned_once_for_each_variant_start_and_split(calls, tmp_path):
    for name in ("xai_segment", "percepiano_performer_cv"):
        (tmp_path / "runs" / "bin" / name).mkdir(parents=True)
    (tmp_path / "weights.pt").touch()
    more = ["--starts", "scratch mlm+own", "--init", "weights.pt", "--variants", "published performance"]
    assert run_xai.main(["--stages", "train", "--workers", "3", *more]) == 0
    plan = [shlex.split(line) for line in (tmp_path / "runs" / "plan").read_text().splitlines()]
    assert [option(words, "--output").partition("trained/")[2] for words in plan] == [
        f"{split}/{variant}"
        for variant in (
            "published-scratch",
            "published-mlm+own",
            "performance-scratch",
            "performance-mlm+own",
        )
        for split in ("xai/segment", "percepiano/performer_cv")
    ]
    assert calls == [["scripts/run_experiments.py", "--plan", "runs/plan", "--workers", "3"]]
    own = shlex.split(option(plan[-1], "--before"))
    assert option(own, "--init-from") == str(tmp_path / "weights.pt")
    assert "--performance-input" in own
    assert option(own, "--adam-betas") == "(0.9, 0.98)"
    assert "--init-from" not in plan[-1]
    assert "--cpu" in plan[0]


def test_the_flags_of_a_training_are_the_recorded_ones(calls, tmp_path):
    (tmp_path / "runs" / "bin" / "xai_segment").mkdir(parents=True)
    arguments = ["--stages", "plan", "--starts", "mlm+own", "--init", "w.pt", "--variants", "performance"]
    (tmp_path / "w.pt").touch()
    assert run_xai.main(arguments) == 0
    words = shlex.split((tmp_path / "runs" / "plan").read_text())
    end = words.index("--")
    recorded = (
        "--task xai --criterion M2PFnP_xai --arch musicbert_tiny --classification-head-name performer "
        "--regression-head-name ratings --reg-weight 5 --cls-weight 1 --dropout 0.1 --attention-dropout 0 "
        "--optimizer fused_adamw --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --weight-decay 0.01 "
        "--clip-norm 1.0 --lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 45 "
        "--total-num-update 450 --max-update 450 --batch-size 32 --disable-validation --save-interval 1000 "
        "--cpu --pooling mean --augment transpose=3,phase=8,bar,drop=0.1 --performance-input"
    )
    assert words[end + 1 :] == shlex.split(recorded)
    before = (
        "--task octuple_masked_lm --criterion octuple_masked_lm --arch musicbert_tiny "
        "--sample-break-mode eos --dropout 0 --random-tokens field --batch-size 16 --optimizer fused_adamw "
        "--adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --clip-norm 1.0 --lr 5e-4 "
        "--lr-scheduler polynomial_decay --warmup-updates 30 --total-num-update 300 --max-update 300 "
        f"--disable-validation --save-interval 1000 --cpu --performance-input --init-from {tmp_path}/w.pt"
    )
    assert shlex.split(option(words, "--before")) == shlex.split(before)


def test_an_untrained_network_is_a_start_and_levers_are_passed_on(calls, tmp_path):
    (tmp_path / "runs" / "bin" / "xai_segment").mkdir(parents=True)
    (tmp_path / "w.pt").touch()
    words = [
        "--stages",
        "plan",
        "--starts",
        "scratch random mlm",
        "--init",
        "w.pt",
        "--variants",
        "performance",
    ]
    words += [
        "--arch",
        "musicbert_mini",
        "--pooling",
        "mean+sd",
        "--freeze-layers",
        "2",
        "--means-weight",
        "0.5",
    ]
    words += ["--rater-weights", "--phases", "6", "--search", "1e-4 2e-4", "--search-scratch", "1e-3"]
    assert run_xai.main(words) == 0
    scratch, random, mlm = (
        shlex.split(line) for line in (tmp_path / "runs" / "plan").read_text().splitlines()
    )
    assert "--freeze-layers" not in scratch
    assert (option(random, "--freeze-layers"), option(mlm, "--freeze-layers")) == ("4", "2")
    assert "--init-from" not in random
    assert scratch[scratch.index("--search") + 1 : scratch.index("--")] == ["--lr 1e-3"]
    assert random[random.index("--search") + 1 : random.index("--")] == ["--lr 1e-3"]
    assert mlm[mlm.index("--search") + 1 : mlm.index("--")] == ["--lr 1e-4", "--lr 2e-4"]
    for words in (scratch, random, mlm):
        last = len(words) - 1 - words[::-1].index("--pooling")
        assert words[last + 1] == "mean+sd"
        assert (option(words, "--means-weight"), option(words, "--phases")) == ("0.5", "6")
        assert "--rater-weights" in words


def test_runs_of_another_setting_are_refused(calls, tmp_path, capsys):
    assert run_xai.main(["--stages", "plan", "--starts", "scratch"]) == 0
    with pytest.raises(SystemExit):
        run_xai.main(["--stages", "plan", "--lr", "1"])
    assert "--lr: 1e-3 -> 1 [other-settings]" in capsys.readouterr().err
    assert not calls
    (tmp_path / "data" / "xai").mkdir(parents=True)
    (tmp_path / "data" / "xai" / "total.csv").write_text("a")  # a set that was not there
    words = ["--stages", "plan", "--starts", "scratch", "--data", "data"]
    assert run_xai.main(words) == 0
    assert run_xai.main(words) == 0
    (tmp_path / "data" / "xai" / "total.csv").write_text("b")
    with pytest.raises(SystemExit):
        run_xai.main(words)
    assert "other bytes: xai/total.csv" in capsys.readouterr().err


def test_what_is_missing_is_prepared(calls, tmp_path):
    (tmp_path / "data" / "percepiano").mkdir(parents=True)
    (tmp_path / "runs" / "labels").mkdir(parents=True)
    (tmp_path / "runs" / "labels" / "percepiano.json").touch()
    splits = "xai:segment percepiano:performer_published percepiano:content_4fold"
    assert run_xai.main(["--data", "data", "--stages", "prepare", "--splits", splits]) == 0
    programs = [words[0].rpartition("/")[2] for words in calls]
    assert programs == ["gen_xai.py", "binarize_xai.sh", "gen_xai.py", "binarize_xai.sh", "baselines_xai.py"]
    assert option(calls[0], "--folds-file") == "data/percepiano/folds.json:performer_published"
    assert "--valid" not in calls[0]
    assert option(calls[2], "--folds") == "4"
    assert calls[-1][-2:] == ["--folds-file", "data/percepiano/folds.json"]


def test_only_complete_experiments_are_reported(calls, tmp_path, capsys):
    for fold in ("0", "1"):
        (tmp_path / "runs" / "bin" / "xai_segment" / fold).mkdir(parents=True)
        for variant in ("plain-scratch", "plain-mlm"):
            (tmp_path / f"runs/trained/xai/segment/{variant}/fold{fold}/seed1").mkdir(parents=True)
    for path in (tmp_path / "runs/trained/xai/segment/plain-mlm").glob("fold*/seed1"):
        (path / "run.json").touch()
    (tmp_path / "results").mkdir()
    baselines = {"splits": {"segment": {}}}
    (tmp_path / "results" / "baselines_xai.json").write_text(json.dumps(baselines))
    assert report_xai_all.main([]) == 0
    assert "plain-scratch: 0 of 2 runs are done, no report yet" in capsys.readouterr().out
    ratings, performers, tables = calls
    assert option(ratings, "--out") == "results/xai/segment/plain-mlm/regression"
    assert option(ratings, "--kind") == "apex"
    assert "--baselines" in ratings
    assert "--baselines" not in performers
    assert tables[0].endswith("readme_tables.py")


def test_a_report_without_its_pictures_does_not_show_them(tmp_path):
    (tmp_path / "scores.png").touch()
    (tmp_path / "report.md").write_text("scores\n\n![scores](scores.png)\n![curves](curves.png)\n")
    report_xai_all.leave_out_pictures(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert (tmp_path / "report.md").read_text() == "scores\n"


def test_downstream_recipes_get_what_was_given(calls, tmp_path, capsys):
    (tmp_path / "s" / "midi").mkdir(parents=True)
    (tmp_path / "s" / "midi" / "a.mid").write_bytes(b"a")
    words = ["--sources", "s", "--tasks", "next acc_midi", "--starts", "init", "--init", "musicbert-mini"]
    assert run_downstream.main([*words, "--patience", "-1", "--cpu", "--", "--foo", "1"]) == 0
    assert "next is passed over" in capsys.readouterr().out
    pairs, binarise, train, score = calls
    assert (pairs[0], binarise[0]) == ("scripts/gen_nsp.py", "scripts/binarize_nsp.sh")
    assert train[:2] == ["scripts/train_nsp.sh", "acc"]
    assert option(train, "--save-dir") == "runs_downstream/acc_midi/mini-init"
    assert (option(train, "--warmup"), option(train, "--patience")) == ("50000", "-1")
    assert "--lr" not in train
    assert train[-3:] == ["--", "--foo", "1"]
    assert score[-2:] == ["--device", "cpu"]
    (tmp_path / "runs_downstream" / "acc_midi_data_bin").mkdir(parents=True)
    assert run_downstream.main(words) == 0
    assert [each[0] for each in calls[4:]] == ["scripts/train_nsp.sh", "scripts/eval_nsp.py"]
    (tmp_path / "s" / "midi" / "a.mid").write_bytes(b"b")
    with pytest.raises(SystemExit):
        run_downstream.main(words)
    assert "other bytes: midi/a.mid" in capsys.readouterr().err

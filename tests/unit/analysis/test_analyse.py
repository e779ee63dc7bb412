"""`analyse`: profiles with ranges, reasons in their place, and every form of output."""

import csv
import io
import json
from dataclasses import make_dataclass, replace
from itertools import pairwise

import mido
import numpy as np
import pytest

import musicbert
from musicbert.analysis import analysis as analysis_module
from musicbert.analysis import load_profile_model
from musicbert.analysis.text import limits
from musicbert.cli.main import main
from musicbert.errors import CheckpointError
from musicbert.midi import read_score
from musicbert.predict.tagger import load_tagger_model
from tests.unit.weights.test_tagger_folder import make


@pytest.fixture(scope="module")
def answer(concert, model):
    return musicbert.analyse(concert, model=model, name="concert.mid")


def record(**values):
    """A dataclass of these values."""
    return make_dataclass("Record", values)(**values)


def segment(start, end, name):
    return record(start=start, end=end, start_seconds=start / 960, end_seconds=end / 960, name=name)


def test_a_profile_has_ranges_poles_and_places(answer):
    profile = answer.profile
    assert len(profile.dimensions) + len(profile.not_shown) == 19
    assert answer.reasons == ()
    for each in profile.dimensions:
        low, high = each.interval
        assert 0 <= low < each.value < high <= 1
        assert each.rating == pytest.approx(7 * each.value)
        assert 0 <= each.percentile <= 100
        assert each.low
        assert each.high
        assert each.r2[0] > each.r2[1] > 0
    assert "not judge how good a pianist is" in profile.meaning


def test_values_are_means_over_the_passages(answer):
    rated = [part for part in answer.profile.parts if part.values is not None]
    assert len(answer.profile.parts) == 28
    length = np.array([part.end - part.start for part in rated])
    mean = length @ np.array([part.values for part in rated]) / length.sum()
    np.testing.assert_allclose([each.value for each in answer.profile.dimensions], mean, rtol=1e-6)


def test_higher_coverage_has_wider_ranges(performances, model):
    narrow, wide = (musicbert.analyse(performances[0], model=model, coverage=c).profile for c in (0.8, 0.9))
    for a, b in zip(narrow.dimensions, wide.dimensions, strict=True):
        assert b.interval[0] <= a.interval[0] < a.interval[1] <= b.interval[1]
    with pytest.raises(ValueError, match=r"0\.8 or 0\.9"):
        musicbert.analyse(performances[0], model=model, coverage=0.5)


def test_ratings_follow_the_playing(performances, model):
    """Louder is louder, faster is less slow, more pedal is wetter."""
    score = performances[0]
    names = {name: k for k, name in enumerate(model.names)}

    def change(other, name):
        here, there = model.rate([score, other]).values[:, names[name]]
        return there - here

    assert change(replace(score, velocity=np.minimum(score.velocity + 25, 127)), "Timbre Soft - Loud") > 0.02
    fast = replace(score, ticks_per_beat=score.ticks_per_beat * 3 // 2)
    assert change(fast, "Music making Fast - Slow paced") < -0.02
    dry = replace(score, control_value=np.zeros_like(score.control_value))
    assert change(dry, "Pedal Sparse - Saturated") < -0.02


def test_scores_of_performances_are_those_of_the_profile(answer, performances, concert, model):
    values = model.scores([concert, performances[0]])
    shown = [model.names.index(each.name) for each in answer.profile.dimensions]
    np.testing.assert_allclose(values[0, shown], [each.value for each in answer.profile.dimensions])
    np.testing.assert_allclose(values[1], model.rate(performances[:1]).values[0])


def test_the_same_alone_and_among_others(performances, model):
    together = model.rate(performances).values
    np.testing.assert_allclose(model.rate(performances[1:2]).values[0], together[1], atol=1e-9)


def test_every_leaf_of_the_shipped_forests_has_training_items(model):
    """One without would predict nothing for the music that falls into it."""
    for _, committee in model.committee.parts:
        for forest in committee.forests:
            starts = [*forest.starts.tolist(), len(forest.feature)]
            for k, (start, stop) in enumerate(pairwise(starts)):
                assert set(np.flatnonzero(forest.feature[start:stop] < 0)) == set(forest.leaf_of[k].tolist())


def test_music_unlike_all_training_data_has_no_profile(performances, model):
    score = performances[0]
    strange = replace(
        score, pitch=100 + score.pitch % 12, offset=score.onset + 6, velocity=1 + (score.velocity * 37) % 127
    )
    answer = musicbert.analyse(strange, model=model)
    assert answer.profile is None
    (reason,) = answer.reasons
    assert reason.code == "unlike-training"
    assert reason.value > reason.limit


def test_reasons_take_the_place_of_a_profile(performances, model):
    answer = musicbert.analyse(
        replace(performances[0], velocity=np.full(len(performances[0]), 80)), model=model
    )
    assert answer.profile is None
    assert [reason.code for reason in answer.reasons] == ["no-dynamics"]
    assert "No profile of the playing" in answer.to_text()
    assert "no profile" in answer.to_csv()
    assert answer.to_dict()["no_profile_because"][0]["measure"] == "velocities"


def test_text_fits_a_terminal(answer):
    lines = answer.to_text().splitlines()
    assert max(map(len, lines)) <= 118
    assert sum("●" in line and "━" in line for line in lines) >= 17


def test_json_and_csv_hold_the_same_values(answer, tmp_path):
    told = json.loads(answer.to_json(tmp_path / "a.json"))
    assert json.loads((tmp_path / "a.json").read_text()) == told
    rows = list(csv.DictReader(io.StringIO(answer.to_csv())))
    whole = {row["name"]: float(row["value"]) for row in rows if row["what"] == "piece"}
    assert whole == {each["name"]: each["value"] for each in told["profile"]["dimensions"]}
    parts = [
        row for row in rows if row["what"] == "passage" and row["name"] == answer.profile.dimensions[0].name
    ]
    assert len(parts) == sum(part["values"] is not None for part in told["profile"]["passages"])


def test_the_page_needs_nothing_else_and_escapes_names(concert, model):
    page = musicbert.analyse(concert, model=model, name="<b>&.mid").to_html()
    assert "<b>&.mid" not in page
    assert "&lt;b&gt;&amp;.mid" in page
    assert "http" not in page
    assert "<script" not in page
    assert "prefers-color-scheme:dark" in page
    assert page.count('class="row') >= 17


def test_layers_reach_every_form(concert, model, monkeypatch, tmp_path):
    melody = np.arange(len(concert)) % 3 == 0
    layers = record(
        melody=melody, keys=[segment(0, 4000, "C major")], chords=[segment(480, 960, "G")],
        beats=np.arange(5), downbeats=np.arange(2), remarks={"beats": "they are in the file"},
        scores={
            "chords": record(metric="accuracy", value=0.5, baseline=0.25, baseline_name="C", music="20"),
        },
    )  # fmt: skip
    monkeypatch.setattr(analysis_module, "_layers", lambda _: layers)
    answer = musicbert.analyse(concert, model=model)
    assert "C major" in answer.to_text()
    assert "C major" in answer.to_html()
    for text in (answer.to_text(), answer.to_html()):
        assert "they are in the file" in text
        assert "0.25" in text
    assert answer.to_dict()["layers"]["keys"][0]["name"] == "C major"
    answer.to_midi(tmp_path / "marked.mid")
    file = mido.MidiFile(tmp_path / "marked.mid")
    markers = [event.text for track in file.tracks for event in track if event.type == "marker"]
    assert "key C major" in markers
    assert "G" in markers
    again = read_score(tmp_path / "marked.mid")
    tune = again.track == again.track_name.index("Melody")
    assert sorted(zip(again.onset[tune], again.pitch[tune], strict=True)) == sorted(
        zip(concert.onset[melody], concert.pitch[melody], strict=True)
    )
    pedals = [again.control_value[again.control_track == k] for k in np.unique(again.track)]
    np.testing.assert_array_equal(pedals[0], pedals[1])


def test_marked_midi_holds_the_same_music(answer, concert, tmp_path):
    answer.to_midi(tmp_path / "marked.mid")
    again = read_score(tmp_path / "marked.mid")
    for name in ("onset", "offset", "pitch", "velocity"):
        np.testing.assert_array_equal(np.sort(getattr(again, name)), np.sort(getattr(concert, name)))
    for name in ("control_tick", "control_value"):  # the track of the melody has the pedals, too
        np.testing.assert_array_equal(np.unique(getattr(again, name)), np.unique(getattr(concert, name)))


def test_the_command_goes_on_after_a_damaged_file(performances, tmp_path, capsys):
    performances[0].save(tmp_path / "a.mid")
    (tmp_path / "b.mid").write_bytes(b"MThd no")
    assert main(["analyse", str(tmp_path), "--output", str(tmp_path / "all.csv")]) == 1
    assert "b.mid" in capsys.readouterr().err
    assert "a.mid" in (tmp_path / "all.csv").read_text()
    assert main(["analyse", str(tmp_path / "b.mid")]) == 2
    for suffix in ("json", "html", "mid", "txt"):
        assert main(["analyse", str(tmp_path / "a.mid"), "-o", str(tmp_path / f"x.{suffix}")]) == 0
        assert (tmp_path / f"x.{suffix}").stat().st_size > 500
    assert (
        main(["analyse", str(tmp_path / "a.mid"), str(tmp_path / "x.mid"), "-o", str(tmp_path / "marked")])
        == 0
    )
    assert {path.name for path in (tmp_path / "marked").iterdir()} == {"a.mid", "x.mid"}


def test_a_damaged_profile_model_is_one_error(tmp_path):
    with pytest.raises(CheckpointError) as missing:
        load_profile_model(tmp_path)
    assert missing.value.reason == "not-found"
    (tmp_path / "profile.json").write_text('{"format": 99}')
    with pytest.raises(CheckpointError) as bad:
        load_profile_model(tmp_path)
    assert bad.value.reason == "bad-config"


@pytest.fixture(scope="module")
def committee(performances, tmp_path_factory):
    """A small committee of two made scales, with its error on held-out music."""
    from musicbert.evaluation.baselines.committee_file import fit_rating_model
    from musicbert.evaluation.baselines.regressors import Examples
    from musicbert.features import features
    from musicbert.synthesis import make_set

    scores = list(make_set(5, performers=3, segments=4, movements=1).scores.values())
    loud = np.array([score.velocity.mean() / 127 for score in scores])
    examples = Examples(
        label="ratings", kind="regression", classes=("Loudness", "Timing Stable - Unstable"),
        features=np.stack([features(score) for score in scores]), target=np.stack([loud, 1 - loud], 1),
        groups=np.arange(len(scores)).astype(str), ids=np.arange(len(scores)).astype(str),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("committee") / "mine.npz"
    fit_rating_model("committee", examples, error=np.array([0.05, np.nan])).save(path)
    return path


def test_a_committee_of_ones_own_has_ranges_where_it_knows_its_error(performances, committee):
    profile = musicbert.analyse(performances[0], model=committee).profile
    loud, timing = profile.dimensions
    assert loud.interval == pytest.approx((loud.value - 1.2816 * 0.05, loud.value + 1.2816 * 0.05))
    assert timing.interval is None
    assert (timing.low, timing.high) == ("stable", "unstable")  # a published name has its poles
    wide = musicbert.analyse(performances[0], model=committee, coverage=0.9).profile.dimensions[0]
    assert wide.interval[1] > loud.interval[1]


def test_a_network_of_ones_own_answers_with_its_heads(performances, fixtures, committee):
    checkpoint = fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt"
    answer = musicbert.analyse(performances[0], model=checkpoint)
    (scores,) = answer.outputs.values()
    assert scores
    assert answer.profile is None
    assert answer.reasons == ()
    for text in (answer.to_text(), answer.to_html(), answer.to_csv(), answer.to_json()):
        assert next(iter(scores)) in text
    with pytest.raises(CheckpointError) as only:
        musicbert.analyse(performances[0], model="m2bert-tiny")
    assert only.value.reason == "no-head"


def tagger(folder, kind, level="sequence", **task):
    """A folder as `musicbert finetune` writes it, of a made model with three outputs."""
    make(folder, "m2bert", level=level, kind=kind)
    settings = json.loads((folder / "tagger.json").read_text())
    settings["task"] |= {"name": "mood", **task}
    (folder / "tagger.json").write_text(json.dumps(settings))
    return folder


def forms(answer):
    return answer.to_text(), answer.to_html(), answer.to_csv(), answer.to_json()


@pytest.mark.parametrize("scale", [[1, 5, 1], [1, 5, 0], None])
@pytest.mark.parametrize("level", ["sequence", "note"])
def test_ratings_of_ones_own_have_their_names_poles_scale_and_range(performances, tmp_path, scale, level):
    poles, ranges = [["calm", "wild"], ["sad", "glad"], ["old", "new"]], [[0.25, 0.5], None, [0, 1]]
    known = {"poles": poles, "ranges": ranges, **({"scale": scale} if scale else {})}
    folder = tagger(tmp_path / "model", "regression", level, **known)
    answer = musicbert.analyse(performances[0], model=folder, layers=False)
    first, second, _ = answer.profile.dimensions
    assert (first.name, first.low, first.high) == ("a", "calm", "wild")
    assert (first.trained, second.trained) == ((0.25, 0.5), None)
    assert answer.profile.scale == (tuple(scale[:2]) if scale else None)
    expected = {(1, 0): (1.25, 2.5), (1, 1): (2.0, 3.0)}[1, scale[2]] if scale else (0.25, 0.5)
    assert tuple(map(first.rated, first.trained)) == expected
    if scale:
        assert first.rating == pytest.approx(scale[2] + first.value * (5 - scale[2]))
        assert limits(first)[0] == pytest.approx(min((1 - scale[2]) / (5 - scale[2]), first.value))
    for text in forms(answer):
        assert "calm" in text
        assert "wild" in text
    for text in forms(answer)[:2]:
        assert f"{expected[0]:.1f}" in text
        assert "No range of the ratings is known" in text.replace("\n", " ")
        assert ("means over the notes" in text) == (level == "note")


@pytest.mark.parametrize("kind", ["classes", "multilabel"])
@pytest.mark.parametrize("level", ["sequence", "note"])
def test_labels_of_ones_own_have_their_names(performances, tmp_path, kind, level):
    folder = tagger(tmp_path / "model", kind, level)
    score = performances[0]
    answer = musicbert.analyse(score, model=folder, layers=False)
    ((name, scores),) = answer.outputs.items()
    assert answer.profile is None
    result = load_tagger_model(folder).predict([score])[0]
    if level == "note":
        assert name == f"mood (share of {result.known.sum():,} notes)"
        best = [best if isinstance(best, list) else [best] for best in result.best if best is not None]
        assert scores == pytest.approx({c: np.mean([c in each for each in best]) for c in result.classes})
    else:
        assert name == "mood"
        assert scores == pytest.approx(result.as_dict())
    for text in forms(answer):
        assert name in text

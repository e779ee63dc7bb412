"""Melody, chords, keys and beats from perfect and from random probabilities, or what is said instead."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from musicbert.analysis import layers as module
from musicbert.analysis.beats import Onsets, file_beats, grid_strength, ticks_of, track_bars, track_beats
from musicbert.analysis.harmony import Smoothing, at_sixteenths, key_name, respelled, root_name, sounding
from musicbert.analysis.layers import _VOCAL, MODEL, NAMES, _melody, load_layer_model, music_layers
from musicbert.corpus.readers.tasks import CHORD_ROOTS, LOCAL_KEYS, get_task
from musicbert.errors import CheckpointError
from musicbert.midi import Score
from musicbert.midi.score import piano_score
from musicbert.weights import resolve


def played(seed=0, bars=24, beat=0.5, sway=0.1):
    """A waltz with a swaying tempo in a file of 120 bpm: score, true beats in seconds."""
    rng = np.random.default_rng(seed)
    lengths = beat * np.exp(sway * np.sin(np.arange(3 * bars) / 7) + 0.02 * rng.standard_normal(3 * bars))
    beats = 0.3 + np.concatenate([[0], np.cumsum(lengths)])
    times, pitch = [], []
    for k in range(3 * bars):
        notes = [(0.0, 48 + 12 * (k % 3 > 0)), (0.0, 72 + int(rng.integers(8)))]
        notes += [(0.5, 74 + int(rng.integers(8)))] if k % 2 else []
        times += [beats[k] + part * lengths[k] + 0.01 * rng.standard_normal() for part, _ in notes]
        pitch += [note for _, note in notes]
    order = np.argsort(times)
    onset = np.rint(np.array(times)[order] * 960).astype(np.int64)
    return score_of(onset, onset + 300, np.array(pitch)[order]), beats[:-1]


def score_of(onset, offset, pitch, **columns):
    zeros = np.zeros(len(onset), np.int64)
    filled = {"velocity": zeros + 64, "program": zeros, "drum": zeros.astype(bool), "track": zeros}
    return Score(ticks_per_beat=480, onset=onset, offset=offset, pitch=pitch, **{**filled, **columns})


def scale(metre=(3, 4), notes=48):
    """Quantised eighths in two voices, with a time signature."""
    onset = np.repeat(np.arange(notes) * 240, 2)
    one = np.zeros(1, np.int64)
    metres = {"metre_tick": one, "metre_numerator": one + metre[0], "metre_denominator": one + metre[1]}
    return score_of(onset, onset + 240, np.tile([48, 60], notes) + np.arange(2 * notes) % 7, **metres)


# -- beats


def test_beats_are_found_from_what_is_known_of_the_notes():
    score, true = played()
    seconds = score.seconds(score.onset)
    near = np.abs(seconds[:, None] - true).min(1) < 0.05
    down = np.abs(seconds[:, None] - true[::3]).min(1) < 0.05
    onsets = Onsets.of(seconds, np.where(near, 0.8, 0.2), np.where(down, 0.7, 0.1))
    beats = track_beats(onsets)
    assert (np.diff(beats) > 0).all()
    assert np.mean(np.abs(true[:, None] - beats).min(1) < 0.07) > 0.95
    assert len(beats) == pytest.approx(len(true), abs=3)
    bars = beats[track_bars(beats, onsets)]
    assert np.mean(np.abs(true[::3, None] - bars).min(1) < 0.07) > 0.9
    assert len(bars) == pytest.approx(len(true) / 3, abs=2)
    # a beat on which no note begins is filled in
    without = np.abs(seconds - true[20]) > 0.1
    fewer = Onsets.of(seconds[without], np.where(near, 0.8, 0.2)[without], np.where(down, 0.7, 0.1)[without])
    assert np.abs(track_beats(fewer) - true[20]).min() < 0.12


def test_silence_ends_a_search_and_little_music_has_no_beats():
    times = np.concatenate([np.arange(8) * 0.5, 60 + np.arange(8) * 0.5])
    beats = track_beats(Onsets.of(times, np.full(16, 0.9), np.full(16, 0.5)))
    np.testing.assert_allclose(beats, times)
    assert len(track_beats(Onsets.of(np.array([1.0]), np.array([0.9]), np.array([0.5])))) == 0
    assert len(track_bars(np.zeros(0), Onsets.of(times, times * 0, times * 0))) == 0


@pytest.mark.parametrize(
    ("metre", "beat", "bar"),
    [((3, 4), 480, 1440), ((6, 8), 720, 1440), ((2, 2), 960, 1920), ((7, 8), 240, 1680)],
)
def test_beats_of_a_file_follow_its_metre(metre, beat, bar):
    beats, downbeats = file_beats(scale(metre))
    assert set(np.diff(beats)) == {beat}
    assert set(np.diff(downbeats)) == {bar}
    assert beats.max() <= 47 * 240


def test_the_grid_is_real_or_not():
    assert grid_strength(scale()) == pytest.approx(1)
    assert grid_strength(played()[0]) < module.ON_GRID
    score = played()[0]
    np.testing.assert_array_equal(ticks_of(score, score.seconds(score.onset)), score.onset)


# -- harmony


def test_segments_are_the_most_probable_path():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 2, 1], [40, 60, 20])
    pieces = [(truth, np.arange(120))]
    smoothing = Smoothing.learned(pieces, 3)
    assert smoothing.stay == pytest.approx(1 - 2 / 119)
    assert smoothing.moves[0].argmax() == 2
    noisy = np.where(rng.random(120) < 0.25, rng.integers(0, 3, 120), truth)
    probability = 0.1 + 0.7 * np.eye(3)[noisy]
    path = smoothing.path(probability, np.arange(120))
    assert np.mean(path == truth) > 0.95 > np.mean(noisy == truth)
    assert np.count_nonzero(np.diff(path)) == 2
    again = Smoothing.from_dict(json.loads(json.dumps(smoothing.as_dict())))
    np.testing.assert_array_equal(again.path(probability, np.arange(120)), path)
    # brute force over all paths
    few, slots = probability[38:43], np.array([0, 1, 4, 5, 6])
    moves = smoothing.stay * np.eye(3)

    def worth(way):
        total = np.log(few[0, way[0]])
        for k in range(1, 5):
            stay = smoothing.stay ** (slots[k] - slots[k - 1])
            same = way[k] == way[k - 1]
            step = (
                np.log(stay)
                if same
                else np.log(1 - stay) + np.log(max(smoothing.moves[way[k - 1], way[k]], 1e-6))
            )
            total += step + np.log(few[k, way[k]])
        return total

    ways = np.stack(np.meshgrid(*[range(3)] * 5), -1).reshape(-1, 5)
    best = max(ways.tolist(), key=worth)
    assert moves.shape == (3, 3)
    np.testing.assert_array_equal(smoothing.path(few, slots), best)


def test_notes_of_one_sixteenth_are_one_observation():
    observed, at = at_sixteenths(np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]), np.array([3, 7, 3]))
    np.testing.assert_array_equal(at, [3, 7])
    together = np.sqrt([0.8 * 0.1, 0.2 * 0.9])
    np.testing.assert_allclose(observed, [together / together.sum(), [0.5, 0.5]])
    assert (root_name("E-"), key_name("a-"), key_name("C#")) == ("Eb", "Ab minor", "C# major")


# -- layers


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of random weights in the format of the one that ships."""
    from dataclasses import asdict

    import torch

    from musicbert.config import M2BERT_PRESETS
    from musicbert.model.backbones.m2bert import M2Bert
    from musicbert.model.tagger import Tagger, TagSettings
    from musicbert.weights.tagger_folder import save_tagger_folder

    torch.manual_seed(0)
    tasks = [
        {
            "name": task.name,
            "label": task.label,
            "level": "note",
            "kind": "classes",
            "classes": list(task.classes),
        }
        for task in (get_task(name).task for name in ("beat", "downbeat", "chordroot", "localkey", "melody"))
    ]
    head = TagSettings(outputs=sum(len(task["classes"]) for task in tasks))
    config = M2BERT_PRESETS["tiny"]
    tagger = Tagger(M2Bert(config), head)
    folder = tmp_path_factory.mktemp("layers") / "model"
    about = {"family": "m2bert", "tasks": tasks, "architecture": asdict(config), "codec": "cp", "window": 64}
    save_tagger_folder(folder, tagger.state_dict(), {**about, "overlap": 16, "head": asdict(head)})
    sizes = {"chordroot": len(CHORD_ROOTS), "localkey": len(LOCAL_KEYS)}
    smoothing = {name: Smoothing(0.9, np.ones((n, n)) / n).as_dict() for name, n in sizes.items()}
    score = {
        "metric": "accuracy",
        "value": 0.5,
        "baseline": 0.4,
        "baseline_name": "majority",
        "music": "none",
    }
    (folder / "layers.json").write_text(
        json.dumps({"smoothing": smoothing, "scores": dict.fromkeys(NAMES, score)})
    )
    return folder


def check(score, layers):
    assert layers.melody.shape == (len(score),)
    assert not layers.melody[score.drum].any()
    for segments in (layers.chords, layers.keys):
        assert segments[0].start == score.onset[~score.drum].min()
        assert segments[-1].end == score.offset[~score.drum].max()
        assert all(a.end == b.start and a.name != b.name for a, b in pairwise(segments))
        for one in segments:
            assert 0 <= one.probability <= 1
            seconds = score.seconds(np.array([one.start, one.end]))
            np.testing.assert_allclose([one.start_seconds, one.end_seconds], seconds, atol=1e-4)
    for times in (layers.beats, layers.downbeats):
        np.testing.assert_allclose(score.seconds(times.ticks), times.seconds, atol=0.002)


def test_a_score_has_the_beats_of_its_file(tiny):
    score = scale()
    layers = music_layers(score, model=tiny)
    check(score, layers)
    assert not layers.beats.found
    assert "From the file" in layers.remarks["beats"]
    assert set(layers.scores) == {"melody", "chords", "keys"}


def test_a_performance_has_beats_that_were_found(tiny):
    score, _ = played()
    layers = music_layers(score, model=tiny)
    check(score, layers)
    assert layers.beats.found
    assert set(layers.downbeats.ticks.tolist()) <= set(layers.beats.ticks.tolist())
    assert set(layers.scores) == set(NAMES)
    # percussion changes nothing
    drums = np.append(score.drum, [True, True])
    more = score_of(
        *(np.append(score.onset, [100, 900]), np.append(score.offset, [200, 950])),
        np.append(score.pitch, [36, 38]), drum=drums,
    )  # fmt: skip
    with_drums = music_layers(more, model=tiny)
    np.testing.assert_array_equal(with_drums.beats.ticks, layers.beats.ticks)
    np.testing.assert_array_equal(with_drums.melody, np.append(layers.melody, [False, False]))


def test_what_has_no_layers_says_why(tiny):
    few = score_of(np.arange(3) * 480, np.arange(3) * 480 + 400, np.array([60, 64, 67]))
    layers = music_layers(few, model=tiny)
    assert (layers.melody, layers.chords, layers.keys, layers.beats) == (None,) * 4
    assert all("3 pitched notes" in layers.remarks[name] for name in NAMES)
    drums = scale()
    silent = score_of(drums.onset, drums.offset, drums.pitch, drum=np.ones(len(drums), bool))
    assert "no pitched notes" in music_layers(silent, model=tiny).remarks["keys"]
    onset = np.cumsum([100, 333, 211, 517, 290, 431, 350, 277, 601])
    short = music_layers(score_of(onset, onset + 90, np.arange(9) + 60), model=tiny)
    assert short.beats is None
    assert "9 notes do not tell beats" in short.remarks["beats"]
    assert short.melody.all()
    assert "all are melody" in short.remarks["melody"]


def test_other_folders_are_refused(tiny, tmp_path):
    with pytest.raises(CheckpointError, match="bad-config"):
        load_layer_model(resolve("m2bert-tiny"))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("tagger.json", "model.safetensors"):
        (copy / name).write_bytes((tiny / name).read_bytes())
    with pytest.raises(CheckpointError, match="bad-config"):
        load_layer_model(copy)


def test_the_network_that_ships_hears_a_cadence():
    """C major in quarters, as many times as a listener needs."""
    chords = [(48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 62, 67), (48, 60, 64, 67)] * 8
    onset = np.repeat(np.arange(len(chords)) * 960, 4)
    layers = music_layers(score_of(onset, onset + 960, np.array(chords).ravel()), model=MODEL)
    longest = max(layers.keys, key=lambda key: key.end - key.start)
    assert longest.name == "C major"
    assert {"C", "F", "G"} <= {chord.name for chord in layers.chords}
    assert set(layers.scores) == {"melody", "chords", "keys"}
    assert all(score.value > score.baseline for score in layers.scores.values())


def test_what_sounds_alike_is_spelled_alike():
    classes = ("none", "F#", "G-", "g-", "f#", "C", "B#", "D--")
    assert sounding(classes).tolist() == [24, 6, 6, 18, 18, 0, 0, 0]
    assert len(set(sounding(CHORD_ROOTS))) == 13
    assert len(set(sounding(LOCAL_KEYS))) == 25
    path, slots = np.array([1, 2, 5, 6, 3, 1, 0]), np.array([0, 4, 20, 21, 22, 30, 31])
    assert respelled(path, slots, classes).tolist() == [2, 2, 5, 5, 3, 2, 0]


def test_a_track_that_is_called_melody_is_named(tiny):
    score, _ = played()
    several = replace(
        score, program=np.arange(len(score)) % 4, track=np.arange(len(score)) % 4,
        track_name=("Piano", "Bass", "MELODY 1", "Pad"),
    )  # fmt: skip
    assert (
        "The file itself has a track named MELODY 1." in music_layers(several, model=tiny).remarks["melody"]
    )
    assert "itself" not in music_layers(score, model=tiny).remarks.get("melody", "")


def test_scattered_notes_are_no_melody():
    """Two voices over a minute: a few notes of it are said to be scattered, a line is not."""
    onset = np.repeat(np.arange(120) * 480, 2)
    score = piano_score(onset, onset + 480, np.tile([48, 72], 120), np.full(240, 64))
    score = replace(score, track_name=("Singstimme", "Piano"))
    for notes, said in ((slice(None), False), (slice(1, 20), True)):
        vocal = np.zeros((240, 3))
        vocal[1::2, _VOCAL][notes] = 1
        remarks = {}
        chosen = _melody(score, np.arange(240), vocal, remarks)
        assert chosen.sum() == vocal[:, _VOCAL].sum()
        assert (
            "scattered. The file itself has a track named Singstimme" in remarks.get("melody", "")
        ) is said

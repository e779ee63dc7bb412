"""Likeness: what is alike is found; an index survives kills, changes and damage, and says what it omits."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import musicbert
from musicbert.cli.main import main
from musicbert.config import ModelConfig
from musicbert.corpus.files.ledger import read_ledger
from musicbert.errors import DatasetError, MidiError
from musicbert.midi import midi_bytes, read_score
from musicbert.midi.score import piano_score
from musicbert.model import MusicBert
from musicbert.similarity import index_folder, open_index, search, store
from musicbert.similarity.describe import PIECE, Bars, Features, Network, by_bar, tallies, transposed
from musicbert.weights.bundle import Bundle
from musicbert.weights.folder import save_folder

BAR = 4 * 480


def tune(seed, bars=12, scale=(0, 2, 4, 5, 7, 9, 11)):
    """A made melody with bass in 4/4, in its own range, pace and scale."""
    rng = np.random.default_rng(seed)
    step = int(rng.choice([120, 240, 480]))
    onset = np.arange(0, bars * BAR, step)
    home, width = rng.integers(48, 72), rng.integers(2, 8)
    pitch = home + rng.choice(scale, len(onset)) + rng.integers(-width, width, len(onset)) // 3 * 12 // 4
    bass = np.arange(0, bars * BAR, BAR)
    order = np.argsort(np.concatenate([onset, bass]), kind="stable")
    onset = np.concatenate([onset, bass])[order]
    pitch = np.concatenate([pitch, np.full(len(bass), home - 12)])[order]
    return piano_score(onset, onset + step, pitch, rng.integers(40, 100, len(onset)))


def played(score, seed=0):
    """Another performance: times and velocities are disturbed."""
    rng = np.random.default_rng(seed)
    onset = np.maximum(score.onset + rng.integers(-12, 12, len(score)), 0)
    velocity = np.clip(score.velocity + rng.integers(-8, 8, len(score)), 1, 127)
    order = np.argsort(onset, kind="stable")
    return piano_score(onset[order], onset[order] + 200, score.pitch[order], velocity[order])


@pytest.fixture
def folder(tmp_path):
    """Forty tunes in two folders, a copy, a damaged file and a text."""
    made = tmp_path / "music"
    (made / "more").mkdir(parents=True)
    for seed in range(40):
        (made / ("more" if seed % 2 else ".") / f"t{seed:02}.mid").write_bytes(midi_bytes(tune(seed)))
    shutil.copy(made / "t00.mid", made / "copy.mid")
    (made / "bad.mid").write_bytes(b"MThd no music")
    (made / "notes.txt").write_text("no music")
    return made


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    config = ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=256)
    path = tmp_path_factory.mktemp("model") / "tiny"
    return save_folder(Bundle(config, MusicBert(config).state_dict()), path)


@pytest.mark.parametrize("model", ["features", "network", "m2bert-tiny"])
def test_another_performance_and_the_file_itself_are_found(folder, tmp_path, network, model):
    model = network if model == "network" else model
    update = index_folder(folder, tmp_path / "index", model=model, progress=False)
    assert (update.described, update.kept) == (41, 0)
    assert len(update.outcomes) == 2
    assert update.outcomes["ok"] == 41
    index = musicbert.open_index(tmp_path / "index")
    assert len(index) == 41
    first, second, *_ = answers = index.query(folder / "t00.mid", top=5)
    assert {first.file, second.file} == {"t00.mid", "copy.mid"}
    assert [each.same_file for each in answers] == [True, True, False, False, False]
    assert first.likeness == pytest.approx(1, abs=2e-3)
    assert all(-1 <= each.likeness <= 1.001 and each.bars is None for each in answers)
    if model == "features":  # the networks here know nothing
        found = index.query(played(read_score(folder / "t04.mid")), top=1)[0]
        assert (found.file, found.same_file) == ("t04.mid", False)


def test_passages_are_as_long_as_the_query_and_do_not_overlap(folder, tmp_path):
    index_folder(folder, tmp_path / "index", progress=False)
    index = open_index(tmp_path / "index")
    answers = index.query(folder / "t02.mid", bars=(5, 8), top=8)
    assert (answers[0].file, answers[0].bars, answers[0].same_file) == ("t02.mid", (5, 8), True)
    assert all(each.bars[1] - each.bars[0] == 3 for each in answers)
    mine = [each.bars[0] for each in answers if each.file == "t02.mid"]
    assert all(abs(a - b) >= 4 for i, a in enumerate(mine) for b in mine[:i])
    assert index.query(folder / "t02.mid", bars=(5, 5), top=1)[0].bars == (5, 5)
    whole = index.query(folder / "t02.mid", bars=(3, 8), of="pieces", top=1)[0]
    assert (whole.file, whole.bars) == ("t02.mid", None)
    assert index.query(folder / "t02.mid", bars=(1, 40), top=1)[0].file == "t02.mid"  # longer than all
    with pytest.raises(MidiError, match="no notes in bars 13 to 14; the last bar with notes is 12"):
        index.query(folder / "t02.mid", bars=(13, 14))
    for wrong in ({"of": "bars"}, {"bars": (0, 2)}, {"bars": (3, 2)}, {"top": 0}, {"of": "songs"}):
        with pytest.raises(ValueError, match=r"bars|top"):
            index.query(folder / "t02.mid", **wrong)


def test_other_keys_are_tried_on_request(folder, tmp_path):
    index_folder(folder, tmp_path / "index", progress=False)
    index = open_index(tmp_path / "index")
    moved = transposed(read_score(folder / "t06.mid"), 5)
    found = index.query(moved, any_key=True, top=1)[0]
    assert (found.file, found.semitones) == ("t06.mid", -5)
    assert found.likeness == pytest.approx(1, abs=2e-3)
    assert index.query(moved, top=1)[0].likeness < 0.95


def test_answers_are_those_of_a_plain_computation(folder, tmp_path, monkeypatch):
    """Blocks and float16 against one matrix product in float64."""
    monkeypatch.setattr(store, "PART", 8)
    index_folder(folder, tmp_path / "index", progress=False)
    assert len(list((tmp_path / "index" / "parts").iterdir())) == 5
    files = sorted(folder.rglob("t*.mid"))
    table = np.stack([Features().describe([read_score(path)])[0].whole(spread=False) for path in files])
    for kept in (search._KEPT, 0):
        monkeypatch.setattr(search, "_KEPT", kept)
        index = open_index(tmp_path / "index")
        monkeypatch.setattr(index, "_standard", lambda _: search.Standard.of(table, whiten=False))
        z = np.clip((table - table.mean(0)) / np.where(table.std(0) > 1e-6, table.std(0), 1), -5, 5)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        expected = z @ z[7]
        got = {each.file: each.likeness for each in index.query(files[7], top=41)}
        for path, likeness in zip(files, expected, strict=True):
            assert got[path.relative_to(folder).as_posix()] == pytest.approx(likeness, abs=5e-3)


@pytest.mark.parametrize("model", ["features", "network"])
def test_bars_found_are_those_of_scikit_learn(folder, tmp_path, network, model, monkeypatch):
    """Of every passage by itself, all in one table; whatever the blocks and parts."""
    monkeypatch.setattr(store, "PART", 16)
    shorter = tune(51, bars=3)
    silent = replace(tune(50), onset=tune(50).onset + BAR * (tune(50).onset >= 5 * BAR))  # bar 6 is empty
    for name, score in (("short", shorter), ("gap", replace(silent, offset=silent.onset + 100))):
        (folder / f"{name}.mid").write_bytes(midi_bytes(score))
    index_folder(folder, tmp_path / "index", model=network if model == "network" else model, progress=False)
    index = open_index(tmp_path / "index")
    table, places = [], []
    for path in sorted(folder.rglob("*.mid")):
        if path.name not in ("bad.mid", "copy.mid"):
            [bars] = index.describer.describe([read_score(path)])
            for bar in bars.key.tolist():
                if bar in (bars.key[0], *range(int(bars.key[-1]) - 2)):
                    table.append(bars.passage(bar, bar + 4, spread=index.describer.spread))
                    places.append((path.relative_to(folder).as_posix(), (bar + 1, bar + 4)))
    monkeypatch.setattr(search, "SAMPLE", 10**6)
    standard = index._standard(4)
    assert (standard.turn is None) == (model == "features")
    table = standard.unit(np.stack(table))
    for block in (7, 2048):
        monkeypatch.setattr(search, "BLOCK", block)
        answers = index.query(folder / "gap.mid", bars=(3, 7), top=len(places))
        assert answers[0].bars == (3, 7)
        answers = index.query(folder / "gap.mid", bars=(3, 6), of="bars", top=1)
        assert answers[0].bars == (3, 5)  # bar 6 is silent
        for name in ("t03.mid", "gap.mid"):
            query = index.describer.describe([read_score(next(folder.rglob(name)))])[0]
            vector = query.passage(6, 10, spread=index.describer.spread)
            nearest = NearestNeighbors(n_neighbors=len(places), algorithm="brute").fit(table)
            distances, rows = nearest.kneighbors(standard.unit(vector[None]))
            likeness = {places[row]: 1 - d**2 / 2 for d, row in zip(distances[0], rows[0], strict=True)}
            answers = index.query(next(folder.rglob(name)), bars=(7, 10), top=10)
            got = [each for each in answers if each.file != "copy.mid"]
            assert [each.likeness for each in got] == pytest.approx(
                [likeness[each.file, each.bars] for each in got], abs=2e-3
            )
            assert got[0].likeness == pytest.approx(max(likeness.values()), abs=2e-3)
            least = min(each.likeness for each in got)
            taken = {(each.file, bar) for each in got for bar in range(each.bars[0] - 3, each.bars[1] + 1)}
            assert all((file, bars[0]) in taken for (file, bars), v in likeness.items() if v > least + 4e-3)


def test_whitening_takes_away_what_all_vectors_share():
    """Two groups far apart along one direction: without it, the partner in the other group is the nearest."""
    rng = np.random.default_rng(0)
    own, shared = rng.normal(size=(60, 1, 20)), rng.normal(size=20)
    both = np.array([-3.0, 3.0])[None, :, None] * shared
    table = (own + both + 0.1 * rng.normal(size=(60, 2, 20))).reshape(120, 20).astype(np.float32)
    partner = np.arange(120) ^ 1
    found = {}
    for whiten in (False, True):
        standard = search.Standard.of(table, whiten=whiten)
        unit = standard.unit(table.copy())
        likeness = unit @ unit.T - 9 * np.eye(120)
        found[whiten] = (likeness.argmax(axis=1) == partner).mean()
    assert found[False] < 0.1
    assert found[True] > 0.9
    plain = search.Standard.of(table, whiten=False).apart(table.astype(np.float64))
    variance = np.var((plain - plain.mean(0)) @ standard.turn, axis=0)
    total = np.linalg.eigvalsh(np.cov(plain, rowvar=False, bias=True))
    np.testing.assert_allclose(variance, total / (total + 0.1 * total.mean()), rtol=1e-3)
    assert search.Standard.of(table[:31], whiten=True).turn is None


def test_a_killed_run_is_continued_to_the_same_index(folder, tmp_path, monkeypatch, network):
    monkeypatch.setattr(store, "PART", 8)
    index_folder(folder, tmp_path / "whole", model=network, progress=False)
    described = Network.describe
    calls = []

    def dies(this, scores):
        calls.append(len(scores))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return described(this, scores)

    monkeypatch.setattr(Network, "describe", dies)
    with pytest.raises(KeyboardInterrupt):
        index_folder(folder, tmp_path / "killed", model=network, progress=False)
    with pytest.raises(DatasetError, match="no index here"):
        open_index(tmp_path / "killed")
    monkeypatch.setattr(Network, "describe", described)
    for name in (".index.json.abcdefgh.partial", "parts/.x.npz.abcdefgh.partial"):
        (tmp_path / "killed" / name).write_text("{")
    update = index_folder(folder, tmp_path / "killed", model=network, progress=False)
    assert (update.described, update.kept) == (16, 25)
    whole, killed = (
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*.*")}
        for top in (tmp_path / "whole", tmp_path / "killed")
    )
    assert whole == killed


def test_changed_files_are_described_again_and_removed_ones_dropped(folder, tmp_path):
    index_folder(folder, tmp_path / "index", progress=False)
    (folder / "t02.mid").write_bytes(midi_bytes(tune(99)))
    (folder / "t04.mid").unlink()
    (folder / "t06.mid").rename(folder / "renamed.mid")
    update = index_folder(folder, tmp_path / "index", progress=False)
    assert (update.described, update.kept) == (1, 39)
    assert update.changes == ("other bytes: t02.mid", "added: renamed.mid", "removed: t04.mid, t06.mid")
    assert "1 described now, 39 kept; left out: 1 " in str(update)
    index_folder(folder, tmp_path / "fresh", progress=False)
    for query in ("t02.mid", "renamed.mid"):
        answers = [open_index(tmp_path / name).query(folder / query) for name in ("index", "fresh")]
        assert [each.file for each in answers[0]] == [each.file for each in answers[1]]
        assert "t04.mid" not in {each.file for each in answers[0]}
    ledger = {each.name: each for each in read_ledger(tmp_path / "index" / "ledger.jsonl")}
    assert ledger["bad.mid"].detail
    assert not ledger["bad.mid"].ok
    assert set(ledger) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.mid")}


def test_another_model_layer_or_version_is_refused(folder, tmp_path, network, monkeypatch):
    index_folder(folder, tmp_path / "index", model=network, progress=False)
    before = (tmp_path / "index" / "index.json").read_bytes()
    for other in ({"model": "features"}, {"model": network, "layer": 0}):
        with pytest.raises(DatasetError, match="layer: 1 ->") as refused:
            index_folder(folder, tmp_path / "index", progress=False, **other)
        assert refused.value.reason == "other-settings"
    with pytest.raises(DatasetError, match="weights: "):
        open_index(tmp_path / "index", model="musicbert-mini")
    assert (tmp_path / "index" / "index.json").read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr(musicbert, "__version__", "99")
        with pytest.raises(DatasetError, match="version of musicbert"):
            open_index(tmp_path / "index")
    index_folder(folder, tmp_path / "index", overwrite=True, progress=False)
    assert open_index(tmp_path / "index").describer.name == "features"
    assert len(list((tmp_path / "index" / "parts").iterdir())) == 1


def test_a_network_that_moved_is_named(folder, tmp_path, network):
    moved = shutil.copytree(network, tmp_path / "elsewhere")
    index_folder(folder, tmp_path / "index", model=moved, progress=False)
    moved.rename(tmp_path / "new")
    with pytest.raises(musicbert.CheckpointError):
        open_index(tmp_path / "index")
    assert open_index(tmp_path / "index", model=tmp_path / "new").query(folder / "t00.mid")[0].same_file


def test_empty_folders_and_other_outputs_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no \.mid or \.midi file") as refused:
        index_folder(tmp_path / "empty", tmp_path / "index", progress=False)
    assert not (tmp_path / "index").exists()
    (tmp_path / "empty" / "bad.mid").write_bytes(b"MThd")
    with pytest.raises(DatasetError, match=r"None of the 1 files can be described; bad\.mid") as refused:
        index_folder(tmp_path / "empty", tmp_path / "index", progress=False)
    assert refused.value.reason == "nothing-usable"
    with pytest.raises(DatasetError, match="something other than an index") as refused:
        index_folder(folder, folder, progress=False)
    assert refused.value.reason == "output-not-ours"
    with pytest.raises(DatasetError) as refused:
        open_index(folder)
    assert refused.value.reason == "not-found"


def damages(index):
    part = next((index / "parts").iterdir())
    whole = part.read_bytes()
    yield lambda: part.write_bytes(whole[: len(whole) // 2])
    yield lambda: part.write_bytes(whole[:2000] + b"\xff" * 64 + whole[2064:])
    yield part.unlink
    manifest = json.loads((index / "index.json").read_text())
    for change in (
        {"files": {"a.mid": 1}},
        {"files": {**manifest["files"], "z.mid": "0" * 64}},
    ):
        yield lambda change=change: (index / "index.json").write_text(json.dumps({**manifest, **change}))
    yield lambda: (index / "index.json").write_text("{")


def test_a_damaged_index_is_refused(folder, tmp_path):
    index_folder(folder, tmp_path / "index", progress=False)
    for number in range(6):
        index = shutil.copytree(tmp_path / "index", tmp_path / f"damaged{number}")
        list(damages(index))[number]()
        with pytest.raises(DatasetError) as refused:
            open_index(index).query(folder / "t00.mid")
        assert refused.value.reason == "bad-index"
    manifest = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(DatasetError, match="another version: its format is 1, not 2") as refused:
        open_index(tmp_path / "index")
    assert refused.value.reason == "other-settings"
    with pytest.raises(DatasetError, match="another version"):
        index_folder(folder, tmp_path / "index", progress=False)
    assert index_folder(folder, tmp_path / "index", overwrite=True, progress=False).described == 0


def test_a_small_or_uniform_index_is_searched_as_it_is(folder, tmp_path, capsys):
    small = tmp_path / "small"
    small.mkdir()
    for name in ("t00.mid", "t02.mid"):
        shutil.copy(folder / name, small)
    index_folder(small, tmp_path / "index", progress=False)
    answers = open_index(tmp_path / "index").query(folder / "t00.mid")
    assert [each.file for each in answers] == ["t00.mid", "t02.mid"]
    assert all(0 < each.likeness <= 1.001 for each in answers)
    command = ["similar", str(folder / "t00.mid"), "--index", str(tmp_path / "index")]
    assert main(command) == 0
    assert "note: an index of 2 pieces, fewer than 32" in capsys.readouterr().err
    assert main([*command, "--bars", "1-1"]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("spread", [False, True])
def test_passages_are_means_over_their_notes(spread):
    rng = np.random.default_rng(0)
    bars, states = np.sort(rng.integers(0, 20, 100)), rng.normal(3, 1, (100, 5)).astype(np.float32)
    states = states if spread else rng.integers(0, 300, (100, 5))
    bars[:3] = -1
    table = by_bar(bars, states, spread=spread)
    two = Bars(
        np.concatenate([table.key, table.key + PIECE]), np.tile(table.notes, 2), np.tile(table.values, (2, 1))
    )
    many = len(table.key)
    for first, stop in ((0, 20), (4, 8), (7, 8), (18, 60)):
        inside = states[(bars >= first) & (bars < stop)]
        expected = np.hstack([inside.mean(0), inside.std(0)]) if spread else inside.mean(0)
        begin = int(np.searchsorted(table.key, first))
        got = [
            *(two.passage(first + move, stop + move, spread=spread) for move in (0, PIECE)),
            *(
                two.passages(stop - int(table.key[begin]), row, row + 1, spread=spread)[0]
                for row in (begin, begin + many)
            ),
        ]
        np.testing.assert_allclose(got, [expected] * 4, rtol=1e-6, atol=1e-5)
    both = two.passages(6, 0, 2 * many, spread=spread)
    alone = [table.passage(bar, bar + 6, spread=spread) for bar in table.key.tolist()]
    np.testing.assert_allclose(both, [*alone, *alone], rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(two.passage(50, 60, spread=spread), 0)


def test_tallies_count_what_is_played():
    score = piano_score(
        np.array([0, 0, 480, 960]),
        np.array([240, 240, 960, 1920]),
        np.array([60, 64, 67, 55]),
        np.array([64] * 4),
    )
    table = tallies(score)
    pitch_class, above_bass, octave, step, wait = np.split(table[:, :68], [12, 24, 35, 60], axis=1)
    assert pitch_class.argmax(1).tolist() == [0, 4, 7, 7]
    assert above_bass.argmax(1).tolist() == [0, 4, 0, 0]
    assert octave.argmax(1).tolist() == [5, 5, 5, 4]
    assert (step.argmax(1) - 12)[1:].tolist() == [0, 3, -12]
    assert step.sum(1).tolist() == [0, 1, 1, 1]  # the lower note of the chord is not in the highest line
    assert wait.argmax(1).tolist() == [0, 0, 4, 4]  # half a second
    drums = replace(score, drum=np.array([True] * 4))
    assert tallies(drums)[:, :68].sum() == 0
    assert tallies(drums)[:, -1].tolist() == [1] * 4
    assert transposed(drums, 3).pitch.tolist() == score.pitch.tolist()
    assert transposed(score, -56).pitch.tolist() == [4, 8, 11, 11]

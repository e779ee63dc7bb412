"""Pictures of music: what is drawn where, that nothing overlaps, formats, errors, and the command."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from musicbert import viz
from musicbert.cli.main import main as command
from musicbert.errors import ConfigError, MidiError
from musicbert.midi import midi_bytes
from musicbert.midi.score import piano_score
from musicbert.objectives.masking import MaskPolicy
from musicbert.viz.canvas import BLUE, CLASSES, ORANGE
from musicbert.viz.music import lines_of


def made(notes, beats=1, drums=False):
    """A made piece of two tracks, and percussion where asked for."""
    n = np.arange(notes)
    onset = (480 * beats * n).astype(np.int64)
    score = piano_score(onset, onset + 400, 48 + n % 24, 30 + n % 90)
    track = n % (3 if drums else 2)
    return replace(score, track=track, program=np.array([0, 40, 0])[track], drum=track == 2)


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is drawn; `drawn` of it: where its texts ended up."""
    kept, places = [], {}
    save, draw = Figure.savefig, Text.draw

    def keep(self, *arguments, **options):
        kept.append(self)
        places.clear()
        result = save(self, *arguments, **options)
        self.drawn = list(places.values())
        return result

    def note(self, renderer):
        if self.get_text() and self.get_visible():
            places[id(self)] = (self.get_text(), self.get_window_extent(renderer), self.get_fontsize())
        return draw(self, renderer)

    monkeypatch.setattr(Figure, "savefig", keep)
    monkeypatch.setattr(Text, "draw", note)
    return kept


def overlaps(figure):
    """Pairs of texts that cover each other."""
    boxes = [(text, box) for text, box, _ in figure.drawn]
    return [
        (a, b)
        for k, (a, first) in enumerate(boxes)
        for b, second in boxes[k + 1 :]
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 2
    ]


def check(figure, path):
    """Labels do not overlap, and letters are at least eight pixels high at a width of 600 pixels."""
    assert not overlaps(figure)
    smallest = min(size for _, _, size in figure.drawn)
    with Image.open(path) as image:
        assert smallest / 72 * 110 * 600 / image.width > 8
    return words(figure)


def words(figure):
    return " ".join(text for text, _, _ in figure.drawn)


@pytest.mark.parametrize("notes", [3, 90, 400])
def test_a_roll_of_any_length_is_readable(figures, tmp_path, notes):
    viz.piano_roll(made(notes, drums=True), tmp_path / "r.png", title="A title")
    text = check(figures[0], tmp_path / "r.png")
    for word in ("acoustic grand piano", "violin", "drums", "A title", "bars", "C3"):
        assert word in text
    rows = [axes for axes in figures[0].axes if axes.collections]
    assert len(rows) == np.clip(np.ceil((notes * 0.5) / 30), 1, 12)


def test_notes_are_where_they_sound_in_the_colours_of_their_tracks(figures, tmp_path):
    viz.piano_roll(made(4), tmp_path / "r.png")
    [boxes] = [c for c in figures[0].axes[0].collections if len(c.get_paths()) == 4]
    left, bottom = boxes.get_paths()[1].vertices.min(axis=0)
    assert (left, bottom) == pytest.approx((0.5, 48.5))
    from matplotlib.colors import to_hex

    assert [to_hex(c).upper() for c in boxes.get_facecolors()] == [CLASSES[0], CLASSES[1]] * 2


def test_values_classes_differences_and_marks(figures, tmp_path):
    score = made(4)
    from matplotlib.colors import to_hex

    def colours(**how):
        viz.piano_roll(score, tmp_path / "r.png", **how)
        [boxes] = [c for c in figures[-1].axes[0].collections if len(c.get_paths()) == 4]
        return [to_hex(c).upper() for c in boxes.get_facecolors()], boxes

    found, _ = colours(values=[-1.0, 0.0, 0.5, 1.0], signed=True, label="contribution")
    assert (found[0], found[3]) == (BLUE, "#D55E00")
    assert found[1].startswith("#D9D9D")  # grey
    assert "contribution" in check(figures[-1], tmp_path / "r.png")
    found, boxes = colours(
        values=[0, 1, 1, np.nan], names=("low", "high"), marked=[True, False, False, False]
    )
    assert found == [BLUE, ORANGE, ORANGE, "#C4C4C4"]  # in the order of the names, not by how many there are
    assert "no value" in check(figures[-1], tmp_path / "r.png")
    assert boxes.get_linewidths()[0] > 2 * boxes.get_linewidths()[1]
    found, _ = colours(values=[5.0, 5.0, 5.0, 5.0])  # all alike
    assert len(set(found)) == 1
    with pytest.raises(ValueError, match="4 notes"):
        viz.piano_roll(score, tmp_path / "r.png", values=[1.0])


def test_a_part_and_what_is_too_long(figures, tmp_path):
    score = made(64)
    viz.piano_roll(score, tmp_path / "r.png", bars=(3, 4))
    axes = figures[0].axes[0]
    assert axes.get_xlim() == pytest.approx((4, 8), abs=0.05)
    assert [t.get_text() for t in axes.texts] == ["3", "4"]
    assert list(lines_of(score, start=4.0, end=8.0).notes) == list(range(8, 16))
    with pytest.raises(ConfigError, match=r"too-long\].*--bars"):
        viz.piano_roll(made(20, beats=100), tmp_path / "x.png")
    with pytest.raises(ConfigError, match="bad-suffix"):
        viz.piano_roll(score, tmp_path / "x.gif")
    with pytest.raises(MidiError, match="no-notes"):
        viz.piano_roll(score, tmp_path / "x.png", start=1e4)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_picture_has_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        viz.piano_roll(made(30), tmp_path / f"{name}{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert content == (tmp_path / f"b{suffix}").read_bytes()
    assert content[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.parametrize("notes", [3, 300])
def test_fields_along_time(figures, tmp_path, notes):
    viz.field_lines(made(notes, drums=True), tmp_path / "f.png")
    text = check(figures[0], tmp_path / "f.png")
    for word in (
        "bar",
        "position",
        "program",
        "pitch",
        "duration",
        "velocity",
        "time\nsignature",
        "tempo",
        "4/4",
    ):
        assert word in text
    assert len(figures[0].axes) == 8
    tempo = figures[0].axes[7].collections[0].get_offsets()
    assert len(tempo) == notes
    assert np.allclose(tempo[:, 1], 120.8, atol=0.1)


def test_durations_of_all_kinds_have_marks_apart(figures, tmp_path):
    score = made(60)
    lasting = score.onset + (480 * np.geomspace(0.125, 100, 60)).astype(np.int64)
    viz.field_lines(replace(score, offset=lasting), tmp_path / "f.png")
    check(figures[0], tmp_path / "f.png")  # no two labels overlap


def test_masks_are_those_of_the_objective(figures, tmp_path):
    score = made(100)
    viz.mask_lines(score, tmp_path / "m.png", policy=MaskPolicy("compound", mask_prob=0.3), seed=2)
    text = check(figures[0], tmp_path / "m.png")
    first, second = (axes.collections[0].get_array().reshape(8, -1) for axes in figures[0].axes)
    fates = np.hstack([first, second])
    assert fates.shape == (8, 100)
    assert (fates == fates[0]).all()  # whole notes
    assert 0.15 < (fates > 0).mean() < 0.45
    assert f"{(fates > 0).mean():.0%} of the tokens" in text
    viz.mask_lines(score, tmp_path / "n.png", policy=MaskPolicy("compound", mask_prob=0.3), seed=3)
    assert (tmp_path / "m.png").read_bytes() != (tmp_path / "n.png").read_bytes()
    with pytest.raises(ConfigError, match=r"1000 notes in 250 bars .*too-long"):
        viz.mask_lines(made(1000), tmp_path / "x.png")


def test_attention(figures, tmp_path):
    weights = np.full((40, 40), 0.5 / 39) + np.eye(40) * 0.4
    viz.attention_map(weights, tmp_path / "a.png", bar=np.arange(40) // 4, seconds=np.arange(40) / 2)
    assert "share of the attention" in check(figures[0], tmp_path / "a.png")
    assert np.allclose(figures[0].axes[0].images[0].get_array(), weights)
    with pytest.raises(ValueError, match="for 39 notes"):
        viz.attention_map(weights, tmp_path / "a.png", bar=np.zeros(39), seconds=np.zeros(39))


def test_profile(figures, tmp_path):
    poles = [("flowing", "fettered"), ("a very long pole that does not fit anywhere at all", "high")]
    viz.profile_plot(
        poles, [0.2, 0.9], tmp_path / "p.png", low=[0.1, np.nan], high=[0.3, np.nan], percentiles=[34, 95],
        coverage=0.8,
    )  # fmt: skip
    text = check(figures[0], tmp_path / "p.png")
    for word in ("flowing", "fettered", "34", "95", "80%", "…"):
        assert word in text
    viz.profile_plot(poles, [4.5, 7], tmp_path / "q.png", scale=(1, 7))
    axes = figures[1].axes[0]
    assert axes.get_xlim() == (1, 7)
    assert [text.get_text() for text in axes.get_xticklabels()] == list("1234567")
    assert "7: those at the right" in check(figures[1], tmp_path / "q.png")
    with pytest.raises(ValueError, match="one value a dimension"):
        viz.profile_plot(poles, [0.2], tmp_path / "p.png")


def test_a_value_that_never_changes_is_said_and_whole_numbers_have_whole_ticks(figures, tmp_path):
    score = made(12)
    viz.piano_roll(score, tmp_path / "a.png", values=np.full(12, 90.0), label="velocity")
    assert "90 throughout" in check(figures[0], tmp_path / "a.png")
    assert len(figures[0].axes) == 1  # no scale of colours
    viz.piano_roll(score, tmp_path / "b.png", values=np.arange(12) % 2 + 60, label="pitch")
    ticks = [text.get_text() for text in figures[1].axes[-1].get_xticklabels()]
    check(figures[1], tmp_path / "b.png")
    assert all(tick.isdigit() for tick in ticks), ticks


def test_curves_in_rows(figures, tmp_path):
    curves = {name: {"train": [(1, 0.5), (2, 0.3)], "valid": [(1, 0.6)]} for name in "abc"}
    viz.curves_plot(curves, tmp_path / "c.png", columns=2)
    check(figures[0], tmp_path / "c.png")
    assert len(figures[0].axes) == 4
    viz.curves_plot({"loss": {"train": [(1, 0.5)]}}, tmp_path / "d.png")
    [axes] = figures[1].axes
    assert (axes.get_xticks() % 1 == 0).all()  # no parts of an epoch


@pytest.fixture
def song(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mid").write_bytes(midi_bytes(made(24, drums=True)))
    return "song.mid"


def test_the_command_draws_what_it_is_asked_for(figures, song, tmp_path, capsys):
    for given in (
        ["fields"],
        ["masks", "--seed", "3"],
        ["roll", "--by", "tempo"],
        ["roll", "--by", "program"],
    ):
        assert command(["plot", given[0], song, *given[1:]]) == 0
        assert capsys.readouterr().out == f"{given[0]}.png\n"
        assert "song.mid" in check(figures[-1], tmp_path / f"{given[0]}.png")


def test_curves_of_a_log(figures, song, tmp_path, capsys):
    lines = [
        f'| INFO | {part} | {{"epoch": {k}, "{part}_loss": "{1 / k}", "{part}_wps": "9"}}'
        for k in (1, 2, 3)
        for part in ("train", "valid")
    ]
    (tmp_path / "train.log").write_text("\n".join(lines))
    assert command(["plot", "curves", "train.log"]) == 0
    assert [axes.get_title() for axes in figures[0].axes] == ["loss"]
    assert command(["plot", "curves", "train.log", "--quantities", "wps"]) == 0
    assert command(["plot", "curves", "train.log", "--quantities", "los"]) == 2
    assert "did you mean loss?" in capsys.readouterr().err
    (tmp_path / "empty.log").write_text("nothing")
    assert command(["plot", "curves", "empty.log"]) == 2
    assert "no-curves" in capsys.readouterr().err


def test_a_profile_or_the_reasons_why_there_is_none(figures, song, monkeypatch, capsys):
    from types import SimpleNamespace

    import musicbert
    from musicbert.analysis.profile import Dimension

    shown = Dimension("flow", "Playing", "flowing", "fettered", 0.5, None, (0.3, 0.7), 0.8, 30.0,
                      scale=(1, 7, 0))  # fmt: skip
    reasons = [SimpleNamespace(text="three notes are too few")]
    answers = [SimpleNamespace(profile=SimpleNamespace(dimensions=[shown], scale=(1, 7)))]
    answers.append(SimpleNamespace(profile=None, reasons=reasons))
    monkeypatch.setattr(musicbert, "analyse", lambda *_, **__: answers.pop(0), raising=False)
    assert command(["plot", "profile", song]) == 0
    assert {"Playing: flowing", "fettered"} <= {text for text, _, _ in figures[0].drawn}
    assert figures[0].axes[0].lines[0].get_xdata().tolist() == [3.5]  # a rating, as `analyse` prints it
    assert command(["plot", "profile", song]) == 2
    assert "three notes are too few [no-profile]" in capsys.readouterr().err


def test_attention_and_predictions_of_a_model(figures, song, fixtures, tmp_path, capsys):
    from dataclasses import asdict

    import torch

    from musicbert.config import ModelConfig
    from musicbert.model import MusicBert
    from musicbert.model.tagger import Tagger, TagSettings
    from musicbert.weights.tagger_folder import save_tagger_folder

    plain = fixtures / "musicbert_model" / "micro_pretrained_v1.0.0a0_cfg.pt"
    assert command(["plot", "attention", song, "--model", str(plain)]) == 0
    shown = np.asarray(figures[0].axes[0].images[0].get_array())
    assert shown.shape == (24, 24)
    assert (shown.sum(axis=1) < 1).all()  # the rest looks at the beginning and the end
    assert command(["plot", "attention", song, "--model", str(plain), "--window", "1"]) == 2
    assert "bad-window" in capsys.readouterr().err

    torch.manual_seed(0)
    backbone = MusicBert(ModelConfig(layers=1, width=16, ffn_width=32, heads=2, max_positions=256))
    tagger = Tagger(backbone, TagSettings(2, head="note")).eval()
    settings = {
        "family": "musicbert", "architecture": asdict(backbone.config), "codec": "octuple", "window": 64,
        "overlap": 4, "windows": "all", "head": asdict(tagger.settings), "origin": {},
        "task": {"name": "x", "label": "x", "level": "note", "kind": "classes", "classes": ["left", "right"],
                 "ignore": []},
    }  # fmt: skip
    save_tagger_folder(tmp_path / "hands", tagger.state_dict(), settings)
    base = ["plot", "roll", song, "--model", "hands", "--by"]
    assert command([*base, "prediction"]) == 0
    text = words(figures[-1])
    assert "left" in text or "right" in text
    assert command([*base, "prediction", "--name", "right"]) == 0
    assert command([*base, "prediction", "--name", "rigt"]) == 2
    assert "did you mean right?" in capsys.readouterr().err
    assert command(["plot", "roll", song, "--by", "prediction", "--model", str(plain)]) == 2
    assert "no-notes" in capsys.readouterr().err
    assert command(["plot", "roll", song, "--by", "contribution"]) == 2
    assert "needs --model" in capsys.readouterr().err


def test_the_melody_has_dark_edges(figures, song, monkeypatch, capsys):
    from types import SimpleNamespace

    found = [SimpleNamespace(melody=np.arange(24) % 2 == 0, remarks={})]
    found.append(SimpleNamespace(melody=None, remarks={"melody": "drums alone"}))
    monkeypatch.setattr("musicbert.analysis.layers.music_layers", lambda score: found.pop(0))
    assert command(["plot", "roll", song, "--by", "melody"]) == 0
    assert {"melody", "accompaniment"} <= {text for text, _, _ in figures[0].drawn}
    assert command(["plot", "roll", song, "--by", "melody"]) == 2
    assert "drums alone [no-melody]" in capsys.readouterr().err

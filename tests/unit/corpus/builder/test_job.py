"""Corpora: notes and inputs aligned, every file accounted for, shards, and clear errors."""

import hashlib
import json
import os
import shutil
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.corpus.bins.databin import read_index, read_tokens
from musicbert.corpus.builder import BuildOptions, BuildReport, build_corpus
from musicbert.corpus.builder import job as job_module
from musicbert.corpus.files.ledger import read_ledger
from musicbert.encoding import (
    PERFORMANCE_INPUTS,
    Policies,
    content_md5,
    encode_notes,
    line_to_rows,
    performance_inputs,
    rows_to_ids,
)
from musicbert.errors import DatasetError
from musicbert.midi import midi_bytes, read_score
from musicbert.reuse import hold_folder
from musicbert.synthesis import make_set

EVERYTHING = (1, 0, 0)


@pytest.fixture(scope="module")
def made():
    return make_set(5, performers=3, segments=3, movements=1)


@pytest.fixture
def folder(tmp_path, made):
    source = tmp_path / "midi"
    source.mkdir()
    for name, score in made.scores.items():
        (source / f"{name}.mid").write_bytes(midi_bytes(score))
    (source / "broken.mid").write_bytes(b"MThd nonsense")
    (source / "left_out.mid").write_bytes(midi_bytes(next(iter(made.scores.values()))))
    return source


def contents(corpus):
    """Bytes of all files but the timings."""
    return {
        str(path.relative_to(corpus)): path.read_bytes()
        for path in sorted(corpus.rglob("*"))
        if path.is_file() and path.name != "timings.jsonl"
    }


def test_notes_and_inputs_stay_together(tmp_path, folder):
    options = BuildOptions(
        window=40, overlap=1, shares=(60, 20, 20), exclude="left_out", performance=True,
        near_duplicates="ignore",
    )  # fmt: skip
    report = build_corpus(folder, tmp_path / "bin", options, progress=False)
    ledger = read_ledger(tmp_path / "bin" / "ledger.jsonl")
    assert len(ledger) == report.found == 11
    assert {entry.outcome for entry in ledger} >= {"ok", "excluded", "unreadable"}
    for split, size in report.splits.items():
        if not size["files"]:
            assert not (tmp_path / "bin" / f"{split}.bin").exists()
            continue
        sizes = read_index(tmp_path / "bin" / split)
        notes = int((sizes // 8 - 2).sum())
        inputs = np.load(tmp_path / "bin" / f"{split}.performance.npy")
        assert inputs.shape == (notes, len(PERFORMANCE_INPUTS))
        tokens = read_tokens(tmp_path / "bin" / split).reshape(-1, 8)
        assert (tokens[:, 0] < 4).sum() == 2 * len(sizes)
        assert (len(sizes), notes) == (size["sequences"], size["notes"])
        written = [entry.notes_written for entry in ledger if entry.split == split]
        assert (len(written), sum(written)) == (size["files"], notes)
    lines = (tmp_path / "bin" / "timings.jsonl").read_text().splitlines()
    timings = [json.loads(line) for line in lines]
    assert [each["path"] for each in timings] == [entry.path for entry in ledger]


def test_one_piece_is_the_encoder_s_own(tmp_path, made):
    name, score = next(iter(made.scores.items()))
    source = tmp_path / "one"
    source.mkdir()
    (source / f"{name}.mid").write_bytes(midi_bytes(score))
    options = BuildOptions(overlap=1, shares=EVERYTHING, performance=True)
    build_corpus(source, tmp_path / "bin", options, progress=False)
    score = read_score(midi_bytes(score))
    rows, index = encode_notes(score)
    ids = rows_to_ids(rows).reshape(-1, 8)[1:-1]
    tokens = read_tokens(tmp_path / "bin" / "train").reshape(-1, 8)
    notes = tokens[tokens[:, 0] > 3].astype(int)
    assert np.array_equal(notes[:, 1:], ids[:, 1:])  # all but the bar, which is moved
    assert len(set(notes[:, 0] - ids[:, 0])) <= 2  # one offset for each of at most two windows
    stored = np.load(tmp_path / "bin" / "train.performance.npy")
    assert np.array_equal(stored, performance_inputs(score, index))
    (entry,) = read_ledger(tmp_path / "bin" / "ledger.jsonl")
    assert entry.content == content_md5(rows)


def test_text_holds_the_same_sequences(tmp_path, make_midi_folder):
    source = make_midi_folder(12, notes=(900, 2500), seed=1)
    build_corpus(source, tmp_path / "both", BuildOptions(shares=EVERYTHING, output="both"), progress=False)
    lines = (tmp_path / "both" / "midi_train.txt").read_text().splitlines()
    tokens = read_tokens(tmp_path / "both" / "train")
    assert np.array_equal(np.concatenate([rows_to_ids(line_to_rows(line)) for line in lines]), tokens)
    build_corpus(source, tmp_path / "text", BuildOptions(shares=EVERYTHING, output="text"), progress=False)
    assert (tmp_path / "text" / "midi_train.txt").read_text().splitlines() == lines
    assert not (tmp_path / "text" / "train.bin").exists()


def test_every_form_of_a_source_gives_the_same_corpus(tmp_path, make_midi_folder):
    source = make_midi_folder(20)
    shutil.make_archive(str(tmp_path / "x"), "zip", source)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(source, "other/name")
    paths = sorted(str(path) for path in source.rglob("*.mid"))[::-1]
    (tmp_path / "list.txt").write_text("\n".join(paths))
    options = BuildOptions(shares=(50, 25, 25))
    found = []
    for number, each in enumerate((source, tmp_path / "x.zip", tmp_path / "x.tar.gz", tmp_path / "list.txt")):
        build_corpus(each, tmp_path / str(number), options, progress=False)
        found.append({k: v for k, v in contents(tmp_path / str(number)).items() if k != "ledger.jsonl"})
    assert found[0] == found[1] == found[2] == found[3]
    assert {name for name in found[0] if name.endswith("bin")} == {"train.bin", "valid.bin", "test.bin"}


def test_the_same_music_in_two_sources_is_taken_once(tmp_path, made):
    content = midi_bytes(next(iter(made.scores.values())))
    for source in ("one", "two"):
        (tmp_path / source).mkdir()
        (tmp_path / source / "same.mid").write_bytes(content)
    sources = [tmp_path / "one", tmp_path / "two"]
    report = build_corpus(sources, tmp_path / "bin", progress=False)
    assert report.outcomes == {"duplicate": 1, "ok": 1}
    one, two = read_ledger(tmp_path / "bin" / "ledger.jsonl")
    assert (two.outcome, two.copy_of, two.source) == ("duplicate", "same.mid", str(tmp_path / "two"))
    assert one.ok
    kept = build_corpus(sources, tmp_path / "all", BuildOptions(duplicates="keep"), progress=False)
    assert kept.outcomes == {"ok": 2}


def test_shards_hold_everything_once(tmp_path, make_midi_folder):
    source = make_midi_folder(40, notes=(100, 300))
    whole = build_corpus(source, tmp_path / "one", progress=False)
    options = BuildOptions(shard_tokens=20_000)
    report = build_corpus(source, tmp_path / "many", options, progress=False)
    assert report.shards > 2
    assert report.splits == whole.splits
    tokens = [read_tokens(tmp_path / "many" / f"shard{n}" / "train") for n in range(report.shards)]
    assert max(map(len, tokens)) <= 20_000
    assert np.array_equal(np.concatenate(tokens), read_tokens(tmp_path / "one" / "train"))
    assert (tmp_path / "many" / "shard0" / "test.bin").exists()
    assert all((tmp_path / "many" / f"shard{n}" / "dict.txt").exists() for n in range(report.shards))


def test_windows_beyond_256_bars(tmp_path, fixtures):
    source = tmp_path / "midi"
    source.mkdir()
    shutil.copy(fixtures / "musicbert" / "s18_sparse_over_256_bars.mid", source)
    base = {"overlap": 1, "shares": EVERYTHING}
    lost = build_corpus(source, tmp_path / "lost", BuildOptions(**base), progress=False)
    policies = Policies(bar_overflow="restart")
    kept = build_corpus(source, tmp_path / "kept", BuildOptions(**base, policies=policies), progress=False)
    assert lost.splits["train"]["notes"] < kept.splits["train"]["notes"] == 300


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0}, {"overlap": 0}, {"seed": -1}, {"exclude": "["}, {"shares": (0, 1, 1)},
        {"shares": (1, -1, 0)}, {"shares": (1, 1)}, {"shard_tokens": -1},
        {"performance": True, "output": "text"},
    ],
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(DatasetError, match="bad-options"):
        BuildOptions(**options)


def test_nothing_to_write_is_one_clear_error(tmp_path):
    source = tmp_path / "bad"
    source.mkdir()
    (source / "broken.mid").write_bytes(b"no music")
    with pytest.raises(DatasetError, match="nothing-to-write") as caught:
        build_corpus(source, tmp_path / "bin", progress=False)
    ledger = tmp_path / "bin.ledger.jsonl"
    assert str(ledger) in str(caught.value)
    assert list(tmp_path.glob("*bin*")) == [ledger]
    assert [(entry.path, entry.outcome) for entry in read_ledger(ledger)] == [("broken.mid", "unreadable")]
    shutil.rmtree(source)
    source.mkdir()
    with pytest.raises(DatasetError, match="nothing-to-write"):
        build_corpus(source, tmp_path / "other", progress=False)
    assert not list(tmp_path.glob("*other*"))


def test_an_existing_output_is_kept(tmp_path, make_midi_folder):
    source = make_midi_folder(4)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years")
    with pytest.raises(DatasetError, match="output-not-ours"):
        build_corpus(source, tmp_path / "foreign", overwrite=True, progress=False)
    build_corpus(source, tmp_path / "bin", progress=False)
    with pytest.raises(DatasetError, match="output-exists"):
        build_corpus(source, tmp_path / "bin", progress=False)
    report = build_corpus(source, tmp_path / "bin", BuildOptions(overlap=1), overwrite=True, progress=False)
    assert BuildReport.read(tmp_path / "bin") == report


def interrupted(monkeypatch, source, output, **options):
    """Run until the parts are to be written."""
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "plan_parts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus(source, output, BuildOptions(**options), progress=False)


def test_other_options_do_not_go_on_with_a_run(tmp_path, make_midi_folder, monkeypatch):
    source = make_midi_folder(6)
    interrupted(monkeypatch, source, tmp_path / "bin", seed=1)
    with pytest.raises(DatasetError, match=r"seed: 1 -> 2.*other-run"):
        build_corpus(source, tmp_path / "bin", BuildOptions(seed=2), progress=False)
    build_corpus(source, tmp_path / "bin", BuildOptions(seed=2), restart=True, progress=False)
    build_corpus(source, tmp_path / "fresh", BuildOptions(seed=2), progress=False)
    assert contents(tmp_path / "bin") == contents(tmp_path / "fresh")


def test_a_plan_beside_nothing_else_is_not_a_run(tmp_path, make_midi_folder):
    """Such as an earlier version's, which was killed or failed before its first file."""
    source = make_midi_folder(3)
    work = tmp_path / ".bin.building"
    work.mkdir()
    (work / "plan.json").write_text(json.dumps({"version": "0.0.1", "sources": ["elsewhere"]}))
    build_corpus(source, tmp_path / "bin", progress=False)
    build_corpus(source, tmp_path / "fresh", progress=False)
    assert contents(tmp_path / "bin") == contents(tmp_path / "fresh")


def other_bytes(path):
    """Change a file, not its size and its time."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


CHANGES = {
    "other bytes: {source}/a/00000.mid": lambda source: other_bytes(source / "a" / "00000.mid"),
    "other bytes: {source}/{last}": lambda source: other_bytes(files_of(source)[-1]),
    "added: {source}/0.mid": lambda source: shutil.copy(files_of(source)[0], source / "0.mid"),
    "added: {source}/z/z.mid": lambda source: shutil.copy(files_of(source)[0], source / "z" / "z.mid"),
    "removed: {source}/a/00000.mid": lambda source: (source / "a" / "00000.mid").unlink(),
    "removed: {source}/{last}": lambda source: files_of(source)[-1].unlink(),
}


def files_of(source):
    return sorted(source.rglob("*.mid"))


@pytest.mark.parametrize("chunk", [2, 128])
@pytest.mark.parametrize("when", ["encoded", "nearly", "finished"])
@pytest.mark.parametrize("words", CHANGES)
def test_changed_sources_do_not_go_on_with_a_run(tmp_path, make_midi_folder, monkeypatch, words, when, chunk):
    source, output = make_midi_folder(7), tmp_path / "bin"
    (source / "z").mkdir(exist_ok=True)
    monkeypatch.setattr(job_module, "CHUNK_FILES", chunk)
    last = files_of(source)[-1].relative_to(source)
    if when == "finished":
        with monkeypatch.context() as patch:
            patch.setattr(job_module, "_tidy", lambda _: None)
            build_corpus(source, output, progress=False)
    else:
        interrupted(monkeypatch, source, output)
    if when == "nearly":  # as if killed a little earlier
        (tmp_path / ".bin.building" / "encoded.json").unlink()
    CHANGES[words](source)
    if when == "nearly" and words == "added: {source}/z/z.mid" and chunk == 2:
        (tmp_path / ".bin.building" / "shards" / "0000" / "0000003.jsonl").unlink()  # to be encoded yet
        build_corpus(source, output, progress=False)
    else:
        with pytest.raises(DatasetError, match="source-changed") as caught:
            build_corpus(source, output, progress=False)
        assert caught.value.message.endswith(f": {words.format(source=source, last=last)}")
        again = {"overwrite": True} if when == "finished" else {"restart": True}
        build_corpus(source, output, **again, progress=False)
    build_corpus(source, tmp_path / "fresh", progress=False)
    assert contents(output) == contents(tmp_path / "fresh")
    for outcome in read_ledger(output / "ledger.jsonl"):
        assert outcome.sha256 == hashlib.sha256((source / outcome.path).read_bytes()).hexdigest()


def test_changes_in_an_archive_and_in_two_processes_are_seen(tmp_path, make_midi_folder, monkeypatch):
    folder, output = make_midi_folder(5), tmp_path / "bin"

    def pack():
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for path in files_of(folder):
                archive.write(path, path.relative_to(folder))

    pack()
    interrupted(monkeypatch, tmp_path / "x.zip", output)
    build_corpus(tmp_path / "x.zip", tmp_path / "fresh", progress=False)
    other_bytes(files_of(folder)[2])
    pack()
    with pytest.raises(DatasetError, match="source-changed") as caught:
        build_corpus(tmp_path / "x.zip", output, workers=2, progress=False)
    assert files_of(folder)[2].name in caught.value.message
    other_bytes(files_of(folder)[2])  # as it was
    pack()
    build_corpus(tmp_path / "x.zip", output, workers=2, progress=False)
    assert contents(output) == contents(tmp_path / "fresh")


def test_an_archive_with_a_path_twice_goes_on(tmp_path, make_midi_folder, monkeypatch):
    first, second, third = (path.read_bytes() for path in files_of(make_midi_folder(3)))

    def pack(*contents):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the name that is there twice
            for content in contents:
                archive.writestr("a.mid", content)

    pack(first, second)
    interrupted(monkeypatch, tmp_path / "x.zip", tmp_path / "bin")
    pack(first, third)
    with pytest.raises(DatasetError, match=r"other bytes: .*a\.mid \(again\)"):
        build_corpus(tmp_path / "x.zip", tmp_path / "bin", progress=False)
    pack(first, second)
    assert build_corpus(tmp_path / "x.zip", tmp_path / "bin", progress=False).outcomes == {"ok": 2}


@pytest.mark.parametrize("left", [["published", "plan.json", "shards"], ["published"], []])
def test_killed_between_publishing_and_tidying(tmp_path, make_midi_folder, monkeypatch, left):
    source = make_midi_folder(6)
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "_tidy", lambda _: None)
        report = build_corpus(source, tmp_path / "bin", progress=False)
    work = tmp_path / ".bin.building"
    for entry in list(work.iterdir()):
        if entry.name not in left:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert build_corpus(source, tmp_path / "bin", progress=False) == report
    assert not work.exists()
    with pytest.raises(DatasetError, match="output-exists"):
        build_corpus(source, tmp_path / "bin", progress=False)


def test_what_a_finished_run_left_is_removed_under_its_lock(tmp_path, make_midi_folder, monkeypatch):
    source, work = make_midi_folder(3), tmp_path / ".bin.building"
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "_tidy", lambda _: None)
        report = build_corpus(source, tmp_path / "bin", progress=False)
    with hold_folder(work), pytest.raises(DatasetError, match="output-busy"):
        build_corpus(source, tmp_path / "bin", progress=False)
    assert (work / "published").exists()
    held = []

    def tidy(folder):
        with pytest.raises(DatasetError, match="output-busy"), hold_folder(folder):
            pass
        held.append(folder)
        shutil.rmtree(folder)

    monkeypatch.setattr(job_module, "_tidy", tidy)
    assert build_corpus(source, tmp_path / "bin", progress=False) == report
    build_corpus(source, tmp_path / "other", progress=False)
    assert held == [work, tmp_path / ".other.building"]


def test_killed_while_an_old_corpus_is_replaced(tmp_path, make_midi_folder, monkeypatch):
    old, new = make_midi_folder(6, seed=1), make_midi_folder(6, seed=2)
    build_corpus(old, tmp_path / "bin", progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "_publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus(new, tmp_path / "bin", overwrite=True, progress=False)
    (tmp_path / "bin").rename(tmp_path / ".bin.old")  # the moment between the two renamings
    build_corpus(new, tmp_path / "bin", overwrite=True, progress=False)
    build_corpus(new, tmp_path / "fresh", progress=False)
    assert contents(tmp_path / "bin") == contents(tmp_path / "fresh")
    assert not (tmp_path / ".bin.old").exists()


def test_exit_status_above_the_failure_rate(tmp_path, folder, capsys):
    command = ["build", str(folder), "--quiet", "--output"]
    assert main([*command, str(tmp_path / "one"), "--max-failure-rate", "0.2"]) == 0
    assert main([*command, str(tmp_path / "two"), "--max-failure-rate", "0.05"]) == 1
    assert "1 unreadable" in capsys.readouterr().out
    assert (tmp_path / "two" / "train.bin").exists()
    assert main([*command, str(tmp_path / "two")]) == 2
    assert "output-exists" in capsys.readouterr().err
    for wrong in ("5", "-0.1", "nan", "five"):  # 5 is meant as per cent, and would allow everything
        assert main([*command, str(tmp_path / "three"), "--max-failure-rate", wrong]) == 2
    assert "a share in 0-1" in capsys.readouterr().err


def test_a_damaged_zip_member_is_a_ledger_entry(tmp_path, make_midi_folder):
    source = make_midi_folder(4)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:  # stored
        for path in sorted(source.rglob("*.mid")):
            archive.write(path, path.name)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[content.index(b"MTrk") + 30] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(content)
    report = build_corpus(tmp_path / "x.zip", tmp_path / "bin", progress=False)
    assert report.outcomes == {"ok": 3, "bad-checksum": 1}
    assert report.failure_rate == 0.25
